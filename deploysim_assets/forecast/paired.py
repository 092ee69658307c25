"""Candidate against live model on the same prefixes (statistics.md, section 7)."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats


class PairedRatio(NamedTuple):
    """Rate of the candidate over the live model's, with 95% limits."""

    ratio: float
    low: float
    high: float


def paired_ratio(n11: int, n10: int, n01: int, level: float = 0.95) -> PairedRatio:
    """log((k1+.5)/(k0+.5)) +- z sqrt((n10+n01+1)/((k1+.5)(k0+.5))); n10 are prefixes flagged for the candidate alone."""
    k1, k0 = n11 + n10 + 0.5, n11 + n01 + 0.5
    half = float(stats.norm.ppf((1 + level) / 2) * np.sqrt((n10 + n01 + 1) / (k1 * k0)))
    return PairedRatio(k1 / k0, float(k1 / k0 * np.exp(-half)), float(k1 / k0 * np.exp(half)))


def mcnemar_midp(n10: int, n01: int) -> float:
    """Two-sided mid-P McNemar p value on the discordant prefixes; 1 where there are none."""
    n, least = n10 + n01, min(n10, n01)
    if n == 0:
        return 1.0
    return float(min(1.0, 2 * (stats.binom.cdf(least, n, 0.5) - stats.binom.pmf(least, n, 0.5) / 2)))


def clustered_ratio(candidate: ArrayLike, live: ArrayLike, level: float = 0.95) -> PairedRatio:
    """`paired_ratio` where prefixes of one user are not independent: flags of the candidate and of the live model per cluster.

    The discordant count in the variance gives way to the sum of squared differences per cluster.
    """
    x1, x0 = np.asarray(candidate, dtype=float), np.asarray(live, dtype=float)
    k1, k0 = x1.sum() + 0.5, x0.sum() + 0.5
    # per cluster, not per message: a user with three discordant prefixes counts nine times, not three
    spread = float(((x1 - x0) ** 2).sum())
    half = float(stats.norm.ppf((1 + level) / 2) * np.sqrt((spread + 1) / (k1 * k0)))
    return PairedRatio(float(k1 / k0), float(k1 / k0 * np.exp(-half)), float(k1 / k0 * np.exp(half)))


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Holm's adjusted p values: for regressions that block a release. A gate that all behaviors must pass needs no correction."""
    p = np.asarray(p_values, dtype=float)
    order = p.argsort()
    steps = np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p))))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted


def benjamini_hochberg(p_values: ArrayLike) -> NDArray[np.float64]:
    """Benjamini-Hochberg adjusted p values: for exploratory lists, never for what blocks a release."""
    return np.asarray(stats.false_discovery_control(np.asarray(p_values, dtype=float)))
