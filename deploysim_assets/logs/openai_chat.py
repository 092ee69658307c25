"""The `openai_chat` format: JSON lines, one conversation each, messages as the chat API writes them."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr, ValidationError

from deploysim_assets.logs.conversation import Conversation, Message, Reject, ToolCall


class _Function(BaseModel):
    name: StrictStr
    arguments: StrictStr | dict[str, Any] = ""


class _ToolCall(BaseModel):
    id: StrictStr | None = None
    function: _Function


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow")
    type: StrictStr
    text: StrictStr | None = None


class _Message(BaseModel):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: StrictStr | list[_Part] | None = None
    tool_calls: list[_ToolCall] | None = None
    tool_call_id: StrictStr | None = None
    name: StrictStr | None = None
    reasoning: StrictStr | None = None
    at: datetime | None = None

    def text(self) -> str | None:
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content if part.text is not None)
        return self.content

    def attached(self) -> bool:
        return isinstance(self.content, list) and any(part.type != "text" for part in self.content)


class _Line(BaseModel):
    model_config = ConfigDict(extra="allow")
    conversation_id: StrictStr = Field(min_length=1)
    user_id: StrictStr | None = None
    started_at: datetime
    training_allowed: StrictBool | None = None
    is_temporary: StrictBool = False
    has_attachments: StrictBool = False
    surface: StrictStr | None = None
    language: StrictStr | None = None
    messages: list[_Message] = Field(min_length=1)


def _arguments(call: _ToolCall) -> str:
    given = call.function.arguments
    return given if isinstance(given, str) else orjson.dumps(given).decode()


def _conversation(line: _Line, number: int) -> Conversation:
    messages = [
        Message(
            role="system" if m.role == "developer" else m.role,
            content=m.text(),
            tool_calls=[ToolCall(id=c.id, name=c.function.name, arguments=_arguments(c)) for c in m.tool_calls] if m.tool_calls else None,
            tool_call_id=m.tool_call_id,
            name=m.name,
            reasoning=m.reasoning,
            at=m.at,
        )
        for m in line.messages
    ]
    return Conversation(
        line=number,
        conversation_id=line.conversation_id,
        user_id=line.user_id,
        started_at=line.started_at,
        surface=line.surface,
        language=line.language,
        training_allowed=line.training_allowed,
        is_temporary=line.is_temporary,
        has_attachments=line.has_attachments or any(m.attached() for m in line.messages),
        messages=messages,
        source=orjson.dumps(line.model_extra).decode() if line.model_extra else None,
    )


def _reason(wrong: ValidationError) -> str:
    first = wrong.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]


def read(path: Path) -> Iterator[Conversation | Reject]:
    """Each line of a JSONL file as a conversation, or as a reject with its line number and reason. Blank lines are passed over."""
    with path.open("rb") as file:  # bytes: text mode would also end a line at U+2028
        for number, raw in enumerate(file, 1):
            if not raw.strip():
                continue
            try:
                yield _conversation(_Line.model_validate_json(raw), number)
            except ValidationError as wrong:
                yield Reject(number, _reason(wrong))
