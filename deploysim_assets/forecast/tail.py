"""Below the floor (statistics.md, section 8): two-phase sampling, how often flagged prefixes
repeat, and extrapolation to the worst of many.

Estimates, never guarantees: extrapolation assumes that no failure mode was missed, and must not
enter a gate or a calibrated forecast.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

TAIL_POINTS = 10
"""Highest propensities that the tail is fitted to (Jones et al. 2025)."""


def neyman_allocation(
    shares: ArrayLike, rates: ArrayLike, n: int, proportional: float = 0.3
) -> NDArray[np.float64]:
    """Prefixes per stratum, W_h sqrt(p_h) beside a proportional part that bounds the largest weight
    at 1 / proportional.

    It improves the estimate of a rare rate; the guaranteed upper bound gets worse, as the bulk
    stratum is thinner.
    """
    w, p = np.asarray(shares, dtype=float), np.asarray(rates, dtype=float)
    wanted = w * np.sqrt(p)
    best = wanted / wanted.sum() if wanted.sum() > 0 else w
    return n * (proportional * w + (1 - proportional) * best)


def variance_gain(shares: ArrayLike, rates: ArrayLike, proportional: float = 0.3) -> float:
    """Variance of the rate under proportional sampling over that under `neyman_allocation`, at
    equal size."""
    w, p = np.asarray(shares, dtype=float), np.asarray(rates, dtype=float)
    allotted = neyman_allocation(w, p, 1, proportional)
    return float(np.sum(w * p) / np.sum(w**2 * p / allotted))


def repeat_factor(repeats: int, intraclass_correlation: float) -> float:
    """By what repeats of a prefix multiply the variance per completion: 1 + (r - 1) ICC. New
    prefixes are better while there are any."""
    return 1 + (repeats - 1) * intraclass_correlation


def intraclass_correlation(flags: ArrayLike, repeats: int) -> float:
    """ICC of binary answers to prefixes asked `repeats` times each, from the flags per prefix
    (one-way analysis of variance)."""
    k = np.asarray(flags, dtype=float)
    mean = k.mean() / repeats
    between = repeats * float(np.var(k / repeats, ddof=1))
    within = float(np.mean(k * (repeats - k))) / (repeats * (repeats - 1))
    total = between + (repeats - 1) * within
    return float(np.clip((between - within) / total, 0, 1)) if total > 0 and 0 < mean < 1 else 0.0


class Extrapolation(NamedTuple):
    """The propensity expected of the worst of n prefixes, and the tail it was read off: log
    P(psi > x) = slope x + intercept."""

    worst: float
    slope: float
    intercept: float


def extrapolated_worst(propensities: ArrayLike, prefixes: int, n: int) -> Extrapolation | None:
    """Gumbel-tail extrapolation to the worst of n prefixes, from the propensities of those among
    `prefixes` that have one above 0.

    psi = -log(-log p); log(j/m) is regressed on the top `TAIL_POINTS`.  None where fewer have a
    propensity strictly between 0 and 1, or where the tail does not fall.
    """
    p = np.sort(np.asarray(propensities, dtype=float))[::-1]
    p = p[(p > 0) & (p < 1)][:TAIL_POINTS]
    if len(p) < TAIL_POINTS or np.ptp(p) == 0:
        return None
    psi = -np.log(-np.log(p))
    slope, intercept = np.polyfit(psi, np.log(np.arange(1, len(p) + 1) / prefixes), 1)
    if slope >= 0:
        return None
    return Extrapolation(
        float(np.exp(-np.exp((np.log(n) + intercept) / slope))), float(slope), float(intercept)
    )
