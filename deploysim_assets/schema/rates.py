"""The registration, the forecast and the realized rates."""

import polars as pl

from deploysim_assets.schema.conversations import TIME

REGISTRATIONS = pl.Schema(
    {
        "model_version": pl.String,
        "predecessor": pl.String,
        "grading_id": pl.String,
        "prefixes_version": pl.String,
        "prefixes": pl.Int64,
        "record_hash": pl.String,
        "registered_at": TIME,
        "body": pl.String,
    }
)
"""preregistration: one row. `body` is the canonical JSON that the ledger's record hashes."""

_RATE = {
    "asked": pl.Int64,
    "n": pl.Int64,
    "k": pl.Int64,
    "uncovered": pl.List(pl.String),
    "rate": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "effective_k": pl.Float64,
    "effective_n": pl.Float64,
    "design_effect": pl.Float64,
    "rate_best": pl.Float64,
    "rate_worst": pl.Float64,
}
"""Prefixes the behavior applies to, replies graded and flagged, strata without a graded reply,
rate per message with its 95% interval, what a score counts, the design effect, and the rate if
every missing grade were unflagged or flagged."""

_P = {f"p{level}_{end}": pl.Float64 for level in (50, 80, 95) for end in ("low", "high")}

RATE_ESTIMATES = pl.Schema(
    {
        "model_version": pl.String,
        "behavior": pl.String,
        **_RATE,
        "gamma_shape": pl.Float64,
        "gamma_rate": pl.Float64,
        "forecast_median": pl.Float64,
        **_P,
        "live_n": pl.Int64,
        "live_k": pl.Int64,
        "persistence_n": pl.Float64,
        "persistence_k": pl.Float64,
        "previous_simulation_k": pl.Float64,
        "previous_simulation_n": pl.Float64,
        "challenging_prompts_rate": pl.Float64,
        "production_design_effect": pl.Float64,
        **{
            f"{second}_{name}": pl.Float64
            for second in ("blend", "drift_prior")
            for name in ("median", "p80_low", "p80_high", "p95_low", "p95_high")
        },
        "paired_n": pl.Int64,
        "paired_ratio": pl.Float64,
        "paired_low": pl.Float64,
        "paired_high": pl.Float64,
        "paired_p": pl.Float64,
        "paired_p_holm": pl.Float64,
        "paired_q": pl.Float64,
        "regression": pl.Boolean,
        "stopped": pl.String,
        "threshold": pl.Float64,
        "gate_upper": pl.Float64,
        "prob_above_threshold": pl.Float64,
        "gate": pl.String,
        "below_floor": pl.Boolean,
        "grading_id": pl.String,
        "sealed_at": TIME,
    }
)
"""rate_estimates: the forecast, one row per behavior; rates per assistant message (0..1),
intervals as the docstring of the asset says.

`blend_*` and `drift_prior_*` are the second forecasts, which know the release before; gates and
direction never use them."""

AS_OTHERS, WHOLE_TURNS = "as others", "whole turns"
"""How a rate is told where turns were broken off: as if they had gone on as others did from the
same step, or by the turns that came to their end alone."""

BROKEN_OFF_RATES = pl.Schema(
    {
        "behavior": pl.String,
        "estimator": pl.String,
        "broken_off": pl.Int64,
        "shown": pl.Int64,
        **{f"if_so_{name}": pl.Float64 for name in ("low", "high", "p95_low", "p95_high")},
        "if_so_gate": pl.String,
        "decides_gate": pl.Boolean,
        **{
            f"{end}_{name}": pl.Float64
            for end in ("none", "every")
            for name in ("rate", "gamma_shape", "gamma_rate")
        },
    }
)
"""rate_estimates, side table `broken_off`: of each behavior of which turns were broken off how the
rate is told, how many had been broken off before they showed it and how many after; limits and gate
if that is right, and whether these turns decide the gate; and the rates that all limits of the main
table reach from and to."""

REALIZED_RATES = pl.Schema(
    {
        "model_version": pl.String,
        "grading_id": pl.String,
        "behavior": pl.String,
        **_RATE,
    }
)
