"""What a server's response says: the reply in parts, how it ended, and what was billed."""

from typing import Any, cast

import orjson

from deploysim_assets.endpoint.wire import Api
from deploysim_assets.schema import finish_reason, split_thinking

_BROKE_OFF = ("error", "abort", "aborted", "cancelled")
_MOST_TOKENS = 20_000_000
"""No context window holds so many: a usage above it is a mistake, and a budget cannot count it."""


class MalformedError(Exception):
    """A response with status 200 that is no answer."""


class UsageError(MalformedError):
    """An answer whose usage no budget can count."""


def answer(raw: bytes, api: Api) -> dict[str, Any]:
    """What a response says: status, content, reasoning, tool calls, attachments by type, finish
    reason (one of schema.FINISH_REASONS), tokens (None where it does not tell).

    MalformedError where it is no answer, or says something in a type that is not its own: nothing
    is ever made into a text that was none.
    """
    try:
        body: dict[str, Any] = orjson.loads(raw)
        found = (_chat_answer if api == "chat" else _responses_answer)(body)
        served = body.get("model"), body.get("system_fingerprint")
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as wrong:
        said = f": {wrong}" if isinstance(wrong, _WrongError) else f" ({type(wrong).__name__})"
        raise MalformedError(f"the response is no answer{said}") from None
    found["reported_model"], found["system_fingerprint"] = (
        name if isinstance(name, str) else None for name in served
    )
    return found


class _WrongError(ValueError):
    """A field of a type that is not its own; the message names the field, never what it holds."""


def _text(value: Any, name: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise _WrongError(f"{name} is a {type(value).__name__}")


class _Parts:
    """Texts, thoughts, refusals and attachments of a reply, in the order in which they stood."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.thoughts: list[str] = []
        self.refusals: list[str] = []
        self.attachments: list[str] = []

    def add(self, part: Any) -> None:
        """Take one part of a content list."""
        if isinstance(part, str):
            self.texts.append(part)
            return
        if not isinstance(part, dict):
            raise _WrongError(f"content holds a {type(part).__name__}")
        part = cast("dict[str, Any]", part)
        kind = part.get("type", "text")
        if kind in ("text", "output_text"):
            self.texts.append(_text(part["text"], "a text part") or "")
        elif kind == "refusal":
            self.refusals.append(_text(part["refusal"], "a refusal") or "")
        elif kind in ("thinking", "reasoning", "reasoning_text", "summary_text"):
            self.think(part)
        else:
            self.attachments.append(_text(kind, "the type of a part") or "unknown")

    def think(self, said: Any) -> None:
        """Take reasoning in whichever shape a server gives it: text, block, or list of them."""
        if isinstance(said, list):
            for one in cast("list[Any]", said):
                self.think(one)
        elif isinstance(said, dict):
            block = cast("dict[str, Any]", said)
            fields = ("thinking", "reasoning", "text", "summary", "content")
            self.think(next((block[f] for f in fields if block.get(f)), None))
        elif text := _text(said, "reasoning"):
            self.thoughts.append(text)

    def reply(self, *, no_calls: bool) -> dict[str, Any]:
        """Content, reasoning, refusal and attachments, thinking inside the content set apart."""
        content = "\n".join(self.texts) if self.texts or no_calls else None
        if content:
            thought, content = split_thinking(content)
            self.thoughts += [thought] if thought else []
        return {
            "content": content,
            "reasoning": "\n".join(dict.fromkeys(self.thoughts)) or None,
            "attachments": self.attachments,
        }


def _call(call: dict[str, Any], name: Any, arguments: Any) -> dict[str, Any]:
    if isinstance(arguments, dict):  # some servers parse what the model wrote
        arguments = orjson.dumps(cast("dict[str, Any]", arguments)).decode()
    if not isinstance(name, str) or not isinstance(arguments, str):
        raise _WrongError("a tool call without name or arguments")
    named = _text(call.get("id"), "the id of a tool call")
    return {"id": named, "name": name, "arguments": arguments}


def _chat_calls(message: dict[str, Any]) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = []
    listed: list[dict[str, Any]] = message.get("tool_calls") or []
    for call in listed:
        if call.get("type") == "custom":
            calls.append(_call(call, call["custom"]["name"], call["custom"]["input"]))
        else:
            calls.append(_call(call, call["function"]["name"], call["function"]["arguments"]))
    legacy: dict[str, Any] | None = message.get("function_call")
    if legacy:
        calls.append(_call(legacy, legacy["name"], legacy["arguments"]))
    return calls


_REASONING = ("reasoning", "reasoning_content", "thinking", "thinking_blocks", "reasoning_details")


def _chat_answer(body: dict[str, Any]) -> dict[str, Any]:
    choice: dict[str, Any] = body["choices"][0]
    if body.get("error") or choice.get("error"):  # of a gateway: what came before it is a part
        raise _WrongError("an error stands beside the answer")
    message: dict[str, Any] = choice["message"]
    parts = _Parts()
    content: Any = message.get("content")
    for name in _REASONING:
        if said := message.get(name):
            parts.think(said)
            break  # servers that give several say the same in each
    if isinstance(content, list):
        for part in cast("list[Any]", content):
            parts.add(part)
    elif (text := _text(content, "content")) is not None:
        parts.texts.append(text)
    if refusal := _text(message.get("refusal"), "refusal"):
        parts.refusals.append(refusal)
    calls = _chat_calls(message)
    return (
        _ended(choice.get("finish_reason"), parts)
        | parts.reply(no_calls=False)
        | {"tool_calls": calls}
        | _tokens(body, "prompt_tokens", "completion_tokens")
    )


def _responses_answer(body: dict[str, Any]) -> dict[str, Any]:
    if body["status"] not in ("completed", "incomplete"):
        error: dict[str, Any] = body.get("error") or {}
        code: Any = error.get("code")
        raise _WrongError(f"its status is {body['status']}{f' ({code})' if code else ''}")
    parts, calls = _Parts(), list[dict[str, Any]]()
    for item in body["output"]:
        if item["type"] == "message":
            for part in item["content"]:
                parts.add(part)
        elif item["type"] == "reasoning":
            parts.think([*(item.get("content") or ()), *(item.get("summary") or ())])
        elif item["type"] == "function_call":
            calls.append(_call({"id": item.get("call_id")}, item["name"], item["arguments"]))
        elif item["type"] == "custom_tool_call":
            calls.append(_call({"id": item.get("call_id")}, item["name"], item["input"]))
        else:
            parts.attachments.append(_text(item["type"], "the type of an item") or "unknown")
    incomplete: dict[str, Any] = body.get("incomplete_details") or {}
    reason: Any = incomplete.get("reason")
    if body["status"] == "incomplete":
        reason = reason or "length"
    return (
        _ended(reason or ("tool_calls" if calls else "stop"), parts)
        | parts.reply(no_calls=not calls)
        | {"tool_calls": calls}
        | _tokens(body, "input_tokens", "output_tokens")
    )


def _ended(said: Any, parts: _Parts) -> dict[str, Any]:
    """Status, error and finish reason. Empty and cut replies are told apart where the table is
    written: a judge's answer goes through here, too."""
    if said in _BROKE_OFF:
        raise _WrongError(f"the server broke off ({said})")
    finish = finish_reason(said) or "unknown"
    refusal = "\n".join(parts.refusals)
    if finish == "content_filter":
        status, error = "filtered", refusal or "content filter"
    elif refusal or finish == "refusal":
        status, error = "refused", refusal or "refusal"
    else:
        status, error = "completed", None
    return {"status": status, "error": error, "finish_reason": finish}


def _tokens(body: dict[str, Any], prompt: str, completion: str) -> dict[str, int | None]:
    usage: dict[str, Any] = body.get("usage") or {}
    return {
        name: _count(usage.get(said), said)
        for name, said in (("prompt_tokens", prompt), ("completion_tokens", completion))
    }


def _count(value: Any, name: str) -> int | None:
    if value is None:
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    whole = number and float(value).is_integer()
    if not whole or not 0 <= value <= _MOST_TOKENS:
        raise UsageError(f"the server reports a usage that cannot be: {name} {value!r:.20}")
    return int(value)
