"""The `langfuse` format: an export of traces with their observations, as a JSON array or JSON
lines."""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportOptionalMemberAccess=false, reportArgumentType=false
# pyright: reportMissingTypeStubs=false, reportAttributeAccessIssue=false, reportUnknownParameterType=false

from collections.abc import Iterator
from datetime import datetime
from typing import Any, BinaryIO

from pydantic import BaseModel, ConfigDict, Field, StrictStr, TypeAdapter

from deploysim_assets.logs.chat import ChatMessage, extra_fields
from deploysim_assets.logs.conversation import Conversation, Reject
from deploysim_assets.logs.records import convert, json_records


class _Observation(BaseModel):
    model_config = ConfigDict(populate_by_name=True)
    type: StrictStr = "SPAN"
    start: datetime | None = Field(default=None, alias="startTime")
    model: StrictStr | None = None
    input: Any = None
    output: Any = None


class _Trace(BaseModel):
    model_config = ConfigDict(extra="allow")
    id: StrictStr = Field(min_length=1)
    timestamp: datetime | None = None
    user: StrictStr | None = Field(default=None, alias="userId")
    input: Any = None
    output: Any = None
    metadata: Any = None
    observations: list[_Observation] = []


_MESSAGES = TypeAdapter(list[ChatMessage])


def _messages(value: Any, role: str) -> list[Any]:
    """Langfuse keeps what the integration sent: a list of messages, {messages: [...]}, one
    message, or a bare text."""
    if value is None:
        return []
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        found: Any = value.get("messages", value)
        return found if isinstance(found, list) else [{"role": role} | found]
    return [{"role": role, "content": value}]


def _conversation(number: int, trace: _Trace) -> Conversation | Reject:
    generations = [o for o in trace.observations if o.type == "GENERATION"]
    last = max(generations, key=lambda o: o.start.timestamp() if o.start else 0.0, default=None)
    whole = _messages(last.input if last else trace.input, "user") + _messages(
        last.output if last else trace.output, "assistant"
    )
    messages = _MESSAGES.validate_python(whole)
    if not messages:
        return Reject(number, "no generation, and neither input nor output of the trace")
    metadata: dict[str, Any] = trace.metadata if isinstance(trace.metadata, dict) else {}
    consent = metadata.get("training_allowed")
    return Conversation(
        line=number,
        conversation_id=trace.id,
        user_id=trace.user,
        started_at=trace.timestamp or (last.start if last else None),
        surface=_text(metadata.get("surface")),
        language=_text(metadata.get("language")),
        reported_model=last.model if last else None,
        training_allowed=consent if isinstance(consent, bool) else None,
        has_attachments=any(m.attached for m in messages),
        messages=[m.message() for m in messages],
        source=extra_fields(trace),
    )


def read(stream: BinaryIO) -> Iterator[Conversation | Reject]:
    """Each trace as a conversation: the input and output of its last generation, which hold the
    whole dialog so far."""
    return convert(json_records(stream), _Trace, _conversation)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
