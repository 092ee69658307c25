"""Rule graders: declarative conditions on the reply, the reasoning, the tool calls and results, and
the prefix; of an agent on its whole turn."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import orjson

from deploysim_assets.behaviors import Rule
from deploysim_assets.behaviors.patterns import LINEAR, Matcher, Paths


class NotTold(Exception):
    """What a rule asks about is nested too deeply to be looked into."""


class _Seen(NamedTuple):
    """What a condition looks at: the messages of the prefix, what the model wrote, and the results
    of tools. `whole` tells a turn from its first steps."""

    messages: list[dict[str, Any]]
    written: Sequence[dict[str, Any]]
    results: Sequence[dict[str, Any]]
    whole: bool = True


def holds(
    rule: Rule, messages: list[dict[str, Any]], reply: dict[str, Any], by: Matcher = LINEAR
) -> bool:
    """Whether the rule's condition is met by a reply (schema.REPLY, with its steps) to the messages
    of a prefix; NotTold where that cannot be looked into."""
    steps: list[dict[str, Any]] = reply.get("steps") or []
    written = [*(s for s in steps if s["role"] == "assistant"), reply]
    results = [m for m in (*messages, *steps) if m["role"] == "tool"]
    return _met(rule, _Seen(messages, written, results), [*steps, reply], by)


def first_met(
    rule: Rule,
    messages: list[dict[str, Any]],
    turn: Sequence[dict[str, Any]],
    *,
    ended: bool,
    by: Matcher = LINEAR,
) -> int | None:
    """The step, counted from 1, with which a turn first meets a rule that stays met; None where it
    does not, NotTold where that cannot be looked into. A step is a message of the model, with the
    results of its calls where those came; `ended` tells a turn that came to its end from one that
    was broken off."""
    starts = [i for i, message in enumerate(turn) if message.get("role") != "tool"]
    ends = [*starts[1:], len(turn)]

    def met_by(step: int) -> bool:
        so_far = turn[: ends[step - 1]]
        written = [turn[i] for i in starts[:step]]
        results = [m for m in (*messages, *so_far) if m["role"] == "tool"]
        whole = ended and step == len(starts)
        return _met(rule, _Seen(messages, written, results, whole), so_far, by)

    if not starts or not met_by(len(starts)):
        return None
    return 1 + bisect_left(range(1, len(starts) + 1), True, key=met_by)


def _met(rule: Rule, seen: _Seen, turn: Sequence[dict[str, Any]], by: Matcher) -> bool:
    if rule.all is not None:
        return all(_met(part, seen, turn, by) for part in rule.all)
    if rule.any is not None:
        return any(_met(part, seen, turn, by) for part in rule.any)
    if rule.not_ is not None:
        return not _met(rule.not_, seen, turn, by)
    if rule.any_step is not None:
        return _following((rule.any_step,), seen, turn, by)
    if rule.sequence is not None:
        return _following(rule.sequence, seen, turn, by)
    if rule.json_path:
        texts = _json_texts(by.path(rule.json_path), rule, seen)
    else:
        texts = _texts(rule, seen)
    if rule.regex is None:
        return bool(texts)
    return any(by.search(rule.regex, text) for text in texts)


def _following(
    rules: Sequence[Rule], seen: _Seen, turn: Sequence[dict[str, Any]], by: Matcher
) -> bool:
    """Whether messages of the turn meet the rules one after another, each in a later message: the
    first that meets a rule leaves most to the next."""
    wanted = iter(rules)
    rule = next(wanted)
    for message in turn:
        is_result = message.get("role") == "tool"
        alone = _Seen(seen.messages, [] if is_result else [message], [message] if is_result else [])
        if _met(rule, alone, [message], by):
            following = next(wanted, None)
            if following is None:
                return True
            rule = following
    return False


def _calls(message: dict[str, Any]) -> list[dict[str, Any]]:
    return message["tool_calls"] or []


def _all_calls(seen: _Seen) -> Iterator[dict[str, Any]]:
    return (call for message in seen.written for call in _calls(message))


def _said(seen: _Seen, name: str) -> list[str]:
    """What the model wrote, step by step; a last message that says nothing is an empty text, a step
    that only calls is none."""
    texts = [m[name] or "" for m in seen.written]
    last = texts[-1:] if seen.whole else []
    return [text for text in texts[: len(texts) - len(last)] if text] + last


def _texts(rule: Rule, seen: _Seen) -> list[str]:
    match rule.part:
        case "reply":
            return _said(seen, "content")
        case "reasoning":
            return _said(seen, "reasoning")
        case "tool_calls":
            return [f"{call['name']} {call['arguments']}" for call in _all_calls(seen)]
        case "tool_results":
            return [m["content"] or "" for m in seen.results]
        case "last_user":
            return [seen.messages[-1]["content"] or ""]
        case _:
            return [
                text
                for m in seen.messages
                for text in (m["content"], *(c["arguments"] for c in _calls(m)))
                if text
            ]


def _json_texts(path: Paths, rule: Rule, seen: _Seen) -> list[str]:
    """What the JSON path finds, as texts; a part that is no JSON holds nothing."""
    match rule.part:
        case "tool_calls":
            documents: list[Any] = [
                [
                    _with_arguments({"name": c["name"], "arguments": c["arguments"]})
                    for c in _all_calls(seen)
                ]
            ]
        case "prefix":
            documents = [
                [
                    m
                    | {
                        "tool_calls": [
                            c | {"arguments": _parsed(c["arguments"])} for c in _calls(m)
                        ]
                    }
                    for m in seen.messages
                ]
            ]
        case "tool_results":
            documents = [
                [{"name": m["name"], "content": _parsed(m["content"] or "")} for m in seen.results]
            ]
        case _:
            documents = [_parsed(text) for text in _texts(rule, seen)]
    try:
        found = [value for document in documents for value in path.findall(document)]
        return [
            value if isinstance(value, str) else orjson.dumps(value, default=str).decode()
            for value in found
        ]
    except (RecursionError, orjson.JSONEncodeError):
        raise NotTold from None


def _with_arguments(call: dict[str, Any]) -> dict[str, Any]:
    return call | {"arguments": _parsed(call["arguments"])}


def _parsed(text: str) -> Any:
    try:
        return orjson.loads(text)
    except ValueError:
        return text
