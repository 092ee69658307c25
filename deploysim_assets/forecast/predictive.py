"""The forecast of a realized count (statistics.md, section 4): sampling, category bias and a t4
environment error."""

import math
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from deploysim_assets.forecast.one_thread import one_thread
from deploysim_assets.forecast.weighted import Gamma

Array = NDArray[np.float64]

DELTA: Array = np.linspace(-6, 6, 601)
"""Grid of delta = log(true production rate / true simulated rate)."""

_BIAS = DELTA[np.abs(DELTA) <= 3]
_TAU: Array = np.geomspace(0.06, 3.0, 24)
_TAU_PRIOR: Array = np.exp(-(((np.log(_TAU) - math.log(0.5)) / 0.5) ** 2) / 2)
_S_BIAS: Array = 0.25 * special.ndtri((1 + (np.arange(6) + 0.5) / 6) / 2)
_MU: Array = np.linspace(-0.6, 0.6, 13)
_MU_PRIOR: Array = np.exp(-((_MU / 0.2) ** 2) / 2)


class Scored(NamedTuple):
    """One earlier forecast and what came of it: its gamma, then `flags` in `messages` of
    production."""

    category: str
    shape: float
    rate: float
    flags: float
    messages: float


class ErrorModel(NamedTuple):
    """The distribution of delta on the grid DELTA, per category, and the posterior mean of tau."""

    weights: dict[str, Array]
    tau_mean: float

    def of(self, category: str) -> Array:
        """The weights for a category; one without history has the population's."""
        return self.weights.get(category, self.weights[""])


def _t_density(x: Array, df: float) -> Array:
    """Student t density up to a constant, which every use divides out."""
    return (1 + x**2 / df) ** (-(df + 1) / 2)


def kernel(location: float, scale: float, df: float = 4) -> Array:
    """Student t density on DELTA, as weights that sum to 1."""
    density = _t_density((DELTA - location) / scale, df)
    return density / density.sum()


def log_likelihood(
    shape: float, rate: float, count: float, messages: float, delta: Array = DELTA
) -> Array:
    """log L(delta) of a scored pair, exactly integrated over the simulated rate: NB(count;
    shape, rate / (rate + messages e^delta))."""
    log_mean = np.log(messages) + delta
    log_total = np.logaddexp(np.log(rate), log_mean)
    constant = special.gammaln(shape + count) - special.gammaln(shape) - special.gammaln(count + 1)
    return constant + shape * (np.log(rate) - log_total) + count * (log_mean - log_total)


@cache
def _kernels() -> Array:
    """t4 kernels: (tau, bias, delta), each row over delta summing to 1."""
    step, steps = DELTA[1] - DELTA[0], (len(DELTA) + len(_BIAS)) // 2 - 1
    apart = step * np.arange(-steps, steps + 1)
    densities = _t_density(apart / _TAU[:, None], 4)
    # both lie on one grid: a bias further up sees the same density from one step further left
    density = np.lib.stride_tricks.sliding_window_view(densities, len(DELTA), axis=1)[:, ::-1]
    return density / density.sum(axis=2, keepdims=True)


@cache
def _bias_densities() -> Array:
    """Normal densities of a category's bias: (s_b and mu, bias), each row summing to 1."""
    spread, center = (grid.ravel() for grid in np.meshgrid(_S_BIAS, _MU, indexing="ij"))
    apart = (_BIAS[None, :] - center[:, None]) / np.maximum(spread, 0.01)[:, None]
    density = np.exp(-(apart**2) / 2)
    return density / density.sum(axis=1, keepdims=True)


@lru_cache(maxsize=512)  # each page learns six times from nearly the same pairs; 58 KB a pair
def _given_bias(shape: float, rate: float, flags: float, messages: float) -> Array:
    """The likelihood of a scored pair up to a constant: (tau, bias)."""
    log_l = log_likelihood(shape, rate, flags, messages)
    return _kernels() @ np.exp(log_l - log_l.max())


@one_thread
def error_model(history: Iterable[Scored] = ()) -> ErrorModel:
    """The error of simulation against production, learned from earlier scored forecasts; the prior
    where there are none.

    tau ~ LogNormal(log .5, .5), s_b ~ HalfNormal(.25), mu ~ N(0, .2^2); m_c ~ N(mu, s_b^2); delta =
    m_c + tau t4. History enters by its exact integrated likelihood, so zero counts need no half
    added.  Freeze the history with the forecast: choosing it after the outcome is known voids the
    coverage.
    """
    likelihoods: dict[str, list[Array]] = {}
    for pair in history:
        likelihoods.setdefault(pair.category, []).append(_given_bias(*pair[1:]))
    kernels, biases = _kernels(), _bias_densities()
    given_bias = {c: np.prod(ls, axis=0) for c, ls in likelihoods.items()}
    evidence = {c: a @ biases.T for c, a in given_bias.items()}  # (tau, s_b and mu)
    log_posterior = np.log(_TAU_PRIOR)[:, None] + np.log(np.tile(_MU_PRIOR, len(_S_BIAS)))[None, :]
    for b in evidence.values():
        log_posterior = log_posterior + np.log(b)
    posterior = np.exp(log_posterior - log_posterior.max())
    posterior /= posterior.sum()
    weights = {"": np.einsum("tb,tbd->d", posterior @ biases, kernels)}
    for category, a in given_bias.items():
        bias = a * ((posterior / evidence[category]) @ biases)
        weights[category] = np.einsum("tb,tbd->d", bias, kernels)
    return ErrorModel(
        {c: w / w.sum() for c, w in weights.items()}, float((posterior.sum(axis=1) * _TAU).sum())
    )


def predictive_cdf(count: float, gamma: Gamma, messages: float, weights: Array) -> float:
    """P(realized count <= count) in `messages` of production: a mixture of negative binomials
    over delta."""
    if count < 0:
        return 0.0
    return float(predictive_cdf_at(np.array([count]), gamma, messages, weights)[0])


@one_thread
def predictive_cdf_at(counts: Array, gamma: Gamma, messages: float, weights: Array) -> Array:
    """`predictive_cdf` at many counts >= 0 at once."""
    p = gamma.rate / (gamma.rate + messages * np.exp(DELTA))
    return np.asarray(
        special.betainc(gamma.shape, np.floor(counts)[:, None] + 1, p[None, :]) @ weights
    )


def direction_probability(gamma: Gamma, before: Gamma, weights: Array) -> float:
    """P(true production rate > rate before): a mixture over delta of I_{b0/(b0+b1)}(a0, a1)
    (section 5).

    max(p, 1 - p) is the share of directions that a forecast this uncertain can get right: the
    ceiling of its direction score.
    """
    rate = gamma.rate * np.exp(-DELTA)
    return float(
        weights @ special.betainc(before.shape, gamma.shape, before.rate / (before.rate + rate))
    )


def predictive_log_pmf(count: int, gamma: Gamma, messages: float, weights: Array) -> float:
    """log P(realized count = count): the log score of a forecast."""
    return float(
        special.logsumexp(log_likelihood(gamma.shape, gamma.rate, count, messages), b=weights)
    )


def predictive_quantile(q: float, gamma: Gamma, messages: float, weights: Array) -> int:
    """The smallest count whose predictive cdf reaches q, by bisection on integers."""
    high = 1
    while predictive_cdf(high, gamma, messages, weights) < q:
        high *= 2
    low = -1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (
            (low, middle)
            if predictive_cdf(middle, gamma, messages, weights) >= q
            else (middle, high)
        )
    return high


class Forecast(NamedTuple):
    """Predicted rate per message in `messages` of production: median and the limits of the 50,
    80 and 95% intervals."""

    median: float
    p50: tuple[float, float]
    p80: tuple[float, float]
    p95: tuple[float, float]


def forecast(gamma: Gamma, messages: float, weights: Array) -> Forecast:
    """The forecast of a realized rate. A count cannot pass the number of messages, so limits are
    cut at 1.

    Clustered production counts as messages / design effect (section 4); the limits are rates and
    need no scaling back.
    """

    def rate(q: float) -> float:
        return min(predictive_quantile(q, gamma, messages, weights) / messages, 1.0)

    def limits(level: float) -> tuple[float, float]:
        return rate((1 - level) / 2), rate((1 + level) / 2)

    return Forecast(rate(0.5), limits(0.5), limits(0.8), limits(0.95))


def prob_rate_exceeds(threshold: float, gamma: Gamma, weights: Array) -> float:
    """P(true production rate > threshold), the gate on the future rate. Never feed it a blended
    or extrapolated rate."""
    return float(
        np.sum(weights * special.gammaincc(gamma.shape, gamma.rate * threshold * np.exp(-DELTA)))
    )


def _log_sum(weights: Array, likelihoods: list[Array]) -> float:
    return sum(float(np.log(weights @ one)) for one in likelihoods)


def tau_profile(pairs: Sequence[Scored], level: float = 0.95) -> tuple[float, float, float]:
    """Intrinsic error: the t4 scale tau of maximum integrated likelihood without bias, with its
    likelihood-ratio interval.

    exp(.7407 tau) is the median multiplicative error that would remain with endless counts (section
    5).
    """
    grid = np.concatenate([[1e-3], np.geomspace(0.02, 4, 240)])
    likelihood = [
        np.exp(log_l - log_l.max())
        for p in pairs
        for log_l in [log_likelihood(p.shape, p.rate, p.flags, p.messages)]
    ]
    profile = np.array([_log_sum(kernel(0, max(tau, 0.005)), likelihood) for tau in grid])
    best = int(profile.argmax())
    inside = grid[profile >= profile[best] - float(special.chdtri(1, 1 - level)) / 2]
    return float(grid[best]), float(inside[0]), float(inside[-1])
