"""Messages as the chat API writes them, which several formats share."""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportOptionalMemberAccess=false, reportArgumentType=false
# pyright: reportMissingTypeStubs=false, reportAttributeAccessIssue=false, reportUnknownParameterType=false

from datetime import datetime
from typing import Any, Literal

import orjson
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, StrictStr, model_validator

from deploysim_assets.logs.conversation import Message, ToolCall
from deploysim_assets.schema import finish_reason


class _Function(BaseModel):
    name: StrictStr
    arguments: StrictStr | dict[str, Any] = ""


class ChatToolCall(BaseModel):
    """{id, function: {name, arguments}}, or the flat {id, function: name, args} of agent
    benchmarks."""

    id: StrictStr | None = None
    function: _Function

    @model_validator(mode="before")
    @classmethod
    def _flat(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("function"), str):
            return {
                "id": value.get("id"),
                "function": {"name": value["function"], "arguments": value.get("args") or {}},
            }
        return value


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow")
    type: StrictStr = "text"
    text: StrictStr | None = Field(default=None, validation_alias=AliasChoices("text", "content"))


class ChatMessage(BaseModel):
    """A message; content is a text, or parts of which the texts are joined and any other is an
    attachment."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: StrictStr | list[_Part] | None = None
    tool_calls: list[ChatToolCall] | None = None
    tool_call_id: StrictStr | None = None
    name: StrictStr | None = None
    reasoning: StrictStr | None = Field(
        default=None, validation_alias=AliasChoices("reasoning", "reasoning_content")
    )
    at: datetime | None = None
    finish: Any = Field(default=None, validation_alias="finish_reason")

    @property
    def attached(self) -> bool:
        return isinstance(self.content, list) and any(part.type != "text" for part in self.content)

    def message(self) -> Message:
        """The message as the conversations table holds it."""
        text = self.content
        if isinstance(text, list):
            text = "\n".join(part.text for part in text if part.text is not None)
        calls = [
            ToolCall(id=c.id, name=c.function.name, arguments=as_json_text(c.function.arguments))
            for c in self.tool_calls or []
        ]
        return Message(
            role="system" if self.role == "developer" else self.role,
            content=text,
            tool_calls=calls or None,
            tool_call_id=self.tool_call_id,
            name=self.name,
            reasoning=self.reasoning,
            at=self.at,
            finish_reason=finish_reason(self.finish),
        )


def as_json_text(value: Any) -> str:
    """Tool arguments as the JSON text they are sent as."""
    return value if isinstance(value, str) else orjson.dumps(value, default=str).decode()


def extra_fields(model: BaseModel) -> str | None:
    """The source's fields that no column has, as JSON: they survive in `source`."""
    return as_json_text(model.model_extra) if model.model_extra else None
