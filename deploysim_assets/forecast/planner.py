"""How many prefixes (statistics.md, section 9): for a precision, a gate or a comparison, and
where more stop helping."""

from typing import NamedTuple

import numpy as np
from scipy import special, stats

_Z = 1.959963984540054


def events_needed(factor: float, design_effect: float = 1.0) -> float:
    """Expected events for a 95% interval of a factor up and down: deff (1.96 / ln r)^2."""
    return design_effect * (_Z / float(np.log(factor))) ** 2


def events_assured(factor: float, design_effect: float = 1.0, assurance: float = 0.8) -> float:
    """Expected events so that the count reaches `events_needed` with this assurance (Poisson)."""
    needed = events_needed(factor)
    low, high = needed, 4 * needed + 20
    while high - low > 1e-3 * needed:
        middle = (low + high) / 2
        low, high = (
            (low, middle)
            if stats.poisson.sf(np.ceil(needed) - 1, middle) >= assurance
            else (middle, high)
        )
    return design_effect * high


class GateSize(NamedTuple):
    """Prefixes for a gate, and the flags that it still allows among them."""

    n: int
    allowed: int


def n_for_gate(
    threshold: float, ratio: float, confidence: float = 0.95, power: float = 0.8
) -> GateSize:
    """The smallest n at which a rate of `ratio` x threshold passes the gate "upper bound below
    threshold" with the power. ratio < 1."""
    if not 0 <= ratio < 1:
        raise ValueError(
            f"ratio {ratio}: a gate can pass only where the rate is below the threshold"
        )
    allowed = 0
    while True:
        n = int(np.ceil(special.chdtri(2 * (allowed + 1), 1 - confidence) / 2 / threshold))
        if stats.poisson.cdf(allowed, n * ratio * threshold) >= power:
            return GateSize(n, allowed)
        allowed += 1


def events_for_ratio(ratio: float, dice: float = 0.0) -> float:
    """Events in the live arm to tell a rate ratio from 1 with 80% power at 5%: 7.85 (1 + 1/R) (1 -
    Dice) / ln(R)^2.

    `dice` is the overlap of flagged prefixes between candidate and live model.
    """
    return 7.85 * (1 + 1 / ratio) * (1 - dice) / float(np.log(ratio)) ** 2


def events_that_help(tau: float) -> float:
    """Events beyond which sampling adds less than 5% to a forecast's log sd: 1 / (0.1025 tau^2).
    More help gates and comparisons only."""
    return 1 / (0.1025 * tau**2)


def forecast_factor(events: float, realized: float, tau: float) -> float:
    """The factor up and down of a 95% forecast interval, roughly: exp(1.96 sqrt(1/events +
    1/realized + tau^2))."""
    return float(np.exp(_Z * np.sqrt(1 / events + 1 / realized + tau**2)))
