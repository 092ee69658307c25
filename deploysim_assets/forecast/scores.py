"""Scores of a forecast against what production showed (statistics.md, section 5)."""

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from deploysim_assets.forecast.predictive import Array
from deploysim_assets.forecast.rates import jeffreys_rate
from deploysim_assets.forecast.weighted import Gamma

MOVED = float(np.log(1.5))
"""A behavior has moved when its realized rate changed by 1.5x or more against the release
before."""


def multiplicative_error(k: float, n: float, count: float, messages: float) -> float:
    """max(r, 1/r) of the two Jeffreys-smoothed rates. Zero counts stay in: dropping them biases
    the score."""
    ratio = jeffreys_rate(k, n) / jeffreys_rate(count, messages)
    return float(max(ratio, 1 / ratio))


def noise_floor(expected_k: float, expected_count: float, q: float = 0.5) -> float:
    """The q-quantile of the multiplicative error of a perfect simulator with these expected
    counts, by an exact double Poisson sum."""

    def grid(mean: float) -> tuple[np.ndarray, np.ndarray]:
        x = np.arange(stats.poisson.ppf(1e-9, mean), stats.poisson.isf(1e-9, mean) + 1)
        return np.log((x + 0.5) / mean), stats.poisson.pmf(x, mean)

    (log_a, p_a), (log_b, p_b) = grid(expected_k), grid(expected_count)
    error = np.abs(log_a[:, None] - log_b[None, :]).ravel()
    order = error.argsort()
    cumulative = np.cumsum(np.outer(p_a, p_b).ravel()[order])
    return float(np.exp(error[order][np.searchsorted(cumulative, q * cumulative[-1])]))


def noise_floor_approx(expected_k: float, expected_count: float) -> float:
    """exp(.6745 sqrt(1/k + 1/Y)): for counts above some hundreds, where the exact sum is long."""
    return float(np.exp(stats.norm.ppf(0.75) * np.sqrt(1 / expected_k + 1 / expected_count)))


def pair_noise_floor(k: float, n: float, count: float, messages: float) -> float:
    """The median multiplicative error of a perfect simulator with this pair's sizes, at the rate
    that both sides together show."""
    rate = (k + count + 0.5) / (n + messages)
    expected = n * rate, messages * rate
    return noise_floor_approx(*expected) if min(expected) > 500 else noise_floor(*expected)


def covered(cdf: float, cdf_below: float, level: float) -> bool:
    """Whether a count lies in the central interval of a predictive: F(y) >= alpha/2 and F(y - 1)
    < 1 - alpha/2."""
    alpha = (1 - level) / 2
    return bool(cdf >= alpha and cdf_below < 1 - alpha)


def probability_of_increase(new: Gamma, old: Gamma) -> float:
    """P(new rate > old rate) of two independent gammas: I_{b0/(b0+b1)}(a0, a1)."""
    return float(special.betainc(old.shape, new.shape, old.rate / (old.rate + new.rate)))


def binomial_regret(forecast: float, count: int, messages: int) -> float:
    """messages x KL(realized || forecast), the original's registered score in nats. Common
    categories dominate it."""
    realized = count / messages
    return float(
        messages
        * (special.rel_entr(realized, forecast) + special.rel_entr(1 - realized, 1 - forecast))
    )


def median_interval(values: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Order-statistic interval of a median; fewer than six values give their range."""
    x = np.sort(np.asarray(values, dtype=float))
    depth = int(stats.binom.ppf((1 - level) / 2, len(x), 0.5))
    while depth > 0 and stats.binom.cdf(depth - 1, len(x), 0.5) > (1 - level) / 2:
        depth -= 1
    depth = max(depth, 1)
    return float(x[depth - 1]), float(x[len(x) - depth])


def log_count_crps(cdf: Callable[[Array], Array], count: float, high: float) -> float:
    """CRPS on log(count + .5) of a count forecast: the integral of (F(x) - 1{x >= count})^2 over
    log(x + .5), up to the count `high`.

    On raw counts the commonest behavior would dominate. `cdf` takes counts; beyond 150 counts they
    are taken on a geometric grid.
    """
    top = max(high, count) + 1
    grid = np.arange(min(top, 150) + 1, dtype=float)
    if top > 150:
        grid = np.concatenate([grid, np.ceil(np.geomspace(151, top + 1, 200))])
    grid = np.unique(np.append(grid, np.floor(count)))
    steps = np.diff(np.log(grid + 0.5))
    return float(np.sum((cdf(grid[:-1]) - (grid[:-1] >= np.floor(count))) ** 2 * steps))


def skill(
    categories: Sequence[str], errors: ArrayLike, baseline_errors: ArrayLike
) -> tuple[float, float, float]:
    """Mean of |log baseline error| - |log error|, its sign-flip p value and the Wilcoxon one
    (secondary); above 0 the forecast is better.

    Errors are multiplicative. Releases that repeat a category are not independent: signs are
    flipped per category, over its mean.
    """
    gain = np.log(np.asarray(baseline_errors, dtype=float)) - np.log(
        np.asarray(errors, dtype=float)
    )
    names = np.asarray(categories)
    means = [float(gain[names == name].mean()) for name in dict.fromkeys(categories)]
    return float(np.mean(means)), sign_flip_p(means), _wilcoxon_p(tuple(means))


@lru_cache(maxsize=64)  # each page and card asks again
def _wilcoxon_p(differences: tuple[float, ...]) -> float:
    """SciPy's. With ties or zeros among up to 13 it goes over all patterns of signs, too, but one
    by one, for half a second."""
    x = np.asarray(differences, dtype=float)
    sizes = np.abs(x[x != 0])
    if not len(sizes):
        return 1.0
    if len(x) > 13 or len(np.unique(sizes)) == len(x) or not np.isfinite(x).all():
        return float(stats.wilcoxon(x).pvalue)
    ranks = stats.rankdata(sizes)
    sums = ((np.arange(1 << len(ranks))[:, None] >> np.arange(len(ranks))) & 1) @ ranks
    found = float(ranks[x[x != 0] > 0].sum())
    return min(1.0, 2 * float(min(np.mean(sums <= found), np.mean(sums >= found))))


def sign_flip_p(differences: Sequence[float], draws: int = 100_000, seed: int = 0) -> float:
    """Two-sided sign-flip permutation p value of a mean difference; every pattern is enumerated
    up to 16 values."""
    x = np.asarray(differences, dtype=float)
    if len(x) <= 16:
        signs: NDArray[np.int64] = 1 - 2 * (
            (np.arange(1 << len(x))[:, None] >> np.arange(len(x))) & 1
        )
    else:
        signs = np.random.default_rng(seed).choice(np.array([-1, 1]), size=(draws, len(x)))
    means = np.abs(signs @ x)
    return float(np.mean(means >= abs(float(x.sum())) - 1e-12))


def tau_from_median(median_error: float) -> float:
    """The normal log sd whose median multiplicative error this is: ln(error) / .6745. For
    reading published figures, not for forecasting."""
    return float(np.log(median_error) / stats.norm.ppf(0.75))


def excess_tau(log_errors: ArrayLike, noise_variances: ArrayLike) -> float:
    """sqrt(max(0, mean(d^2) - mean(s^2))): the moment estimate of tau. Driven by outliers: not
    for reporting, use `tau_profile`."""
    d, s2 = np.asarray(log_errors, dtype=float), np.asarray(noise_variances, dtype=float)
    return float(np.sqrt(max(0.0, float(np.mean(d**2) - np.mean(s2)))))


def log_ratio_moments(simulated: Gamma, count: float, messages: float) -> tuple[float, float]:
    """Mean and variance of log(production rate / simulated rate), both gamma posteriors: psi(Y +
    .5) - log M - psi(a) + log b."""
    mean = (
        special.digamma(count + 0.5)
        - np.log(messages)
        - special.digamma(simulated.shape)
        + np.log(simulated.rate)
    )
    return float(mean), float(
        special.polygamma(1, count + 0.5) + special.polygamma(1, simulated.shape)
    )
