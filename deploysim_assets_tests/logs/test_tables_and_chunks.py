"""Exports as CSV and as columns with JSON in their texts, and answers that were logged chunk by
chunk."""

import csv
import gzip
import io
import json
from typing import Any

import polars as pl
import pytest

from deploysim_assets.logs import reader
from deploysim_assets.logs.conversation import Conversation, Reject
from deploysim_assets.logs.detect import detect
from deploysim_assets.logs.files import log_files

TURNS = [
    {"role": "user", "content": 'say "hi",\nplease'},
    {"role": "assistant", "content": "Hi."},
]


def read(name: str, content: bytes) -> tuple[list[Conversation], list[Reject]]:
    found = list(reader(name)(io.BytesIO(content)))
    return (
        [f for f in found if isinstance(f, Conversation)],
        [f for f in found if isinstance(f, Reject)],
    )


def as_csv(rows: list[dict[str, Any]]) -> bytes:
    """As Langfuse writes it: every cell in quotation marks, what is no text as JSON."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {k: "" if v is None else v if isinstance(v, str) else json.dumps(v) for k, v in r.items()}
        for r in rows
    )
    return out.getvalue().encode()


def said(item: Conversation) -> list[tuple[str, str | None]]:
    return [(m.role, m.content) for m in item.messages]


HI = [(t["role"], t["content"]) for t in TURNS]
GENERATIONS = [
    {
        "id": "o1", "traceId": "t1", "traceName": "chat", "startTime": "2026-05-01T10:00:00Z",
        "model": "m", "input": {"messages": TURNS[:1]}, "output": TURNS[1], "metadata": None,
    }
]  # fmt: skip
TRACES = [
    {
        "id": "t1", "timestamp": "2026-05-01T10:00:00Z", "name": "chat", "userId": "u1",
        "sessionId": "s1", "input": {"messages": TURNS[:1]}, "output": TURNS[1],
        "metadata": {"training_allowed": True},
    }
]  # fmt: skip
ENRICHED = [
    {
        "id": "o1", "trace_id": "t1", "type": "GENERATION", "start_time": "2026-05-01 10:00:00.0",
        "user_id": "u1", "session_id": "s1", "input": {"messages": TURNS[:1]}, "output": TURNS[1],
    }
]  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "name", "user"),
    [(GENERATIONS, "t1", None), (TRACES, "s1", "u1"), (ENRICHED, "s1", "u1")],
)
def test_langfuses_tables_are_read_as_csv_and_as_json_lines(
    rows: list[dict[str, Any]], name: str, user: str | None, tmp_path: Any
) -> None:
    for file, content in (
        ("export.csv", as_csv(rows)),
        ("export.jsonl", b"\n".join(json.dumps(r).encode() for r in rows)),
    ):
        (tmp_path / file).write_bytes(content)
        assert detect(log_files(tmp_path, file)).format == "langfuse"
        (item,), rejects = read("langfuse", content)
        assert said(item) == HI
        assert (item.conversation_id, item.user_id, rejects) == (name, user, [])
        assert item.started_at is not None
        assert item.training_allowed is (True if rows is TRACES else None)


LMSYS = {"conversation_id": "l1", "model": "m", "conversation": TURNS, "language": "English"}
WILD = {"conversation_hash": "h1", "model": "m", "conversation": TURNS, "hashed_ip": "ip"}


@pytest.mark.parametrize(("name", "row"), [("lmsys", LMSYS), ("wildchat", WILD)])
def test_the_public_corpora_are_read_in_every_container(
    name: str, row: dict[str, Any], tmp_path: Any
) -> None:
    texts = row | {"conversation": json.dumps(TURNS)}
    parquet = io.BytesIO()
    pl.DataFrame([texts]).write_parquet(parquet)
    for file, content in {
        "a.jsonl": json.dumps(row).encode(),
        "b.json": json.dumps([row, row]).encode(),
        "c.csv": as_csv([row]),
        "d.csv": as_csv([row | {"conversation": str(TURNS)}]),  # as pandas writes a list
        "e.parquet": parquet.getvalue(),
        "f.csv": b"\xef\xbb\xbf" + as_csv([row]).replace(b"\n", b"\r\n"),
    }.items():
        (tmp_path / file).write_bytes(content)
        if name != "wildchat" or file != "e.parquet":
            assert detect(log_files(tmp_path, file)).format == name
        items, rejects = read(name, content)
        assert rejects == [], file
        got = [(r, c and c.replace("\r\n", "\n")) for r, c in said(items[0])]
        assert got == HI
        assert items[0].conversation_id in ("l1", "h1")


def test_a_bad_row_of_csv_costs_a_row_and_is_not_quoted() -> None:
    good = as_csv([LMSYS, LMSYS | {"conversation_id": "l2"}, LMSYS | {"conversation_id": "l3"}])
    head, _, rest = good.partition(b"\n")
    ragged = head + b'\n"hidden","x"\n' + rest
    items, rejects = read("lmsys", ragged)
    assert len(items) == 3
    assert [(r.line, "cells" in r.reason) for r in rejects] == [(2, True)]
    unicode = head + b"\n" + rest.replace(b"l2", b"l\xff")
    items, rejects = read("lmsys", unicode)
    assert [i.conversation_id for i in items] == ["l1", "l3"]
    assert len(rejects) == 1
    cut = good[:-12]
    items, rejects = read("lmsys", cut)
    assert len(items) == 2
    assert "breaks off" in rejects[0].reason
    zipped = gzip.decompress(gzip.compress(good)) + b'"l4","m","not a list","English"\n'
    items, rejects = read("lmsys", zipped)
    assert len(items) == 3
    assert rejects[0].line == 5
    assert "hidden" not in str(rejects) and "not a list" not in str(rejects)


def test_a_record_longer_than_any_is_a_reject_in_csv_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from deploysim_assets.logs import tables

    monkeypatch.setattr(tables, "LARGEST", 2_000)
    rows = [LMSYS, LMSYS | {"conversation_id": "x" * 9_000}, LMSYS | {"conversation_id": "l3"}]
    items, rejects = read("lmsys", as_csv(rows))
    assert "l1" in [i.conversation_id for i in items]
    assert rejects
    csv.field_size_limit(131_072)


def _chunk(delta: dict[str, Any], ended: str | None = None, index: int = 0) -> dict[str, Any]:
    choice = {"index": index, "delta": delta, "finish_reason": ended}
    return {"id": "c", "object": "chat.completion.chunk", "choices": [choice]}


CHUNKS = [
    _chunk({"role": "assistant", "content": ""}),
    _chunk({"content": "H"}),
    _chunk({"content": "other"}, index=1),
    _chunk({"content": "i."}),
    _chunk({"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "f", "arguments": ""}}]}),
    _chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]}),
    _chunk(
        {"tool_calls": [{"index": 1, "id": "c2", "function": {"name": "g", "arguments": "{}"}}]}
    ),
    _chunk({"tool_calls": [{"index": 0, "function": {"arguments": ": 1}"}}]}),
    _chunk({}, "tool_calls"),
    {"id": "c", "object": "chat.completion.chunk", "choices": [], "usage": {"total_tokens": 9}},
]
EVENTS = "".join(f"data: {json.dumps(c)}\n\n" for c in CHUNKS) + "data: [DONE]\n\n"
ANTHROPIC = "".join(
    f"event: {e['type']}\ndata: {json.dumps(e)}\n\n"
    for e in (
        {"type": "message_start", "message": {"role": "assistant", "content": []}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi."}},
        {
            "type": "content_block_start",
            "index": 1,
            "content_block": {"type": "tool_use", "id": "c1", "name": "f", "input": {}},
        },
        {
            "type": "content_block_delta",
            "index": 1,
            "delta": {"type": "input_json_delta", "partial_json": '{"a": 1}'},
        },
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}},
        {"type": "message_stop"},
    )
)
RESPONSES = [
    {"type": "response.output_text.delta", "delta": "Hi."},
    {
        "type": "response.completed",
        "response": {
            "status": "completed",
            "output": [
                {"type": "message", "content": [{"type": "output_text", "text": "Hi."}]},
                {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a": 1}'},
            ],
        },
    },
]
ASKED = {"model": "m", "stream": True, "messages": TURNS[:1]}


@pytest.mark.parametrize(
    "answer",
    [
        CHUNKS,
        json.dumps(CHUNKS),
        EVENTS,
        {"streamed_data": CHUNKS},
        {"streamed_data": ANTHROPIC},
        RESPONSES,
    ],
)
def test_an_answer_that_was_logged_in_chunks_is_the_reply_that_it_was(answer: Any) -> None:
    spend = {"request_id": "r", "call_type": "acompletion", "messages": [], "response": answer}
    spend["proxy_server_request"] = {"body": ASKED}
    logged = {"request_id": "r", "response_status": 200, "request_body": ASKED}
    for name, record in (
        ("litellm", spend),
        ("helicone", logged | {"response_body": answer}),
    ):
        (item,), rejects = read(name, json.dumps(record).encode())
        assert rejects == []
        reply = item.messages[1]
        assert (reply.role, reply.content) == ("assistant", "Hi.")
        calls = [(c.id, c.name, json.loads(c.arguments)) for c in reply.tool_calls or []]
        assert calls[0] == ("c1", "f", {"a": 1})
        assert reply.finish_reason == "tool_calls"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (CHUNKS[:-2], "breaks off"),
        ({"streamed_data": ANTHROPIC.partition("event: message_delta")[0]}, "breaks off"),
        (RESPONSES[:1], "breaks off"),
        ([*CHUNKS[:3], {"error": {"message": "hidden"}}], "an error"),
        (EVENTS[:400], "no JSON"),
        (CHUNKS * 2, "goes on"),
        ({"streamed_data": ANTHROPIC * 2}, "goes on"),
        (RESPONSES * 2, "goes on"),
    ],
)
def test_a_stream_that_broke_off_or_tells_two_answers_is_rejected_and_not_quoted(
    answer: Any, why: str
) -> None:
    record = {"request_id": "r", "response_status": 200, "request_body": ASKED}
    items, (reject,) = read("helicone", json.dumps(record | {"response_body": answer}).encode())
    assert items == []
    assert why in reject.reason
    assert "hidden" not in reject.reason


def test_a_result_of_swe_agent_answers_every_call_that_it_names() -> None:
    calls = [
        {"id": i, "type": "function", "function": {"name": "bash", "arguments": "{}"}} for i in "ab"
    ]
    history = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": "", "tool_calls": calls},
        {"role": "tool", "content": "one at a time", "tool_call_ids": ["a", "b"]},
    ]
    (item,), _ = read("swe_agent", json.dumps({"history": history}).encode())
    results = [(m.tool_call_id, m.content) for m in item.messages if m.role == "tool"]
    assert results == [("a", "one at a time"), ("b", "one at a time")]
