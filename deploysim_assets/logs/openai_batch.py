"""The `openai_batch` format: the files of a batch, JSON lines. The output says what was answered
and the input what was asked, so both belong into the release's logs; a request and its answer are
joined by `custom_id`, over all files."""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Iterator
from typing import Any, BinaryIO

from deploysim_assets.logs.calls import Call, CallReader, Found, Row, Trace
from deploysim_assets.logs.conversation import Conversation, Reject
from deploysim_assets.logs.exchange import answered, asked
from deploysim_assets.logs.parts import DialogError, attached
from deploysim_assets.logs.records import checked, held, json_records, text
from deploysim_assets.logs.tools import tools_in

_UNASKED = "an answer without its request; put the batch's input file beside its output"
_UNANSWERED = "a request without an answer"


def _call(number: int, line: dict[str, Any]) -> Call | Reject:
    name = text(line, "custom_id")
    if name is None:
        return Reject(number, "custom_id: Input should be a text")
    if "response" in line or "error" in line:
        status, body = (held(line.get("response"), key) for key in ("status_code", "body"))
        if status != 200 or not isinstance(body, dict):
            return Call(name, None, None, 1, {"failed": True})
        return Call(name, None, None, 1, {"answer": body})
    if not isinstance(line.get("body"), dict):
        return Reject(number, "neither a request of a batch nor an answer")
    return Call(name, None, None, 0, {"request": line["body"]})


def _calls(stream: BinaryIO) -> Iterator[tuple[int, Call | Reject]]:
    for number, record in json_records(stream):
        yield number, checked(number, record, _call)


def _found_in(trace: Trace) -> Iterator[Found]:
    """The last request of its name with the answer; each other line is a reject."""
    rows: dict[str, Row] = {}
    for row in trace.rows:
        (kind,) = row.body
        if kind in rows:
            yield Found(row.file, Reject(row.line, "custom_id: stands twice; the first is kept"))
        else:
            rows[kind] = row
    request, answer = rows.get("request"), rows.get("answer")
    if failed := rows.get("failed"):
        yield Found(failed.file, Reject(failed.line, "the request was not answered: an error"))
    if answer and not request:
        yield Found(answer.file, Reject(answer.line, _UNASKED))
    elif request and not answer:
        if not failed:
            yield Found(request.file, Reject(request.line, _UNANSWERED))
    elif request and answer:
        item = checked(answer.line, {}, lambda n, _: _one(n, trace, request.body["request"],
                                                          answer.body["answer"]))  # fmt: skip
        yield Found(answer.file, item)


def _one(number: int, trace: Trace, request: Any, answer: Any) -> Conversation:
    dialog = asked(request, "body") + answered(answer, "response.body")
    if not dialog:
        raise DialogError("no messages")
    return Conversation(
        line=number,
        conversation_id=trace.name,
        user_id=text(request, "user", "safety_identifier"),
        started_at=held(answer, "created", "created_at"),
        reported_model=text(answer, "model") or text(request, "model"),
        has_attachments=attached(dialog),
        messages=dialog,
        tools=tools_in(request),
    )


read = CallReader(_calls, _found_in)
