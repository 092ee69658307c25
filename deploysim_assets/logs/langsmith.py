"""The `langsmith` format: runs as the interface lists them, one JSON record each, in an array or
below `runs`, or rows of the bulk export in Parquet.

A conversation is the thread that the metadata names (session_id, thread_id, conversation_id), or
where there is none a trace: the longest of its model runs. (A run's own `session_id` is its
project.)
"""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Iterator
from typing import Any, BinaryIO

from deploysim_assets.logs.calls import Call, CallReader, call_of, longest
from deploysim_assets.logs.conversation import Conversation, Reject
from deploysim_assets.logs.exchange import exchange
from deploysim_assets.logs.parts import attached, parsed
from deploysim_assets.logs.records import buffer, checked, held, json_records, rest, text
from deploysim_assets.logs.tables import is_parquet, parquet_rows
from deploysim_assets.logs.tools import commit_in, tools_in

_THREAD = ("session_id", "thread_id", "conversation_id")
_KEPT_ELSEWHERE = ("inputs", "outputs", "child_runs", "events", "serialized", "extra", "manifest",
                   "start_time", "end_time", "dotted_order", "inputs_preview",
                   "outputs_preview")  # fmt: skip
_DEEP = 64


def _metadata(run: dict[str, Any]) -> Any:
    return held(parsed(run.get("extra")), "metadata") or parsed(run.get("metadata"))


def _one(number: int, run: dict[str, Any]) -> Conversation | Reject:
    asked, answer = parsed(run.get("inputs")), parsed(run.get("outputs"))
    dialog = exchange(asked or None, answer or None)
    if not dialog:
        return Reject(number, "a run without inputs and outputs")
    about = _metadata(run)
    params = held(parsed(run.get("extra")), "invocation_params")
    consent = held(about, "training_allowed")
    return Conversation(
        line=number,
        conversation_id=text(run, "trace_id", "id") or "",
        user_id=text(about, "user_id"),
        started_at=run.get("start_time"),
        surface=text(about, "surface"),
        language=text(about, "language"),
        reported_model=text(about, "ls_model_name")
        or text(params, "model", "model_name")
        or text(asked, "model")
        or text(answer, "model"),
        training_allowed=consent if isinstance(consent, bool) else None,
        has_attachments=attached(dialog),
        messages=dialog,
        tools=tools_in(params) or tools_in(asked),
        commit=commit_in(about),
        source=rest(run, *_KEPT_ELSEWHERE),
    )


def _runs(record: Any, deep: int = 0) -> Iterator[Any]:
    """A run and those below it."""
    listed = held(record, "runs", "data")
    if isinstance(listed, list):
        for run in listed:
            yield from _runs(run, deep + 1)
        return
    yield record
    below = held(record, "child_runs")
    if isinstance(below, list) and deep < _DEEP:
        for run in below:
            yield from _runs(run, deep + 1)


def _call(number: int, run: dict[str, Any]) -> Call | Reject:
    kind = run.get("run_type")
    if not isinstance(kind, str):
        return Reject(number, "run_type: Input should be a text")
    about = _metadata(run)
    thread, user = text(about, *_THREAD), text(about, "user_id")
    trace = text(run, "trace_id", "id") or ""
    root = not held(run, "parent_run_id")
    if kind != "llm" and not (root and kind in ("chain", "prompt")):
        return Call(trace, thread, user, 0, None)
    return call_of(trace, thread, checked(number, run, _one), user)


def _calls(stream: BinaryIO) -> Iterator[tuple[int, Call | Reject]]:
    buffered = buffer(stream)
    records = parquet_rows(buffered, "run_type") if is_parquet(buffered) else json_records(buffered)
    for number, record in records:
        for run in _runs(record):
            yield number, checked(number, run, _call)


read = CallReader(_calls, longest)
