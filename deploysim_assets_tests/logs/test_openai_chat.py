"""openai_chat logs: what is read, what is rejected with which reason, and that no text leaks
into reasons."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploysim_assets.logs import files, reader
from deploysim_assets.logs.conversations import read_conversations
from deploysim_assets.logs.files import digest, fingerprint, log_files
from deploysim_assets.project import ProjectError
from deploysim_assets.schema import CONVERSATIONS, REJECTS
from deploysim_assets.storage.tables import Lake

GOOD: dict[str, Any] = {
    "conversation_id": "c1",
    "user_id": "u1",
    "started_at": "2026-05-01T10:00:00+02:00",
    "training_allowed": True,
    "surface": "web",
    "language": "en",
    "messages": [
        {"role": "user", "content": "What is the weather?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "t1",
                    "type": "function",
                    "function": {"name": "browser", "arguments": '{"query": "weather"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "t1", "content": "sunny"},
        {"role": "assistant", "content": "Sunny.", "reasoning": "The tool says so."},
    ],
    "metadata": {"client": "ios"},
}


def _read(
    tmp_path: Path, content: bytes
) -> tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]:
    path = tmp_path / "log.jsonl"
    path.write_bytes(content)
    lake = Lake(tmp_path / "lake")
    with lake.new_version("raw_logs", "m", CONVERSATIONS, "run") as version:
        version.side_table("rejects", REJECTS)
        counts = read_conversations(
            log_files(tmp_path, "log.jsonl"), reader("openai_chat"), "m", version
        )
    return (
        counts,
        list(lake.rows("raw_logs", "m")),
        lake.scan("raw_logs", "m", table="rejects").collect().to_dicts(),
    )


def test_a_whole_conversation_comes_through(tmp_path: Path) -> None:
    counts, rows, rejects = _read(tmp_path, json.dumps(GOOD).encode() + b"\n")
    assert (counts["read"], counts["conversations"], counts["rejected"]) == (1, 1, 0)
    assert rejects == []
    row = rows[0]
    assert row["started_at"].isoformat() == "2026-05-01T08:00:00+00:00"
    assert row["messages"][1]["tool_calls"] == [
        {"id": "t1", "name": "browser", "arguments": '{"query": "weather"}'}
    ]
    assert row["messages"][3]["reasoning"] == "The tool says so."
    assert json.loads(row["source"]) == {"metadata": {"client": "ios"}}
    assert counts["first_message_at"] == "2026-05-01T08:00:00+00:00"


def test_content_parts_are_joined_and_others_are_attachments(tmp_path: Path) -> None:
    parts = [
        {"type": "text", "text": "What is"},
        {"type": "text", "text": "this?"},
        {"type": "image_url", "image_url": {"url": "x"}},
    ]
    line = GOOD | {"messages": [{"role": "user", "content": parts}]}
    _, rows, _ = _read(tmp_path, json.dumps(line).encode())
    digest = hashlib.sha256(b"x").hexdigest()[:16]
    assert rows[0]["messages"][0]["content"] == f"What is\nthis?\n[image_url sha256:{digest}]"
    assert rows[0]["has_attachments"] is True


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("stop", "stop"),
        ("end_turn", "stop"),
        ("FinishReason.MAX_TOKENS", "length"),
        ("content-filter", "content_filter"),
        ("tool_use", "tool_calls"),
        ("refusal", "refusal"),
        ("weather", "unknown"),
        (7, "unknown"),
        (None, None),
    ],
)
def test_finish_reasons_are_kept_in_one_vocabulary(
    tmp_path: Path, said: object, kept: str | None
) -> None:
    reply = {"role": "assistant", "content": "Sunny.", "finish_reason": said}
    line = GOOD | {"messages": [GOOD["messages"][0], reply]}
    _, rows, _ = _read(tmp_path, json.dumps(line).encode())
    assert [m["finish_reason"] for m in rows[0]["messages"]] == [None, kept]


SECRET = "my-secret-words"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{broken " + SECRET.encode(), "Invalid JSON"),
        (b'"' + SECRET.encode() + b'"', "Input should be an object"),
        (
            json.dumps({k: v for k, v in GOOD.items() if k != "conversation_id"}).encode(),
            "conversation_id: Field required",
        ),
        (
            json.dumps({k: v for k, v in GOOD.items() if k != "messages"}).encode(),
            "messages: Field required",
        ),
        (json.dumps(GOOD | {"started_at": SECRET}).encode(), "started_at: "),
        (json.dumps(GOOD | {"training_allowed": "yes " + SECRET}).encode(), "training_allowed: "),
        (json.dumps(GOOD | {"messages": []}).encode(), "messages: "),
        (
            json.dumps(GOOD | {"messages": [{"role": SECRET, "content": "x"}]}).encode(),
            "messages.0.role: ",
        ),
        (
            json.dumps(GOOD | {"messages": [{"role": "user", "content": 5}]}).encode(),
            "messages.0.content",
        ),
        (b'{"conversation_id": "\xff' + SECRET.encode() + b'"}', "Invalid JSON"),
        (json.dumps(GOOD).replace("weather", "\\ud800").encode(), "Invalid JSON"),
    ],
)
def test_a_wrong_line_is_rejected_with_its_number_and_without_its_text(
    tmp_path: Path, line: bytes, reason: str
) -> None:
    counts, rows, rejects = _read(tmp_path, json.dumps(GOOD).encode() + b"\n\n" + line + b"\n")
    assert (counts["read"], counts["conversations"], counts["rejected"]) == (2, 1, 1)
    assert len(rows) == 1
    assert rejects[0]["line"] == 3
    assert rejects[0]["reason"].startswith(reason)
    assert SECRET not in rejects[0]["reason"]
    assert SECRET not in json.dumps(counts)


def test_a_repeated_conversation_is_rejected(tmp_path: Path) -> None:
    line = json.dumps(GOOD).encode()
    counts, rows, rejects = _read(tmp_path, line + b"\n" + line + b"\n")
    assert (counts["conversations"], counts["rejected"], len(rows)) == (1, 1, 1)
    assert "stands twice" in rejects[0]["reason"]


def test_a_line_separator_inside_a_text_does_not_end_the_record(tmp_path: Path) -> None:
    line = GOOD | {"messages": [{"role": "user", "content": "one\u2028two\u0085three"}]}
    counts, rows, _ = _read(tmp_path, json.dumps(line, ensure_ascii=False).encode())
    assert counts["rejected"] == 0
    assert rows[0]["messages"][0]["content"] == "one\u2028two\u0085three"


@pytest.mark.parametrize("content", [b"", b"\n\n", b"{}\n"])
def test_files_without_one_conversation_are_an_error_that_says_what_to_check(
    tmp_path: Path, content: bytes
) -> None:
    with pytest.raises(
        ProjectError,
        match=r"log\.jsonl: no conversation could be read .* check logs\.format and logs\.path",
    ):
        _read(tmp_path, content)


def test_an_empty_file_beside_a_good_one_is_counted(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").touch()
    (tmp_path / "b.jsonl").write_text(json.dumps(GOOD))
    lake = Lake(tmp_path / "lake")
    with lake.new_version("raw_logs", "m", CONVERSATIONS, "run") as version:
        version.side_table("rejects", REJECTS)
        counts = read_conversations(
            log_files(tmp_path, "*.jsonl"), reader("openai_chat"), "m", version
        )
    assert counts["rejected_by_reason"] == {"the file is empty": 1}
    assert counts["conversations"] == 1


def test_an_unknown_format_names_those_there_are() -> None:
    with pytest.raises(
        ProjectError, match=r"'csv' is no known format; use one of \['agent_trajectories', "
    ):
        reader("csv")


def test_the_fingerprint_changes_when_a_file_grows(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("x")
    before = fingerprint(log_files(tmp_path, "*.jsonl"))
    assert fingerprint(log_files(tmp_path, "*.jsonl")) == before
    path.write_text("xy")
    assert fingerprint(log_files(tmp_path, "*.jsonl")) != before


def test_the_fingerprint_knows_content_and_name_and_nothing_else(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    (first / "logs").mkdir(parents=True)
    (first / "logs" / "a.jsonl").write_text("x\n")
    before = fingerprint(log_files(first, "logs/*"))
    os.utime(first / "logs" / "a.jsonl", (0, 0))
    assert fingerprint(log_files(first, "logs/*")) == before, "touched"
    shutil.copytree(first, second)
    assert fingerprint(log_files(second, "logs/*")) == before, "restored elsewhere"
    (tmp_path / "mounted").symlink_to(first)
    assert fingerprint(log_files(tmp_path / "mounted", "logs/*")) == before, "mounted elsewhere"
    (first / "logs" / "a.jsonl").rename(first / "logs" / "b.jsonl")
    assert fingerprint(log_files(first, "logs/*")) != before, "renamed"
    (second / "logs" / "a.jsonl").write_text("y\n")
    os.utime(second / "logs" / "a.jsonl", (0, 0))
    assert fingerprint(log_files(second, "logs/*")) != before, "of the same size and time"


def test_a_file_is_hashed_once_while_nothing_happens_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("x")
    monkeypatch.setattr(files, "_RECENT", 0)
    opened: list[str] = []
    raw = files.LogFile.raw
    monkeypatch.setattr(files.LogFile, "raw", lambda self: opened.append(self.path) or raw(self))
    for _ in range(3):
        fingerprint(log_files(tmp_path, "*.jsonl"))
    assert len(opened) == 1
    path.write_text("y")
    os.utime(path, (0, 0))
    fingerprint(log_files(tmp_path, "*.jsonl"))
    path.write_text("z")
    os.utime(path, (0, 0))
    fingerprint(log_files(tmp_path, "*.jsonl"))
    assert len(opened) == 3


def test_a_log_that_grows_is_read_as_it_was_listed(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("one\n")
    (listed,) = log_files(tmp_path, "*.jsonl")
    before = digest(listed)
    with path.open("a") as out:
        out.write("two\n")
    with listed.open() as stream:
        assert stream.read() == b"one\n"
    assert digest(listed) == before == (hashlib.sha256(b"one\n").hexdigest(), 4)


def test_the_table_names_its_log_files(tmp_path: Path) -> None:
    content = json.dumps(GOOD).encode() + b"\n\nbroken"
    counts, _, _ = _read(tmp_path, content)
    sha = hashlib.sha256(content).hexdigest()
    assert counts["log_files"] == [
        {"file": "log.jsonl", "sha256": sha, "bytes": len(content), "lines": 3}
    ]


@settings(deadline=None)  # a loaded machine
@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_rejected_and_every_line_is_counted(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes
) -> None:
    tmp_path = tmp_path_factory.mktemp("noise")
    counts, rows, rejects = _read(tmp_path, json.dumps(GOOD).encode() + b"\n" + noise)
    assert (
        counts["read"] == counts["conversations"] + counts["rejected"] == len(rows) + len(rejects)
    )
    assert counts["read"] == 1 + sum(bool(line.strip()) for line in noise.split(b"\n"))
