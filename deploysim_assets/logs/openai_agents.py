"""The `openai_agents` format: traces of the OpenAI Agents SDK as its exporters write them, one
trace or span a line, or as the batches of `data` that they send.

Models speak in generation spans, and in response spans where a processor keeps their input and
response: the SDK's own export has only the id of a response. A conversation is the trace's
`group_id`, or where there is none a trace: the longest of its model spans. Consent, surface,
language, user and commit are those of the trace's metadata.
"""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Iterator
from typing import Any, BinaryIO

from deploysim_assets.logs.calls import Call, CallReader, Found, Row, Trace, call_of, longest
from deploysim_assets.logs.conversation import Conversation, Message, Reject
from deploysim_assets.logs.dialog import messages
from deploysim_assets.logs.exchange import answered, asked
from deploysim_assets.logs.parts import attached
from deploysim_assets.logs.records import checked, held, text
from deploysim_assets.logs.tables import paged
from deploysim_assets.logs.tools import commit_in, tools_in

_MODEL_SPANS = ("generation", "response")
_ONLY_ID = "a model span without input and output; export them with a trace processor of your own"


def _dialog(data: dict[str, Any]) -> list[Message]:
    """What a model was asked and answered: a generation's own lists, or a response with what it
    was given, whose instructions stand in the response."""
    given = held(data, "input", "_input")
    response = held(data, "response", "_response")
    if isinstance(response, dict):
        body = {"instructions": held(response, "instructions"), "input": given}
        return asked({k: v for k, v in body.items() if v}) + answered(response)
    output = data.get("output")
    said = messages(output, "assistant", "output") if isinstance(output, list) else []
    return asked(given) + said


def _one(number: int, span: dict[str, Any]) -> Conversation | Reject:
    data = span["span_data"]
    if held(data, "input", "_input") is None:
        return Reject(number, _ONLY_ID)
    dialog = _dialog(data)
    if not dialog:
        return Reject(number, _ONLY_ID)
    response = held(data, "response", "_response")
    return Conversation(
        line=number,
        conversation_id=text(span, "trace_id") or "",
        started_at=span.get("started_at"),
        reported_model=text(response, "model") or text(data, "model"),
        has_attachments=attached(dialog),
        messages=dialog,
        tools=tools_in(response) or tools_in(held(data, "model_config")),
    )


def _call(number: int, record: dict[str, Any]) -> Call | Reject | None:
    """A span of a model as a call, a trace as what is known of it; None for other spans."""
    kind = record.get("object")
    if kind == "trace":
        metadata = record.get("metadata")
        about = metadata if isinstance(metadata, dict) else {}
        body = {"about": about, "workflow": record.get("workflow_name")}
        name, group = text(record, "id") or "", text(record, "group_id")
        return Call(name, group, text(about, "user_id"), 0, body)
    data = record.get("span_data")
    if kind != "trace.span" or not isinstance(data, dict):
        return Reject(number, "neither a trace nor a span of the Agents SDK")
    if data.get("type") not in _MODEL_SPANS:
        return None
    return call_of(text(record, "trace_id") or "", None, checked(number, record, _one))


def _calls(stream: BinaryIO) -> Iterator[tuple[int, Call | Reject]]:
    for number, one in paged(stream, "data"):
        found = checked(number, one, _call)
        if found is not None:
            yield number, found


def _found_in(trace: Trace) -> Iterator[Found]:
    """The longest model span of a trace, with what the trace's own record says of it."""
    known: list[Any] = []

    def calls() -> Iterator[Row]:
        for row in trace.rows:
            if "about" in row.body:
                known.append(row.body)
            else:
                yield row

    for found in longest(trace._replace(rows=calls())):
        item = found.item
        if isinstance(item, Conversation) and known:
            about = known[0]["about"]
            consent = about.get("training_allowed")
            item.training_allowed = consent if isinstance(consent, bool) else None
            item.surface = text(about, "surface") or text(known[0], "workflow")
            item.language = text(about, "language")
            item.commit = commit_in(about)
        yield found


read = CallReader(_calls, _found_in)
