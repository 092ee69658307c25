"""The other log formats: each to the same conversations, from files of any compression and from
any store."""

import gzip
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec
import polars as pl
import pytest
import zstandard

from deploysim_assets.logs import READERS, reader
from deploysim_assets.logs.conversation import Conversation, Reject
from deploysim_assets.logs.conversations import read_conversations
from deploysim_assets.logs.files import log_files
from deploysim_assets.logs.records import UnreadableError
from deploysim_assets.project import ProjectError
from deploysim_assets.schema import CONVERSATIONS, REJECTS
from deploysim_assets.storage.tables import Lake
from deploysim_assets_tests.support import SHARED, deploysim, needs_shared


def conversations(log_format: str, content: bytes) -> list[Conversation]:
    found = list(reader(log_format)(io.BytesIO(content)))
    assert all(isinstance(item, Conversation) for item in found), found
    return found  # type: ignore[return-value]


def text(conversation: Conversation) -> list[tuple[str, str | None]]:
    return [(m.role, m.content) for m in conversation.messages]


def test_wildchat_rows(tmp_path: Path) -> None:
    def turn(role: str, content: str) -> dict[str, Any]:
        return {
            "role": role,
            "content": content,
            "hashed_ip": "ip1",
            "redacted": False,
            "toxic": False,
            "language": "English",
        }

    frame = pl.DataFrame(
        {
            "conversation_hash": ["h1", None],
            "model": ["gpt-4", "gpt-4"],
            "timestamp": [datetime(2023, 4, 9, tzinfo=UTC)] * 2,
            "conversation": [[turn("user", "Hi"), turn("assistant", "Hello")]] * 2,
            "language": ["English"] * 2,
            "redacted": [True, False],
            "toxic": [False, True],
        }
    )
    frame.write_parquet(tmp_path / "w.parquet")
    good, unnamed = list(reader("wildchat")(io.BytesIO((tmp_path / "w.parquet").read_bytes())))
    assert isinstance(good, Conversation)
    assert text(good) == [("user", "Hi"), ("assistant", "Hello")]
    assert (good.user_id, good.reported_model, good.training_allowed) == ("ip1", "gpt-4", None)
    assert good.started_at is not None
    assert json.loads(good.source or "")["redacted"] is True
    assert isinstance(unnamed, Conversation)
    assert unnamed.conversation_id == "", "it is named by its file and line"


SHAREGPT = [
    {
        "id": "s1",
        "conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}],
        "tags": ["x"],
    },
    {
        "conversations": [
            {"from": "system", "value": "Be kind"},
            {"from": "human", "value": "Hi"},
            {"from": "gpt", "value": "Yo"},
        ]
    },
]


@pytest.mark.parametrize(
    "content",
    [json.dumps(SHAREGPT), json.dumps(SHAREGPT, indent=2), "\n".join(map(json.dumps, SHAREGPT))],
)
def test_sharegpt_as_array_and_as_lines(content: str) -> None:
    first, second = conversations("sharegpt", content.encode())
    assert text(first) == [("user", "Hi"), ("assistant", "Hello")]
    assert json.loads(first.source or "") == {"tags": ["x"]}
    assert (first.conversation_id, second.conversation_id) == ("s1", "")
    assert second.messages[0].role == "system"


def attribute(key: str, value: Any) -> dict[str, Any]:
    kinds = {bool: "boolValue", int: "intValue", str: "stringValue"}
    if isinstance(value, list):
        return {
            "key": key,
            "value": {"arrayValue": {"values": [{"stringValue": v} for v in value]}},
        }
    return {"key": key, "value": {kinds[type(value)]: str(value) if type(value) is int else value}}


def span(
    trace: str, start: int, attributes: dict[str, Any], events: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    return {
        "traceId": trace,
        "spanId": f"{start:016x}",
        "startTimeUnixNano": str(start * 10**9),
        "attributes": [attribute(k, v) for k, v in attributes.items()],
        "events": events or [],
    }


def otlp(*spans: dict[str, Any]) -> str:
    return json.dumps(
        {
            "resourceSpans": [
                {
                    "resource": {"attributes": [attribute("service.name", "chat")]},
                    "scopeSpans": [{"spans": list(spans)}],
                }
            ]
        }
    )


def part(**fields: Any) -> dict[str, Any]:
    return fields


CALL: dict[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "m1",
    "user.id": "u1",
    "deploysim.training_allowed": True,
}
INPUT = [
    {"role": "user", "parts": [part(type="text", content="Weather?")]},
    {
        "role": "assistant",
        "parts": [part(type="tool_call", id="t1", name="weather", arguments={"city": "Oslo"})],
    },
    {"role": "tool", "parts": [part(type="tool_call_response", id="t1", response="rain")]},
]
OUTPUT = [
    {
        "role": "assistant",
        "parts": [part(type="reasoning", content="It rains."), part(type="text", content="Rain.")],
        "finish_reason": "stop",
    }
]


def test_otel_messages_in_attributes_over_scattered_spans() -> None:
    early = span(
        "t1",
        100,
        CALL
        | {
            "gen_ai.input.messages": json.dumps(INPUT[:1]),
            "gen_ai.output.messages": json.dumps(INPUT[1:2]),
        },
    )
    tool = span("t1", 101, {"gen_ai.operation.name": "execute_tool"})
    late_attributes = {
        "gen_ai.input.messages": json.dumps(INPUT),
        "gen_ai.output.messages": json.dumps(OUTPUT),
    }
    late = span(
        "t1",
        102,
        CALL
        | late_attributes
        | {"gen_ai.system_instructions": json.dumps([part(type="text", content="Be kind")])},
    )
    other = span(
        "t2",
        50,
        CALL
        | {
            "gen_ai.input.messages": json.dumps(INPUT[:1]),
            "gen_ai.output.messages": json.dumps(OUTPUT),
        },
    )
    http = span("t3", 1, {"http.method": "GET"})
    found = {
        c.conversation_id: c
        for c in conversations(
            "otel_genai", "\n".join([otlp(late, http), otlp(other, early), otlp(tool)]).encode()
        )
    }
    assert set(found) == {"t1", "t2"}
    assert text(found["t1"]) == [
        ("system", "Be kind"),
        ("user", "Weather?"),
        ("assistant", None),
        ("tool", "rain"),
        ("assistant", "Rain."),
    ]
    assert found["t1"].messages[2].tool_calls is not None
    assert json.loads(found["t1"].messages[2].tool_calls[0].arguments) == {"city": "Oslo"}
    assert found["t1"].messages[4].reasoning == "It rains."
    assert (found["t1"].user_id, found["t1"].reported_model, found["t1"].training_allowed) == (
        "u1",
        "m1",
        True,
    )
    assert found["t1"].started_at is not None
    assert found["t1"].started_at.timestamp() == 100


def test_otel_messages_in_events_of_both_conventions() -> None:
    old = [
        {"name": "gen_ai.system.message", "attributes": [attribute("content", "Be kind")]},
        {"name": "gen_ai.user.message", "attributes": [attribute("content", "Hi")]},
        {
            "name": "gen_ai.choice",
            "attributes": [
                attribute("message", json.dumps({"content": "Hello"})),
                attribute("finish_reason", "stop"),
            ],
        },
    ]
    new = [
        {
            "name": "gen_ai.client.inference.operation.details",
            "attributes": [attribute("gen_ai.input.messages", json.dumps(INPUT[:1]))],
        }
    ]
    first, second = conversations(
        "otel_genai", otlp(span("a", 1, CALL, old), span("b", 2, CALL, new)).encode()
    )
    assert text(first) == [("system", "Be kind"), ("user", "Hi"), ("assistant", "Hello")]
    assert text(second) == [("user", "Weather?")]


def test_otel_without_content_is_rejected_with_the_mend() -> None:
    found = list(reader("otel_genai")(io.BytesIO(otlp(span("a", 1, CALL)).encode())))
    assert found == [
        Reject(
            1,
            "the trace's last model call carries no messages; record content in attributes or "
            "events",
        )
    ]


def test_langfuse_traces_with_observations() -> None:
    dialog = [{"role": "user", "content": "Hi"}]
    trace = {
        "id": "lf1",
        "timestamp": "2026-01-01T00:00:00Z",
        "userId": "u1",
        "metadata": {"training_allowed": True, "surface": "web"},
        "observations": [
            {"type": "SPAN", "startTime": "2026-01-01T00:00:09Z", "input": "noise"},
            {
                "type": "GENERATION",
                "startTime": "2026-01-01T00:00:02Z",
                "model": "m1",
                "input": {"messages": dialog},
                "output": {"content": "Hello"},
            },
            {
                "type": "GENERATION",
                "startTime": "2026-01-01T00:00:01Z",
                "model": "m1",
                "input": dialog,
                "output": "early",
            },
        ],
    }
    bare = {"id": "lf2", "input": "Hi there", "output": "Hello there"}
    for content in (json.dumps([trace, bare]), "\n".join(map(json.dumps, [trace, bare]))):
        first, second = conversations("langfuse", content.encode())
        assert text(first) == [("user", "Hi"), ("assistant", "Hello")]
        assert (first.user_id, first.surface, first.training_allowed, first.reported_model) == (
            "u1",
            "web",
            True,
            "m1",
        )
        assert text(second) == [("user", "Hi there"), ("assistant", "Hello there")]
        assert second.training_allowed is None


def test_trajectories_as_json_lines_with_flat_tool_calls() -> None:
    call = {"id": "1", "function": "pay", "args": {"to": "X"}}
    answer = {"role": "assistant", "content": None, "tool_calls": [call]}
    run = {"id": "r1", "suite": "bank", "messages": [{"role": "user", "content": "Pay"}, answer]}
    (found,) = conversations("agent_trajectories", json.dumps(run).encode())
    assert found.surface == "bank"
    assert found.messages[1].tool_calls is not None
    assert json.loads(found.messages[1].tool_calls[0].arguments) == {"to": "X"}


LINE = {
    "conversation_id": "c",
    "started_at": None,
    "training_allowed": True,
    "messages": [{"role": "user", "content": "Hi"}],
}


def _counts(
    tmp_path: Path, pattern: str, log_format: str = "openai_chat", *, consented: bool = False
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    lake = Lake(tmp_path / "lake")
    with lake.new_version("raw_logs", "m", CONVERSATIONS, "run") as version:
        version.side_table("rejects", REJECTS)
        counts = read_conversations(
            log_files(tmp_path, pattern), reader(log_format), "m", version, consented=consented
        )
    return counts, list(lake.rows("raw_logs", "m"))


def test_compressed_files_and_globs_over_folders(tmp_path: Path) -> None:
    def line(name: str) -> bytes:
        return json.dumps(LINE | {"conversation_id": name}).encode() + b"\n"

    (tmp_path / "x" / "y").mkdir(parents=True)
    (tmp_path / "x" / "a.jsonl").write_bytes(line("a"))
    (tmp_path / "x" / "b.jsonl.gz").write_bytes(gzip.compress(line("b")))
    (tmp_path / "x" / "y" / "c.jsonl.zst").write_bytes(zstandard.compress(line("c")))
    _, rows = _counts(tmp_path, "x/**/*.jsonl*")
    assert sorted(r["conversation_id"] for r in rows) == ["a", "b", "c"]


def test_any_fsspec_url(tmp_path: Path) -> None:
    store = fsspec.filesystem("memory")
    store.pipe("/bucket/logs/a.jsonl", json.dumps(LINE).encode())
    counts, rows = _counts(tmp_path, "memory://bucket/logs/*.jsonl")
    assert counts["conversations"] == 1
    assert rows[0]["log_file"] == "memory:///bucket/logs/a.jsonl"


def test_each_conversation_names_its_file_and_line(tmp_path: Path) -> None:
    home, away = tmp_path / "home", tmp_path / "away"
    lines = [json.dumps(LINE | {"conversation_id": f"c{n}"}) for n in range(3)]
    for folder in (home / "logs", away):
        folder.mkdir(parents=True)
        (folder / "a.jsonl").write_text(f"{lines[0]}\n\nbroken\n{lines[1]}\n{lines[2]}")
    _, rows = _counts(home, "logs/*.jsonl")
    assert [(r["log_file"], r["log_line"]) for r in rows] == [
        ("logs/a.jsonl", line) for line in (1, 4, 5)
    ]
    for row in rows:
        written = (home / row["log_file"]).read_text().split("\n")[row["log_line"] - 1]
        assert json.loads(written)["conversation_id"] == row["conversation_id"]
    _, rows = _counts(home, f"{away}/*.jsonl")
    assert rows[0]["log_file"] == f"file://{away}/a.jsonl"


@pytest.mark.parametrize(
    ("name", "content", "log_format"),
    [
        ("a.jsonl.gz", gzip.compress(json.dumps(LINE).encode() * 500)[:-20], "openai_chat"),
        ("a.jsonl.gz", b"not gzip at all", "openai_chat"),
        ("a.jsonl.zst", b"not zstd at all", "openai_chat"),
        ("a.parquet", b"not parquet at all", "wildchat"),
        ("a.json", b'[{"conversations": [', "sharegpt"),
        ("a.json", b'{"id": 1,\n "x"', "langfuse"),
    ],
)
def test_a_file_that_is_not_of_its_format_is_one_error_that_names_it(
    tmp_path: Path, name: str, content: bytes, log_format: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ProjectError, match=name):
        _counts(tmp_path, name, log_format)


def test_a_declared_basis_of_consent_fills_in_the_unknown_and_overrides_no_refusal(
    tmp_path: Path,
) -> None:
    lines = [
        LINE | {"conversation_id": str(i), "training_allowed": allowed}
        for i, allowed in enumerate((True, None, False))
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert [r["training_allowed"] for r in _counts(tmp_path, "a.jsonl")[1]] == [True, None, False]
    assert [r["training_allowed"] for r in _counts(tmp_path, "a.jsonl", consented=True)[1]] == [
        True,
        True,
        False,
    ]


def test_import_brings_another_format_in_as_openai_chat(tmp_path: Path) -> None:
    deploysim(tmp_path, "init")
    (tmp_path / "dump.json").write_text(json.dumps([*SHAREGPT, SHAREGPT[0], {"conversations": []}]))
    done = deploysim(
        tmp_path, "import", "sharegpt", str(tmp_path / "dump.json"), "--model-version", "model-1"
    )
    assert "2 conversations written" in done.stdout
    assert "1 x conversation_id: stands twice" in done.stdout
    imported = log_files(tmp_path, "logs/model-1/*.jsonl")
    assert len(imported) == 1
    _, rows = _counts(tmp_path, "logs/model-1/*.jsonl")
    assert [r["conversation_id"] for r in rows] == ["s1", "dump.json:2"]
    assert json.loads(rows[0]["source"])["source"] == {"tags": ["x"]}
    wrong = deploysim(tmp_path, "import", "csv", "x", "--model-version", "model-1", check=False)
    assert "is no known format" in wrong.stderr


@needs_shared
def test_all_of_agentdojos_runs_are_read(tmp_path: Path) -> None:
    path = SHARED / "data" / "agentdojo" / "runs.parquet"
    recorded = pl.read_parquet(path, columns=["n_messages", "n_tool_calls", "model"])
    items = list(reader("agent_trajectories")(io.BytesIO(path.read_bytes())))
    found = [item for item in items if isinstance(item, Conversation)]
    whole = recorded.filter(pl.col("n_messages") > 0)
    assert (len(items), len(found)) == (16_797, whole.height)
    assert {item.reason for item in items if isinstance(item, Reject)} == {
        "messages: List should have at least 1 item after validation, not 0"
    }
    assert [len(c.messages) for c in found] == whole["n_messages"].to_list()
    assert [sum(len(m.tool_calls or []) for m in c.messages) for c in found] == whole[
        "n_tool_calls"
    ].to_list()
    assert [c.reported_model for c in found] == whole["model"].to_list()
    assert all(
        json.loads(call.arguments) is not None
        for c in found
        for m in c.messages
        for call in m.tool_calls or []
    )


def test_every_format_survives_an_empty_and_a_hostile_stream() -> None:
    for name, read in READERS.items():
        if name != "wildchat":
            assert list(read(io.BytesIO(b""))) == []
        for noise in (b"\x00\xff\n{}\n[1]\nnull\n", b'{"messages": "' + b"[" * 100_000 + b'"}\n'):
            try:
                found = list(read(io.BytesIO(noise)))
            except UnreadableError:
                continue
            assert all(isinstance(item, Reject) for item in found), (name, found)
