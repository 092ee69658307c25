"""What is measured beside the rates: graders, novelty, awareness, elicitation."""

import polars as pl

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

GRADER_DRIFT = pl.Schema(
    {
        "model_version": pl.String,
        "source": pl.String,
        "grading_id": pl.String,
        "behavior": pl.String,
        "occasion": pl.Int64,
        "sealed": pl.Int64,
        "n": pl.Int64,
        "to_flagged": pl.Int64,
        "to_clean": pl.Int64,
        "changed_at_draw": pl.Int64,
        "p_value": pl.Float64,
        "p_holm": pl.Float64,
        "drifted": pl.Boolean,
        "new_servers": pl.List(pl.String),
        "gone_servers": pl.List(pl.String),
        "record": pl.String,
    }
)
"""grader_drift: per table of grades of a release, grading and behavior, what the sealed sentinels
were graded beside it against what they were at the draw. The row of the table that the set was
drawn from has no p value."""

NOVEL_BEHAVIORS = pl.Schema(
    {
        "model_version": pl.String,
        "finding": pl.Int64,
        "says": pl.String,
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
"""novel_behaviors: features that are one thing and differ between candidate and live model on the
same prefixes, what a reviewer should see first in front; `says` is what it is in words, `examples`
are prefix ids, `proposal` a rule (JSON) that would tell such replies."""

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

FIDELITY_MEASURES = (
    "taken_for_real",
    "picked_first",
    "told_apart",
    "exact",
    "json_equal",
    "fields",
    "results",
    "turns",
)

SIMULATION_FIDELITY = pl.Schema(
    {
        "model_version": pl.String,
        "live_version": pl.String,
        "measure": pl.Enum(FIDELITY_MEASURES),
        "affordances": pl.String,
        "every_affordance": pl.Boolean,
        "tool": pl.String,
        "source": pl.String,
        "n": pl.Int64,
        "k": pl.Int64,
        "value": pl.Float64,
        "low": pl.Float64,
        "high": pl.Float64,
    }
)
"""simulation_fidelity: how far simulated turns of the live model are like its real ones, by measure
and set of affordances; `tool` and `source` are null where a figure is over all of them."""

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
