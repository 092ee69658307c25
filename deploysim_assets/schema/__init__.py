"""The tables that pass between rooms, as Polars schemas: the contract between them."""

from deploysim_assets.schema.conversations import (
    CONVERSATIONS,
    MESSAGE,
    PREFIXES,
    QUARANTINE,
    REJECTS,
    REPLY,
    TIME,
    TOOL_CALL,
)
from deploysim_assets.schema.findings import (
    AWARENESS,
    ELICITATION,
    GRADER_QUALITY,
    NOVEL_BEHAVIORS,
    OPEN_FINDINGS,
)
from deploysim_assets.schema.rates import RATE_ESTIMATES, REALIZED_RATES, REGISTRATIONS
from deploysim_assets.schema.replies import (
    COMPLETIONS,
    EVIDENCE,
    FINISH_REASONS,
    GRADE_STATES,
    REPLY_STATES,
    TAKEN_ANSWERS,
    UNANSWERED,
    finish_reason,
    grades,
    reply_state,
)
from deploysim_assets.schema.scores import CALIBRATION, DECOMPOSITION, OTHER_FORECASTS, SCORECARD

__all__ = [
    "AWARENESS",
    "CALIBRATION",
    "COMPLETIONS",
    "CONVERSATIONS",
    "DECOMPOSITION",
    "ELICITATION",
    "EVIDENCE",
    "FINISH_REASONS",
    "GRADER_QUALITY",
    "GRADE_STATES",
    "MESSAGE",
    "NOVEL_BEHAVIORS",
    "OPEN_FINDINGS",
    "OTHER_FORECASTS",
    "PREFIXES",
    "QUARANTINE",
    "RATE_ESTIMATES",
    "REALIZED_RATES",
    "REGISTRATIONS",
    "REJECTS",
    "REPLY",
    "REPLY_STATES",
    "SCORECARD",
    "TAKEN_ANSWERS",
    "TIME",
    "TOOL_CALL",
    "UNANSWERED",
    "finish_reason",
    "grades",
    "reply_state",
]
