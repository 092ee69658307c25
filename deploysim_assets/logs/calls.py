"""Logs of calls -> conversations. Tracers and gateways log one record per call of a model, and
each call carries the whole dialog so far: the last, longest call of a conversation is the
conversation.

The calls of one may lie anywhere in the files, so they are sorted on disk first: memory stays flat.
"""

import itertools
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, NamedTuple

import orjson

from deploysim_assets.logs.conversation import Conversation, Message, Reject
from deploysim_assets.logs.parts import as_json_text


class Call(NamedTuple):
    """One record of a trace: what it belongs to, when it was (nanoseconds since 1970), and what
    it holds as JSON; None where it only tells whose the trace is. A trace without a name is a
    trace of its own."""

    trace: str
    session: str | None
    user: str | None
    at: int
    body: Any


class Row(NamedTuple):
    """A call as it comes back from the disk: its file and line, and its body."""

    file: int
    line: int
    body: Any


class Trace(NamedTuple):
    """The calls of one trace in the order of time, and whose they are."""

    name: str
    user: str | None
    rows: Iterator[Row]


class Found(NamedTuple):
    """A conversation or a reject, and the number of the file that it came from."""

    file: int
    item: Conversation | Reject


Calls = Callable[[BinaryIO], Iterator[tuple[int, Call | Reject]]]
_AT_ONCE = 32
_NANOSECONDS = range(-(2**63), 2**63)


class CallReader:
    """A format's reader made of its calls and of what a trace of them says."""

    def __init__(self, calls: Calls, found_in: Callable[[Trace], Iterator[Found]]) -> None:
        self._calls, self._found_in = calls, found_in

    def __call__(self, stream: BinaryIO, /) -> Iterator[Conversation | Reject]:
        """The conversations of one file."""
        for found in self.over([self.calls(stream)]):
            yield found.item

    def calls(self, stream: BinaryIO) -> Iterator[tuple[int, Call | Reject]]:
        """Line and call of each record of a file, or the reject of what is none."""
        return self._calls(stream)

    def over(self, files: Iterable[Iterator[tuple[int, Call | Reject]]]) -> Iterator[Found]:
        """The conversations of several files, whose calls may belong together."""
        disk = sqlite3.connect("")  # on disk, without a name: nothing is left when it is killed
        try:
            disk.execute(
                "create table call (trace, session, user, at integer, file integer, "
                "line integer, body blob)"
            )
            serial = itertools.count()
            for number, calls in enumerate(files):
                for line, call in calls:
                    if isinstance(call, Reject):
                        yield Found(number, call)
                    else:
                        disk.execute(
                            "insert into call values (?, ?, ?, ?, ?, ?, ?)",
                            _stored(call, number, line, next(serial)),
                        )
            yield from self._sorted(disk)
        finally:
            disk.close()

    def _sorted(self, disk: sqlite3.Connection) -> Iterator[Found]:
        disk.execute(
            "create table trace as select trace, min(session) session, min(user) user, "
            "min(at) at from call group by trace"
        )
        traces = disk.execute(
            "select trace, session, user from trace "
            "order by coalesce(session, trace), session is null, at, trace"
        )
        disk.execute("create index of_trace on call (trace, at, file, line)")
        group: tuple[bytes, bool] | None = None
        held: list[tuple[str, Found]] = []
        for trace, session, user in traces:
            mine = (session or trace, session is not None)
            if mine != group:
                yield from _named(held)
                group, held = mine, []
            name = str(trace, "utf-8", "surrogatepass")
            for found in self._found_in(
                Trace(name, user and str(user, "utf-8", "surrogatepass"), _rows(disk, trace))
            ):
                if isinstance(found.item, Reject):
                    yield found
                else:
                    if session is not None:
                        found.item.conversation_id = str(session, "utf-8", "surrogatepass")
                    elif name.startswith("\0"):
                        found.item.conversation_id = ""
                    held = _with(held, name, found)
                    if len(held) > _AT_ONCE:  # a session that is no conversation, but a service
                        yield from _named([held.pop(0)], last=0)
        yield from _named(held)


def _stored(call: Call, file: int, line: int, serial: int) -> tuple[Any, ...]:
    at = call.at if call.at in _NANOSECONDS else 0
    names = (n and n.encode("utf-8", "surrogatepass") for n in (call.session, call.user))
    body = None if call.body is None else as_json_text(call.body).encode()
    trace = call.trace or f"\0{serial}"
    return (trace.encode("utf-8", "surrogatepass"), *names, at, file, line, body)


def _rows(disk: sqlite3.Connection, trace: bytes) -> Iterator[Row]:
    for file, line, body in disk.execute(
        "select file, line, body from call where trace = ? and body is not null "
        "order by at, file, line",
        (trace,),
    ):
        yield Row(file, line, orjson.loads(body))


def longest(trace: Trace) -> Iterator[Found]:
    """The conversation of a trace whose bodies are conversations: the longest, of equal ones the
    last. What an answer's reject says counts only where no call could be read."""
    best: Found | None = None
    why: Found | None = None
    started = None
    for row in trace.rows:
        if "reason" in row.body:
            why = Found(row.file, Reject(row.line, row.body["reason"]))
            continue
        if best is None or len(row.body["messages"]) >= _length(best.item):
            item = Conversation.model_validate(row.body)
            started = started or item.started_at
            best = Found(row.file, item)
    if best is not None and isinstance(best.item, Conversation):
        best.item.user_id = best.item.user_id or trace.user
        best.item.started_at = started or best.item.started_at
    found = best or why
    if found:
        yield found


def call_of(
    trace: str, session: str | None, item: Conversation | Reject, user: str | None = None
) -> Call:
    """A call whose body is the conversation that it carries, or why it carries none: `longest`
    reads it."""
    if isinstance(item, Reject):
        return Call(trace, session, user, 0, {"reason": item.reason})
    at = int(item.started_at.timestamp() * 1e9) if item.started_at else 0
    return Call(trace, session, item.user_id or user, at, item.model_dump(mode="json"))


def _length(item: Conversation | Reject) -> int:
    return len(item.messages) if isinstance(item, Conversation) else 0


def _with(held: list[tuple[str, Found]], name: str, found: Found) -> list[tuple[str, Found]]:
    """The conversations of a session with one more; those that another one holds go."""
    item = found.item
    assert isinstance(item, Conversation)
    for _, other in held:
        whole = other.item
        if isinstance(whole, Conversation) and _holds(whole, item) and not _holds(item, whole):
            return held
    kept: list[tuple[str, Found]] = []
    for label, other in held:
        if isinstance(other.item, Conversation) and _holds(item, other.item):
            earlier = other.item.started_at
            if earlier and (item.started_at is None or earlier < item.started_at):
                item.started_at = earlier
            item.user_id = item.user_id or other.item.user_id
        else:
            kept.append((label, other))
    return [*kept, (name, found)]


def _holds(longer: Conversation, shorter: Conversation) -> bool:
    """Whether all that was said in one was said in the other, in this order."""
    said = iter(_said(longer))
    return all(any(mine == theirs for theirs in said) for mine in _said(shorter))


def _said(item: Conversation) -> list[tuple[str, str | None, int]]:
    return [_key(m) for m in item.messages if m.role != "system"]


def _key(message: Message) -> tuple[str, str | None, int]:
    return (message.role, message.content or None, len(message.tool_calls or []))


def _named(held: list[tuple[str, Found]], last: int = 1) -> Iterator[Found]:
    """The conversations of a session: the `last` ones have its name, any other that name and its
    trace's."""
    for place, (label, found) in enumerate(held):
        if isinstance(found.item, Conversation) and place < len(held) - last:
            name = f"{found.item.conversation_id}/{label}"
            found.item.conversation_id = "" if label.startswith("\0") else name
        yield found
