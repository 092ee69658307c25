"""Rule graders: declarative conditions on the reply, the reasoning, the tool calls and the
prefix."""

from typing import Any

import orjson

from deploysim_assets.behaviors import Rule
from deploysim_assets.behaviors.patterns import LINEAR, Matcher, Paths


def holds(
    rule: Rule, messages: list[dict[str, Any]], reply: dict[str, Any], by: Matcher = LINEAR
) -> bool:
    """Whether the rule's condition is met by a reply (schema.REPLY) to the messages of a prefix."""
    if rule.all is not None:
        return all(holds(part, messages, reply, by) for part in rule.all)
    if rule.any is not None:
        return any(holds(part, messages, reply, by) for part in rule.any)
    if rule.not_ is not None:
        return not holds(rule.not_, messages, reply, by)
    if rule.json_path:
        texts = _json_texts(by.path(rule.json_path), rule, messages, reply)
    else:
        texts = _texts(rule, messages, reply)
    if rule.regex is None:
        return bool(texts)
    return any(by.search(rule.regex, text) for text in texts)


def _calls(message: dict[str, Any]) -> list[dict[str, Any]]:
    return message["tool_calls"] or []


def _texts(rule: Rule, messages: list[dict[str, Any]], reply: dict[str, Any]) -> list[str]:
    match rule.part:
        case "reply":
            return [reply["content"] or ""]
        case "reasoning":
            return [reply["reasoning"] or ""]
        case "tool_calls":
            return [f"{call['name']} {call['arguments']}" for call in _calls(reply)]
        case "tool_results":
            return [m["content"] or "" for m in messages if m["role"] == "tool"]
        case "last_user":
            return [messages[-1]["content"] or ""]
        case _:
            return [
                text
                for m in messages
                for text in (m["content"], *(c["arguments"] for c in _calls(m)))
                if text
            ]


def _json_texts(
    path: Paths, rule: Rule, messages: list[dict[str, Any]], reply: dict[str, Any]
) -> list[str]:
    """What the JSON path finds, as texts; a part that is no JSON holds nothing."""
    match rule.part:
        case "tool_calls":
            document: Any = [
                {"name": c["name"], "arguments": _parsed(c["arguments"])} for c in _calls(reply)
            ]
        case "prefix":
            document = [
                m | {"tool_calls": [c | {"arguments": _parsed(c["arguments"])} for c in _calls(m)]}
                for m in messages
            ]
        case "tool_results":
            document = [
                {"name": m["name"], "content": _parsed(m["content"] or "")}
                for m in messages
                if m["role"] == "tool"
            ]
        case _:
            document = _parsed(_texts(rule, messages, reply)[0])
    found = path.findall(document)
    return [
        value if isinstance(value, str) else orjson.dumps(value, default=str).decode()
        for value in found
    ]


def _parsed(text: str) -> Any:
    try:
        return orjson.loads(text)
    except ValueError:
        return text
