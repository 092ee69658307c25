"""Spans and events of OpenTelemetry as files hold them: OTLP JSON of traces and of logs, and what
the Python SDK prints (`span.to_json()`, also Phoenix's and OpenInference's form)."""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from deploysim_assets.logs.records import held, text

_DEEP = 64
_INTEGER = re.compile(r"-?\d{1,19}", re.ASCII)


class Span(NamedTuple):
    """A span, or a log record that belongs to one: then it has only events."""

    trace: str
    id: str
    at: int
    attributes: dict[str, Any]
    events: list[dict[str, Any]]
    """[{name, attributes, body}]"""

    resource: dict[str, Any]


def spans_of(record: Any) -> Iterator[Span]:
    """The spans and log records of one line of a file, in its order; none where it is of another
    kind. What is null or of another type inside is passed over."""
    if not isinstance(record, dict):
        return
    for resource in _dicts(record.get("resourceSpans")):
        shared = _attributes(resource.get("resource"))
        for scope in _dicts(held(resource, "scopeSpans", "instrumentationLibrarySpans")):
            for span in _dicts(scope.get("spans")):
                yield _span(span, shared)
    for resource in _dicts(record.get("resourceLogs")):
        shared = _attributes(resource.get("resource"))
        for scope in _dicts(resource.get("scopeLogs")):
            for log in _dicts(scope.get("logRecords")):
                yield _log(log, shared)
    if "attributes" in record and ("context" in record or "traceId" in record
                                   or "trace_id" in record):  # fmt: skip
        yield _span(record, _attributes(record.get("resource")))


def tree(attributes: dict[str, Any]) -> dict[str, Any]:
    """Attributes with dotted names (`llm.input_messages.0.message.role`) as nested objects and
    lists."""
    root: dict[str, Any] = {}
    for name, value in attributes.items():
        place, parts = root, name.split(".")[:_DEEP]
        for part in parts[:-1]:
            inner = place.get(part)
            if not isinstance(inner, dict):
                inner = place[part] = {}
            place = inner
        place[parts[-1]] = _deep(value)
    return _lists(root)


def _deep(value: Any) -> Any:
    if isinstance(value, dict):
        return tree(value)
    if isinstance(value, list):
        return [_deep(v) for v in value]
    return value


def _lists(value: Any) -> Any:
    if isinstance(value, dict):
        inner = {k: _lists(v) for k, v in value.items()}
        if inner and all(k.isdecimal() and len(k) < 7 for k in inner):
            return [inner[k] for k in sorted(inner, key=int)]
        return inner
    return value


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []


def any_value(value: Any) -> Any:
    """An OTLP AnyValue as the value that it holds."""
    if not isinstance(value, dict):
        return value
    kind, inside = next(iter(value.items()), ("", None))
    if kind == "intValue":
        return int(inside) if isinstance(inside, str) and _INTEGER.fullmatch(inside) else inside
    if kind == "arrayValue":
        return [any_value(v) for v in _list(held(inside, "values"))]
    if kind == "kvlistValue":
        return {str(v.get("key")): any_value(v.get("value"))
                for v in _dicts(held(inside, "values"))}  # fmt: skip
    return inside


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _attributes(holder: Any) -> dict[str, Any]:
    listed = held(holder, "attributes")
    if isinstance(listed, dict):
        return listed | dict(_dotted(listed))
    return {str(a.get("key")): any_value(a.get("value")) for a in _dicts(listed)}


def _dotted(nested: dict[str, Any], before: str = "", deep: int = 0) -> Iterator[tuple[str, Any]]:
    """The values of objects in objects, as Phoenix's interface shows attributes, by their dotted
    names."""
    for name, value in nested.items():
        if isinstance(value, dict) and deep < _DEEP:
            yield from _dotted(value, f"{before}{name}.", deep + 1)
        elif before:
            yield f"{before}{name}", value


def _time(value: Any) -> int:
    if isinstance(value, int):
        return value
    if isinstance(value, str):
        if value.isdecimal() and len(value) < 20:
            return int(value)
        try:
            time = datetime.fromisoformat(value)
            return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1e9)
        except (ValueError, OverflowError):
            return 0
    return 0


def _span(span: dict[str, Any], resource: dict[str, Any]) -> Span:
    context = span.get("context")
    return Span(
        _id(text(span, "traceId", "trace_id") or text(context, "trace_id", "traceId")),
        _id(text(span, "spanId", "span_id") or text(context, "span_id", "spanId")),
        _time(held(span, "startTimeUnixNano", "start_time_unix_nano", "start_time", "startTime")),
        _attributes(span),
        [
            {"name": text(e, "name") or "", "attributes": _attributes(e), "body": None}
            for e in _dicts(span.get("events"))
        ],
        resource,
    )


def _log(log: dict[str, Any], resource: dict[str, Any]) -> Span:
    attributes = _attributes(log)
    name = text(log, "eventName", "event_name") or text(attributes, "event.name") or ""
    event = {"name": name, "attributes": attributes, "body": any_value(log.get("body"))}
    return Span(
        _id(text(log, "traceId", "trace_id")),
        _id(text(log, "spanId", "span_id")),
        _time(held(log, "timeUnixNano", "observedTimeUnixNano")),
        {},
        [event],
        resource,
    )


def _id(name: str | None) -> str:
    return (name or "").removeprefix("0x")


def when(at: int) -> datetime | None:
    """Nanoseconds since 1970 as a time; None where there are none or the calendar ends before."""
    try:
        return datetime.fromtimestamp(at / 1e9, UTC) if at else None
    except (ValueError, OverflowError, OSError):
        return None
