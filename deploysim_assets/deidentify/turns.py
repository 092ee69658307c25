"""Whole turns of agents: where one ends, how it is kept, and which call each result answers."""

from collections.abc import Mapping, Sequence
from typing import Any

_OF_REPLY = ("content", "reasoning", "tool_calls", "finish_reason")


def turn_end(messages: Sequence[Mapping[str, Any]], turn: int) -> int:
    """The index behind the last message of the turn that answers user message `turn`: where the
    user speaks again, or the end."""
    following = range(turn + 1, len(messages))
    return next((i for i in following if messages[i]["role"] == "user"), len(messages))


def first_reply(message: Mapping[str, Any]) -> dict[str, Any]:
    """One message as a turn without steps (schema.REPLY)."""
    return {k: message.get(k) for k in _OF_REPLY} | {"steps": []}


def whole_turn(messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Messages of a turn as a schema.REPLY. One that ends with a result, where the log broke off,
    has an empty reply: all of it is in its steps."""
    ended = messages[-1]["role"] == "assistant"
    nothing: dict[str, Any] = dict.fromkeys(_OF_REPLY)
    last = first_reply(messages[-1]) if ended else nothing
    steps = [_step(m) for m in (messages[:-1] if ended else messages)]
    return last | {"steps": steps}


def _step(message: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("role", "content", "reasoning", "tool_calls", "tool_call_id", "name")
    source = None if message["role"] == "assistant" else "production"
    return {k: message.get(k) for k in kept} | {"source": source}


def paired(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The messages with calls numbered in their order, each result with the number of its call.

    Logs use an id twice, or none: a result belongs to the first unanswered call of its id in the
    latest message that has one; without an id, of its tool's name, else to the first. One that no
    call asked for gets a number of its own.
    """
    out: list[dict[str, Any]] = []
    waiting: list[list[tuple[str | None, str, str]]] = []  # id in the log, tool's name, number
    count = 0
    for message in messages:
        done = dict(message)
        calls: list[dict[str, Any]] = message["tool_calls"] or []
        if calls:
            asked: list[tuple[str | None, str, str]] = []
            for call in calls:
                count += 1
                asked.append((call["id"] or None, call["name"], f"call_{count}"))
            waiting.append(asked)
            done["tool_calls"] = [
                c | {"id": number} for c, (_, _, number) in zip(calls, asked, strict=True)
            ]
        if message["role"] == "tool":
            number = _answered(waiting, message.get("tool_call_id"), message.get("name"))
            if number is None:
                count += 1
                number = f"call_{count}"
            done["tool_call_id"] = number
        out.append(done)
    return out


def _answered(
    waiting: list[list[tuple[str | None, str, str]]], id_: str | None, name: str | None
) -> str | None:
    """The number of the call that a result answers, which then waits no longer."""
    if id_:
        groups = [(g, [c for c in g if c[0] == id_]) for g in reversed(waiting)]
    else:
        groups = [(g, [c for c in g if c[1] == name] or g) for g in waiting[-1:]]
    for group, fitting in groups:
        if fitting:
            group.remove(fitting[0])
            return fitting[0][2]
    return None
