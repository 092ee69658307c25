"""How many prefixes (statistics.md, section 9): for a precision, a gate or a comparison, and
where more stop helping."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import special, stats

_Z = 1.959963984540054


def events_needed(factor: float, design_effect: float = 1.0) -> float:
    """Expected events for a 95% interval of a factor up and down: deff (1.96 / ln r)^2."""
    return design_effect * (_Z / float(np.log(factor))) ** 2


def events_assured(factor: float, design_effect: float = 1.0, assurance: float = 0.8) -> float:
    """Expected events so that with this assurance (Poisson) both ends of the 95% interval that is
    then shown (Jeffreys') lie within the factor of the rate. More than `events_needed`, whose
    interval is the normal one of the expected count."""
    count = np.arange(1, int(4 * events_needed(factor)) + 20)
    low = special.gammaincinv(count + 0.5, 0.025)
    enough = int(count[np.argmax(count / low <= factor)])  # the lower end is the farther one
    return design_effect * float(special.gammaincinv(enough, assurance))


class Shares(NamedTuple):
    """A stratified design: the part of the prefixes that goes by `shares`, whose names are strata
    (the rest follows the traffic), and the factor by which it multiplies the mean relative variance
    of the behaviors' rates against a draw that follows the traffic."""

    shares: dict[str, float]
    variance: float


def neyman_shares(
    traffic: Mapping[str, float], rates: Sequence[Mapping[str, float]], proportional: float = 0.3
) -> Shares:
    """Neyman's allocation for several behaviors at once (statistics.md, section 8): n_h ~ W_h
    sqrt(sum over behaviors of p_h / p^2), the `proportional` part of the traffic kept.

    `traffic` holds each stratum's share W_h of it, `rates` the rate per stratum of each behavior.
    """
    names = list(traffic)
    weight = np.array([traffic[name] for name in names])
    table = np.array([[rate[name] for name in names] for rate in rates])
    spread = np.sum(table / (table @ weight)[:, None] ** 2, axis=0)
    wanted = weight * np.sqrt(spread)
    wanted /= wanted.sum()
    extra = np.maximum(wanted - proportional * weight, 0)
    extra = np.floor(extra / extra.sum() * 100) / 100
    extra[int(np.argmax(extra))] += 1 - extra.sum()
    drawn = proportional * weight + (1 - proportional) * extra
    variance = float(np.sum(weight**2 * spread / drawn) / np.sum(weight * spread))
    chosen = zip(names, extra, strict=True)
    return Shares({name: round(float(e), 2) for name, e in chosen if e > 0}, variance)


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
