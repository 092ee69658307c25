"""The `sharegpt` format: a JSON array or JSON lines of {id, conversations: [{from, value}]}."""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Iterator
from typing import Any, BinaryIO

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, StrictBool, StrictStr

from deploysim_assets.logs.conversation import Conversation, Message, Reject, Time, ToolCall
from deploysim_assets.logs.dialog import ROLES, message
from deploysim_assets.logs.parts import DialogError, as_json_text, attached, parsed
from deploysim_assets.logs.records import convert, extra_fields, held, json_records


class _Record(BaseModel):
    model_config = ConfigDict(extra="allow")
    id: StrictStr | None = None
    user_id: StrictStr | None = None
    model: StrictStr | None = None
    language: StrictStr | None = None
    training_allowed: StrictBool | None = None
    system: StrictStr | None = None
    started_at: Time | None = Field(
        default=None, validation_alias=AliasChoices("started_at", "timestamp", "created_at")
    )
    conversations: list[Any] = Field(min_length=1)


def _turn(turn: Any, where: str) -> list[Message]:
    """A turn; `function_call` is LLaMA-Factory's name for a call that the model wrote as JSON."""
    sender, value = held(turn, "from", "role"), held(turn, "value", "content")
    if sender in ("function_call", "tool_call") and isinstance(value, str):
        said = parsed(value)
        calls = said if isinstance(said, list) else [said]
        if all(isinstance(c, dict) and isinstance(c.get("name"), str) for c in calls):
            made = [
                ToolCall(
                    name=c["name"], arguments=as_json_text(held(c, "arguments", "parameters") or {})
                )
                for c in calls
            ]
            return [Message(role="assistant", tool_calls=made)]
        return [Message(role="assistant", content=value)]
    if not isinstance(sender, str) or sender not in ROLES:
        raise DialogError(f"{where}.from: Input should be human, gpt, system or tool")
    return message({"role": sender, "content": value}, where=where)


def _conversation(number: int, record: _Record) -> Conversation:
    dialog = [Message(role="system", content=record.system)] if record.system else []
    for place, turn in enumerate(record.conversations):
        dialog += _turn(turn, f"conversations.{place}")
    return Conversation(
        line=number,
        conversation_id=record.id or "",
        user_id=record.user_id,
        started_at=record.started_at,
        language=record.language,
        reported_model=record.model,
        training_allowed=record.training_allowed,
        has_attachments=attached(dialog),
        messages=dialog,
        source=extra_fields(record),
    )


def read(stream: BinaryIO) -> Iterator[Conversation | Reject]:
    """Each record as a conversation."""
    return convert(json_records(stream), _Record, _conversation)
