"""Intervals for one rare rate from k events in n messages (statistics.md, section 1)."""

from scipy import optimize, special, stats

FLOOR_EVENTS = 5
"""Below this many expected events a rate is not forecast better than by the prior (section 8)."""


def clopper_pearson(k: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Two-sided exact interval of a rate per message. Never use it as the interval of a
    forecast."""
    alpha = (1 - level) / 2
    low = float(stats.beta.ppf(alpha, k, n - k + 1)) if k > 0 else 0.0
    high = float(stats.beta.ppf(1 - alpha, k + 1, n - k)) if k < n else 1.0
    return low, high


def upper_bound(k: int, n: int, confidence: float = 0.95) -> float:
    """One-sided Clopper-Pearson upper bound of a rate per message: what a gate compares with its
    threshold."""
    return float(stats.beta.ppf(confidence, k + 1, n - k)) if k < n else 1.0


def midp_interval(k: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Two-sided mid-P interval of a rate per message, for display; at k = 0 the upper end is 1 -
    alpha^(1/n), the rule of three.

    Solves P(X < k) + P(X = k) / 2 = alpha / 2 at each end; at k = 0 and k = n the whole alpha lies
    on the open side. Not for gates: its one-sided coverage falls to .900.
    """
    alpha = 1 - level
    if k == 0:
        return 0.0, 1 - alpha ** (1 / n)
    if k == n:
        return alpha ** (1 / n), 1.0

    def below(p: float) -> float:
        """P(X < k) + P(X = k) / 2, as the mean of two incomplete beta functions."""
        return (
            float(special.betainc(n - k + 1, k, 1 - p) + special.betainc(n - k, k + 1, 1 - p)) / 2
        )

    rate = k / n
    low = optimize.brentq(lambda p: 1 - below(p) - alpha / 2, 1e-300, rate, xtol=1e-300, rtol=1e-12)
    high = optimize.brentq(lambda p: below(p) - alpha / 2, rate, 1 - 1e-16, xtol=1e-300, rtol=1e-12)
    return float(low), float(high)


def garwood(k: int, n: float, level: float = 0.95) -> tuple[float, float]:
    """Exact Poisson interval of a rate per message: clopper_pearson for rare events."""
    alpha = (1 - level) / 2
    return (float(stats.gamma.ppf(alpha, k)) / n if k > 0 else 0.0), float(
        stats.gamma.ppf(1 - alpha, k + 1)
    ) / n


def wilson(k: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Score interval of a rate per message. For comparison with other tools; its one-sided
    coverage falls to .934."""
    interval = stats.binomtest(k, n).proportion_ci(level, method="wilson")
    return float(interval.low), float(interval.high)


def jeffreys_interval(k: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Equal-tailed interval of Beta(k + 1/2, n - k + 1/2), with the open end at 0 (k = 0) and 1
    (k = n). Not for gates."""
    alpha = (1 - level) / 2
    posterior = stats.beta(k + 0.5, n - k + 0.5)
    return (float(posterior.ppf(alpha)) if k > 0 else 0.0), (
        float(posterior.ppf(1 - alpha)) if k < n else 1.0
    )


def jeffreys_rate(k: float, n: float) -> float:
    """(k + 1/2) / (n + 1): the smoothed rate that scores compare, so that a zero count can be
    scored. Not a display value."""
    return (k + 0.5) / (n + 1)
