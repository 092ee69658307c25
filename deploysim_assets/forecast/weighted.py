"""Rates with weights and clusters (statistics.md, section 2): messages of one user are not
independent."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, stats


class Sufficient(NamedTuple):
    """What a weighted, clustered rate rests on.

    `y` the rate per message, `v` its compound-Poisson variance, `w0` = 1/n_Kish (times the design
    effect once clustered), `wmax` the largest message weight or cluster sum, `uncovered` the
    traffic share of strata from which nothing was drawn.
    """

    y: float
    v: float
    w0: float
    wmax: float
    uncovered: float = 0.0

    @property
    def k_eff(self) -> float:
        return self.y**2 / self.v if self.v > 0 else 0.0

    @property
    def n_eff(self) -> float:
        return self.y / self.v if self.v > 0 else 1 / self.w0


def poststratified(k: ArrayLike, n: ArrayLike, share: ArrayLike) -> Sufficient:
    """y = sum W_h k_h / n_h without clusters. Strata with n_h = 0 become `uncovered`; their
    share is never spread over the others."""
    k_h, n_h, w_h = (np.asarray(x, dtype=float) for x in (k, n, share))
    covered = n_h > 0
    weight = w_h[covered] / n_h[covered]
    return Sufficient(
        y=float(np.sum(weight * k_h[covered])),
        v=float(np.sum(weight**2 * k_h[covered])),
        w0=float(np.sum(w_h[covered] ** 2 / n_h[covered])),
        wmax=float(weight.max(initial=0)),
        uncovered=float(w_h[~covered].sum()),
    )


def clustered(
    cluster_sums: ArrayLike, w0: float, wmax: float, uncovered: float = 0.0
) -> Sufficient:
    """y = sum z_c and v = sum z_c^2 over clusters (users), where z_c is the summed weight of a
    cluster's flagged messages."""
    z = np.asarray(cluster_sums, dtype=float)
    y, v = float(z.sum()), float((z**2).sum())
    return Sufficient(
        y, v, max(w0, v / y if y > 0 else 0.0), max(wmax, float(z.max(initial=0))), uncovered
    )


def from_clusters(flags: ArrayLike, n: int) -> Sufficient:
    """A self-weighting sample of n messages, with the number of flagged messages of each cluster
    that has any."""
    return clustered(np.asarray(flags, dtype=float) / n, 1 / n, 1 / n)


def fay_feuer(y: float, v: float, wmax: float, level: float = 0.95) -> tuple[float, float]:
    """Gamma interval of Fay & Feuer (1997): guaranteed in every grid tried, hence the one for
    gates. Equal weights give Garwood's."""
    alpha = (1 - level) / 2
    low = float(stats.gamma.ppf(alpha, y**2 / v, scale=v / y)) if y > 0 else 0.0
    mean, variance = y + wmax, v + wmax**2
    return low, float(stats.gamma.ppf(1 - alpha, mean**2 / variance, scale=variance / mean))


def fay_feuer_upper(s: Sufficient, confidence: float = 0.95) -> float:
    """One-sided Fay-Feuer upper bound of a rate per message, for gates on clustered or weighted
    counts."""
    return fay_feuer(s.y, s.v, s.wmax, 2 * confidence - 1)[1]


def midp_gamma(y: float, v: float, wmax: float, level: float = 0.95) -> tuple[float, float]:
    """Mid-P gamma interval (Fay & Kim 2017) for display: quantiles of the even mixture of the
    two Fay-Feuer gammas."""
    alpha = (1 - level) / 2
    mean, variance = y + wmax, v + wmax**2
    upper = stats.gamma(mean**2 / variance, scale=variance / mean)
    if y <= 0:
        return 0.0, float(upper.ppf(1 - 2 * alpha))
    lower = stats.gamma(y**2 / v, scale=v / y)

    def quantile(q: float) -> float:
        ends = float(lower.ppf(q)), float(upper.ppf(q))
        return float(
            optimize.brentq(
                lambda x: (lower.cdf(x) + upper.cdf(x)) / 2 - q,
                *ends,
                xtol=1e-300,
                rtol=1e-12,
                maxiter=5_000,  # of less than one effective event the lower end is next to nothing
            )
        )

    return quantile(alpha), quantile(1 - alpha)


class Gamma(NamedTuple):
    """A gamma distribution of a rate per message: shape (events) and rate (messages)."""

    shape: float
    rate: float

    @property
    def counts(self) -> tuple[float, float]:
        """The effective events and messages that a Jeffreys posterior of this form rests on."""
        return max(0.0, self.shape - 0.5), self.rate


def weighted_jeffreys(y: float, v: float, wmax: float) -> Gamma:
    """The posterior that enters a forecast: mean y + wmax/2, variance v + wmax^2/2, one half event
    in total, not per stratum.

    For equal weights Gamma(k + 1/2, n). Not an interval to display: use `midp_gamma`.
    """
    mean, variance = y + wmax / 2, v + wmax**2 / 2
    return Gamma(mean**2 / variance, mean / variance)
