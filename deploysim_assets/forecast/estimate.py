"""One behavior's forecast, realized rate and score, put together from counts."""

import math
from typing import Any, NamedTuple

import numpy as np

from deploysim_assets.forecast import scores
from deploysim_assets.forecast.counts import Counts
from deploysim_assets.forecast.paired import mcnemar_midp, paired_ratio
from deploysim_assets.forecast.predictive import (
    Array,
    Scored,
    forecast,
    predictive_cdf,
    predictive_log_pmf,
    prob_rate_exceeds,
)
from deploysim_assets.forecast.rates import FLOOR_EVENTS, midp_interval, upper_bound
from deploysim_assets.forecast.weighted import Gamma, fay_feuer_upper, midp_gamma, weighted_jeffreys


class Pairs(NamedTuple):
    """The same prefixes answered by both: flagged for both, for the candidate alone, for the live model alone, for neither."""

    n11: int
    n10: int
    n01: int
    n00: int


def rate_row(counts: Counts) -> dict[str, Any]:
    """Counts, rate and the 95% display interval; without a graded message rate and limits are None, never 0.

    `rate_worst` and `rate_best` take every missing grade as flagged, or as not.
    """
    row: dict[str, Any] = {"asked": counts.asked, "n": counts.n, "k": counts.k, "uncovered": list(counts.uncovered)}
    if counts.n == 0:
        return row | {"rate": None, "low": None, "high": None}
    s, (k, n) = counts.sufficient, counts.effective
    low, high = midp_interval(counts.k, counts.n) if counts.independent else midp_gamma(s.y, s.v, s.wmax)
    missing = 1 - counts.n / counts.asked
    return row | {
        "rate": s.y if counts.weighted else counts.k / counts.n,
        "low": low,
        "high": min(high, 1.0),
        "effective_k": k,
        "effective_n": n,
        "design_effect": s.v / (s.y * s.w0) if s.y > 0 and counts.weighted else s.v * counts.n / s.y if s.y > 0 else None,
        "rate_best": s.y * (1 - missing),
        "rate_worst": min(1.0, s.y * (1 - missing) + missing),
    }


def estimate(counts: Counts, weights: Array, planned_n: int, persistence: tuple[int, int], pairs: Pairs | None, threshold: float | None) -> dict[str, Any]:
    """The forecast of one behavior, for `planned_n` messages of production to come.

    `weights` is the error model's distribution of delta; `persistence` is (n, k) of the predecessor's production; `threshold` a
    rate per message.  The gate passes when the sampling bound and the future rate both stay below it at 95%.
    """
    row: dict[str, Any] = rate_row(counts) | {"persistence_n": persistence[0], "persistence_k": persistence[1]}
    if pairs is not None:
        row |= {
            "live_n": sum(pairs),
            "live_k": pairs.n11 + pairs.n01,
            "paired_n": sum(pairs),
            **dict(zip(("paired_ratio", "paired_low", "paired_high"), paired_ratio(pairs.n11, pairs.n10, pairs.n01), strict=True)),
            "paired_p": mcnemar_midp(pairs.n10, pairs.n01),
        }
    if counts.n == 0:
        return row | {"gate": "not graded" if threshold else "no threshold"}
    s = counts.sufficient
    gamma = weighted_jeffreys(s.y, s.v, s.wmax)
    predicted = forecast(gamma, planned_n or counts.n, weights)
    # what no reply of could be graded counts at the worst rate, 1
    bound = (upper_bound(counts.k, counts.n) if counts.independent else fay_feuer_upper(s)) + s.uncovered
    row |= {
        "gamma_shape": gamma.shape,
        "gamma_rate": gamma.rate,
        "forecast_median": predicted.median,
        **{f"p{level}_{end}": limit for level in (50, 80, 95) for end, limit in zip(("low", "high"), getattr(predicted, f"p{level}"), strict=True)},
        "threshold": threshold,
        "gate_upper": bound,
        "below_floor": s.k_eff < FLOOR_EVENTS,
        "gate": "no threshold",
    }
    if threshold is not None:
        above = prob_rate_exceeds(threshold, gamma, weights)
        row |= {"prob_above_threshold": above, "gate": "pass" if bound < threshold and above < 0.05 else "fail"}
    return row


def score(estimated: dict[str, Any], realized: dict[str, Any], weights: Array) -> dict[str, Any]:
    """One sealed forecast against the realized rate of its behavior, with the noise floor and the persistence baseline beside it.

    The intervals are judged by the sealed gamma and error model at the number of messages that production really had.
    """
    k, n = estimated["effective_k"], estimated["effective_n"]
    count, messages = realized["effective_k"], realized["effective_n"]
    gamma = Gamma(estimated["gamma_shape"], estimated["gamma_rate"])
    at, below = (predictive_cdf(y, gamma, messages, weights) for y in (count, count - 1))
    row: dict[str, Any] = {
        "forecast": estimated["rate"],
        "forecast_n": estimated["n"],
        "forecast_k": estimated["k"],
        "forecast_high": estimated["high"],
        "gamma_shape": gamma.shape,
        "gamma_rate": gamma.rate,
        "realized_n": realized["n"],
        "realized_k": realized["k"],
        "effective_count": count,
        "effective_messages": messages,
        "realized": realized["rate"],
        "realized_low": realized["low"],
        "realized_high": realized["high"],
        "multiplicative_error": scores.multiplicative_error(k, n, count, messages),
        "noise_floor": scores.pair_noise_floor(k, n, count, messages),
        "resolved": min(k, count) >= FLOOR_EVENTS,
        **{f"in_{level}": scores.covered(at, below, level / 100) for level in (50, 80, 95)},
        "log_score": predictive_log_pmf(math.floor(count), gamma, messages, weights),
        "pit_low": below,
        "pit_high": at,
        "persistence_n": estimated["persistence_n"],
        "persistence_k": estimated["persistence_k"],
    }
    if estimated["persistence_n"]:
        before = estimated["persistence_k"], estimated["persistence_n"]
        change = float(np.log(scores.jeffreys_rate(count, messages) / scores.jeffreys_rate(*before)))
        called = float(np.log(scores.jeffreys_rate(k, n) / scores.jeffreys_rate(*before)))
        moved = abs(change) >= scores.MOVED
        row |= {
            "persistence_error": scores.multiplicative_error(*before, count, messages),
            "moved": moved,
            "direction_right": bool(np.sign(called) == np.sign(change)) if moved else None,
        }
    return row


def scored(row: dict[str, Any]) -> Scored:
    """What a row of a calibration report teaches the error model."""
    return Scored(*(row[name] for name in ("behavior", "gamma_shape", "gamma_rate", "effective_count", "effective_messages")))


def summarize(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The score of many behaviors: medians over the resolved pairs, coverage and direction over all that can be judged."""
    resolved = [r for r in rows if r["resolved"]]
    moved = [r for r in rows if r["moved"]]

    def median(name: str, over: list[dict[str, Any]]) -> float | None:
        values = [r[name] for r in over if r[name] is not None]
        return float(np.median(values)) if values else None

    return {
        "behaviors": len(rows),
        "resolved": len(resolved),
        "median_error": median("multiplicative_error", resolved),
        "noise_floor": median("noise_floor", resolved),
        "persistence_median_error": median("persistence_error", resolved),
        **{f"in_{level}": sum(r[f"in_{level}"] for r in rows) for level in (50, 80, 95)},
        "moved": len(moved),
        "direction_right": sum(bool(r["direction_right"]) for r in moved),
        "prospective": all(r["prospective"] for r in rows),
    }
