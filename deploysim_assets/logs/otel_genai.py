"""The `otel_genai` format: OpenTelemetry spans of the GenAI semantic conventions as OTLP JSON; one
trace is one conversation.

Messages are taken from attributes or events of a trace's last model call, which carries the whole
dialog so far. A trace's spans may lie anywhere in the file, so they are sorted on disk first:
memory stays flat.
"""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportOptionalMemberAccess=false, reportArgumentType=false
# pyright: reportMissingTypeStubs=false, reportAttributeAccessIssue=false, reportUnknownParameterType=false

import sqlite3
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from deploysim_assets.logs.chat import as_json_text
from deploysim_assets.logs.conversation import Conversation, Message, Reject, ToolCall
from deploysim_assets.logs.records import json_records

_CALLS = frozenset({"chat", "text_completion", "generate_content", "invoke_agent"})
_OLD_EVENTS = {
    f"gen_ai.{role}.message": role for role in ("system", "user", "assistant", "tool")
} | {"gen_ai.choice": "assistant"}


def read(stream: BinaryIO) -> Iterator[Conversation | Reject]:
    """Each trace as a conversation; traces without a model call are passed over, one without
    messages is rejected."""
    with tempfile.TemporaryDirectory() as folder:  # created for its owner alone
        spans = sqlite3.connect(Path(folder) / "spans.sqlite")
        try:
            spans.execute("create table span (trace text, start integer, line integer, body blob)")
            for number, record in json_records(stream):
                if not isinstance(record, dict):
                    yield Reject(number, "Invalid JSON" if record is None else "not an OTLP record")
                    continue
                rows = (
                    (
                        s.get("traceId"),
                        int(s.get("startTimeUnixNano") or 0),
                        number,
                        orjson.dumps(s),
                    )
                    for s in _spans(record)
                    if s.get("traceId")
                )
                spans.executemany("insert into span values (?, ?, ?, ?)", rows)
            spans.commit()
            traces: dict[str, list[tuple[int, dict[str, Any]]]] = {}
            for trace, line, body in spans.execute(
                "select trace, line, body from span order by trace, start"
            ):
                if trace not in traces:
                    yield from _conversations(traces)
                    traces = {trace: []}
                traces[trace].append((line, orjson.loads(body)))
            yield from _conversations(traces)
        finally:
            spans.close()


def _spans(record: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for resource in record.get("resourceSpans") or []:
        shared = resource.get("resource") or {}
        for scope in resource.get("scopeSpans") or []:
            for span in scope.get("spans") or []:
                yield span | {"resource": shared}


def _value(value: dict[str, Any]) -> Any:
    """An OTLP AnyValue as the value that it holds."""
    kind, held = next(iter(value.items()), ("", None))
    if kind == "intValue":
        return int(held)
    if kind == "arrayValue":
        return [_value(v) for v in held.get("values") or []]
    if kind == "kvlistValue":
        return {v["key"]: _value(v["value"]) for v in held.get("values") or []}
    return held


def _attributes(holder: dict[str, Any]) -> dict[str, Any]:
    return {a["key"]: _value(a.get("value") or {}) for a in holder.get("attributes") or []}


def _parsed(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return orjson.loads(value)
        except ValueError:
            return None
    return value


def _from_parts(role: str, parts: list[dict[str, Any]]) -> Iterator[Message]:
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[ToolCall] = []
    for part in parts:
        match part.get("type"):
            case "text":
                texts.append(str(part.get("content") or ""))
            case "reasoning":
                thoughts.append(str(part.get("content") or ""))
            case "tool_call":
                calls.append(
                    ToolCall(
                        id=part.get("id"),
                        name=str(part.get("name")),
                        arguments=as_json_text(part.get("arguments") or {}),
                    )
                )
            case "tool_call_response":
                result = part.get("response", part.get("result"))
                yield Message(
                    role="tool",
                    tool_call_id=part.get("id"),
                    content=as_json_text(result) if result is not None else None,
                )
            case _:
                pass
    if texts or thoughts or calls:
        yield Message(
            role=role,
            content="\n".join(texts) or None,
            reasoning="\n".join(thoughts) or None,
            tool_calls=calls or None,
        )


def _from_attributes(attributes: dict[str, Any]) -> list[Message]:
    """Messages of the current conventions: gen_ai.system_instructions, gen_ai.input.messages,
    gen_ai.output.messages."""
    system = _parsed(attributes.get("gen_ai.system_instructions")) or []
    messages = list(_from_parts("system", system)) if isinstance(system, list) else []
    for key in ("gen_ai.input.messages", "gen_ai.output.messages"):
        for entry in _parsed(attributes.get(key)) or []:
            messages += _from_parts(entry.get("role") or "user", entry.get("parts") or [])
    return messages


def _from_events(events: list[dict[str, Any]]) -> list[Message]:
    """Messages of the earlier conventions: one event per message."""
    messages: list[Message] = []
    for event in events:
        role, held = _OLD_EVENTS.get(event.get("name") or ""), _attributes(event)
        if role is None:
            continue
        body = (
            held | (_parsed(held.get("message")) or {})
            if event["name"] == "gen_ai.choice"
            else held
        )
        calls = [
            ToolCall(
                id=c.get("id"),
                name=c["function"]["name"],
                arguments=as_json_text(c["function"].get("arguments") or {}),
            )
            for c in _parsed(body.get("tool_calls")) or []
        ]
        content = body.get("content")
        text = None if content is None else as_json_text(content)
        messages.append(
            Message(
                role=role,
                content=text,
                tool_calls=calls or None,
                tool_call_id=held.get("id") if role == "tool" else None,
            )
        )
    return messages


def _conversations(
    traces: dict[str, list[tuple[int, dict[str, Any]]]],
) -> Iterator[Conversation | Reject]:
    for trace, spans in traces.items():
        calls = [
            (line, span, a)
            for line, span in spans
            for a in [_attributes(span)]
            if a.get("gen_ai.operation.name") in _CALLS or "gen_ai.request.model" in a
        ]
        if not calls:
            continue
        line, span, attributes = calls[-1]
        try:
            details = [
                _attributes(e)
                for e in span.get("events") or []
                if e.get("name") == "gen_ai.client.inference.operation.details"
            ]
            messages = _from_attributes(
                attributes | (details[-1] if details else {})
            ) or _from_events(span.get("events") or [])
        except (KeyError, TypeError, ValueError, AttributeError):
            yield Reject(
                line, "the messages of the trace's last model call are not of the GenAI conventions"
            )
            continue
        if not messages:
            yield Reject(
                line,
                "the trace's last model call carries no messages; record content in attributes "
                "or events",
            )
            continue
        consent = attributes.get("deploysim.training_allowed")
        yield Conversation(
            line=line,
            conversation_id=str(attributes.get("gen_ai.conversation.id") or trace)
            if len(traces) == 1
            else trace,
            user_id=attributes.get("user.id") or attributes.get("enduser.id"),
            started_at=datetime.fromtimestamp(
                int(spans[0][1].get("startTimeUnixNano") or 0) / 1e9, UTC
            ),
            surface=attributes.get("deploysim.surface"),
            language=attributes.get("deploysim.language"),
            reported_model=attributes.get("gen_ai.response.model")
            or attributes.get("gen_ai.request.model"),
            training_allowed=consent if isinstance(consent, bool) else None,
            messages=messages,
            source=as_json_text({"resource": _attributes(span["resource"]), "trace": trace}),
        )
