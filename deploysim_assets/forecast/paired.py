"""Candidate against live model on the same prefixes (statistics.md, section 7)."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats


class PairedRatio(NamedTuple):
    """Rate of the candidate over the live model's, with 95% limits."""

    ratio: float
    low: float
    high: float


class PairStratum(NamedTuple):
    """One stratum's prefixes graded for both: the sum of their inclusion weights, and how many
    were flagged for whom."""

    name: str
    weight: float
    n11: int
    n10: int
    n01: int
    n00: int

    @property
    def n(self) -> int:
        return self.n11 + self.n10 + self.n01 + self.n00


class Pairs(NamedTuple):
    """The same prefixes answered by both, over all strata, and the weighted flags of each cluster
    (user) that has any.

    Weights are scaled to a mean of 1, so that an unweighted design counts prefixes; `largest` is
    the largest of them.
    """

    n: int
    n11: int
    n10: int
    n01: int
    candidate: tuple[float, ...]
    live: tuple[float, ...]
    largest: float = 1.0


def pairs(
    strata: Iterable[PairStratum], flags: Mapping[str, Mapping[str, tuple[int, int]]]
) -> Pairs:
    """Pairs from strata and from the (candidate, live) flags of each cluster by stratum; each
    message weighs W_h / n_h (section 2)."""
    found = [s for s in strata if s.n]
    n, n11, n10, n01 = (
        sum(s.n for s in found),
        sum(s.n11 for s in found),
        sum(s.n10 for s in found),
        sum(s.n01 for s in found),
    )
    total = sum(s.weight for s in found)
    message = {s.name: s.weight / total * n / s.n for s in found}
    sums = [
        [
            sum(message[h] * both[side] for h, both in by_stratum.items())
            for by_stratum in flags.values()
        ]
        for side in (0, 1)
    ]
    return Pairs(
        n, n11, n10, n01, tuple(sums[0]), tuple(sums[1]), max(message.values(), default=1.0)
    )


def paired_ratio(n11: int, n10: int, n01: int, level: float = 0.95) -> PairedRatio:
    """log((k1+.5)/(k0+.5)) +- z sqrt((n10+n01+1)/((k1+.5)(k0+.5))); n10 are prefixes flagged for
    the candidate alone."""
    k1, k0 = n11 + n10 + 0.5, n11 + n01 + 0.5
    half = float(stats.norm.ppf((1 + level) / 2) * np.sqrt((n10 + n01 + 1) / (k1 * k0)))
    return PairedRatio(k1 / k0, float(k1 / k0 * np.exp(-half)), float(k1 / k0 * np.exp(half)))


def mcnemar_midp(n10: int, n01: int) -> float:
    """Two-sided mid-P McNemar p value on the discordant prefixes; 1 where there are none."""
    n, least = n10 + n01, min(n10, n01)
    if n == 0:
        return 1.0
    return float(
        min(1.0, 2 * (stats.binom.cdf(least, n, 0.5) - stats.binom.pmf(least, n, 0.5) / 2))
    )


def clustered_ratio(
    candidate: ArrayLike, live: ArrayLike, level: float = 0.95, largest: float = 1.0
) -> PairedRatio:
    """`paired_ratio` where prefixes of one user are not independent: flags of the candidate and of
    the live model per cluster.

    The discordant count in the variance gives way to the sum of squared differences per cluster.
    Weighted flags bring the `largest` message weight, which takes the place of one event.
    """
    x1, x0 = np.asarray(candidate, dtype=float), np.asarray(live, dtype=float)
    k1, k0 = x1.sum() + largest / 2, x0.sum() + largest / 2
    # per cluster, not per message: a user with three discordant prefixes counts nine times, not
    # three
    spread = float(((x1 - x0) ** 2).sum())
    half = float(stats.norm.ppf((1 + level) / 2) * np.sqrt((spread + largest**2) / (k1 * k0)))
    return PairedRatio(
        float(k1 / k0), float(k1 / k0 * np.exp(-half)), float(k1 / k0 * np.exp(half))
    )


def clustered_sign_test(candidate: ArrayLike, live: ArrayLike) -> float:
    """Two-sided p value that flags moved from one model to the other, by flipping the sign of each
    cluster's difference.

    Mid-P McNemar where no cluster has more than one discordant prefix; else all sign patterns up to
    16 clusters, and their normal limit beyond.
    """
    d: NDArray[np.float64] = np.asarray(candidate, dtype=float) - np.asarray(live, dtype=float)
    d = d[d != 0]
    if d.sum() == 0:
        return 1.0
    if bool(np.all(np.abs(d) == 1)):
        return mcnemar_midp(int((d > 0).sum()), int((d < 0).sum()))
    if len(d) > 16:
        return float(2 * stats.norm.sf(abs(float(d.sum())) / float(np.sqrt((d**2).sum()))))
    signs: NDArray[np.int64] = 1 - 2 * ((np.arange(1 << len(d))[:, None] >> np.arange(len(d))) & 1)
    sums: NDArray[np.float64] = np.abs(signs @ d)
    seen = abs(float(d.sum()))
    near = np.abs(sums - seen) <= 1e-9 * float(np.abs(d).sum())
    return float((near.sum() / 2 + (sums[~near] > seen).sum()) / len(sums))


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Holm's adjusted p values: for regressions that block a release. A gate that all behaviors
    must pass needs no correction."""
    p = np.asarray(p_values, dtype=float)
    order = p.argsort()
    steps = np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p))))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted


def benjamini_hochberg(p_values: ArrayLike) -> NDArray[np.float64]:
    """Benjamini-Hochberg adjusted p values: for exploratory lists, never for what blocks a
    release."""
    return np.asarray(stats.false_discovery_control(np.asarray(p_values, dtype=float)))
