"""The second, clearly separate forecasts (statistics.md, section 4): shrinkage by the drift prior,
and the two-witness blend.

The simulation-only forecast stays the primary one, the direction call and the only input of gates:
a blended rate is shrunk towards the last release and hides jumps.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

from deploysim_assets.forecast.one_thread import one_thread
from deploysim_assets.forecast.predictive import DELTA, Array, forecast, kernel, log_likelihood
from deploysim_assets.forecast.weighted import Gamma

JUMP_SHARE, JUMP_SCALE = 0.1, 1.5
DRIFT_SCALE = 0.3
"""Scale of the drift between releases before the project has seen one: the median of its prior,
LogNormal(log .3, .8)."""

_TAU: Array = np.geomspace(0.03, 3.0, 32)
_TAU_PRIOR: Array = np.asarray(stats.norm.pdf(np.log(_TAU), math.log(DRIFT_SCALE), 0.8))


def drift_prior(previous_count: float, previous_messages: float, drift_sd: float) -> Gamma:
    """The gamma prior of a rate that the release before suggests, after a log-normal drift of
    `drift_sd`.

    E log = psi(Y + .5) - log M, Var log = psi1(Y + .5) + sd^2; its posterior is Gamma(a0 + k_eff,
    b0 + n_eff).
    """
    mean = float(special.digamma(previous_count + 0.5)) - math.log(previous_messages)
    variance = float(special.polygamma(1, previous_count + 0.5)) + drift_sd**2
    shape = float(
        optimize.brentq(
            lambda a: float(special.polygamma(1, a)) - variance, 1e-6, 1e9, xtol=1e-12, rtol=1e-12
        )
    )
    return Gamma(shape, math.exp(float(special.digamma(shape)) - mean))


def drift_kernel(scale: float = DRIFT_SCALE) -> Array:
    """Weights over DELTA of the change since the release before: a t3, mixed with a wide t4 for
    jumps. Without it jumps go unseen."""
    return (1 - JUMP_SHARE) * kernel(0, scale, 3) + JUMP_SHARE * kernel(0, JUMP_SCALE, 4)


class Change(NamedTuple):
    """A behavior's production before and after a release: flagged messages and messages of each."""

    before: float
    messages_before: float
    after: float
    messages_after: float


def _scale_posterior(history: Iterable[Change], kernel_of: Callable[[float], Array]) -> Array:
    """Posterior weights over _TAU of the scale of changes between releases."""
    kernels = np.array([kernel_of(tau) for tau in _TAU])
    log_posterior = np.log(_TAU_PRIOR)
    for before, messages_before, after, messages_after in history:
        log_l = log_likelihood(before + 0.5, messages_before, after, messages_after)
        likelihood = np.exp(log_l - log_l.max())
        log_posterior = log_posterior + np.log(kernels @ likelihood)
    posterior = np.exp(log_posterior - log_posterior.max())
    return np.asarray(posterior / posterior.sum())


def learned_drift_kernel(history: Iterable[Change]) -> Array:
    """`drift_kernel` with its scale averaged over the posterior from earlier changes."""
    return np.asarray(
        _scale_posterior(history, drift_kernel) @ np.array([drift_kernel(tau) for tau in _TAU])
    )


def learned_drift_sd(history: Iterable[Change]) -> float:
    """The sd of a normal drift between releases, for `drift_prior`: its posterior mean from
    earlier changes."""

    def normal(scale: float) -> Array:
        density = np.asarray(stats.norm.pdf(DELTA, 0, max(scale, 0.02)))
        return density / density.sum()

    return float(_scale_posterior(history, normal) @ _TAU)


@one_thread
def _witness(x: Array, count: float, messages: float, weights: Array) -> Array:
    """log L(x) of a log rate x given a count seen through an error delta with these weights."""
    u = x[:, None] - DELTA[None, :]
    highest = count * (math.log(count / messages) - 1) if count else 0.0
    # the kernels' tails reach over all of DELTA, so the sum does not underflow where the posterior
    # has mass
    with np.errstate(divide="ignore"):
        return np.log(np.exp(count * u - messages * np.exp(u) - highest) @ weights)


class Blend:
    """The posterior of log(new production rate) from two witnesses: the simulation, and the live
    model's realized rate."""

    def __init__(
        self,
        simulated: tuple[float, float],
        error: Array,
        previous: tuple[float, float],
        drift: Array,
    ) -> None:
        """`simulated` and `previous` are (count, messages); `error` and `drift` are weights over
        DELTA."""
        k, n = simulated
        y, m = previous
        centers = [math.log((k + 0.5) / n), math.log((y + 0.5) / m)]
        self.x: Array = np.linspace(min(centers) - 5, max(centers) + 5, 1_501)
        log_post = _witness(self.x, k, n, error) + _witness(self.x, y + 0.5, m, drift)
        weights = np.exp(log_post - log_post.max())
        self.weights: Array = weights / weights.sum()

    def cdf(self, count: float, messages: float) -> float:
        """P(realized count <= count) in `messages` of production."""
        return float(self.weights @ stats.poisson.cdf(count, messages * np.exp(self.x)))

    def quantile(self, q: float, messages: float) -> int:
        """The smallest count whose cdf reaches q."""
        low, high = -1, 1
        while self.cdf(high, messages) < q:
            low, high = high, high * 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.cdf(middle, messages) >= q else (middle, high)
        return high

    def rates(
        self,
        messages: int,
        quantiles: tuple[float, ...] = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975),
    ) -> NDArray[np.float64]:
        """Quantiles of the realized rate per message."""
        return np.array([min(1.0, self.quantile(q, messages) / messages) for q in quantiles])


_QUANTILES = {"median": 0.5, "p80_low": 0.1, "p80_high": 0.9, "p95_low": 0.025, "p95_high": 0.975}


def second_forecasts(
    gamma: Gamma,
    error: Array,
    previous: tuple[float, float],
    drift: Array,
    drift_sd: float,
    messages: float,
) -> dict[str, Any]:
    """Medians and limits of the two forecasts that know the release before, for `messages` of
    production, under `blend_` and `drift_prior_`.

    `gamma` and `error` are those of the primary forecast, `previous` is (count, messages) of the
    predecessor's production.
    """
    both = Blend(gamma.counts, error, previous, drift)
    row: dict[str, Any] = {
        f"blend_{name}": min(1.0, both.quantile(q, messages) / messages)
        for name, q in _QUANTILES.items()
    }
    prior = drift_prior(*previous, drift_sd)
    shrunk = forecast(
        Gamma(prior.shape + gamma.shape - 0.5, prior.rate + gamma.rate), messages, error
    )
    limits = {
        f"p{level}_{end}": limit
        for level in (80, 95)
        for end, limit in zip(("low", "high"), getattr(shrunk, f"p{level}"), strict=True)
    }
    return row | {
        f"drift_prior_{name}": value for name, value in ({"median": shrunk.median} | limits).items()
    }
