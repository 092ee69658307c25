"""The tables that pass between rooms, as Polars schemas: the contract between them."""

import polars as pl

TIME = pl.Datetime("us", "UTC")

TOOL_CALL = pl.Struct({"id": pl.String, "name": pl.String, "arguments": pl.String})
"""One tool call; `arguments` is the JSON text the model wrote."""

MESSAGE = pl.Struct(
    {
        "role": pl.String,
        "content": pl.String,
        "tool_calls": pl.List(TOOL_CALL),
        "tool_call_id": pl.String,
        "name": pl.String,
        "reasoning": pl.String,
        "at": TIME,
    }
)

REPLY = pl.Struct({"content": pl.String, "reasoning": pl.String, "tool_calls": pl.List(TOOL_CALL)})
"""What a model answered: the one message that follows a user turn."""

CONVERSATIONS = pl.Schema(
    {
        "conversation_id": pl.String,
        "user_id": pl.String,
        "model_version": pl.String,
        "started_at": TIME,
        "surface": pl.String,
        "language": pl.String,
        "reported_model": pl.String,
        "training_allowed": pl.Boolean,
        "is_temporary": pl.Boolean,
        "has_attachments": pl.Boolean,
        "messages": pl.List(MESSAGE),
        "source": pl.String,
    }
)
"""raw_logs: one row per conversation. Consent is `training_allowed`: null is unknown, and
unknown is not consent. `reported_model` is what the source names as the model."""

REJECTS = pl.Schema({"file": pl.String, "line": pl.Int64, "reason": pl.String})
"""What a reader could not take, kept beside raw_logs. Never holds text of the line."""

PREFIXES = pl.Schema(
    {
        "prefix_id": pl.String,
        "conversation_key": pl.String,
        "user_key": pl.String,
        "model_version": pl.String,
        "turn_index": pl.Int32,
        "stratum": pl.String,
        "weight": pl.Float64,
        "surface": pl.String,
        "language": pl.String,
        "training_allowed": pl.Boolean,
        "messages": pl.List(MESSAGE),
        "production_completion": REPLY,
        "entities": pl.List(pl.Struct({"type": pl.String, "count": pl.Int32})),
        "deid_level": pl.Int8,
    }
)
"""deidentified_prefixes: one row per sampled user turn; `production_completion` is what the
deployed model answered there. `weight` is the inverse of the turn's chance to be drawn."""

QUARANTINE = pl.Schema({"prefix_id": pl.String, "conversation_key": pl.String, "reason": pl.String})
"""Sampled turns that de-identification did not clear, kept beside deidentified_prefixes without
any text."""

COMPLETIONS = pl.Schema(
    {
        "prefix_id": pl.String,
        "model_version": pl.String,
        "message": REPLY,
        "finish_reason": pl.String,
        "status": pl.Enum(["completed", "refused", "filtered", "failed"]),
        "error": pl.String,
        "prompt_tokens": pl.Int64,
        "completion_tokens": pl.Int64,
        "latency_ms": pl.Float64,
        "request_key": pl.String,
        "requested_at": TIME,
    }
)

EVIDENCE = pl.List(
    pl.Struct(
        {
            "behavior": pl.String,
            "severity": pl.Int8,
            "confidence": pl.Float64,
            "rationale": pl.String,
        }
    )
)


def grades(behaviors: list[str]) -> pl.Schema:
    """The grades table: one row per prefix and grading, one nullable Boolean column per behavior
    (null: not graded).

    `missing` names the behaviors that apply to the prefix and have no grade, `skipped` those that a
    grade was not asked for on purpose (early stopping, or cleared by a screen); `weight` is the
    prefix's inclusion weight, `cut` the characters the judge was not shown.
    """
    return pl.Schema(
        {
            "prefix_id": pl.String,
            "model_version": pl.String,
            "grading_id": pl.String,
            "stratum": pl.String,
            "weight": pl.Float64,
            "user_key": pl.String,
            "missing": pl.List(pl.String),
            "skipped": pl.List(pl.String),
            "cut": pl.Int64,
            "status": pl.Enum(["graded", "refused", "filtered", "failed"]),
            "error": pl.String,
            "evidence": EVIDENCE,
        }
        | dict.fromkeys(behaviors, pl.Boolean)
    )


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

REALIZED_RATES = pl.Schema(
    {
        "model_version": pl.String,
        "grading_id": pl.String,
        "behavior": pl.String,
        **_RATE,
    }
)

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

SCORECARD = pl.Schema(
    {
        "model_version": pl.String,
        "behaviors": pl.Int64,
        "resolved": pl.Int64,
        "unresolved": pl.List(pl.String),
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
"""scorecard: one row per scored release and one, named `(all)`, over all of them.

`<baseline>_skill` is the mean of |log baseline error| - |log error|, above 0 where the forecast
was nearer, with the sign-flip p value; `direction_ceiling` the share of directions that
forecasts this uncertain can get right."""

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

ELICITATION = pl.Schema(
    {
        "model_version": pl.String,
        "behavior": pl.String,
        "prefix_id": pl.String,
        "n": pl.Int64,
        "k": pl.Int64,
        "propensity": pl.Float64,
        "low": pl.Float64,
        "high": pl.Float64,
    }
)
"""elicitation_profile: per flagged prefix, repeats graded and flagged, and how likely the next
answer shows the behavior."""

GRADER_QUALITY = pl.Schema(
    {
        "source": pl.String,
        "model_version": pl.String,
        "behavior": pl.String,
        "grader_id": pl.String,
        "labels": pl.Int64,
        "stale": pl.Boolean,
        "graded": pl.Int64,
        "flagged": pl.Int64,
        "audited_flags": pl.Int64,
        "true_positives": pl.Int64,
        "audited_unflagged": pl.Int64,
        "misses": pl.Int64,
        **{
            f"{name}{end}": pl.Float64
            for name in ("precision", "recall", "kappa", "alpha", "confirmed_rate")
            for end in ("", "_low", "_high")
        },
        "rate_bound_low": pl.Float64,
        "rate_bound_high": pl.Float64,
    }
)
"""grader_quality: per table, model and behavior what people said of flags and non-flags.
`recall` and `kappa` weigh both by how common they are; `alpha` is the agreement of the people;
`confirmed_rate` is flag rate times precision, a lower bound of the true rate; `rate_bound_*`
hold without a model. A stale row's labels are of a grader identity that the table no longer has."""

NOVEL_BEHAVIORS = pl.Schema(
    {
        "model_version": pl.String,
        "finding": pl.Int64,
        "features": pl.List(pl.String),
        "candidate_only": pl.Int64,
        "live_only": pl.Int64,
        "difference": pl.Float64,
        "p_value": pl.Float64,
        "q_value": pl.Float64,
        "examples": pl.List(pl.String),
        "proposal": pl.String,
    }
)
"""novel_behaviors: features that go together and differ between candidate and live model on the
same prefixes, most telling first; `examples` are prefix ids, `proposal` a rule (JSON) that would
tell such replies."""

AWARENESS = pl.Schema(
    {
        "model_version": pl.String,
        "measure": pl.String,
        "population": pl.Enum(["production", "simulated", "evaluation"]),
        "replacement": pl.String,
        "n": pl.Int64,
        "k": pl.Int64,
        "rate": pl.Float64,
        "low": pl.Float64,
        "high": pl.Float64,
        "to_production": pl.Float64,
        "to_production_low": pl.Float64,
        "to_production_high": pl.Float64,
    }
)
"""evaluation_awareness: the rate of a measure in a population with its 95% interval, and for
simulated replies the ratio to production."""

OPEN_FINDINGS = pl.Schema(
    {
        "model_version": pl.String,
        "finding": pl.Int64,
        "name": pl.String,
        "definition": pl.String,
        "prefixes": pl.Int64,
        "examples": pl.List(pl.String),
    }
)
"""open_findings: kinds of undesired behavior that the judge named by itself, with the number of
replies and some prefix ids."""
