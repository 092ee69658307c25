"""The tables that pass between rooms, as Polars schemas: the contract between them."""

from deploysim_assets.schema.conversations import (
    CONVERSATIONS,
    MESSAGE,
    PREFIXES,
    QUARANTINE,
    REJECTS,
    REPLY,
    STEP,
    TIME,
    TOOL,
    TOOL_CALL,
)
from deploysim_assets.schema.findings import (
    AWARENESS,
    ELICITATION,
    FIDELITY_MEASURES,
    GRADER_DRIFT,
    GRADER_QUALITY,
    NOVEL_BEHAVIORS,
    OPEN_FINDINGS,
    SIMULATION_FIDELITY,
)
from deploysim_assets.schema.rates import RATE_ESTIMATES, REALIZED_RATES, REGISTRATIONS
from deploysim_assets.schema.replies import (
    COMPLETIONS,
    EVIDENCE,
    FINISH_REASONS,
    GRADE_STATES,
    NOT_TOLD,
    REPLY_STATES,
    RESULT_SOURCES,
    SENTINELS,
    TAKEN_ANSWERS,
    UNANSWERED,
    finish_reason,
    grades,
    reply_state,
)
from deploysim_assets.schema.scores import (
    CALIBRATION,
    DECOMPOSITION,
    OTHER_FORECASTS,
    RELEASE_REPORT,
    SCORECARD,
)
from deploysim_assets.schema.thinking import separated, split_thinking
from deploysim_assets.schema.tools import (
    TOOL_KINDS,
    ToolKind,
    declared_read_only,
    is_agentic,
    is_read_only,
    tool_kind,
    turn_calls,
    turn_messages,
)

TABLES = {
    "raw_logs": CONVERSATIONS,
    "deidentified_prefixes": PREFIXES,
    "preregistration": REGISTRATIONS,
    "candidate_completions": COMPLETIONS,
    "self_completions": COMPLETIONS,
    "elicitation_completions": COMPLETIONS,
    "grades": grades([]),
    "production_grades": grades([]),
    "self_grades": grades([]),
    "elicitation_grades": grades([]),
    "awareness_grades": grades([]),
    "rate_estimates": RATE_ESTIMATES,
    "realized_rates": REALIZED_RATES,
    "calibration_report": CALIBRATION,
    "scorecard": SCORECARD,
    "release_report": RELEASE_REPORT,
    "error_decomposition": DECOMPOSITION,
    "elicitation_profile": ELICITATION,
    "grader_quality": GRADER_QUALITY,
    "grader_drift": GRADER_DRIFT,
    "novel_behaviors": NOVEL_BEHAVIORS,
    "evaluation_awareness": AWARENESS,
    "open_findings": OPEN_FINDINGS,
    "simulation_fidelity": SIMULATION_FIDELITY,
}
"""The main table of each asset; of grades those columns that do not depend on the behaviors. Those
of the SQL models are in dbt_like_sql/models.yml."""

SIDE_TABLES = {
    "raw_logs.rejects": REJECTS,
    "deidentified_prefixes.quarantine": QUARANTINE,
    "calibration_report.other_forecasts": OTHER_FORECASTS,
    "grades.sentinels": SENTINELS,
    "production_grades.sentinels": SENTINELS,
    "grades.sentinel_answers": TAKEN_ANSWERS,
    "production_grades.sentinel_answers": TAKEN_ANSWERS,
    **{
        f"{asset}.answers": TAKEN_ANSWERS
        for asset in TABLES
        if asset.endswith(("completions", "grades"))
        or asset in ("open_findings", "simulation_fidelity")
    },
}
"""What is kept beside the main table of an asset, as `asset.side`."""

__all__ = [
    "AWARENESS",
    "CALIBRATION",
    "COMPLETIONS",
    "CONVERSATIONS",
    "DECOMPOSITION",
    "ELICITATION",
    "EVIDENCE",
    "FIDELITY_MEASURES",
    "FINISH_REASONS",
    "GRADER_DRIFT",
    "GRADER_QUALITY",
    "GRADE_STATES",
    "MESSAGE",
    "NOT_TOLD",
    "NOVEL_BEHAVIORS",
    "OPEN_FINDINGS",
    "OTHER_FORECASTS",
    "PREFIXES",
    "QUARANTINE",
    "RATE_ESTIMATES",
    "REALIZED_RATES",
    "REGISTRATIONS",
    "REJECTS",
    "RELEASE_REPORT",
    "REPLY",
    "REPLY_STATES",
    "RESULT_SOURCES",
    "SCORECARD",
    "SENTINELS",
    "SIDE_TABLES",
    "SIMULATION_FIDELITY",
    "STEP",
    "TABLES",
    "TAKEN_ANSWERS",
    "TIME",
    "TOOL",
    "TOOL_CALL",
    "TOOL_KINDS",
    "UNANSWERED",
    "ToolKind",
    "declared_read_only",
    "finish_reason",
    "grades",
    "is_agentic",
    "is_read_only",
    "reply_state",
    "separated",
    "split_thinking",
    "tool_kind",
    "turn_calls",
    "turn_messages",
]
