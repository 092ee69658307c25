"""Conversations as logged and as cleared: raw_logs and deidentified_prefixes."""

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
        "finish_reason": pl.String,
    }
)
"""`finish_reason` is why the model stopped there: stop, length, content_filter, tool_calls,
refusal, unknown (the log's reason is none of these), or null where the log gives none."""

TOOL = pl.Struct(
    {
        "name": pl.String,
        "description": pl.String,
        "parameters": pl.String,
        "read_only": pl.Boolean,
    }
)
"""A tool that a conversation declares; `parameters` is its JSON schema as text. `read_only` is what
its definition says of itself, null where it says nothing."""

STEP = pl.Struct(
    {
        "role": pl.String,
        "content": pl.String,
        "reasoning": pl.String,
        "tool_calls": pl.List(TOOL_CALL),
        "tool_call_id": pl.String,
        "name": pl.String,
        "source": pl.String,
    }
)
"""A message of a turn before its last: the model's calls (role assistant) or a call's result (role
tool). `source` says where a result came from: one of schema.RESULT_SOURCES, null for a message of
the model."""

REPLY = pl.Struct(
    {
        "content": pl.String,
        "reasoning": pl.String,
        "tool_calls": pl.List(TOOL_CALL),
        "finish_reason": pl.String,
        "steps": pl.List(STEP),
    }
)
"""What a model answered: everything it did until the user speaks again. `steps` are the messages
before its last one, none of them in chat. `finish_reason` is one of schema.FINISH_REASONS, null
where the source has none: whether the reply was cut is unknown."""

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
        "tools": pl.List(TOOL),
        "tools_inferred": pl.Boolean,
        "commit": pl.String,
        "source": pl.String,
        "log_file": pl.String,
        "log_line": pl.Int64,
    }
)
"""raw_logs: one row per conversation. Consent is `training_allowed`: null is unknown, and
unknown is not consent. `reported_model` is what the source names as the model. `log_file` is
relative to the home where it lies below it, else a URL; `log_line` is the line there, or the number
of the record or row, from 1."""

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
        "tools": pl.List(TOOL),
        "tools_inferred": pl.Boolean,
        "commit": pl.String,
        "clock": TIME,
        "entities": pl.List(pl.Struct({"type": pl.String, "count": pl.Int32})),
        "deid_level": pl.Int8,
    }
)
"""deidentified_prefixes: one row per sampled user turn; `production_completion` is what the
deployed model answered there. `weight` is the inverse of the turn's chance to be drawn. `tools`
are those that the conversation declares, null where it has none; `commit` is what the agent's
repository stood at, `clock` when the conversation began: nothing later may be told to a rollout."""

QUARANTINE = pl.Schema({"prefix_id": pl.String, "conversation_key": pl.String, "reason": pl.String})
"""Sampled turns that de-identification did not clear, kept beside deidentified_prefixes without
any text."""
