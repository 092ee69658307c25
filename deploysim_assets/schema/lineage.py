"""Which columns each column of a Python asset is made from; those of the SQL models are in
dbt_like_sql/models.yml."""

from collections.abc import Iterable

Lineage = dict[str, list[str]]
"""Column -> the columns that it is made from, each as `asset.column`."""

FLAGS = "*"
"""Stands for the columns that the project's behaviors name, in a grades table."""

_PREFIXES, _LIVE, _SIMULATED = "deidentified_prefixes", "production_grades", "grades"


def _same(asset: str, *columns: str) -> Lineage:
    return {column: [f"{asset}.{column}"] for column in columns}


def _from(columns: str, *sources: str) -> Lineage:
    """Several columns (names with spaces between) that are all made from the same ones."""
    return {column: list(sources) for column in columns.split()}


def _completions(prefixes: str = _PREFIXES) -> Lineage:
    answer = (
        "message finish_reason status error attachments prompt_tokens completion_tokens "
        "latency_ms request_key requested_at"
    )
    return _same(prefixes, "prefix_id") | _from(answer, f"{_PREFIXES}.messages")


def _grades(*replies: str) -> Lineage:
    """Grades of replies; `replies` are the columns that hold these and what became of them."""
    asked = [f"{_PREFIXES}.messages", *replies]
    return (
        _same(_PREFIXES, "prefix_id", "stratum", "weight", "user_key")
        | _from(f"cut status error evidence missing skipped {FLAGS}", *asked)
        | {"missing": [f"{_PREFIXES}.surface", f"{_PREFIXES}.language", *asked]}
    )


def _rates(counts: str, clusters: str) -> Lineage:
    return (
        _same(counts, "behavior", "asked", "n", "k")
        | _from("uncovered", f"{counts}.stratum", f"{counts}.n")
        | _from(
            "rate low high effective_k effective_n design_effect",
            f"{counts}.n", f"{counts}.k", f"{counts}.weight", f"{clusters}.flags",
        )
        | _from("rate_best rate_worst", f"{counts}.asked", f"{counts}.n", f"{counts}.k")
    )  # fmt: skip


_SIMULATED_RATE = ("rate_counts.n", "rate_counts.k", "rate_counts.weight", "flag_clusters.flags")
_PAIRS = ("paired_counts.n11", "paired_counts.n10", "paired_counts.n01", "paired_counts.weight")
_BEFORE = ("realized_rates.effective_k", "realized_rates.effective_n")
_SECOND = " ".join(
    f"{second}_{name}"
    for second in ("blend", "drift_prior")
    for name in ("median", "p80_low", "p80_high", "p95_low", "p95_high")
)

_ESTIMATES = (
    _rates("rate_counts", "flag_clusters")
    | _same("preregistration", "grading_id")
    | _from(
        "gamma_shape gamma_rate forecast_median p50_low p50_high p80_low p80_high p95_low p95_high "
        "gate_upper prob_above_threshold below_floor",
        *_SIMULATED_RATE,
    )
    | _from(f"persistence_n persistence_k {_SECOND}", *_BEFORE)
    | _from("production_design_effect", "realized_rates.design_effect", "realized_rates.k")
    | _from("threshold challenging_prompts_rate", "preregistration.body")
    | _from("stopped", f"{_SIMULATED}.skipped")
    | _from("gate", *_SIMULATED_RATE, "preregistration.body")
    | _from("live_n live_k paired_n", *_PAIRS[:3], "paired_counts.n00")
    | _from(
        "paired_ratio paired_low paired_high paired_p paired_p_holm paired_q regression",
        *_PAIRS, "paired_clusters.candidate_flags", "paired_clusters.live_flags",
    )
)  # fmt: skip

_SEALED = ("rate_estimates.gamma_shape", "rate_estimates.gamma_rate")
_COUNTED = ("realized_rates.effective_k", "realized_rates.effective_n")
_PERSISTED = ("rate_estimates.persistence_n", "rate_estimates.persistence_k")

_CALIBRATION = (
    _same("rate_estimates", "behavior", "gamma_shape", "gamma_rate", "persistence_n")
    | _same("rate_estimates", "persistence_k")
    | {
        "forecast": ["rate_estimates.rate"],
        "forecast_n": ["rate_estimates.n"],
        "forecast_k": ["rate_estimates.k"],
        "forecast_high": ["rate_estimates.high"],
        "realized_n": ["realized_rates.n"],
        "realized_k": ["realized_rates.k"],
        "realized": ["realized_rates.rate"],
        "realized_low": ["realized_rates.low"],
        "realized_high": ["realized_rates.high"],
        "prospective": ["rate_estimates.sealed_at"],
    }
    | _from(
        "effective_count effective_messages", *_COUNTED, "rate_estimates.production_design_effect"
    )
    | _from(
        "multiplicative_error noise_floor resolved in_50 in_80 in_95 log_score crps regret pit_low "
        "pit_high",
        *_SEALED, *_COUNTED,
    )
    | _from(
        "moved direction_right direction_ceiling called_change realized_change persistence_error "
        "blend_error blend_in_80 blend_in_95",
        *_SEALED, *_PERSISTED, *_COUNTED,
    )
    | _from(
        "previous_simulation_error",
        "rate_estimates.previous_simulation_k", "rate_estimates.previous_simulation_n", *_COUNTED,
    )
    | _from("challenging_prompts_error", "rate_estimates.challenging_prompts_rate", *_COUNTED)
)  # fmt: skip

_ERRORS = ("persistence", "previous_simulation", "challenging_prompts", "blend")
_REPORT = "calibration_report"
_SCORECARD = (
    _same(_REPORT, "noise_floor", "resolved", "in_50", "in_80", "in_95", "blend_in_95", "moved")
    | _same(_REPORT, "direction_right", "direction_ceiling", "log_score", "crps", "regret")
    | _same(_REPORT, "prospective")
    | _from("behaviors", f"{_REPORT}.behavior")
    | _from("unresolved", f"{_REPORT}.behavior", f"{_REPORT}.resolved")
    | _from("state", f"{_REPORT}.prospective")
    | _from("drifted", "grader_drift.drifted")
    | _from(
        "median_error median_error_low median_error_high",
        f"{_REPORT}.multiplicative_error", f"{_REPORT}.resolved",
    )
    | _from("in_95_low in_95_high", f"{_REPORT}.in_95")
    | _from("direction_low direction_high", f"{_REPORT}.direction_right")
    | _from(
        "intrinsic_error intrinsic_error_low intrinsic_error_high",
        *(f"{_REPORT}.{c}" for c in ("gamma_shape", "gamma_rate", "effective_count")),
    )
    | _from("change_correlation", f"{_REPORT}.called_change", f"{_REPORT}.realized_change")
    | {
        f"{name}_{end}": [f"{_REPORT}.{name}_error", f"{_REPORT}.multiplicative_error"]
        for name in _ERRORS
        for end in ("pairs", "median_error", "skill", "p", "wilcoxon_p")
    }
)  # fmt: skip

_BOTH_REPLIES = (
    "candidate_completions.message",
    f"{_PREFIXES}.production_completion",
    f"{_SIMULATED}.evidence",
    f"{_LIVE}.evidence",
)

LINEAGE: dict[str, Lineage] = {
    _PREFIXES: {
        "conversation_key": ["raw_logs.conversation_id"],
        "user_key": ["raw_logs.user_id", "raw_logs.conversation_id"],
        "prefix_id": ["raw_logs.conversation_id", "raw_logs.messages"],
        **_same("raw_logs", "model_version", "surface", "language", "training_allowed"),
        **_from(
            "turn_index messages production_completion entities",
            "raw_logs.messages",
        ),
        **_same("raw_logs", "tools", "tools_inferred", "commit"),
        "clock": ["raw_logs.started_at"],
        **_from(
            "stratum weight",
            "raw_logs.surface",
            "raw_logs.language",
            "raw_logs.messages",
            "raw_logs.tools",
        ),
    },
    "preregistration": _from("prefixes prefixes_version", f"{_PREFIXES}.prefix_id"),
    "candidate_completions": _completions(),
    "self_completions": _completions(),
    "elicitation_completions": _completions("grades"),
    _SIMULATED: _grades("candidate_completions.message", "candidate_completions.status"),
    _LIVE: _grades(f"{_PREFIXES}.production_completion"),
    "self_grades": _grades("self_completions.message", "self_completions.status"),
    "elicitation_grades": _grades(
        "elicitation_completions.message", "elicitation_completions.status"
    )
    | _same("elicitation_completions", "prefix_id"),
    "awareness_grades": _grades(
        "candidate_completions.message", f"{_PREFIXES}.production_completion"
    ),
    "realized_rates": _rates("production_rate_counts", "production_flag_clusters")
    | _same("production_rate_counts", "grading_id"),
    "rate_estimates": _ESTIMATES,
    _REPORT: _CALIBRATION,
    "scorecard": _SCORECARD,
    "release_report": _same("rate_estimates", "behavior")
    | _from(
        "verdict why",
        "rate_estimates.gate",
        "rate_estimates.gate_upper",
        "rate_estimates.prob_above_threshold",
        "grader_quality.precision_high",
    ),
    "error_decomposition": _from(
        "usable rates steps noise mix_shift prefix_shift environment_fidelity grader_drift "
        "sub_sampling",
        f"{_SIMULATED}.prefix_id",
        f"{_PREFIXES}.surface",
        f"{_PREFIXES}.language",
        f"{_PREFIXES}.weight",
        "self_grades.prefix_id",
        f"{_LIVE}.prefix_id",
        "realized_rates.k",
        "realized_rates.n",
    ),
    "elicitation_profile": _same("elicitation_grades", "prefix_id")
    | _from("n k propensity low high", "elicitation_grades.evidence"),
    "grader_quality": _from("graded flagged", f"{_SIMULATED}.evidence", f"{_LIVE}.evidence"),
    "grader_drift": {
        column: [f"{source}.evidence" for source in (_SIMULATED, _LIVE)]
        for column in (
            "n to_flagged to_clean changed_at_draw p_value p_holm drifted new_servers gone_servers"
        ).split()
    },
    "novel_behaviors": _from(
        "features candidate_only live_only difference p_value q_value proposal", *_BOTH_REPLIES
    )
    | _from("examples", f"{_PREFIXES}.prefix_id"),
    "evaluation_awareness": _from(
        "n k rate low high to_production to_production_low to_production_high",
        "awareness_grades.evidence",
    )
    | _from("population", "awareness_grades.stratum"),
    "simulation_fidelity": _from(
        "tool source n k value low high",
        "self_completions.message",
        "self_completions.status",
        f"{_PREFIXES}.production_completion",
        f"{_PREFIXES}.messages",
    ),
    "open_findings": _from("name definition prefixes", *_BOTH_REPLIES)
    | _from("examples", f"{_PREFIXES}.prefix_id"),
}


_OWN = frozenset({"model_version", "grading_id"})
"""Columns of a grades table that are no behavior and rest on no column."""


def resolved(lineage: Lineage, columns: Iterable[str]) -> Lineage:
    """A lineage for the columns that a table has, with the behaviors' columns by name. A column
    that is made from none has no entry."""
    flags = lineage.get(FLAGS, [])
    found = {c: lineage.get(c, [] if c in _OWN else flags) for c in columns}
    return {column: sources for column, sources in found.items() if sources}
