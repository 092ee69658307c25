"""The `wildchat` format: the public Parquet layout, one row per conversation with a list of
turns."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, BinaryIO, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictStr

from deploysim_assets.logs.chat import extra_fields
from deploysim_assets.logs.conversation import Conversation, Message, Reject
from deploysim_assets.logs.records import convert, parquet_rows


class _Turn(BaseModel):
    role: Literal["system", "user", "assistant"]
    content: StrictStr | None = None
    timestamp: datetime | None = None
    hashed_ip: StrictStr | None = None


class _Row(BaseModel):
    """`redacted`, `toxic` and the moderation columns are extra fields, and survive as such."""

    model_config = ConfigDict(extra="allow")
    conversation_hash: StrictStr = Field(min_length=1)
    model: StrictStr | None = None
    timestamp: datetime | None = None
    conversation: list[_Turn] = Field(min_length=1)
    language: StrictStr | None = None
    hashed_ip: StrictStr | None = None


def _conversation(number: int, row: _Row) -> Conversation:
    times = [t.timestamp for t in row.conversation if t.timestamp]
    users: list[Any] = [row.hashed_ip, *(t.hashed_ip for t in row.conversation)]
    return Conversation(
        line=number,
        conversation_id=row.conversation_hash,
        user_id=next((u for u in users if u), None),
        started_at=times[0] if times else row.timestamp,
        language=row.language,
        reported_model=row.model,
        messages=[
            Message(role=t.role, content=t.content, at=t.timestamp) for t in row.conversation
        ],
        source=extra_fields(row),
    )


def read(stream: BinaryIO) -> Iterator[Conversation | Reject]:
    """Each row as a conversation; the hashed address is the user. The data set carries no
    consent flag of its own."""
    return convert(parquet_rows(stream, "conversation"), _Row, _conversation)
