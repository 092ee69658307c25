"""The `agent_trajectories` format: runs of an agent with tool calls and results, as Parquet rows or
JSON records.

A row has `messages`, as a list or as its JSON text, and any further columns; the shape of
AgentDojo's runs.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, BinaryIO

import orjson
from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictStr,
    field_validator,
)

from deploysim_assets.logs.chat import ChatMessage, extra_fields
from deploysim_assets.logs.conversation import Conversation, Reject
from deploysim_assets.logs.records import convert, json_records, parquet_rows


class _Run(BaseModel):
    model_config = ConfigDict(extra="allow")
    run_id: StrictStr | None = Field(
        default=None, validation_alias=AliasChoices("conversation_id", "run_id", "id")
    )
    user_id: StrictStr | None = None
    model: StrictStr | None = None
    surface: StrictStr | None = Field(
        default=None, validation_alias=AliasChoices("surface", "suite")
    )
    language: StrictStr | None = None
    training_allowed: StrictBool | None = None
    started_at: datetime | None = None
    messages: list[ChatMessage] = Field(min_length=1)

    @field_validator("messages", mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return orjson.loads(value) if isinstance(value, str) else value


def _conversation(number: int, run: _Run) -> Conversation:
    return Conversation(
        line=number,
        conversation_id=run.run_id or f"run-{number}",
        user_id=run.user_id,
        started_at=run.started_at,
        surface=run.surface,
        language=run.language,
        reported_model=run.model,
        training_allowed=run.training_allowed,
        has_attachments=any(m.attached for m in run.messages),
        messages=[m.message() for m in run.messages],
        source=extra_fields(run),
    )


def read(stream: BinaryIO) -> Iterator[Conversation | Reject]:
    """Each run as a conversation; one without an id is told by its place in the file."""
    magic = stream.read(4)
    stream.seek(0)
    return convert(
        parquet_rows(stream, "messages") if magic == b"PAR1" else json_records(stream),
        _Run,
        _conversation,
    )
