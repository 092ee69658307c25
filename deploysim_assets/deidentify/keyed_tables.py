"""Tables inside texts, whose columns' names tell what their cells are: CSV, Markdown and SQL's
inserts."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from deploysim_assets.deidentify.encoded import EncodedText
from deploysim_assets.deidentify.keyed_values import is_of_a_thing, type_of_key, type_of_value
from deploysim_assets.deidentify.linear import Linear
from deploysim_assets.deidentify.rules import Span

_NAME = r"[ \t]*[\"'`*]{0,2}[A-Za-z_][A-Za-z0-9_ .-]*[\"'`*]{0,2}[ \t]*"
_HEAD = Linear(rf"(?m)^[ \t]*\|?{_NAME}(?:[,;\t|]{_NAME})+\|?[ \t]*\r?$")
_INSERT = Linear(rf"(?is)insert\s{{1,4}}into\s[^()\n]{{1,80}}\({_NAME}(?:,{_NAME})*\)\s*values")
_RULE = re.compile(r"[ \t|:+-]+")
_CELL = {
    sign: re.compile(rf'[ \t]*"(?:[^"]|"")*"[ \t]*|[^{re.escape(sign)}\n]*')
    for sign in (",", ";", "\t", "|")
}
_SQL_VALUE = re.compile(r"\s*(?:[Nn]?'((?:[^']|'')*)'|\"([^\"\n]*)\"|([^,()'\"\n]*))\s*")
_MOST_ROWS = 20_000


class Column(NamedTuple):
    """A column's name and the entity type that it promises, if any."""

    name: str
    type: str | None


def columns_of(names: Sequence[str]) -> list[Column] | None:
    """The columns of a table, where one of them promises a type."""
    found = [Column(name, type_of_key(name)) for name in names]
    return found if any(c.type for c in found) else None


def table_spans(encoded: EncodedText) -> Iterator[Span]:
    """The cells below a name that tells what they are."""
    text = encoded.text
    if "\n" in text:
        at = 0
        while hit := _HEAD.search(encoded.data, at):
            start, at = encoded.index(hit[0]), hit[1]
            yield from _rows(text, start, encoded.index(hit[1]))
    if "(" in text:
        for begin, stop in _INSERT.finditer(encoded.data):
            yield from _inserted(text, encoded.index(begin), encoded.index(stop))


def _rows(text: str, start: int, end: int) -> Iterator[Span]:
    head = text[start:end].strip(" \t\r")
    sign = max(_CELL, key=head.count)
    columns = columns_of([c.strip(" \t\"'`*") for c in _cells_text(head, sign)])
    if columns is None:
        return
    at, rows = text.find("\n", end) + 1, 0
    while 0 < at < len(text) and rows < _MOST_ROWS:
        stop = text.find("\n", at)
        stop = len(text) if stop < 0 else stop
        line = text[at:stop]
        if sign != "|" or not _RULE.fullmatch(line):
            cells = _cells(text, at, stop, sign)
            if len(cells) != len(columns):
                return
            yield from _typed(text, columns, cells)
        at, rows = stop + 1, rows + 1


def _cells_text(line: str, sign: str) -> list[str]:
    return [line[a:b] for a, b in _cells(line, 0, len(line), sign)]


def _cells(text: str, start: int, end: int, sign: str) -> list[tuple[int, int]]:
    """Places of the cells of a line; of a Markdown row without its outer bars."""
    if sign == "|":
        while start < end and text[start] in " \t":
            start += 1
        while end > start and text[end - 1] in " \t\r":
            end -= 1
        start += text[start:end].startswith("|")
        end -= end > start and text[end - 1] == "|"
    cells: list[tuple[int, int]] = []
    while start <= end:
        found = _CELL[sign].match(text, start, end)
        stop = found.end() if found else end
        cells.append((start, stop))
        if stop < end and text[stop] != sign:
            stop = end
        start = stop + 1
    return cells


def _inserted(text: str, start: int, end: int) -> Iterator[Span]:
    names = text[text.index("(", start) + 1 : text.rindex(")", start, end)]
    columns = columns_of([c.strip(" \t\"'`*\n") for c in names.split(",")])
    if columns is None:
        return
    at, rows = end, 0
    while rows < _MOST_ROWS and (opened := re.compile(r"\s*,?\s*\(").match(text, at)):
        at, cells = opened.end(), list[tuple[int, int]]()
        while value := _SQL_VALUE.match(text, at):
            group = next((g for g in (1, 2) if value.group(g) is not None), 3)
            cells.append(value.span(group))
            at = value.end()
            if text[at : at + 1] != ",":
                break
            at += 1
        if len(cells) == len(columns):
            yield from _typed(text, columns, cells)
        if text[at : at + 1] != ")":
            return
        at, rows = at + 1, rows + 1


def _typed(
    text: str, columns: Sequence[Column], cells: Sequence[tuple[int, int]]
) -> Iterator[Span]:
    of_a_thing = is_of_a_thing(c.name for c in columns)
    beside_person = any(c.type not in (None, "NAME", "PLACE", "SECRET") for c in columns)
    for column, cell in zip(columns, cells, strict=True):
        if column.type is None:
            continue
        start, end = cell
        while start < end and text[start] in " \t\"'`*":
            start += 1
        while end > start and text[end - 1] in " \t\r\"'`*":
            end -= 1
        found = type_of_value(
            column.type,
            text[start:end],
            column.name,
            beside_person=beside_person,
            of_a_thing=of_a_thing,
        )
        if found:
            yield Span(start, end, found)
