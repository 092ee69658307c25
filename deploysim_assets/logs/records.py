"""Streams of records: JSON lines, JSON arrays and Parquet rows, one at a time whatever the size
of the file."""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportOptionalMemberAccess=false, reportArgumentType=false
# pyright: reportMissingTypeStubs=false, reportAttributeAccessIssue=false, reportUnknownParameterType=false

import io
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, TypeVar

import ijson
import orjson
from pydantic import BaseModel, ValidationError

from deploysim_assets.logs.conversation import Conversation, Reject, rejected

_PEEK = 64 * 1024


class UnreadableError(Exception):
    """The file as a whole is not of its format."""


def json_lines(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Number and bytes of each line that is not blank. Only a line feed ends a line: text mode
    would also end one at U+2028."""
    for number, raw in enumerate(stream, 1):
        if raw.strip():
            yield number, raw


def json_records(stream: BinaryIO) -> Iterator[tuple[int, Any]]:
    """Records of a JSON array, of JSON lines, or the one record of a JSON document; a line that
    is no JSON comes as None."""
    buffered = io.BufferedReader(stream, _PEEK) if not hasattr(stream, "peek") else stream
    start = buffered.peek(_PEEK)[:_PEEK].lstrip()
    if start[:1] == b"[":
        try:
            yield from enumerate(ijson.items(buffered, "item", use_float=True), 1)
        except ijson.JSONError as wrong:
            raise UnreadableError("not a whole JSON array") from wrong
        return
    lines = json_lines(buffered)
    first = next(lines, None)
    if first is None:
        return
    try:
        record = orjson.loads(first[1])
    except ValueError:
        if start[:1] == b"{" and not first[1].rstrip().endswith(
            b"}"
        ):  # one document over many lines
            yield _document(first[1] + buffered.read())
            return
        record = None
    yield first[0], record
    for number, raw in lines:
        try:
            yield number, orjson.loads(raw)
        except ValueError:
            yield number, None


def _document(raw: bytes) -> tuple[int, Any]:
    try:
        return 1, orjson.loads(raw)
    except ValueError as wrong:
        raise UnreadableError("not JSON") from wrong


def parquet_rows(stream: BinaryIO, needed: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows of a Parquet file by number, a few at a time; UnreadableError where it is none, or
    lacks the needed column."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(stream)
    except pa.ArrowException as wrong:
        raise UnreadableError("not a Parquet file") from wrong
    if needed not in file.schema_arrow.names:
        raise UnreadableError(f"no column {needed!r}")
    number = 0
    for batch in file.iter_batches(batch_size=500):
        for row in batch.to_pylist():
            number += 1
            yield number, row


Record = TypeVar("Record", bound=BaseModel)


def convert(
    records: Iterable[tuple[int, Any]],
    model: type[Record],
    conversation: Callable[[int, Record], Conversation | Reject],
) -> Iterator[Conversation | Reject]:
    """Each record, checked against the format's model, as a conversation; what does not hold is a
    reject with its number and reason.

    A record is JSON bytes, a parsed value, or None where its line was no JSON.
    """
    for number, raw in records:
        if raw is None:
            yield Reject(number, "Invalid JSON")
            continue
        try:
            yield conversation(
                number,
                model.model_validate_json(raw)
                if isinstance(raw, bytes)
                else model.model_validate(raw),
            )
        except ValidationError as wrong:
            yield rejected(number, wrong)
