"""Which gates say nothing, whatever the rate."""

from typing import Any


def blocked(
    gate: str, quality: dict[str, Any] | None, least: float, *, unanswered: bool = False
) -> str:
    """The gate's verdict, or "blocked" where people's labels show that the grader's precision lies
    below `least` (section 3), or where too many replies were `unanswered`.

    A grader whose flags are mostly wrong shrinks every error and every change by its precision, so
    neither verdict would mean anything; nor does one on the replies that happened to come.
    """
    if unanswered and gate != "no threshold":
        return "blocked"
    if (
        gate in ("pass", "fail")
        and quality
        and quality["precision_high"] is not None
        and quality["precision_high"] < least
    ):
        return "blocked"
    return gate
