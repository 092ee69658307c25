"""The `inspect` format: logs of Inspect, `.eval` archives or their JSON form. A sample is a
conversation; its record number is its place in the log."""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

import io
import re
import zipfile
from collections.abc import Iterator
from typing import Any, BinaryIO

from deploysim_assets.logs.archive import BROKEN, member
from deploysim_assets.logs.conversation import Conversation, Reject, Tool
from deploysim_assets.logs.dialog import messages
from deploysim_assets.logs.exchange import answered
from deploysim_assets.logs.parts import attached
from deploysim_assets.logs.records import (
    DAMAGED,
    INVALID,
    LARGEST,
    TOO_LONG,
    Problem,
    UnreadableError,
    buffer,
    checked,
    held,
    loaded,
    rest,
    text,
)
from deploysim_assets.logs.tools import commit_in, definitions
from deploysim_assets.schema import finish_reason

_WHOLE = re.compile(r"samples/([^/]+)\.json")
_CHUNKED = re.compile(r"samples/([^/]+)/sample\.json")
_ATTACHED = "attachment://"
_DOCUMENT = 128 * 1024 * 1024


def _filled(value: Any, attachments: Any, deep: int = 0) -> Any:
    """Content with references to attachments (by hash, or by place) as what they refer to."""
    if isinstance(value, str) and value.startswith(_ATTACHED):
        name = value.removeprefix(_ATTACHED)
        if isinstance(attachments, dict):
            found = attachments.get(name)
        else:
            place = int(name) if name.isdecimal() and len(name) < 10 else -1
            listed = attachments if isinstance(attachments, list) else []
            found = listed[place] if 0 <= place < len(listed) else None
        return found if isinstance(found, str) else value
    if deep > 32:
        return value
    if isinstance(value, list):
        return [_filled(v, attachments, deep + 1) for v in value]
    if isinstance(value, dict):
        return {k: _filled(v, attachments, deep + 1) for k, v in value.items()}
    return value


def _one(number: int, sample: dict[str, Any], about: Any) -> Conversation | Reject:
    output = sample.get("output")
    kept = _filled(sample.get("messages") or [], sample.get("attachments"))
    dialog = messages(kept)
    choices = held(output, "choices")
    last = answered(output) if isinstance(choices, list) and choices else []
    if dialog and last and dialog[-1].role == "assistant":
        dialog[-1].finish_reason = last[-1].finish_reason
    elif last and (last[-1].content or last[-1].tool_calls):
        dialog += last
    if not dialog:
        return Reject(number, "a sample without messages")
    if isinstance(held(output, "error"), str) and dialog[-1].role == "assistant":
        dialog[-1].finish_reason = finish_reason("error")
    return Conversation(
        line=number,
        conversation_id=_id(sample, about),
        started_at=held(sample, "started_at") or held(about, "created"),
        surface=text(about, "task"),
        reported_model=text(output, "model") or text(about, "model"),
        has_attachments=attached(dialog),
        messages=dialog,
        tools=_tools(sample),
        commit=commit_in(sample.get("metadata")),
        source=_source(sample, about),
    )


def _tools(sample: dict[str, Any]) -> list[Tool] | None:
    """The tools that the sample's last model call was offered."""
    events = sample.get("events")
    calls = [e for e in (events if isinstance(events, list) else []) if held(e, "event") == "model"]
    return definitions(*(held(e, "tools") for e in reversed(calls)), sample.get("tools"))


def _id(sample: dict[str, Any], about: Any) -> str:
    if unique := text(sample, "uuid"):
        return unique
    run, name = text(about, "eval_id", "run_id"), sample.get("id")
    if run is None or not isinstance(name, str | int):
        return ""
    return f"{run}/{name}/{sample.get('epoch')}"


def _source(sample: dict[str, Any], about: Any) -> str | None:
    kept = {k: sample.get(k) for k in ("id", "epoch", "target", "metadata", "error", "limit")}
    return rest(kept | {k: held(about, k) for k in ("task", "task_id", "run_id", "eval_id")})


def read(stream: BinaryIO) -> Iterator[Conversation | Reject]:
    """Each sample as a conversation."""
    buffered = buffer(stream)
    if buffered.peek(4)[:4] == b"PK\x03\x04":
        yield from _archive(buffered)
        return
    raw = buffered.read(_DOCUMENT + 1)
    if len(raw) > _DOCUMENT:
        raise UnreadableError(
            f"a JSON log of more than {_DOCUMENT >> 20} MB; `inspect log convert` makes it an "
            ".eval archive"
        )
    if not raw.strip():
        return
    log = loaded(raw)
    if isinstance(log, Problem):
        yield Reject(1, log.reason)
        return
    samples = held(log, "samples")
    if not isinstance(samples, list):
        yield Reject(1, "samples: Input should be a list")
        return
    for number, sample in enumerate(samples, 1):
        yield checked(number, sample, lambda n, s: _one(n, s, held(log, "eval")))


def _archive(stream: io.BufferedReader) -> Iterator[Conversation | Reject]:
    try:
        archive = zipfile.ZipFile(stream)
    except BROKEN as wrong:
        raise UnreadableError("not a whole archive; is the evaluation still running?") from wrong
    names = archive.namelist()
    about: Any = None
    for name, key in (("header.json", "eval"), ("_journal/start.json", "eval")):
        if about is None and name in names:
            about = held(_json(archive, stream, name), key)
    samples = sorted(n for n in names if _WHOLE.fullmatch(n) or _CHUNKED.fullmatch(n))
    for number, name in enumerate(samples, 1):
        sample = _json(archive, stream, name)
        if isinstance(sample, dict) and _CHUNKED.fullmatch(name):
            sample = sample | _chunks(archive, stream, name.removesuffix("sample.json"))
        yield checked(number, sample, lambda n, s: _one(n, s, about))


def _chunks(archive: zipfile.ZipFile, stream: BinaryIO, prefix: str) -> dict[str, Any]:
    """The messages and attachments of a sample that is kept in pieces."""
    found: dict[str, Any] = {}
    for kind in ("messages", "attachments"):
        piece_of = re.compile(re.escape(f"{prefix}{kind}/") + r"\d{1,12}\.json")
        pieces = [n for n in archive.namelist() if piece_of.fullmatch(n)]
        listed: list[Any] = []
        for name in sorted(pieces, key=lambda n: int(n.rpartition("/")[2].removesuffix(".json"))):
            piece = _json(archive, stream, name)
            if isinstance(piece, list):
                listed += piece
        found |= {kind: listed} if pieces else {}
    return found


def _json(archive: zipfile.ZipFile, stream: BinaryIO, name: str) -> Any:
    try:
        raw = member(archive, stream, name, LARGEST)
    except BROKEN:
        return DAMAGED
    return TOO_LONG if raw is None else loaded(raw) if raw else INVALID
