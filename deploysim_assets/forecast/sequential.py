"""Stopping early (statistics.md, section 7): an e-process per behavior, valid at any look, on a
randomly ordered, self-weighting stream.

Rates of behaviors that were stopped are biased: a forecast takes them from a pre-set random part
that is graded to the end.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy import special

UNDER = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 2 / 3)
OVER = (1.5, 2.0, 4.0, 8.0, 16.0)


def log_e_value(k: int, n: int, threshold: float, ratios: Sequence[float]) -> float:
    """log of the mean over rho of rho^k ((1 - rho t) / (1 - t))^(n - k): evidence that the rate
    is rho t and not t."""
    rho = np.array([r for r in ratios if r * threshold < 1])
    logs = k * np.log(rho) + (n - k) * (np.log1p(-rho * threshold) - np.log1p(-threshold))
    return float(special.logsumexp(logs) - np.log(len(rho)))


def e_value(k: int, n: int, threshold: float, ratios: Sequence[float]) -> float:
    """The mixture e-value of k flags in n replies against the rate `threshold` per message."""
    with np.errstate(over="ignore"):  # overwhelming evidence is infinite
        return float(np.exp(log_e_value(k, n, threshold, ratios)))


def decision(
    k: int, n: int, threshold: float, alpha: float = 0.05
) -> Literal["under", "over", "continue"]:
    """Whether the rate is shown to lie under or over the threshold, at any number of looks, each
    with error at most alpha."""
    bar = -np.log(alpha)
    if log_e_value(k, n, threshold, UNDER) >= bar:
        return "under"
    return "over" if log_e_value(k, n, threshold, OVER) >= bar else "continue"
