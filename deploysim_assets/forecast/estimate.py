"""One behavior's forecast, realized rate and score, put together from counts."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from deploysim_assets.forecast import scores
from deploysim_assets.forecast.blend import (
    Blend,
    Change,
    learned_drift_kernel,
    learned_drift_sd,
    second_forecasts,
)
from deploysim_assets.forecast.counts import Counts
from deploysim_assets.forecast.paired import (
    Pairs,
    benjamini_hochberg,
    clustered_ratio,
    clustered_sign_test,
    holm,
)
from deploysim_assets.forecast.predictive import (
    Array,
    Scored,
    direction_probability,
    error_model,
    forecast,
    predictive_cdf,
    predictive_cdf_at,
    predictive_log_pmf,
    predictive_quantile,
    prob_rate_exceeds,
)
from deploysim_assets.forecast.rates import FLOOR_EVENTS, midp_interval, upper_bound
from deploysim_assets.forecast.weighted import Gamma, fay_feuer_upper, midp_gamma, weighted_jeffreys


class Baselines(NamedTuple):
    """What a release's rate would be called without simulating it. Each is flags in replies of a
    behavior, (0, 0) where there is none.

    `persistence` is the predecessor's production; `previous_simulation` what the predecessor's own
    forecast had simulated; `challenge_live` and `challenge_candidate` both models' results on a set
    of challenging prompts, whose ratio moves `persistence`.
    """

    persistence: tuple[float, float] = (0, 0)
    previous_simulation: tuple[float, float] = (0, 0)
    challenge_live: tuple[int, int] = (0, 0)
    challenge_candidate: tuple[int, int] = (0, 0)

    def challenging_prompts(self) -> float | None:
        """Persistence times the candidate's over the live model's smoothed rate on the
        challenging prompts."""
        if not (self.persistence[1] and self.challenge_live[1] and self.challenge_candidate[1]):
            return None
        ratio = scores.jeffreys_rate(*self.challenge_candidate) / scores.jeffreys_rate(
            *self.challenge_live
        )
        return min(1.0, scores.jeffreys_rate(*self.persistence) * ratio)


class Errors(NamedTuple):
    """What is known of errors when a forecast is made: of the simulation (weights over DELTA),
    and of "same rate as before"."""

    simulation: Array
    drift: Array
    drift_sd: float


def rate_row(counts: Counts) -> dict[str, Any]:
    """Counts, rate and the 95% display interval; without a graded message rate and limits are None,
    never 0.

    `rate_worst` and `rate_best` take every missing grade as flagged, or as not; where nothing was
    graded they are 1 and 0.
    """
    row: dict[str, Any] = {
        "asked": counts.asked,
        "n": counts.n,
        "k": counts.k,
        "uncovered": list(counts.uncovered),
        "rate_best": counts.best,
        "rate_worst": counts.worst,
    }
    if counts.n == 0:
        return row | {"rate": None, "low": None, "high": None}
    s, (k, n) = counts.sufficient, counts.effective
    low, high = (
        midp_interval(counts.k, counts.n) if counts.independent else midp_gamma(s.y, s.v, s.wmax)
    )
    return row | {
        "rate": s.y if counts.weighted else counts.k / counts.n,
        "low": low,
        "high": min(high, 1.0),
        "effective_k": k,
        "effective_n": n,
        "design_effect": s.v / (s.y * s.w0)
        if s.y > 0 and counts.weighted
        else s.v * counts.n / s.y
        if s.y > 0
        else None,
    }


def estimate(
    counts: Counts,
    errors: Errors,
    planned_n: float,
    baselines: Baselines,
    pairs: Pairs | None,
    threshold: float | None,
    production_design_effect: float = 1.0,
    stopped: str | None = None,
) -> dict[str, Any]:
    """The forecast of one behavior, for `planned_n` messages of production to come; `threshold` is
    a rate per message.

    The gate passes when the sampling bound and the future rate both stay below it at 95%.  Where
    grading `stopped` early ("under" or "over" the threshold) that decision, valid at any look,
    stands for the sampling bound.
    """
    previous_k, previous_n = baselines.persistence
    row: dict[str, Any] = rate_row(counts) | {
        "persistence_n": previous_n,
        "persistence_k": previous_k,
        "previous_simulation_k": baselines.previous_simulation[0],
        "previous_simulation_n": baselines.previous_simulation[1],
        "challenging_prompts_rate": baselines.challenging_prompts(),
        "production_design_effect": production_design_effect,
        "stopped": stopped,
    }
    if pairs is not None:
        ratio = clustered_ratio(pairs.candidate, pairs.live, largest=pairs.largest)
        row |= {
            "live_n": pairs.n,
            "live_k": pairs.n11 + pairs.n01,
            "paired_n": pairs.n,
            **dict(zip(("paired_ratio", "paired_low", "paired_high"), ratio, strict=True)),
            "paired_p": clustered_sign_test(pairs.candidate, pairs.live),
        }
    if counts.n == 0:
        return row | {"gate": "not graded" if threshold else "no threshold"}
    s = counts.sufficient
    gamma = weighted_jeffreys(s.y, s.v, s.wmax)
    messages = (planned_n or counts.n) / production_design_effect
    predicted = forecast(gamma, messages, errors.simulation)
    # what no reply of could be graded counts at the worst rate, 1
    bound = (
        upper_bound(counts.k, counts.n) if counts.independent else fay_feuer_upper(s)
    ) + s.uncovered
    row |= {
        "gamma_shape": gamma.shape,
        "gamma_rate": gamma.rate,
        "forecast_median": predicted.median,
        **{
            f"p{level}_{end}": limit
            for level in (50, 80, 95)
            for end, limit in zip(("low", "high"), getattr(predicted, f"p{level}"), strict=True)
        },
        "threshold": threshold,
        "gate_upper": bound,
        "below_floor": s.k_eff < FLOOR_EVENTS,
        "gate": "no threshold",
    }
    if previous_n:
        before = previous_k / production_design_effect, previous_n / production_design_effect
        row |= second_forecasts(
            gamma, errors.simulation, before, errors.drift, errors.drift_sd, messages
        )
    if threshold is not None:
        above = prob_rate_exceeds(threshold, gamma, errors.simulation)
        bounded = stopped == "under" if stopped else bound < threshold
        row |= {
            "prob_above_threshold": above,
            "gate": "pass" if bounded and above < 0.05 else "fail",
        }
    return row


def with_multiplicity(rows: list[dict[str, Any]], alpha: float = 0.05) -> list[dict[str, Any]]:
    """The rows with adjusted p values of their paired comparison: Holm's, which tells a
    `regression`, and Benjamini-Hochberg's for lists.

    Gates are left as they are: behaviors that must all pass need no correction (section 7).
    """
    compared = [row for row in rows if row.get("paired_p") is not None]
    if not compared:
        return rows
    p = [row["paired_p"] for row in compared]
    adjusted = {
        id(row): both
        for row, both in zip(
            compared, zip(holm(p), benjamini_hochberg(p), strict=True), strict=True
        )
    }
    return [
        row
        | {
            "paired_p_holm": float(both[0]),
            "paired_q": float(both[1]),
            "regression": bool(both[0] < alpha and row["paired_ratio"] > 1),
        }
        if (both := adjusted.get(id(row)))
        else row
        for row in rows
    ]


def _supposed(estimated: dict[str, Any]) -> list[Gamma]:
    """The gammas of a sealed forecast: its own, and those of the rates that it is bounded by where
    turns were broken off."""
    own = Gamma(estimated["gamma_shape"], estimated["gamma_rate"])
    said: dict[str, float] = estimated.get("broken_off") or {}
    ends = (f"{end}_gamma" for end in ("none", "every") if f"{end}_gamma_shape" in said)
    return [own, *(Gamma(said[f"{end}_shape"], said[f"{end}_rate"]) for end in ends)]


def _taught(gammas: list[Gamma]) -> Gamma:
    """What a score teaches of the simulated rate: where turns were broken off that lies anywhere
    between the bounds, so that the more were the less it teaches."""
    own, *ends = gammas
    if not ends:
        return own
    least, most = (end.shape / end.rate for end in ends)
    mean = own.shape / own.rate
    variance = own.shape / own.rate**2 + max(most - least, 0) ** 2 / 12
    return Gamma(mean**2 / variance, mean / variance)


def score(estimated: dict[str, Any], realized: dict[str, Any], errors: Errors) -> dict[str, Any]:
    """One sealed forecast against the realized rate of its behavior, with the noise floor and every
    baseline beside it.

    The intervals are judged by the sealed gamma and error model at the number of messages that
    production really had, both divided by the sealed design effect of production.  Where turns were
    broken off they reach from the one bound to the other, and the gamma of the row, which later
    forecasts learn from, says as much less.
    """
    k, n = estimated["effective_k"], estimated["effective_n"]
    production_k, production_n = realized["effective_k"], realized["effective_n"]
    design_effect = estimated["production_design_effect"]
    count, messages = production_k / design_effect, production_n / design_effect
    gammas = _supposed(estimated)
    gamma, taught, weights = gammas[0], _taught(gammas), errors.simulation
    at = max(predictive_cdf(count, g, messages, weights) for g in gammas)
    below = min(predictive_cdf(count - 1, g, messages, weights) for g in gammas)
    high = predictive_quantile(0.9999, gamma, messages, weights)
    row: dict[str, Any] = {
        "forecast": estimated["rate"],
        "forecast_n": estimated["n"],
        "forecast_k": estimated["k"],
        "forecast_high": estimated["high"],
        "gamma_shape": taught.shape,
        "gamma_rate": taught.rate,
        "realized_n": realized["n"],
        "realized_k": realized["k"],
        "effective_count": count,
        "effective_messages": messages,
        "realized": realized["rate"],
        "realized_low": realized["low"],
        "realized_high": realized["high"],
        "multiplicative_error": scores.multiplicative_error(k, n, production_k, production_n),
        "noise_floor": scores.pair_noise_floor(*gamma.counts, count, messages),
        "resolved": min(k, production_k) >= FLOOR_EVENTS,
        **{f"in_{level}": scores.covered(at, below, level / 100) for level in (50, 80, 95)},
        "log_score": predictive_log_pmf(math.floor(count), gamma, messages, weights),
        "crps": scores.log_count_crps(
            lambda y: predictive_cdf_at(y, gamma, messages, weights), count, high
        ),
        "regret": scores.binomial_regret(scores.jeffreys_rate(k, n), production_k, production_n),
        "pit_low": below,
        "pit_high": at,
        "persistence_n": estimated["persistence_n"],
        "persistence_k": estimated["persistence_k"],
    }
    smoothed = scores.jeffreys_rate(production_k, production_n)

    def error_of(rate: float) -> float:
        return max(rate / smoothed, smoothed / rate)

    if estimated["previous_simulation_n"]:
        row["previous_simulation_error"] = error_of(
            scores.jeffreys_rate(
                estimated["previous_simulation_k"], estimated["previous_simulation_n"]
            )
        )
    if estimated["challenging_prompts_rate"] is not None:
        row["challenging_prompts_error"] = error_of(estimated["challenging_prompts_rate"])
    if estimated["persistence_n"]:
        before = estimated["persistence_k"], estimated["persistence_n"]
        change = float(np.log(smoothed / scores.jeffreys_rate(*before)))
        called = float(np.log(scores.jeffreys_rate(k, n) / scores.jeffreys_rate(*before)))
        moved = abs(change) >= scores.MOVED
        up = direction_probability(gamma, Gamma(before[0] + 0.5, before[1]), weights)
        previous = before[0] / design_effect, before[1] / design_effect
        blends = [Blend(g.counts, weights, previous, errors.drift) for g in gammas]
        blend_at = max(one.cdf(count, messages) for one in blends)
        blend_below = min(one.cdf(count - 1, messages) for one in blends)
        row |= {
            "persistence_error": error_of(scores.jeffreys_rate(*before)),
            "moved": moved,
            "direction_right": bool(np.sign(called) == np.sign(change)) if moved else None,
            "direction_ceiling": max(up, 1 - up),
            "called_change": called,
            "realized_change": change,
            "blend_error": error_of(blends[0].quantile(0.5, messages) / messages + 0.5 / messages),
            **{
                f"blend_in_{level}": scores.covered(blend_at, blend_below, level / 100)
                for level in (80, 95)
            },
        }
    return row


def scored(row: dict[str, Any]) -> Scored:
    """What a row of a calibration report teaches the error model."""
    return Scored(
        *(
            row[name]
            for name in (
                "behavior",
                "gamma_shape",
                "gamma_rate",
                "effective_count",
                "effective_messages",
            )
        )
    )


def changed(row: dict[str, Any]) -> Change | None:
    """What a row of a calibration report teaches of changes between releases; None where the
    release before was not measured."""
    if not row["persistence_n"]:
        return None
    return Change(
        row["persistence_k"],
        row["persistence_n"],
        row["effective_count"],
        row["effective_messages"],
    )


def errors_of(history: Iterable[Mapping[str, Any]], behaviors: Iterable[str]) -> dict[str, Errors]:
    """The errors per behavior that a history teaches, computed again by whoever holds the seal that
    names it.

    Each entry has `scored` (the fields of Scored) and `change` (those of Change, or None).
    """
    entries = list(history)
    model = error_model(Scored(*entry["scored"]) for entry in entries)
    changes = [Change(*entry["change"]) for entry in entries if entry["change"]]
    drift, sd = learned_drift_kernel(changes), learned_drift_sd(changes)
    return {behavior: Errors(model.of(behavior), drift, sd) for behavior in behaviors}
