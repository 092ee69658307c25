"""The `langfuse` format: traces with their observations as the interface gives them, the download
of one trace ({trace, observations}), and rows of traces and observations as they are exported to
blob storage or from its pages; JSON, CSV or Parquet.

A conversation is a session, or where there is none a trace: the longest of its generations.
"""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Iterator
from typing import Any, BinaryIO

from deploysim_assets.logs.calls import Call, CallReader, call_of, longest
from deploysim_assets.logs.conversation import Conversation, Reject, Tool
from deploysim_assets.logs.dialog import is_definition
from deploysim_assets.logs.exchange import exchange
from deploysim_assets.logs.parts import attached, parsed
from deploysim_assets.logs.records import checked, held, rest, text
from deploysim_assets.logs.tables import paged
from deploysim_assets.logs.tools import commit_in, definitions, tools_in

_KNOWN = ("id", "input", "output", "observations", "metadata", "userId", "user_id", "sessionId",
          "session_id", "timestamp")  # fmt: skip
_EMPTY = "no generation, and neither input nor output of the trace"


def _one(number: int, trace: dict[str, Any], call: dict[str, Any]) -> Conversation | Reject:
    dialog = exchange(call.get("input"), call.get("output"))
    if not dialog:
        return Reject(number, _EMPTY)
    facts = [parsed(one.get("metadata")) for one in (trace, call)]
    consent = next((f for m in facts if (f := held(m, "training_allowed")) is not None), None)
    return Conversation(
        line=number,
        conversation_id=_trace_of(trace, call) or "",
        user_id=text(trace, "userId", "user_id") or text(call, "userId", "user_id"),
        started_at=held(call, "startTime", "start_time", "timestamp")
        or held(trace, "timestamp", "startTime"),
        surface=next((s for m in facts if (s := text(m, "surface"))), None),
        language=next((s for m in facts if (s := text(m, "language"))), None),
        reported_model=text(call, "model", "provided_model_name", "providedModelName"),
        training_allowed=consent if isinstance(consent, bool) else None,
        has_attachments=attached(dialog),
        messages=dialog,
        tools=_tools(call),
        commit=commit_in(*facts),
        source=rest(trace or call, *_KNOWN),
    )


def _tools(call: dict[str, Any]) -> list[Tool] | None:
    """The tools of a generation: in its input, or in the parameters of its model."""
    request = parsed(call.get("input"))
    listed = request if isinstance(request, list) else []
    among = [held(m, "content") for m in listed if is_definition(m)]
    params = parsed(held(call, "modelParameters", "model_parameters"))
    return tools_in(request) or definitions(among) or tools_in(params)


def _trace_of(trace: dict[str, Any], call: dict[str, Any]) -> str | None:
    return text(trace, "id") or text(call, "traceId", "trace_id")


def _calls_of(number: int, record: dict[str, Any]) -> list[Call]:
    if isinstance(record.get("trace"), dict):
        record = record["trace"] | {"observations": record.get("observations")}
    if held(record, "traceId", "trace_id"):
        # a page of generations has no column that says that they are some
        kind = text(record, "type") or "GENERATION"
        trace, calls = {}, [record] if kind == "GENERATION" else []
    else:
        trace = record
        inside = record.get("observations")
        observed = inside if isinstance(inside, list) else []
        calls = [o for o in observed if isinstance(o, dict) and o.get("type") == "GENERATION"]
        # the trace's own, where it is longer: some agents log what is new only with each call
        calls.append(record)
    session = text(record, "sessionId", "session_id")
    name = _trace_of(trace, record) or ""
    found = [checked(number, call, lambda n, c: _one(n, trace, c)) for call in calls]
    if not calls:
        return [Call(name, session, text(record, "userId", "user_id"), 0, None)]
    user = text(record, "userId", "user_id")
    made = [call_of(name, session, item, user) for item in found]
    if len(made) > 1:
        own = made.pop()
        if "reason" not in own.body:
            made.insert(0, own._replace(at=min(c.at for c in made) - 1))
    return made


def _calls(stream: BinaryIO) -> Iterator[tuple[int, Call | Reject]]:
    for number, one in paged(stream, "data", "input"):
        found = checked(number, one, _calls_of)
        for call in [found] if isinstance(found, Reject) else found:
            yield number, call


read = CallReader(_calls, longest)
