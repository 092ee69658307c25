"""The `mlflow` format: MLflow traces ({info, data: {spans}}) as `Trace.to_json` writes them, one a
line, in an array or below `traces`, or rows of `search_traces` in Parquet.

A conversation is the session that the trace's metadata names, or where there is none the trace: the
longest of its model spans.
"""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Iterator
from typing import Any, BinaryIO

from deploysim_assets.logs.calls import Call, CallReader, call_of, longest
from deploysim_assets.logs.conversation import Conversation, Reject
from deploysim_assets.logs.exchange import exchange
from deploysim_assets.logs.parts import as_json_text, attached, parsed
from deploysim_assets.logs.records import checked, held, text
from deploysim_assets.logs.spans import when
from deploysim_assets.logs.tables import paged
from deploysim_assets.logs.tools import definitions, tools_in

_MODEL_SPANS = ("CHAT_MODEL", "LLM")


def _attributes(span: Any) -> dict[str, Any]:
    """A span's attributes, each of which is JSON in a text."""
    listed = held(span, "attributes")
    return {k: parsed(v) for k, v in listed.items()} if isinstance(listed, dict) else {}


def _one(number: int, trace: dict[str, Any], call: dict[str, Any]) -> Conversation | Reject:
    info = held(trace, "info") or trace
    inputs = call.get("mlflow.spanInputs")
    dialog = exchange(inputs, call.get("mlflow.spanOutputs"))
    if not dialog:
        return Reject(number, "a trace without inputs and outputs")
    about = held(info, "trace_metadata", "request_metadata")
    tags = held(info, "tags")
    at = call.get("at")
    started = when(at) if isinstance(at, int) else None
    return Conversation(
        line=number,
        conversation_id=text(info, "trace_id", "request_id") or "",
        user_id=text(about, "mlflow.trace.user") or text(tags, "user_id"),
        started_at=started or held(info, "request_time", "timestamp_ms"),
        surface=text(tags, "surface"),
        language=text(tags, "language"),
        reported_model=text(call, "mlflow.llm.model") or text(inputs, "model"),
        has_attachments=attached(dialog),
        messages=dialog,
        tools=definitions(call.get("mlflow.chat.tools")) or tools_in(inputs),
        source=as_json_text({"tags": tags, "trace_metadata": about}),
    )


def _calls_of(number: int, record: dict[str, Any]) -> list[Call]:
    whole = parsed(record.get("trace"))
    trace: dict[str, Any] = whole if isinstance(whole, dict) else record
    data = held(trace, "data")
    listed = parsed(held(data if isinstance(data, dict) else trace, "spans"))
    spans = [s for s in listed if isinstance(s, dict)] if isinstance(listed, list) else []
    called: list[dict[str, Any]] = []
    for span in spans:
        a = _attributes(span)
        at = held(span, "start_time_unix_nano", "start_time_ns", "start_time")
        if a.get("mlflow.spanType") in _MODEL_SPANS or not held(
            span, "parent_span_id", "parent_id"
        ):
            called.append(a | {"at": at})
    models = [c for c in called if c.get("mlflow.spanType") in _MODEL_SPANS]
    if not called:
        whole = {"mlflow.spanInputs": parsed(held(data, "request") or held(trace, "request")),
                 "mlflow.spanOutputs": parsed(held(data, "response")
                                              or held(trace, "response"))}  # fmt: skip
        called = [whole]
    info = held(trace, "info") or trace
    about = held(info, "trace_metadata", "request_metadata")
    name = text(info, "trace_id", "request_id") or ""
    session = text(about, "mlflow.trace.session")
    return [
        call_of(name, session, checked(number, c, lambda n, c: _one(n, trace, c)))
        for c in models or called
    ]


def _calls(stream: BinaryIO) -> Iterator[tuple[int, Call | Reject]]:
    for number, one in paged(stream, "traces", "spans"):
        found = checked(number, one, _calls_of)
        for call in [found] if isinstance(found, Reject) else found:
            yield number, call


read = CallReader(_calls, longest)
