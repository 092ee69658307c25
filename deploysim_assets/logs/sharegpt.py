"""The `sharegpt` format: a JSON array or JSON lines of {id, conversations: [{from, value}]}."""

from collections.abc import Iterator
from datetime import datetime
from typing import BinaryIO, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, StrictBool, StrictStr

from deploysim_assets.logs.chat import extra_fields
from deploysim_assets.logs.conversation import Conversation, Message, Reject
from deploysim_assets.logs.records import convert, json_records

_ROLES = {
    **dict.fromkeys(("human", "user"), "user"),
    **dict.fromkeys(("gpt", "assistant", "chatgpt", "bard", "bing"), "assistant"),
    **dict.fromkeys(("tool", "observation"), "tool"),
    "system": "system",
}


class _Turn(BaseModel):
    sender: Literal[
        "human",
        "user",
        "gpt",
        "assistant",
        "chatgpt",
        "bard",
        "bing",
        "system",
        "tool",
        "observation",
    ] = Field(alias="from")
    value: StrictStr


class _Record(BaseModel):
    model_config = ConfigDict(extra="allow")
    id: StrictStr | None = None
    user_id: StrictStr | None = None
    model: StrictStr | None = None
    language: StrictStr | None = None
    training_allowed: StrictBool | None = None
    started_at: datetime | None = Field(
        default=None, validation_alias=AliasChoices("started_at", "timestamp", "created_at")
    )
    conversations: list[_Turn] = Field(min_length=1)


def _conversation(number: int, record: _Record) -> Conversation:
    return Conversation(
        line=number,
        conversation_id=record.id or f"record-{number}",
        user_id=record.user_id,
        started_at=record.started_at,
        language=record.language,
        reported_model=record.model,
        training_allowed=record.training_allowed,
        messages=[Message(role=_ROLES[t.sender], content=t.value) for t in record.conversations],
        source=extra_fields(record),
    )


def read(stream: BinaryIO) -> Iterator[Conversation | Reject]:
    """Each record as a conversation; one without an id is told by its place in the file."""
    return convert(json_records(stream), _Record, _conversation)
