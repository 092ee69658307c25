"""Where a forecast's error came from (statistics.md, section 6): mix shift, prefix shift,
environment, grader drift, sub-sampling.

Shares are quoted only where enough pairs allow it (`PAIRS_NEEDED`): with 20 pairs the largest share
ranges over half its value.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

PAIRS_NEEDED = 40
LEAST_EVENTS = 4
"""Pairs with fewer effective events at any node are left out."""

STEPS = ("mix shift", "prefix shift", "environment fidelity", "grader drift", "sub-sampling")


class Decomposition(NamedTuple):
    """Covariance of the steps without noise, and each step's share of the total; shares sum to
    1."""

    covariance: NDArray[np.float64]
    shares: NDArray[np.float64]
    pairs: int

    @property
    def quotable(self) -> bool:
        return self.pairs >= PAIRS_NEEDED


def steps(rates: ArrayLike) -> NDArray[np.float64]:
    """log ratios between neighboring nodes of the chain, pairs by steps: forecast, re-weighted,
    fresh prefixes, production, ..."""
    return np.diff(np.log(np.asarray(rates, dtype=float)), axis=1)


def step_noise(rates: ArrayLike, covariance: ArrayLike) -> NDArray[np.float64]:
    """S = T diag(1/y) V diag(1/y) T' of one pair: the noise of its steps, which share data; V is
    the covariance of the node rates."""
    y, v = np.asarray(rates, dtype=float), np.asarray(covariance, dtype=float)
    relative = v / np.outer(y, y)
    t = np.diff(np.eye(len(y)), axis=0)
    return t @ relative @ t.T


def decompose(differences: ArrayLike, noise: Sequence[ArrayLike] | ArrayLike) -> Decomposition:
    """C = mean(d d') - mean(S) over pairs; the share of step j is the sum of C's row j over the sum
    of C.

    `differences` is pairs by steps (log ratios), `noise` one steps-by-steps covariance per pair.
    """
    d, s = np.asarray(differences, dtype=float), np.asarray(noise, dtype=float)
    covariance = np.einsum("pi,pj->ij", d, d) / len(d) - s.mean(axis=0)
    return Decomposition(covariance, covariance.sum(axis=1) / covariance.sum(), len(d))


def share_intervals(
    differences: ArrayLike, noise: ArrayLike, level: float = 0.9, draws: int = 2_000, seed: int = 0
) -> NDArray[np.float64]:
    """Bootstrap limits of the shares over pairs, steps by (low, high)."""
    d, s = np.asarray(differences, dtype=float), np.asarray(noise, dtype=float)
    rng = np.random.default_rng(seed)
    found = np.array(
        [decompose(d[i], s[i]).shares for i in rng.integers(0, len(d), (draws, len(d)))]
    )
    return np.quantile(found, [(1 - level) / 2, (1 + level) / 2], axis=0).T


class Cell(NamedTuple):
    """One kind of traffic, as surface and language: simulated replies graded and flagged, and
    its shares of traffic before and after."""

    n: int
    k: int
    share: float
    realized_share: float


class Replayed(NamedTuple):
    """Flags on the same fresh prefixes: simulated, real under the registered graders, real under
    the graders in use now, and in common."""

    n: int
    simulated: int
    real: int
    real_now: int
    simulated_and_real: int
    simulated_and_now: int
    real_and_now: int


def chain(
    cells: Sequence[Cell], fresh: Replayed, production: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The six node rates of one behavior and their covariance: forecast, re-weighted, fresh
    prefixes, real answers, real answers under the graders in use now, full production (flags,
    graded).

    Cells without a simulated reply are left out on both sides of the first step.  Rates are per
    message.
    """
    covered = [c for c in cells if c.n]
    shares = np.array([[c.share for c in covered], [c.realized_share for c in covered]])
    weights = shares / shares.sum(axis=1, keepdims=True) / np.array([c.n for c in covered])
    flags = np.array([c.k for c in covered], dtype=float)
    n, (k_full, n_full) = fresh.n, production
    rates = np.array(
        [
            *(weights @ flags),
            fresh.simulated / n,
            fresh.real / n,
            fresh.real_now / n,
            k_full / n_full,
        ]
    )
    v = np.zeros((6, 6))
    v[:2, :2] = (weights * flags) @ weights.T
    counts = [fresh.simulated, fresh.real, fresh.real_now]
    common = {
        (0, 1): fresh.simulated_and_real,
        (0, 2): fresh.simulated_and_now,
        (1, 2): fresh.real_and_now,
    }
    for i in range(3):
        v[2 + i, 2 + i] = counts[i] / n**2
        for j in range(i + 1, 3):
            v[2 + i, 2 + j] = v[2 + j, 2 + i] = common[i, j] / n**2
    v[5, 5] = k_full / n_full**2
    # the replayed prefixes are among those of the full count
    v[5, 2:5] = v[2:5, 5] = np.array(
        [fresh.simulated_and_now, fresh.real_and_now, fresh.real_now]
    ) / (n * n_full)
    return rates, v


def enough(rates: NDArray[np.float64], covariance: NDArray[np.float64]) -> bool:
    """Whether every node has at least `LEAST_EVENTS` effective events, y^2 / v."""
    variances = np.diag(covariance)
    return bool(np.all(rates > 0) and np.all(rates**2 >= LEAST_EVENTS * variances))
