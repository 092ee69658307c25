"""Whole turns of agents: where one ends, how it is kept, and which call each result answers."""

from collections import deque
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
    latest message that has one; without an id, to one of its tool's name in the latest message with
    calls, else to the first there. One that no call asked for gets a number of its own.
    """
    waiting = _Waiting()
    out: list[dict[str, Any]] = []
    for message in messages:
        done = dict(message)
        if message["tool_calls"]:
            done["tool_calls"] = waiting.asked(message["tool_calls"])
        if message["role"] == "tool":
            done["tool_call_id"] = waiting.answered(
                message.get("tool_call_id"), message.get("name")
            )
        out.append(done)
    return out


class _Waiting:
    """Calls that wait for their results. Every look-up is constant: a message may hold 100,000
    calls."""

    def __init__(self) -> None:
        self._count = 0
        self._done: set[str] = set()
        self._by_id: dict[str, list[deque[str]]] = {}
        self._by_name: dict[str | None, deque[str]] = {}
        self._latest: deque[str] = deque()

    def _number(self) -> str:
        self._count += 1
        return f"call_{self._count}"

    def asked(self, calls: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The calls of a message with their numbers."""
        mine: dict[str, deque[str]] = {}
        self._by_name, self._latest = {}, deque()
        numbered: list[dict[str, Any]] = []
        for call in calls:
            number = self._number()
            numbered.append(dict(call) | {"id": number})
            self._latest.append(number)
            self._by_name.setdefault(call["name"], deque()).append(number)
            if call["id"]:
                mine.setdefault(call["id"], deque()).append(number)
        for name, numbers in mine.items():
            self._by_id.setdefault(name, []).append(numbers)
        return numbered

    def answered(self, id_: str | None, name: str | None) -> str:
        """The number of the call that a result answers, which then waits no longer."""
        groups = self._by_id.get(id_, []) if id_ else [self._latest, self._by_name.get(name)]
        while groups:
            group = groups[-1]
            while group:
                number = group.popleft()
                if number not in self._done:
                    self._done.add(number)
                    return number
            groups.pop()
        return self._number()
