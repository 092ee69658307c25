"""Replies of the candidate and the grades of both sides."""

import polars as pl

from deploysim_assets.schema.conversations import REPLY, TIME

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

TAKEN_ANSWERS = pl.Schema({"prefix_id": pl.String, "key": pl.String, "sha256": pl.String})
"""Completions and grades, side table `answers`: the journalled answers that the row of a prefix was
made from, by request key and by the digest of the answer."""

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
