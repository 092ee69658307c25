"""The `wildchat` and `lmsys` formats: the public layouts of WildChat and LMSYS-Chat-1M, one row per
conversation with a list of turns: as Parquet, as JSON (lines), or as CSV with the turns as text."""

from collections.abc import Iterator
from typing import Annotated, Any, BinaryIO

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictStr

from deploysim_assets.logs.conversation import Conversation, Message, Reject, Time
from deploysim_assets.logs.dialog import message
from deploysim_assets.logs.parts import attached
from deploysim_assets.logs.records import convert, extra_fields, held, text
from deploysim_assets.logs.tables import listed, rows


class _Row(BaseModel):
    """`redacted`, `toxic` and the moderation columns are extra fields, and survive as such."""

    model_config = ConfigDict(extra="allow")
    conversation_hash: StrictStr | None = None
    conversation_id: StrictStr | None = None
    model: StrictStr | None = None
    timestamp: Time | None = None
    conversation: Annotated[list[Any], BeforeValidator(listed)] = Field(min_length=1)
    language: StrictStr | None = None
    hashed_ip: StrictStr | None = None


def _turns(turns: list[Any]) -> Iterator[Message]:
    for place, turn in enumerate(turns):
        where = f"conversation.{place}"
        said = {"role": held(turn, "role"), "content": held(turn, "content")}
        yield from message(said | {"at": held(turn, "timestamp")}, where=where)


def _conversation(number: int, row: _Row) -> Conversation:
    dialog = list(_turns(row.conversation))
    times = [m.at for m in dialog if m.at]
    users = [row.hashed_ip, *(text(t, "hashed_ip") for t in row.conversation)]
    return Conversation(
        line=number,
        conversation_id=row.conversation_hash or row.conversation_id or "",
        user_id=next((u for u in users if u), None),
        started_at=times[0] if times else row.timestamp,
        language=row.language,
        reported_model=row.model,
        has_attachments=attached(dialog),
        messages=dialog,
        source=extra_fields(row),
    )


def read(stream: BinaryIO) -> Iterator[Conversation | Reject]:
    """Each row as a conversation; WildChat's hashed address is the user. The data sets carry no
    consent flag of their own."""
    return convert(rows(stream, "conversation"), _Row, _conversation)
