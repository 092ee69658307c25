"""Messages as products and tracers write them -> messages of the conversations table: OpenAI's
chat and Responses interfaces, Anthropic's blocks, Gemini's parts, the parts of the OpenTelemetry
conventions, LangChain's serialized messages and Inspect's content.

Nothing said is lost: what is no text becomes a placeholder with its kind and digest. What is of no
known shape is a DialogError, which says where and never what.
"""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false

from datetime import datetime
from typing import Any

from pydantic import ValidationError

from deploysim_assets.logs.conversation import Message, ToolCall
from deploysim_assets.logs.parts import (
    DialogError,
    as_json_text,
    content_of,
    identifier,
    kind_of,
    parsed,
    placeholder,
    said,
    thoughts_of,
    tool_call,
)
from deploysim_assets.schema import finish_reason

ROLES = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human"), "user"),
    **dict.fromkeys(("assistant", "ai", "model", "gpt", "chatgpt", "bot", "bard", "bing"),
                    "assistant"),
    **dict.fromkeys(("tool", "function", "observation"), "tool"),
}  # fmt: skip
_LANGCHAIN = {
    "HumanMessage": "user",
    "AIMessage": "assistant",
    "SystemMessage": "system",
    "ToolMessage": "tool",
    "FunctionMessage": "tool",
    "ChatMessage": "",
}
_TEXTS = frozenset({"text", "input_text", "output_text", "summary_text", "compaction"})
_THOUGHTS = frozenset({"thinking", "reasoning", "reasoning_text", "redacted_thinking"})
_CALLS = frozenset({"tool_use", "server_tool_use", "mcp_tool_use", "tool_call", "function_call",
                    "server_tool_call", "custom_tool_call", "mcp_call", "tool-call"})  # fmt: skip
_RESULTS = frozenset({"tool_result", "mcp_tool_result", "tool_call_response",
                      "server_tool_call_response", "function_call_output",
                      "custom_tool_call_output", "tool-result"})  # fmt: skip
_SAYS = frozenset({"role", "content", "parts", "tool_calls", "function_call", "refusal", "audio",
                   "additional_kwargs"})  # fmt: skip
_GIVEN = ("content", "output", "response", "result", "server_tool_call_response")
_ANSWERS = ("call_id", "tool_use_id", "toolCallId", "id")


def messages(value: Any, role: str = "", where: str = "messages") -> list[Message]:
    """The messages of a list of any shapes; `role` is for those that name none."""
    if not isinstance(value, list):
        raise DialogError(f"{where}: Input should be a list of messages")
    if len(value) == 1 and isinstance(value[0], list):  # LangChain's batch of one
        value = value[0]
    if sum(isinstance(item, str) for item in value) > 1:  # printed objects, or several prompts
        raise DialogError(f"{where}: Input should be messages, not several texts")
    found: list[Message] = []
    alone = False
    for number, item in enumerate(value):
        if is_definition(item):
            continue
        before, alone = alone, _is_item(item)
        for m in message(item, role, f"{where}.{number}"):
            if (before or alone) and found and found[-1].role == m.role == "assistant":
                _join(found[-1], m)
            else:
                found.append(m)
    return found


def _is_item(value: Any) -> bool:
    """Whether this is an output item of OpenAI's Responses, which tell one reply as several: a
    thought, its calls, its text."""
    if not isinstance(value, dict) or "role" in value:
        return False
    kind = value.get("type")
    if not isinstance(kind, str):
        return "toolCallId" in value
    if kind in _CALLS | _THOUGHTS or kind.endswith("_call"):
        return True
    return not (kind in ROLES or _is_result(kind) or _SAYS & value.keys())


def _is_result(kind: str) -> bool:
    return kind in _RESULTS or kind.endswith(("_tool_result", "_call_output"))


def is_definition(value: Any) -> bool:
    """Whether this is the definition of a tool, which Langfuse lists among LangChain's messages."""
    content = value.get("content") if isinstance(value, dict) else None
    return (
        isinstance(content, dict)
        and content.get("type") == "function"
        and isinstance(content.get("function"), dict)
        and "parameters" in content["function"]
    )


def _join(reply: Message, more: Message) -> None:
    reply.content = _joined([t for t in (reply.content, more.content) if t is not None])
    reply.reasoning = _joined([t for t in (reply.reasoning, more.reasoning) if t is not None])
    reply.tool_calls = [*(reply.tool_calls or []), *(more.tool_calls or [])] or None
    reply.finish_reason = more.finish_reason or reply.finish_reason


def message(value: Any, role: str = "", where: str = "message") -> list[Message]:
    """One message of any shape; results of tools that stand among its parts come as messages of
    their own, in their place."""
    if isinstance(value, str) and role:
        return [Message(role=role, content=value)]
    if not isinstance(value, dict):
        raise DialogError(f"{where}: Input should be an object")
    content = value.get("content")
    if isinstance(content, str) and value.keys() == {"role", "content"}:  # nearly all of chat
        try:
            return [Message(role=_role(value, role, where), content=content)]
        except ValidationError as wrong:
            raise DialogError(f"{where}.content: Input should be a text") from wrong
    value = _plain(value)
    if _is_item(value) or ("role" not in value and _is_result(str(value.get("type")))):
        draft = _Draft("assistant", where)
        draft.take(value, where)
        return draft.messages()
    if not _SAYS & value.keys():
        raise DialogError(f"{where}: Input should be a message with a role and a content")
    return _Draft(_role(value, role, where), where).of(value)


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    """A LangChain message out of its wrapping, with its role."""
    if value.get("lc") == 1 and isinstance(value.get("kwargs"), dict):
        path = value.get("id")
        name = path[-1] if isinstance(path, list) and path else ""
        role = _LANGCHAIN.get(str(name).removesuffix("Chunk"), "")
        return {"role": role} | value["kwargs"] if role else value["kwargs"]
    if isinstance(value.get("data"), dict) and str(value.get("type")) in ROLES:
        return {"role": value["type"]} | value["data"]
    return value


def _role(value: dict[str, Any], role: str, where: str) -> str:
    said = value.get("role") or value.get("type") if "role" not in value else value["role"]
    if isinstance(said, str):
        said = said.removesuffix("MessageChunk").lower() if said.endswith("Chunk") else said
        if said in ROLES:
            return ROLES[said]
        if "additional_kwargs" in value and value.get("content") is not None:
            return "tool"  # Langfuse names LangChain's results of tools by the tool
    if role and ("role" not in value or value["role"] is None):
        return role
    raise DialogError(f"{where}.role: Input should be system, user, assistant or tool")


class _Draft:
    """The messages that one message of the source becomes."""

    def __init__(self, role: str, where: str) -> None:
        self.role, self.where = role, where
        self.done: list[Message] = []
        self.texts: list[str] = []
        self.thoughts: list[str] = []
        self.calls: list[ToolCall] = []
        self.name: str | None = None
        self.at: datetime | str | float | None = None
        self.finish: Any = None
        self.tool_call_id: str | None = None

    def of(self, value: dict[str, Any]) -> list[Message]:
        self.name = _text(value.get("name")) or _text(value.get("function"))
        if self.role == "tool" and value.get("role") not in ROLES:
            self.name = self.name or _text(value.get("role"))
        self.at = value.get("at")
        self.finish = next(
            (value[k] for k in ("finish_reason", "stop_reason", "finishReason") if value.get(k)),
            _told(value.get("response_metadata")),
        )
        self.tool_call_id = identifier(value, "tool_call_id", "toolCallId")
        for name in ("reasoning_content", "reasoning", "thinking"):
            if isinstance(value.get(name), str) and value[name] not in self.thoughts:
                self.thoughts.append(value[name])
        for name in ("parts",) if _said_by_parts(value) else ("content", "parts"):
            self.content(value.get(name), f"{self.where}.{name}")
        self._beside(value)
        self._extras(value)
        return self.messages(always=not self.done)

    def content(self, content: Any, where: str) -> None:
        if content is None:
            return
        if isinstance(content, str):
            self.texts.append(content)
        elif isinstance(content, list):
            for number, part in enumerate(content):
                self.take(part, f"{where}.{number}")
        elif isinstance(content, dict):
            self.take(content, where)
        else:
            raise DialogError(f"{where}: Input should be a text or a list of parts")

    def _beside(self, value: dict[str, Any]) -> None:
        """Thoughts and files that stand beside the content."""
        if not self.thoughts:  # else they say again what stands there
            blocks = (value.get("thinking_blocks"), value.get("reasoning_details"))
            listed = next((b for b in blocks if isinstance(b, list) and b), [])
            self.thoughts += [t for b in listed if isinstance(b, dict) for t in thoughts_of(b)]
        for name in ("images", "experimental_attachments"):
            beside = value.get(name)
            for held in beside if isinstance(beside, list) else []:
                named = content_of(held) if isinstance(held, dict) else held
                self.texts.append(placeholder("image" if name == "images" else "file", named))

    def _extras(self, value: dict[str, Any]) -> None:
        """What stands beside the content: calls, refusals, spoken replies, errors of tools."""
        more = value.get("additional_kwargs")
        more = more if isinstance(more, dict) else {}
        named = (
            value.get("tool_calls") or more.get("tool_calls"), value.get("invalid_tool_calls")
        )  # fmt: skip
        seen = {call.id for call in self.calls if call.id}
        for calls in named:
            for number, call in enumerate(_list(parsed(calls), f"{self.where}.tool_calls")):
                made = tool_call(call, f"{self.where}.tool_calls.{number}")
                if made.id is None or made.id not in seen:  # LangChain says them twice
                    self.calls.append(made)
        if single := value.get("function_call") or more.get("function_call"):
            self.calls.append(tool_call(single, f"{self.where}.function_call"))
        if isinstance(refusal := value.get("refusal"), str):
            self.texts.append(refusal)
            self.finish = "refusal"
        if isinstance(spoken := value.get("audio"), dict):
            if isinstance(spoken.get("transcript"), str):
                self.texts.append(spoken["transcript"])
            self.texts.append(placeholder("audio", spoken.get("data") or spoken.get("id")))
        if isinstance(failed := value.get("error"), dict) and isinstance(
            failed.get("message"), str
        ):
            self.texts.append(failed["message"])
        elif isinstance(failed, str):
            self.texts.append(failed)

    def take(self, part: Any, where: str) -> None:
        """One part of a message."""
        if isinstance(part, str):
            self.texts.append(part)
            return
        if not isinstance(part, dict):
            raise DialogError(f"{where}: Input should be a part of a message")
        if isinstance(used := part.get("toolInvocation"), dict):  # Vercel's AI SDK
            part = {"type": "tool_call"} | used
        kind = part.get("type")
        kind = kind if isinstance(kind, str) else kind_of(part)
        if kind in _THOUGHTS or part.get("thought") is True or kind.endswith("ReasoningContent"):
            self.thoughts += thoughts_of(part)
        elif kind in _TEXTS:
            self.texts.append(said(part, where))
        elif kind == "refusal":
            self.texts.append(str(part.get("refusal") or ""))
            self.finish = "refusal"
        elif kind in _CALLS or ("toolName" in part and "result" not in kind):
            self._called(part, where)
        elif _is_result(kind):
            held = next((part[k] for k in _GIVEN if k in part), None)
            identity = identifier(part, *_ANSWERS)
            self._result(identity, part.get("name") or part.get("toolName"), held, where)
        elif kind.endswith("_call"):  # a tool of the provider's own: a search, a computer
            rest = {k: v for k, v in part.items() if k not in ("type", "id", "call_id", "status")}
            identity = identifier(part, "call_id", "id")
            self.calls.append(tool_call({"id": identity, "name": kind, "arguments": rest}, where))
        elif isinstance(part.get("text"), str):
            self.texts.append(part["text"])
        else:
            self.texts.append(placeholder(kind, content_of(part)))

    def _called(self, part: dict[str, Any], where: str) -> None:
        """A call, and what a server's tool gave where that stands in it."""
        self.calls.append(tool_call(part, where))
        answers = identifier(part, *_ANSWERS)
        said = next((part[k] for k in ("result", "output") if part.get(k) is not None), None)
        if (said := part.get("error") or said) is not None:
            self._result(answers, None, said, where)

    def _result(self, identity: str | None, name: Any, held: Any, where: str) -> None:
        self._flush()
        inner = _Draft("tool", where)
        if isinstance(held, list) and all(isinstance(p, dict | str) for p in held):
            inner.content(held, where)
            content = _joined(inner.texts)
        else:
            content = None if held is None else as_json_text(held)
        self.done.append(
            Message(role="tool", content=content, tool_call_id=identity, name=_text(name))
        )
        self.done += inner.done

    def _flush(self) -> None:
        if self.texts or self.thoughts or self.calls:
            self.done.append(self._message(_joined(self.texts), self.calls, None))
            self.texts, self.thoughts, self.calls = [], [], []

    def _message(
        self, content: str | None, calls: list[ToolCall] | None, identity: str | None
    ) -> Message:
        try:
            return Message(
                role=self.role,
                content=content,
                tool_calls=calls or None,
                tool_call_id=identity,
                name=self.name,
                reasoning="\n".join(self.thoughts) or None,
                at=self.at,  # pyright: ignore[reportArgumentType]
            )
        except ValueError as wrong:
            raise DialogError(f"{self.where}: a field is of the wrong kind") from wrong

    def messages(self, *, always: bool = False) -> list[Message]:
        if self.texts or self.thoughts or self.calls or always:
            text = _joined(self.texts)
            self.done.append(self._message(text, self.calls, self.tool_call_id))
        mine = [m for m in self.done if m.role == self.role]
        if mine:
            mine[-1].finish_reason = finish_reason(self.finish)
        return self.done


def _joined(texts: list[str]) -> str | None:
    return "\n".join(texts) if texts else None


def _said_by_parts(value: dict[str, Any]) -> bool:
    """Whether the content says again what the parts say, as Vercel's AI SDK writes it."""
    parts, content = value.get("parts"), value.get("content")
    if not isinstance(parts, list) or not isinstance(content, str):
        return False
    texts = [p.get("text") for p in parts if isinstance(p, dict) and p.get("type") == "text"]
    said = [text for text in texts if isinstance(text, str)]
    return bool(said) and content in ("".join(said), "\n".join(said))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _list(value: Any, where: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise DialogError(f"{where}: Input should be a list")
    return value


def _told(metadata: Any) -> Any:
    """The finish reason that LangChain's response_metadata holds."""
    held: dict[str, Any] = metadata if isinstance(metadata, dict) else {}
    return next((held[k] for k in ("finish_reason", "stop_reason", "done_reason")
                 if held.get(k)), None)  # fmt: skip
