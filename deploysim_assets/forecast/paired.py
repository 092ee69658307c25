"""Candidate against live model on the same prefixes (statistics.md, section 7)."""

from typing import NamedTuple

import numpy as np
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
