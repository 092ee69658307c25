"""Parts of messages: calls of tools, thoughts, texts, and what is no text, as the interfaces of
providers and tracers write them."""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

import orjson

from deploysim_assets.logs.conversation import Message, ToolCall

_HOLDS = ("image_url", "image", "source", "input_audio", "audio", "file", "video", "document",
          "inlineData", "inline_data", "data", "content", "uri", "url", "file_id")  # fmt: skip
_NAMES = ("call_id", "toolCallId", "id")
_KIND = re.compile(r"[a-z][a-z0-9_./+-]{0,40}")
_DATA_URL = re.compile(r"data:([\w.+/-]{0,80})(?:;[\w=.-]{0,80})*;base64,", re.ASCII)
_CODE_RAN = {"executableCode": "args", "executable_code": "args",
             "codeExecutionResult": "response", "code_execution_result": "response"}  # fmt: skip
"""Parts of the interpreter that Gemini runs itself, which has no name and no ids, and what each
holds."""
_PLACEHOLDER = re.compile(r"\[[a-z][\w./+ -]{0,130} sha256:[0-9a-f]{16}\]")


class DialogError(ValueError):
    """A message of no known shape. Its text names the place and the kind of defect only."""


def as_json_text(value: Any) -> str:
    """Tool arguments and results as JSON text; a text stays as it is."""
    if isinstance(value, str):
        return value
    try:
        return orjson.dumps(value, default=str).decode()
    except (TypeError, ValueError):  # integers over 64 bits, lone surrogates
        return json.dumps(value, default=str)


def parsed(value: Any) -> Any:
    """A text that is JSON as what it says, once or twice encoded; anything else as it is."""
    for _ in range(2):
        if not isinstance(value, str) or value.lstrip()[:1] not in ("{", "[", '"'):
            return value
        try:
            value = orjson.loads(value)
        except ValueError:
            return value
    return value


def placeholder(kind: Any, held: Any) -> str:
    """What stands for an image, a file or any other part that is no text: `[image image/png
    sha256:0123456789abcdef]`, of its bytes where they are there, else of what names it."""
    media, content = "", held
    if isinstance(held, str) and (inline := _DATA_URL.match(held)):
        media = inline.group(1)
        try:
            content = base64.b64decode(held[inline.end() :], validate=True)
        except (binascii.Error, ValueError):
            content = held
    raw = content if isinstance(content, bytes) else as_json_text(content).encode(errors="replace")
    name = kind if isinstance(kind, str) and _KIND.fullmatch(kind) else "part"
    said = " ".join(filter(None, (name, media, f"sha256:{hashlib.sha256(raw).hexdigest()[:16]}")))
    return f"[{said}]"


def attached(dialog: list[Message]) -> bool:
    """Whether a message held something that was no text."""
    return any(m.content and _PLACEHOLDER.search(m.content) for m in dialog)


def identifier(holder: dict[str, Any], *names: str) -> str | None:
    """The first of some fields that names a call, as text; some products count their calls."""
    for value in (holder.get(name) for name in names):
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if isinstance(value, str) and value:
            return value
    return None


def tool_call(call: Any, where: str) -> ToolCall:
    """A call as any interface writes it: {function: {name, arguments}}, {name, input}, {name,
    args}, {function: name, args}, {tool_call: {...}}."""
    if isinstance(call, dict) and isinstance(call.get("tool_call"), dict):
        call = call["tool_call"]
    if not isinstance(call, dict):
        raise DialogError(f"{where}: Input should be a call of a tool")
    inside = next((call[k] for k in ("function", "custom", "functionCall", "server_tool_call")
                   if isinstance(call.get(k), dict)), call)  # fmt: skip
    name = inside.get("name") or call.get("name") or call.get("toolName")
    if name is None and isinstance(call.get("function"), str):
        name = call["function"]
    held = next((inside[k] for k in ("arguments", "input", "args") if k in inside), None)
    if held is None and inside is not call and "arguments" in call:
        held = call["arguments"]
    if not isinstance(name, str):
        raise DialogError(f"{where}.name: Input should be a text")
    given = next((name for name in _NAMES if call.get(name) not in (None, "")), None)
    identity = identifier(call, given) if given else None
    if given and identity is None:
        raise DialogError(f"{where}.id: Input should be a text")
    try:
        arguments = "{}" if held is None else as_json_text(held)
        return ToolCall(id=identity, name=name, arguments=arguments)
    except ValueError as wrong:
        raise DialogError(f"{where}: a field is of the wrong kind") from wrong


def kind_of(part: dict[str, Any]) -> str:
    """The kind of a part of Gemini's, which says it by its key; what a call or result holds is
    lifted into the part."""
    for key, kind in (
        ("functionCall", "function_call"),
        ("function_call", "function_call"),
        ("functionResponse", "gemini_tool_result"),
        ("function_response", "gemini_tool_result"),
        ("executableCode", "function_call"),
        ("executable_code", "function_call"),
        ("codeExecutionResult", "gemini_tool_result"),
        ("code_execution_result", "gemini_tool_result"),
        ("text", "text"),
        ("inlineData", "image"),
        ("inline_data", "image"),
        ("fileData", "file"),
        ("file_data", "file"),
    ):
        if key in part:
            if key in _CODE_RAN:
                part |= {"name": "code_execution", _CODE_RAN[key]: part[key]}
            elif kind == "function_call":
                part |= part[key] if isinstance(part[key], dict) else {}
            elif kind == "gemini_tool_result" and isinstance(part[key], dict):
                part |= part[key]
            return kind
    return "part"


def said(part: dict[str, Any], where: str) -> str:
    """The text of a part."""
    text = part["text"] if "text" in part else part.get("content")
    if isinstance(text, dict):  # OpenAI's assistants: {value, annotations}
        text = text.get("value")
    if text is None:
        return ""
    if not isinstance(text, str):
        raise DialogError(f"{where}.text: Input should be a text")
    return text


def thoughts_of(part: dict[str, Any]) -> Iterator[str]:
    """The thoughts of a part, in full and in their summary; sealed ones as a placeholder."""
    found: list[str] = []
    for key in ("thinking", "reasoning", "text", "content", "summary"):
        held = part.get(key)
        if (key == "reasoning" and part.get("redacted") is True) or (found and key != "summary"):
            continue
        listed = held if isinstance(held, list) else [{"text": held}]
        texts = (inner.get("text") for inner in listed if isinstance(inner, dict))
        new = [t for t in texts if isinstance(t, str) and t]
        found += [t for t in new if t not in found] if key == "summary" else new
    yield from found
    if found:
        return
    sealed = part.get("data") or part.get("encrypted_content") or part.get("reasoning")
    if sealed:
        yield placeholder("redacted_thinking", sealed)


def content_of(part: dict[str, Any]) -> Any:
    """What a part that is no text holds: its data, else what names it."""
    for key in _HOLDS:
        held = part.get(key)
        if isinstance(held, dict):
            media = held.get("media_type") or held.get("mimeType") or held.get("mime_type")
            named = next((held[k] for k in ("url", "data", "file_data", "uri", "file_id")
                          if isinstance(held.get(k), str)), None)  # fmt: skip
            if named is None:
                return held
            inline = isinstance(media, str) and "data" in held and not named.startswith("data:")
            return f"data:{media};base64,{named}" if inline else named
        if isinstance(held, str):
            media = part.get("mime_type") or part.get("media_type")
            inline = isinstance(media, str) and key in ("content", "data")
            return f"data:{media};base64,{held}" if inline else held
    return part
