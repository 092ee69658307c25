"""Streams of records: JSON lines, JSON arrays and documents, one at a time whatever the size of the
file. A bad record costs a record."""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportOptionalMemberAccess=false, reportArgumentType=false
# pyright: reportMissingTypeStubs=false, reportAttributeAccessIssue=false, reportUnknownParameterType=false

import io
import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, NamedTuple, TypeVar, cast

import orjson
from pydantic import BaseModel, ValidationError

from deploysim_assets.logs.conversation import Conversation, Reject, rejected
from deploysim_assets.logs.files import is_damage
from deploysim_assets.logs.parts import DialogError, as_json_text

LARGEST = 64 * 1024 * 1024
"""Bytes of the longest record that is taken."""

_PEEK = 64 * 1024
_CHUNK = 1 << 20
_BLANK = b" \t\r\n\x00"  # a log that was cut while it was written to starts with NULs
_BOM = b"\xef\xbb\xbf"
_BETWEEN = _BLANK + _BOM + b","


class UnreadableError(Exception):
    """The file as a whole is not of its format."""


class Problem(NamedTuple):
    """What stands in place of a record that cannot be read. Never holds text of it."""

    reason: str


TOO_LONG = Problem(f"longer than {LARGEST >> 20} MB")
INVALID = Problem("Invalid JSON")
DAMAGED = Problem("the file is damaged or breaks off here; what came before is kept")


def json_lines(stream: BinaryIO) -> Iterator[tuple[int, bytes | Problem]]:
    """Number and bytes of each line that is not blank. Only a line feed ends a line: text mode
    would also end one at U+2028."""
    number = 0
    while True:
        number += 1
        try:
            raw = stream.readline(LARGEST)
            if len(raw) == LARGEST and raw[-1:] != b"\n":
                while (rest := stream.readline(_CHUNK)) and rest[-1:] != b"\n":
                    pass
                yield number, TOO_LONG
                continue
        except Exception as wrong:
            if not is_damage(wrong):
                raise
            yield number, DAMAGED
            return
        if not raw:
            return
        if number == 1:
            raw = raw.removeprefix(_BOM)
        if raw.strip():
            yield number, raw.strip(_BLANK)


def json_records(stream: BinaryIO) -> Iterator[tuple[int, Any]]:
    """Records of a JSON array, of JSON lines, or of JSON documents one after another; a Problem
    for what cannot be read. Numbers are lines, in an array the places in it."""
    buffered = buffer(stream)
    try:
        start = buffered.peek(_PEEK)[:_PEEK].removeprefix(_BOM).lstrip(_BLANK)
    except Exception as wrong:
        if not is_damage(wrong):
            raise
        yield 1, DAMAGED
        return
    if _ARRAY.match(start):
        numbered = enumerate((raw for _, raw in _documents(buffered, array=True)), 1)
    elif _spans_lines(start):
        numbered = _documents(buffered, array=False)
    else:
        numbered = json_lines(buffered)
    for number, raw in numbered:
        yield number, raw if isinstance(raw, Problem) else loaded(raw)


def loaded(raw: bytes) -> Any:
    """JSON as what it says, or a Problem. Python's own NaN and Infinity are let through, as
    null."""
    try:
        return orjson.loads(raw)
    except ValueError:
        if b"NaN" not in raw and b"Infinity" not in raw:
            return INVALID
    try:
        value = json.loads(raw, parse_constant=lambda _: None)
        json.dumps(value, ensure_ascii=False).encode()  # Python lets lone surrogates through
        return value
    except (ValueError, RecursionError):
        return INVALID


def buffer(stream: BinaryIO) -> io.BufferedReader:
    """The stream with `peek`, as it is where it has one."""
    if hasattr(stream, "peek"):
        return cast("io.BufferedReader", stream)
    return io.BufferedReader(cast("Any", stream), _CHUNK)


_ARRAY = re.compile(rb"\[\s*(?:[\[{\]]|$)")
_IN_TEXT = rb'[^"\\\n]*+(?:\\[^\n][^"\\\n]*+)*+'
_INSIDE = re.compile(_IN_TEXT)
_OUTSIDE = re.compile(rb'(?:[^"{}\[\]\n]++|"' + _IN_TEXT + rb'")*+')


def _spans_lines(start: bytes) -> bool:
    first = start.partition(b"\n")[0].rstrip()
    return (
        start[:1] == b"{"
        and b"\n" in start
        and not first.endswith(b"}")
        and isinstance(loaded(first), Problem)
    )


def _documents(stream: io.BufferedReader, *, array: bool) -> Iterator[tuple[int, bytes | Problem]]:
    """The objects of an array, or those that stand one after another, each with the line it starts
    at. One that is broken ends at the next line feed, and the rest is read."""
    split = _Splitter(array=array)
    while True:
        try:
            chunk = stream.read1(_CHUNK)
        except Exception as wrong:
            if not is_damage(wrong):
                raise
            yield split.line, DAMAGED
            return
        if not chunk:
            break
        yield from split.feed(chunk)
    if split.open or (array and not split.closed):
        yield split.line, Problem("the JSON breaks off here; what came before is kept")


class _Splitter:
    """Finds where objects end without reading what they say.

    Behind a broken one the next is known by where its line begins it: no deeper than the first.
    """

    def __init__(self, *, array: bool) -> None:
        self._begun = not array
        self.closed = False
        self.line, self._started = 1, 1
        self._column, self._first = 0, -1
        self._stack = bytearray()
        self._held = bytearray()
        self._at = 0
        self._text = self._broken = self._long = self._stray = self._lost = False

    @property
    def open(self) -> bool:
        return bool(self._stack)

    def feed(self, chunk: bytes) -> Iterator[tuple[int, bytes | Problem]]:
        self._held += chunk
        while True:
            found = (_INSIDE if self._text else _OUTSIDE).match(self._held, self._at)
            assert found is not None, "both take nothing as well"
            if not self._stack and not self._lost and found.group().strip(_BETWEEN):
                self._stray = True
            self._column += found.end() - self._at
            self._at = found.end()
            rest = bytes(self._held[self._at : self._at + 2])
            if not rest or rest == b"\\":
                break
            self._at += 1
            if self._stray and rest[0] in b"{[]\n" and not self._text:
                self._stray = False
                yield self.line, INVALID
            if self._astray(rest[0]):
                yield self._ended(TOO_LONG if self._long else INVALID)
            ended = self._mark(rest[0])
            self._column = 0 if rest[0] == 0x0A else self._column + 1
            if ended:
                yield self._ended(ended)
                self._drop()
        if not self._stack or self._at > LARGEST:
            self._long = bool(self._stack)
            self._drop()

    def _ended(self, what: bytes | Problem) -> tuple[int, bytes | Problem]:
        self._lost = bool(self._stack) and isinstance(what, Problem)
        self._stack.clear()
        self._broken = self._long = False
        return self._started, what

    def _drop(self) -> None:
        del self._held[: self._at]
        self._at = 0

    def _astray(self, mark: int) -> bool:
        """Whether a bracket opens where no JSON has one, in an object and not as a value: then the
        object before it never ended, and this is the next."""
        if mark != 0x7B or self._stack[-1:] != bytearray(b"{") or self._column > self._first:
            return False
        before = bytes(self._held[max(0, self._at - 65) : self._at - 1]).rstrip()
        return bool(before) and before[-1:] != b":"

    def _mark(self, mark: int) -> bytes | Problem | None:
        """Pass a mark; what has ended with it, if anything."""
        if mark == 0x0A:
            self.line += 1
            self._broken |= self._text and bool(self._stack)  # no JSON text holds a line feed
            self._text = False
            if self._broken:
                return INVALID
        elif mark == 0x22:
            self._text = not self._text
            self._stray |= not self._stack and not self._lost
        elif mark == 0x5C:  # before a line feed: any other is passed over with what it escapes
            self._broken = bool(self._stack)
        elif mark in b"{[":
            self._open(mark)
        elif self._stack:
            self._close(mark)
            if not self._stack:
                whole = bytes(self._held[: self._at])
                return TOO_LONG if self._long else INVALID if self._broken else whole
        elif mark == 0x5D:
            self.closed = True
        return None

    def _open(self, mark: int) -> None:
        if not self._stack:
            if not self._begun and mark == 0x5B:
                self._begun = True
                return
            if self._lost and self._column > self._first:
                return
            self._first = self._column if self._first < 0 else self._first
            self._lost = False
            del self._held[: self._at - 1]
            self._started, self._at = self.line, 1
        self._stack.append(mark)

    def _close(self, mark: int) -> None:
        """Close the innermost bracket of the kind; whatever else is open inside was broken."""
        place = self._stack.rfind(b"{" if mark == 0x7D else b"[")
        if place < 0:
            self._broken = True
            return
        self._broken |= place < len(self._stack) - 1
        del self._stack[place:]


Record = TypeVar("Record", bound=BaseModel)


def convert(
    records: Iterable[tuple[int, Any]],
    model: type[Record],
    conversation: Callable[[int, Record], Conversation | Reject],
) -> Iterator[Conversation | Reject]:
    """Each record, checked against the format's model, as a conversation; what does not hold is a
    reject with its number and reason."""
    for number, raw in records:
        yield checked(number, raw, lambda n, r: conversation(n, model.model_validate(r)))


Found = TypeVar("Found")


def checked(number: int, raw: Any, make: Callable[[int, Any], Found]) -> Found | Reject:
    """What `make` makes of a record, or the reject that says what does not hold there."""
    if isinstance(raw, Problem):
        return Reject(number, raw.reason)
    if not isinstance(raw, dict):
        return Reject(number, "Input should be an object")
    try:
        return make(number, raw)
    except ValidationError as wrong:
        return rejected(number, wrong)
    except DialogError as wrong:
        return Reject(number, str(wrong))
    except (RecursionError, OverflowError):
        return Reject(number, "nested too deeply, or a number out of range")


def held(record: Any, *names: str) -> Any:
    """The first of the named fields that a record has and that is not null."""
    if not isinstance(record, dict):
        return None
    return next((record[name] for name in names if record.get(name) is not None), None)


def text(record: Any, *names: str) -> str | None:
    """As `held`, for a text that is not empty."""
    found = held(record, *names)
    return found if isinstance(found, str) and found else None


def rest(record: dict[str, Any], *known: str) -> str | None:
    """What else a record has, as JSON."""
    more = {k: v for k, v in record.items() if k not in known and v is not None}
    return as_json_text(more) if more else None


def extra_fields(model: BaseModel) -> str | None:
    """The source's fields that no column has, as JSON: they survive in `source`."""
    return as_json_text(model.model_extra) if model.model_extra else None
