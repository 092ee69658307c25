"""The texts of a message: content, reasoning, name, tool names and the strings and numbers of JSON
with the key that they stand under."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, cast

import orjson

from deploysim_assets.deidentify.keyed_values import (
    is_of_a_thing,
    is_passed_on,
    type_of_key,
    type_of_value,
)
from deploysim_assets.deidentify.rules import DetectionError

MAX_MESSAGE_BYTES = 256 * 1024
_MAX_DEPTH = 64
_SHORTEST_NUMBER = 7
_PERSONAL = frozenset(
    {"EMAIL_ADDRESS", "PHONE_NUMBER", "US_SSN", "DATE_OF_BIRTH", "NATIONAL_ID", "ADDRESS", "PERSON"}
)


class Leaf(NamedTuple):
    """A text, the entity type that its key promises of the whole of it, and whether it is a key."""

    text: str
    type: str | None = None
    is_key: bool = False


Replace = Callable[[Leaf], str]


def rewritten(message: Mapping[str, Any], replace: Replace) -> dict[str, Any]:
    """The message with every text passed through `replace`, always in the same order; JSON stays
    JSON. DetectionError (message_too_long, too_deep) where it cannot be walked."""
    calls: list[dict[str, Any]] | None = message["tool_calls"]
    return dict(message) | {
        "content": _json_or_text(message["content"], replace),
        "reasoning": _text(message["reasoning"], replace),
        "name": _text(message["name"], replace),
        "tool_calls": calls
        and [
            c
            | {
                "name": _text(c["name"], replace),
                "arguments": _json_or_text(c["arguments"], replace),
            }
            for c in calls
        ],
    }


def rewritten_tool(tool: Mapping[str, Any], replace: Replace) -> dict[str, Any]:
    """A tool's definition (schema.TOOL) with every text passed through `replace`: its name and the
    names of its arguments as a call has them, so that both stay the same. DetectionError as
    `rewritten` raises it."""
    parameters: str | None = tool["parameters"]
    rebuilt = parameters
    if parameters:
        if len(parameters) > MAX_MESSAGE_BYTES:
            raise DetectionError("message_too_long")
        try:
            parsed = orjson.loads(parameters)
        except ValueError:
            rebuilt = replace(Leaf(parameters))
        else:
            schema = _schema(parsed, replace, None, 0)
            rebuilt = parameters if schema == parsed else orjson.dumps(schema).decode()
    return dict(tool) | {
        "name": _text(tool["name"], replace),
        "description": _text(tool["description"], replace),
        "parameters": rebuilt,
    }


_NAMED = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_GRAMMAR = ("type", "format", "$ref", "$schema", "pattern")
"""Words of the schema itself, which a model that finds names must not read."""
_VALUED = ("default", "const", "enum", "example", "examples")


def _schema(value: Any, replace: Replace, name: str | None, depth: int) -> Any:
    """A JSON schema: its words are no data, so that a property named `password` does not make its
    type a secret; values that it names are data under the name of their property."""
    if depth > _MAX_DEPTH:
        raise DetectionError("too_deep")
    if isinstance(value, list):
        return [_schema(v, replace, name, depth + 1) for v in value]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, str):
        return replace(Leaf(value)) if value else value
    if not isinstance(value, dict):
        return _rebuilt(value, replace, None, depth, _ALONE)
    held = cast("dict[str, Any]", value)
    out: dict[str, Any] = {}
    for key, inner in held.items():
        if key in _NAMED and isinstance(inner, dict):
            named = cast("dict[str, Any]", inner)
            out[key] = {
                replace(Leaf(k, None, is_key=True)): _schema(v, replace, k, depth + 1)
                for k, v in named.items()
            }
        elif key == "required" and isinstance(inner, list):
            out[key] = [
                replace(Leaf(k, None, is_key=True)) if isinstance(k, str) and k else k
                for k in inner  # pyright: ignore[reportUnknownVariableType]
            ]
        elif key in _GRAMMAR and isinstance(inner, str) and inner:
            out[key] = replace(Leaf(inner, None, is_key=True))
        elif key in _VALUED:
            out[key] = _rebuilt(inner, replace, name, depth + 1, _ALONE)
        else:
            # any other word of a schema may as well be a text that somebody put there
            out[replace(Leaf(key, None, is_key=True))] = _schema(inner, replace, name, depth + 1)
    return out


def _text(value: str | None, replace: Replace) -> str | None:
    return replace(Leaf(value)) if value else value


def _json_or_text(value: str | None, replace: Replace, depth: int = 0) -> str | None:
    """Texts inside JSON are scanned decoded (an escape hides an address), and encoded again;
    anything else as it stands."""
    if value and value.lstrip()[:1] in ("{", "["):
        if len(value) > MAX_MESSAGE_BYTES:
            raise DetectionError("message_too_long")
        try:
            parsed = orjson.loads(value)
        except ValueError:
            return replace(Leaf(value))
        rebuilt = _rebuilt(parsed, replace, None, depth, _ALONE)
        return value if rebuilt == parsed else orjson.dumps(rebuilt).decode()
    return _text(value, replace)


class _Beside(NamedTuple):
    """What the other keys of an object say of it."""

    person: bool = False
    thing: bool = False


_ALONE = _Beside()


def _rebuilt(value: Any, replace: Replace, key: str | None, depth: int, beside: _Beside) -> Any:
    if depth > _MAX_DEPTH:
        raise DetectionError("too_deep")
    if isinstance(value, str):
        promised = type_of_key(key) if key else None
        kind = promised and type_of_value(
            promised, value, key or "", beside_person=beside.person, of_a_thing=beside.thing
        )
        if not kind and len(value) > 2 and value.lstrip()[:1] in _OPENING:
            return _json_or_text(value, replace, depth + 1)
        return replace(Leaf(value, kind or None))
    if isinstance(value, dict):
        return _object(value, replace, key, depth)  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(value, list):
        listed = cast("list[Any]", value)
        if columns := _headed(listed):
            return [listed[0], *_table(listed[1:], replace, columns, depth)]
        return [_rebuilt(v, replace, key, depth + 1, beside) for v in listed]
    if isinstance(value, _NUMBERS) and not isinstance(value, bool):
        return _number(value, replace, key)
    return value


_OPENING = ("{", "[")
_NUMBERS = (int, float)


def _number(value: float, replace: Replace, key: str | None) -> Any:
    """A card or an SSN may be written as a number."""
    promised = type_of_key(key) if key else None
    if not promised and not isinstance(value, int):
        return value
    written = str(value)
    kind = promised and type_of_value(promised, written, key or "")
    if not kind and (not isinstance(value, int) or len(written) < _SHORTEST_NUMBER):
        return value
    scanned = replace(Leaf(written, kind or None))
    if scanned == written:
        return value
    try:
        return type(value)(scanned)
    except ValueError:
        return scanned


class _Keys(NamedTuple):
    """What the keys of an object say: of it, which of them may name the key of its `value`, and
    which may hold the names of columns."""

    beside: _Beside
    telling: tuple[str, ...]
    heads: tuple[str, ...]


_MOST_KEYS = 64


def _keys(value: dict[str, Any]) -> _Keys:
    return (_known_keys if len(value) <= _MOST_KEYS else _said)(tuple(value))


def _said(keys: tuple[str, ...]) -> _Keys:
    return _Keys(
        _Beside(any(type_of_key(k) in _PERSONAL for k in keys), is_of_a_thing(keys)),
        tuple(k for k in ("key", "name", "field", "header") if k in keys),
        tuple(k for k in _HEADS if k in keys),
    )


_known_keys = lru_cache(maxsize=64)(_said)
"""A list holds a thousand objects with the same keys."""


def _object(value: dict[str, Any], replace: Replace, key: str | None, depth: int) -> dict[str, Any]:
    """Keys that say nothing pass on the one above; `{"name": "password", "value": ..}` is a key
    and its value."""
    beside, telling, heads = _keys(value)
    told = next((v for k in telling if isinstance(v := value[k], str)), None)
    if told is not None and (type_of_key(told) is None or "value" not in value):
        told = None
    columns = next((c for k in heads if (c := _columns(value[k]))), None)
    out: dict[str, Any] = {}
    for k, v in value.items():
        if columns and k not in _HEADS and _is_table(v, columns):
            out[replace(Leaf(k, None, is_key=True))] = _table(v, replace, columns, depth + 1)
            continue
        own = key if key and is_passed_on(k) else k
        if told and k == "value":
            own = told
        out[replace(Leaf(k, None, is_key=True))] = _rebuilt(v, replace, own, depth + 1, beside)
    return out


_HEADS = ("columns", "header", "headers", "fields", "column_names", "columnNames", "schema", "keys")


def _columns(value: Any) -> list[str] | None:
    """The names of a table's columns, `["id", "ssn"]` or `[{"name": "id"}, ..]`, where one of them
    tells what its cells are."""
    if not isinstance(value, list) or not value:
        return None
    named = [
        cast("dict[str, Any]", c).get("name") if isinstance(c, dict) else c
        for c in cast("list[Any]", value)
    ]
    names = [n for n in named if isinstance(n, str)]
    told = len(names) == len(named) and any(type_of_key(n) for n in names)
    return names if told else None


def _is_table(value: Any, columns: list[str]) -> bool:
    rows = cast("list[Any]", value) if isinstance(value, list) else []
    return bool(rows) and all(
        isinstance(r, list) and len(cast("list[Any]", r)) == len(columns) for r in rows
    )


def _headed(rows: list[Any]) -> list[str] | None:
    """The names in the first row of rows."""
    columns = _columns(rows[0]) if len(rows) > 1 else None
    return columns if columns and _is_table(rows, columns) else None


def _table(rows: list[Any], replace: Replace, columns: list[str], depth: int) -> list[Any]:
    """Rows whose cells have their columns' names for keys."""
    if depth > _MAX_DEPTH:
        raise DetectionError("too_deep")
    beside = _Beside(any(type_of_key(c) in _PERSONAL for c in columns), is_of_a_thing(columns))
    return [
        [_rebuilt(v, replace, c, depth + 2, beside) for c, v in zip(columns, row, strict=True)]
        for row in rows
    ]
