"""Rows of Parquet and CSV files, and the records of formats that come as either or as JSON. A bad
row costs a row."""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportOptionalMemberAccess=false, reportArgumentType=false
# pyright: reportMissingTypeStubs=false, reportAttributeAccessIssue=false, reportUnknownParameterType=false

import ast
import csv
import io
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from deploysim_assets.logs.files import is_damage
from deploysim_assets.logs.parts import parsed
from deploysim_assets.logs.records import (
    DAMAGED,
    LARGEST,
    TOO_LONG,
    Problem,
    UnreadableError,
    buffer,
    held,
    json_records,
)

_PEEK = 64 * 1024
_NAME = rb"\"?[A-Za-z_][A-Za-z0-9_ .-]*\"?"
_HEAD = re.compile(rb"(?:\xef\xbb\xbf)?" + _NAME + rb"(?:," + _NAME + rb")+\r?\n")
_RAGGED = Problem("another number of cells than the header has")
_NO_TEXT = Problem("a value out of range, or no text in UTF-8")
_MOST_LITERAL = 1 << 20
"""Characters of a list as Python prints it, which costs many times its size."""


def parquet_rows(stream: BinaryIO, needed: str) -> Iterator[tuple[int, Any]]:
    """Rows of a Parquet file by number, a few at a time; UnreadableError where it is none, or
    lacks the needed column."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not (stream := buffer(stream)).peek(1):
        return
    try:
        file = pq.ParquetFile(stream)
    except (pa.ArrowException, OSError, ValueError) as wrong:
        raise UnreadableError("not a whole Parquet file") from wrong
    if needed not in file.schema_arrow.names:
        raise UnreadableError(f"no column {needed!r}")
    number = 0
    batches = file.iter_batches(batch_size=500)
    while True:
        try:
            batch = next(batches, None)
        except (pa.ArrowException, OSError, ValueError):
            yield number + 1, DAMAGED
            return
        if batch is None:
            return
        for row in _rows(batch):
            number += 1
            yield number, row


def _rows(batch: Any) -> Iterator[Any]:
    """The rows of a batch; where one holds what Python cannot, one by one."""
    import pyarrow as pa

    defects = (pa.ArrowException, ValueError, OverflowError)
    bad = [_NO_TEXT]

    def taken(part: Any) -> list[Any] | None:
        try:
            return part.to_pylist()
        except defects:
            return None

    whole = taken(batch)
    if whole is not None:
        yield from whole
        return
    for place in range(batch.num_rows):
        yield from taken(batch.slice(place, 1)) or bad


def is_parquet(stream: io.BufferedReader) -> bool:
    """Whether a stream begins as Parquet does."""
    return stream.peek(4)[:4] == b"PAR1"


def is_csv(stream: io.BufferedReader) -> bool:
    """Whether a stream begins with the names of columns."""
    return csv_names(stream) is not None


def csv_names(stream: io.BufferedReader) -> list[str] | None:
    """The names of a CSV file's columns; None where it is none."""
    head = _HEAD.match(stream.peek(_PEEK)[:_PEEK])
    return None if head is None else _names(head.group())


def _names(line: bytes) -> list[str]:
    return [n.strip() for n in next(csv.reader([line.decode("utf-8-sig").strip()]))]


def csv_rows(stream: BinaryIO, needed: str) -> Iterator[tuple[int, Any]]:
    """Rows of a CSV file with a header, each with the line that it begins at; empty cells are
    null. UnreadableError where the needed column is missing."""
    lines = _Lines(stream)
    names = _names(next(lines).encode())
    if needed not in names:
        raise UnreadableError(f"no column {needed!r}")
    csv.field_size_limit(LARGEST)
    rows = csv.reader(lines, strict=True)
    while True:
        began = lines.number + 1
        lines.bad = None
        try:
            cells = next(rows, None)
        except csv.Error:
            yield began, DAMAGED if lines.ended else Problem("Invalid CSV")
            continue
        except Exception as wrong:
            if not is_damage(wrong):
                raise
            yield began, DAMAGED
            return
        if cells is None:
            return
        if lines.bad is not None:
            yield began, lines.bad
        elif cells and len(cells) != len(names):
            yield began, _RAGGED
        elif cells:
            yield began, {n: c or None for n, c in zip(names, cells, strict=True)}


class _Lines:
    """The lines of a stream as text, numbered; `bad` is what was wrong with one since it was last
    cleared."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.number, self.ended = 0, False
        self.bad: Problem | None = None

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        raw = self._stream.readline(LARGEST)
        if not raw:
            self.ended = True
            raise StopIteration
        self.number += 1
        if len(raw) == LARGEST and raw[-1:] != b"\n":
            while (rest := self._stream.readline(1 << 20)) and rest[-1:] != b"\n":
                pass
            self.bad = TOO_LONG
            return "\n"
        try:
            return raw.replace(b"\0", b"").decode()
        except UnicodeDecodeError:
            self.bad = _NO_TEXT
            return raw.replace(b"\0", b"").decode(errors="replace")


def rows(stream: BinaryIO, needed: str) -> Iterator[tuple[int, Any]]:
    """The records of a file of Parquet, CSV or JSON; in the first two `needed` is a column."""
    buffered = buffer(stream)
    try:
        if is_parquet(buffered):
            return parquet_rows(buffered, needed)
        if is_csv(buffered):
            return csv_rows(buffered, needed)
    except Exception as wrong:
        if not is_damage(wrong):
            raise
    return json_records(buffered)


def listed(value: Any) -> Any:
    """A list that stands in a cell as text: as JSON, or as Python prints it; anything else as it
    is."""
    found = parsed(value)
    if (
        not isinstance(found, str)
        or not found.lstrip().startswith("[")
        or len(found) > _MOST_LITERAL
    ):
        return found
    try:
        return ast.literal_eval(found.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return found


def paged(stream: BinaryIO, page: str, column: str | None = None) -> Iterator[tuple[int, Any]]:
    """The records of a file of JSON (or, where the format has a `column` by which it is known, of
    Parquet), and those that one lists under the name of a `page`."""
    records = json_records(stream) if column is None else rows(stream, column)
    for number, record in records:
        listed = held(record, page)
        for one in listed if isinstance(listed, list) else [record]:
            yield number, one
