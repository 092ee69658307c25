"""Calls as a runtime takes them: parsed, and checked against the tool's schema."""

import functools
import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

import orjson

from deploysim_assets.agents.moment import Call

_LONG = re.compile(r"(?<=[:,\[\s])-?\d{20,}(?=[,\]}\s])")
_NO_SCHEMA: dict[str, Any] = {"type": "object"}


class MalformedCall(Exception):
    """A call that no runtime would carry out; the argument is what it says instead."""


def parsed(arguments: str) -> dict[str, Any]:
    """The arguments of a call; none written are none. ValueError where they are no JSON object, or
    one that is nested too deeply to be written again."""
    return _parsed(arguments)[0]


def _parsed(arguments: str) -> tuple[dict[str, Any], str]:
    """The arguments, and as JSON with sorted keys."""
    if not arguments.strip():
        return {}, "{}"
    found: Any = orjson.loads(arguments)
    if not isinstance(found, dict):
        raise ValueError("the arguments are no JSON object")  # noqa: TRY004 (one error for both)
    try:
        said = orjson.dumps(found, option=orjson.OPT_SORT_KEYS).decode()
    except orjson.JSONEncodeError:
        raise ValueError("nested too deeply") from None
    return cast("dict[str, Any]", found), said


def canonical(call: Call) -> str:
    """A call's tool and arguments, equal where they say the same."""
    try:
        arguments = _parsed(call.arguments)[1]
    except (ValueError, RecursionError):
        return f"{call.name} {call.arguments}"
    # as floats, which such numbers are read as, many are equal
    long = " ".join(sorted(_LONG.findall(call.arguments)))
    return f"{call.name} {arguments}{f' {long}' if long else ''}"


def called(call: Mapping[str, Any]) -> Call:
    """A TOOL_CALL as a Call."""
    return Call(call["id"], call["name"], call["arguments"] or "")


def checked(tools: Iterable[Mapping[str, Any]], call: Call) -> dict[str, Any]:
    """A call's arguments, fit for its tool; MalformedCall with the error that a runtime gives."""
    by_name = {tool["name"]: tool for tool in tools}
    if call.name not in by_name:
        known = ", ".join(sorted(by_name)) or "none"
        raise MalformedCall(f"Error: unknown tool {call.name!r}. Available tools: {known}")
    try:
        arguments = parsed(call.arguments)
    except (ValueError, RecursionError) as wrong:
        raise MalformedCall(f"Error: invalid arguments for {call.name}: {wrong}") from None
    if said := misfit(by_name[call.name]["parameters"], arguments):
        raise MalformedCall(f"Error: invalid arguments for {call.name}: {said}")
    return arguments


def schema_of(parameters: str | None) -> dict[str, Any]:
    """The JSON schema of a tool's parameters; any object where it has none that can be read."""
    try:
        found: Any = orjson.loads(parameters or "null")
    except ValueError:
        return _NO_SCHEMA
    return cast("dict[str, Any]", found) if isinstance(found, dict) else _NO_SCHEMA


def misfit(
    parameters: str | None, arguments: dict[str, Any], *, strict: bool = False
) -> str | None:
    """Why arguments do not fit a schema (JSON text); None where they do, and, unless `strict`,
    where the schema is none that can be checked."""
    unknown = "its schema cannot be checked" if strict else None
    validator = _validator(parameters)
    if validator is None:
        return unknown
    try:
        for wrong in validator.iter_errors(arguments):
            place = "".join(f"[{part!r}]" for part in wrong.absolute_path)
            return f"{wrong.message}{f' (at {place})' if place else ''}"
    except RecursionError:
        return "nested too deeply"
    except Exception as wrong:  # a schema that refers elsewhere: nothing is fetched for it
        from referencing.exceptions import Unresolvable

        if isinstance(wrong, Unresolvable):
            return unknown
        raise
    return None


@functools.lru_cache(maxsize=1024)
def _validator(parameters: str | None) -> Any:
    from jsonschema import validators
    from jsonschema.exceptions import SchemaError
    from referencing import Registry

    schema = schema_of(parameters)
    try:
        kind: Any = validators.validator_for(schema)
        kind.check_schema(schema)
    except (SchemaError, RecursionError):
        return None
    extend: Any = validators.extend  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    linear: Any = extend(kind, {"pattern": _pattern, "patternProperties": _pattern_properties})
    nothing: Any = Registry  # the default registry would fetch what a schema refers to
    return linear(schema, registry=nothing())


def _matches(pattern: str, text: str) -> bool | None:
    import re2  # pyright: ignore[reportMissingTypeStubs]

    try:
        return re2.search(pattern, text) is not None
    except re2.error:  # what only a backtracking engine takes could be made to run for ever
        return None


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Any:
    from jsonschema.exceptions import ValidationError

    del schema
    if validator.is_type(instance, "string") and _matches(pattern, instance) is False:
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: Any, instance: Any, schema: Any) -> Any:
    del schema
    if not validator.is_type(instance, "object"):
        return
    for pattern, subschema in patterns.items():
        for name, value in instance.items():
            if _matches(pattern, name):
                yield from validator.descend(value, subschema, path=name, schema_path=pattern)
