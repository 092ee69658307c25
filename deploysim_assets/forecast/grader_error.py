"""What graders get wrong, and what that does to a rate (statistics.md, section 3).

The primary target of a forecast is the flag rate of the same frozen grader on both sides: it needs
no correction.  These are the numbers to publish beside it.  Never use Rogan-Gladen or PPI on
randomly chosen labels at rare rates: they cover 1% to 11%.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from deploysim_assets.forecast.rates import clopper_pearson
from deploysim_assets.forecast.weighted import Gamma


class Moments(NamedTuple):
    """Mean and variance of a logarithm."""

    mean: float
    variance: float


class Estimate(NamedTuple):
    """A rate per message with its 95% limits."""

    rate: float
    low: float
    high: float


def attenuation(prevalence: float, sensitivity: float, false_positive_rate: float) -> float:
    """d log(flag rate) / d log(true rate), about the precision: by so much changes and errors of
    true rates shrink in flag rates."""
    flagged = prevalence * sensitivity + (1 - prevalence) * false_positive_rate
    return prevalence * (sensitivity - false_positive_rate) / flagged


def true_ratio(
    flag_rate_before: float, flag_rate_after: float, false_positive_rate: float
) -> float:
    """The ratio of true rates behind two flag rates of one grader, exactly; dividing the
    log-ratio by the precision holds for small changes only."""
    return (flag_rate_after - false_positive_rate) / (flag_rate_before - false_positive_rate)


def log_gamma_moments(shape: float, rate: float) -> Moments:
    """Of the logarithm of a Gamma(shape, rate) variable."""
    return Moments(float(special.digamma(shape) - np.log(rate)), float(special.polygamma(1, shape)))


def log_beta_moments(a: float, b: float) -> Moments:
    """Of the logarithm of a Beta(a, b) variable."""
    return Moments(
        float(special.digamma(a) - special.digamma(a + b)),
        float(special.polygamma(1, a) - special.polygamma(1, a + b)),
    )


def _log_normal(moments: Moments, level: float) -> Estimate:
    half = float(stats.norm.ppf((1 + level) / 2)) * float(np.sqrt(moments.variance))
    return Estimate(
        float(np.exp(moments.mean)),
        float(np.exp(moments.mean - half)),
        float(np.exp(moments.mean + half)),
    )


def confirmed_rate(
    flags: Gamma, true_positives: int, audited: int, level: float = 0.95
) -> Estimate:
    """Flag rate times precision: what people confirm. A lower bound of the true rate, never "the"
    true rate.

    `flags` is the posterior of the flag rate (section 2); `audited` flags were labelled,
    `true_positives` of them right.
    """
    g, ppv = (
        log_gamma_moments(*flags),
        log_beta_moments(true_positives + 0.5, audited - true_positives + 0.5),
    )
    return _log_normal(Moments(g.mean + ppv.mean, g.variance + ppv.variance), level)


def corrected_rate(
    flags: Gamma,
    true_positives: int,
    audited: int,
    hits: int,
    seeded: int,
    seeds_log_sd: float = 0.15,
    level: float = 0.95,
) -> Estimate:
    """Flag rate times precision over sensitivity, the sensitivity from `hits` of `seeded` known
    positives.

    Valid only if seeds resemble natural positives; `seeds_log_sd` (0.1 to 0.2) stands for how far
    they may not.
    """
    g, ppv = (
        log_gamma_moments(*flags),
        log_beta_moments(true_positives + 0.5, audited - true_positives + 0.5),
    )
    se = log_beta_moments(hits + 0.5, seeded - hits + 0.5)
    return _log_normal(
        Moments(
            g.mean + ppv.mean - se.mean, g.variance + ppv.variance + se.variance + seeds_log_sd**2
        ),
        level,
    )


def two_stage_bounds(
    flagged: int,
    n: int,
    true_positives: int,
    audited: int,
    misses: int,
    audited_unflagged: int,
    level: float = 0.95,
) -> tuple[float, float]:
    """Exact model-free bounds of the true rate from audits of flags and of non-flags; honest and
    wide, as no miss in m bounds misses at 3/m.

    The error is split evenly over the three proportions (Bonferroni).
    """
    inner = 1 - (1 - level) / 3
    flag_low, flag_high = clopper_pearson(flagged, n, inner)
    ppv_low, ppv_high = clopper_pearson(true_positives, audited, inner) if audited else (0.0, 1.0)
    miss_low, miss_high = (
        clopper_pearson(misses, audited_unflagged, inner) if audited_unflagged else (0.0, 1.0)
    )
    return flag_low * ppv_low + (1 - flag_low) * miss_low, min(
        1.0, flag_high * ppv_high + (1 - flag_high) * miss_high
    )


def labels_needed(precision: float, factor: float, flags: float) -> float:
    """Labels on flags for a confirmed rate within a factor at 95%; infinite where the flags
    themselves are too few."""
    room = (np.log(factor) / 1.96) ** 2 - 1 / flags
    return float((1 - precision) / precision / room) if room > 0 else float("inf")


class Agreement(NamedTuple):
    """Agreement of two raters beyond chance, with its 95% interval."""

    value: float
    low: float
    high: float


def cohen_kappa(
    both: float, first: float, second: float, neither: float, level: float = 0.95
) -> Agreement:
    """Cohen's kappa of two raters' yes/no labels, with its asymptotic interval (Fleiss, Cohen &
    Everitt 1969)."""
    n = both + first + second + neither
    table = np.array([[both, first], [second, neither]]) / n
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    expected = float(rows @ columns)
    observed = float(np.trace(table))
    if expected >= 1:
        return Agreement(1.0, 1.0, 1.0)
    kappa = (observed - expected) / (1 - expected)
    a = sum(table[i, i] * (1 - (rows[i] + columns[i]) * (1 - kappa)) ** 2 for i in range(2))
    b = (1 - kappa) ** 2 * sum(
        table[i, j] * (columns[i] + rows[j]) ** 2 for i in range(2) for j in range(2) if i != j
    )
    c = (kappa - expected * (1 - kappa)) ** 2
    se = float(np.sqrt(max(0.0, a + b - c) / n)) / (1 - expected)
    half = float(stats.norm.ppf((1 + level) / 2)) * se
    return Agreement(float(kappa), float(max(-1.0, kappa - half)), float(min(1.0, kappa + half)))


def krippendorff_alpha(
    ratings: ArrayLike, level: float = 0.95, draws: int = 2_000, seed: int = 0
) -> Agreement:
    """Krippendorff's alpha of nominal ratings, items by raters, nan where missing; interval by
    bootstrap over items."""
    x = np.asarray(ratings, dtype=float)
    values = np.unique(x[~np.isnan(x)])
    counts = np.stack([(x == v).sum(axis=1) for v in values], axis=1).astype(float)
    counts = counts[counts.sum(axis=1) >= 2]

    def alpha(c: np.ndarray) -> float:
        m = c.sum(axis=1, keepdims=True)
        total = c.sum()
        disagree = float(((c * (m - c)).sum(axis=1) / (m[:, 0] - 1)).sum()) / total
        margins = c.sum(axis=0)
        by_chance = float((margins * (total - margins)).sum()) / (total * (total - 1))
        return 1 - disagree / by_chance if by_chance > 0 else 1.0

    rng = np.random.default_rng(seed)
    resampled = [alpha(counts[rng.integers(0, len(counts), len(counts))]) for _ in range(draws)]
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return Agreement(alpha(counts), float(low), float(high))


def judge_quality(
    flagged: int, graded: int, right: int, wrong: int, missed: int, clear: int
) -> dict[str, float | int]:
    """Precision, recall, kappa, confirmed rate and model-free bounds of a grader, each with 95%
    limits.

    `flagged` of `graded` replies carry the flag; of the audited flags people held `right` and
    `wrong`, of the audited non-flags they called `missed` and `clear`.  Flags and non-flags are
    audited apart, so recall and kappa weigh them by the flag rate.
    """
    found: dict[str, float | int] = {
        "audited_flags": right + wrong,
        "true_positives": right,
        "audited_unflagged": missed + clear,
        "misses": missed,
    }
    share = flagged / graded if graded else 0.0
    if right + wrong:
        precision = right / (right + wrong)
        low, high = clopper_pearson(right, right + wrong)
        found |= {"precision": precision, "precision_low": low, "precision_high": high}
        gamma = Gamma(flagged + 0.5, float(graded))
        found |= dict(
            zip(
                ("confirmed_rate", "confirmed_rate_low", "confirmed_rate_high"),
                confirmed_rate(gamma, right, right + wrong),
                strict=True,
            )
        )
    bounds = (
        two_stage_bounds(flagged, graded, right, right + wrong, missed, missed + clear)
        if graded
        else (0.0, 1.0)
    )
    found |= dict(zip(("rate_bound_low", "rate_bound_high"), bounds, strict=True))
    if right + wrong and missed + clear:
        n = right + wrong + missed + clear
        precision, miss = right / (right + wrong), missed / (missed + clear)
        cells = [
            share * precision,
            share * (1 - precision),
            (1 - share) * miss,
            (1 - share) * (1 - miss),
        ]
        inner = 1 - 0.05 / 2
        (low, high), (miss_low, miss_high) = (
            clopper_pearson(right, right + wrong, inner),
            clopper_pearson(missed, missed + clear, inner),
        )

        def recall(precision: float, miss: float) -> float:
            hit = share * precision
            return hit / (hit + (1 - share) * miss) if hit + (1 - share) * miss > 0 else 1.0

        found |= {
            "recall": recall(precision, miss),
            "recall_low": recall(low, miss_high),
            "recall_high": recall(high, miss_low),
        }
        kappa = cohen_kappa(*(n * cell for cell in cells))
        found |= {"kappa": kappa.value, "kappa_low": kappa.low, "kappa_high": kappa.high}
    return found
