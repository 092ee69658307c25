"""Replies of the candidate and the grades of both sides."""

from collections.abc import Mapping
from typing import Any, Literal

import polars as pl

from deploysim_assets.schema.conversations import REPLY, TIME

FINISH_REASONS = ("stop", "length", "content_filter", "tool_calls", "refusal", "unknown")
_FINISHES = {
    "stop": "stop end_turn stop_sequence eos eos_token end complete completed finished",
    # whoever broke a reply off: it is cut
    "length": "length max_tokens max_output_tokens max_length model_length token_limit "
    "model_context_window_exceeded incomplete abort aborted cancelled error",
    "content_filter": "content_filter content_filtered safety recitation blocklist spii "
    "image_safety prohibited_content guardrail_intervened",
    "tool_calls": "tool_calls tool_call tool_use function_call tool",
    "refusal": "refusal",
}
_NORMALIZED = {word: reason for reason, words in _FINISHES.items() for word in words.split()}


def finish_reason(said: object) -> str | None:
    """One of FINISH_REASONS for what a server or a log calls the end of a reply; None where it
    says nothing. The words are those of OpenAI, Anthropic, Gemini, Bedrock, vLLM and OTel."""
    if said is None or said == "":
        return None
    if not isinstance(said, str):
        return "unknown"
    plain = said.strip().lower().rpartition(".")[2].replace("-", "_")
    return _NORMALIZED.get(plain, "unknown")


RESULT_SOURCES = (
    "production",
    "recorded",
    "repository",
    "library",
    "connector",
    "function",
    "model",
    "runtime",
)
"""Where the result of a tool call in a turn came from: the live tool of a logged turn; the recorded
trajectory, the repository, a library of earlier results, a read-only connector, a function of the
project, or the simulator's model; `runtime` is the error that a malformed call gets."""

UNANSWERED = ("empty", "truncated", "unanswerable", "capped")
"""The states of a reply that came and is no answer: without text, cut by its length, ended by a
tool call that nothing could answer, or by a cap on the turn's steps, tokens, money or seconds."""

BROKEN_OFF = ("unanswerable", "capped")
"""The states of a turn that its simulation broke off before the model ended it: what was seen of it
is known, what it would have come to is not."""

NOT_TOLD = "not told"
"""What production replies are counted as whose end the logs do not tell."""

REPLY_STATES = ("completed", "refused", "filtered", "failed", *UNANSWERED)
GRADE_STATES = ("graded", "refused", "filtered", "failed", *UNANSWERED)

State = Literal["completed", "refused", "filtered", "empty", "truncated"]


def reply_state(reply: Mapping[str, Any]) -> State:
    """What a REPLY is, simulated or real: a whole answer, or why it is none. Text without a
    visible character is empty, however it ended."""
    finish = reply.get("finish_reason")
    if finish == "content_filter":
        return "filtered"
    if finish == "refusal":
        return "refused"
    text = reply["content"] or ""
    if not reply["tool_calls"] and not any(c.isprintable() and not c.isspace() for c in text):
        return "empty"
    return "truncated" if finish == "length" else "completed"


COMPLETIONS = pl.Schema(
    {
        "prefix_id": pl.String,
        "model_version": pl.String,
        "message": REPLY,
        "finish_reason": pl.String,
        "status": pl.Enum(REPLY_STATES),
        "error": pl.String,
        "attachments": pl.List(pl.String),
        "prompt_tokens": pl.Int64,
        "completion_tokens": pl.Int64,
        "latency_ms": pl.Float64,
        "request_key": pl.String,
        "requested_at": TIME,
    }
)
"""candidate_completions and its like: one row per prefix. `attachments` names the kinds of what a
reply held beside text (image_url, ...), which no grader sees."""

TAKEN_ANSWERS = pl.Schema({"prefix_id": pl.String, "key": pl.String, "sha256": pl.String})
"""Completions and grades, side table `answers`: the journalled answers that the row of a prefix was
made from, by request key and by the digest of the answer."""

SENTINELS = pl.Schema(
    {
        "grading_id": pl.String,
        "prefix_id": pl.String,
        "behavior": pl.String,
        "flagged": pl.Boolean,
    }
)
"""grades and production_grades, side table `sentinels`: what the judge said of the sealed items
when it graded them again beside the table (null: it gave no grade)."""

TURNS = pl.Schema(
    {
        "prefix_id": pl.String,
        "grading_id": pl.String,
        "ended": pl.Boolean,
        "steps": pl.Int64,
        "answered": pl.Int64,
        "shown": pl.List(pl.Struct({"behavior": pl.String, "shown_at": pl.Int64})),
    }
)
"""grades of a release whose turns are rolled out, side table `turns`: of each turn that was graded
or broken off how many steps were seen, of how many of them the calls were answered, and with which
step it first met each rule that stays met (behaviors.Rule.stays_met); a turn that did not meet a
rule has no entry for it, and one of which that cannot be told has step 0."""

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


JUDGE_NOTES = pl.Struct(
    {
        "cut_share": pl.Float64,
        "unsupported": pl.List(pl.String),
        "steers": pl.String,
        "dissent": pl.List(pl.Struct({"member": pl.String, "behaviors": pl.List(pl.String)})),
        "repeated": pl.List(pl.Struct({"behavior": pl.String, "flagged": pl.Boolean})),
    }
)
"""What is worth knowing of how a reply was judged: the share of it that no judge was shown; flags
whose quotes stand nowhere in what was graded; signs that the text tries to steer its judge; the
members of a panel that voted otherwise, and on which behaviors; and the verdicts of a second
grading (null: not repeated)."""


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
            "status": pl.Enum(GRADE_STATES),
            "error": pl.String,
            "evidence": EVIDENCE,
            "judge_notes": JUDGE_NOTES,
        }
        | dict.fromkeys(behaviors, pl.Boolean)
    )
