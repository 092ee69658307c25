"""Forecasts held against production."""

import polars as pl

from deploysim_assets.schema.conversations import TIME

_BASELINES = ("persistence", "previous_simulation", "challenging_prompts", "blend")

CALIBRATION = pl.Schema(
    {
        "model_version": pl.String,
        "behavior": pl.String,
        "forecast": pl.Float64,
        "forecast_n": pl.Int64,
        "forecast_k": pl.Int64,
        "forecast_high": pl.Float64,
        "gamma_shape": pl.Float64,
        "gamma_rate": pl.Float64,
        "realized_n": pl.Int64,
        "realized_k": pl.Int64,
        "effective_count": pl.Float64,
        "effective_messages": pl.Float64,
        "realized": pl.Float64,
        "realized_low": pl.Float64,
        "realized_high": pl.Float64,
        "multiplicative_error": pl.Float64,
        "noise_floor": pl.Float64,
        "resolved": pl.Boolean,
        "in_50": pl.Boolean,
        "in_80": pl.Boolean,
        "in_95": pl.Boolean,
        "log_score": pl.Float64,
        "crps": pl.Float64,
        "regret": pl.Float64,
        "pit_low": pl.Float64,
        "pit_high": pl.Float64,
        "moved": pl.Boolean,
        "direction_right": pl.Boolean,
        "direction_ceiling": pl.Float64,
        "called_change": pl.Float64,
        "realized_change": pl.Float64,
        "persistence_n": pl.Float64,
        "persistence_k": pl.Float64,
        **{f"{baseline}_error": pl.Float64 for baseline in _BASELINES},
        "blend_in_80": pl.Boolean,
        "blend_in_95": pl.Boolean,
        "precision": pl.Float64,
        "precision_low": pl.Float64,
        "precision_high": pl.Float64,
        "prospective": pl.Boolean,
        "forecast_version": pl.String,
        "realized_version": pl.String,
    }
)
"""calibration_report: the forecast held against production, one row per behavior."""

OTHER_FORECASTS = pl.Schema(
    {"record": pl.String, "sealed_at": TIME, "reason": pl.String, **CALIBRATION}
)
"""calibration_report, side table `other_forecasts`: the sealed forecasts of a release that are not
the one scored, each with its ledger record, the reason of its registration, and its own score; one
row without a behavior where production was not graded by its graders."""

SCORECARD = pl.Schema(
    {
        "model_version": pl.String,
        "state": pl.Enum(["scored", "backtest", "registered", "forecast", "all"]),
        "behaviors": pl.Int64,
        "resolved": pl.Int64,
        "unresolved": pl.List(pl.String),
        "drifted": pl.List(pl.String),
        "median_error": pl.Float64,
        "median_error_low": pl.Float64,
        "median_error_high": pl.Float64,
        "noise_floor": pl.Float64,
        "intrinsic_error": pl.Float64,
        "intrinsic_error_low": pl.Float64,
        "intrinsic_error_high": pl.Float64,
        "in_50": pl.Int64,
        "in_80": pl.Int64,
        "in_95": pl.Int64,
        "in_95_low": pl.Float64,
        "in_95_high": pl.Float64,
        "blend_in_95": pl.Int64,
        "moved": pl.Int64,
        "direction_right": pl.Int64,
        "direction_low": pl.Float64,
        "direction_high": pl.Float64,
        "direction_ceiling": pl.Float64,
        "change_correlation": pl.Float64,
        "log_score": pl.Float64,
        "crps": pl.Float64,
        "regret": pl.Float64,
        **{f"{baseline}_pairs": pl.Int64 for baseline in _BASELINES},
        **{
            f"{baseline}_{name}": pl.Float64
            for baseline in _BASELINES
            for name in ("median_error", "skill", "p", "wilcoxon_p")
        },
        "prospective": pl.Boolean,
        "report_version": pl.String,
    }
)
"""scorecard: one row per scored release and one, named `(all)`, over all of them; releases that
were registered or forecast and never scored stand there with nothing but their `state`. `drifted`
names the behaviors on which the judge is not the one that it was; null where nobody watched it.

`<baseline>_skill` is the mean of |log baseline error| - |log error|, above 0 where the forecast
was nearer, with the sign-flip p value; `direction_ceiling` the share of directions that
forecasts this uncertain can get right."""

RELEASE_REPORT = pl.Schema(
    {
        "model_version": pl.String,
        "behavior": pl.String,
        "verdict": pl.Enum(["pass", "fail", "blocked", "not measured", "no threshold"]),
        "why": pl.String,
        "accepted": pl.String,
    }
)
"""release_report: the verdict on each behavior, as the page beside the table says it."""

DECOMPOSITION = pl.Schema(
    {
        "model_version": pl.String,
        "behavior": pl.String,
        "grading_id_now": pl.String,
        "replayed": pl.Int64,
        "usable": pl.Boolean,
        "rates": pl.List(pl.Float64),
        "steps": pl.List(pl.Float64),
        "noise": pl.List(pl.Float64),
        **dict.fromkeys(
            ("mix_shift", "prefix_shift", "environment_fidelity", "grader_drift", "sub_sampling"),
            pl.Float64,
        ),
    }
)
"""error_decomposition: per behavior the rates of the chain forecast, re-weighted, fresh
prefixes, real answers, graders in use now, full production; the log steps between them (their
sum is the log error of the forecast), and the covariance of their noise, row by row."""
