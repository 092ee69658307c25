"""The journal: what was paid for survives a crash at any byte."""

import errno
import hashlib
import multiprocessing
import os
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from deploysim_assets.project import ProjectError
from deploysim_assets.storage.journal import lines, open_journal, put_aside, set_aside


def _key(i: int) -> str:
    return hashlib.sha256(str(i).encode()).hexdigest()


def _fill(path: Path, count: int) -> None:
    with open_journal(path) as journal:
        for i in range(count):
            journal.put({"key": _key(i), "content": f"answer {i}\nwith é and \u2028"})


def test_answers_come_back(tmp_path: Path) -> None:
    _fill(tmp_path / "j" / "a.jsonl", 200)
    with open_journal(tmp_path / "j" / "a.jsonl") as journal:
        assert all(_key(i) in journal for i in range(200))
        assert journal.get(_key(17))["content"] == "answer 17\nwith é and \u2028"
        assert _key(200) not in journal


def test_a_tail_torn_at_any_byte_costs_only_the_torn_answer(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    _fill(path, 3)
    whole = path.read_bytes()
    second_ends = len(b"".join(whole.splitlines(keepends=True)[:2]))
    for cut in range(second_ends, len(whole)):
        path.write_bytes(whole[:cut])
        with open_journal(path) as journal:
            assert [_key(i) in journal for i in range(3)] == [True, True, False]
            journal.put({"key": _key(2), "content": "again"})
        with open_journal(path) as journal:
            assert journal.get(_key(2))["content"] == "again"


def test_damage_in_the_middle_is_an_error_and_nothing_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    _fill(path, 5)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ProjectError, match="damaged at byte"), open_journal(path):
        pass
    assert path.read_bytes() == bytes(data)


def test_a_journal_set_aside_is_used_no_more_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "m-1.5.jsonl"
    _fill(path, 5)
    set_aside(path)
    set_aside(path)
    with open_journal(path) as journal:
        assert _key(1) not in journal
    [kept] = put_aside(path)
    assert sum(1 for _ in lines(kept)) == 5


def test_what_a_row_was_made_from_is_noted_by_key_and_digest(tmp_path: Path) -> None:
    _fill(tmp_path / "a.jsonl", 3)
    with open_journal(tmp_path / "a.jsonl") as journal:
        journal.get(_key(0))
        assert journal.taken() == []  # noted from the first time on that it is asked
        journal.get(_key(1))
        journal.get(_key(1))
        [taken] = journal.taken()
        body = next(b for b in lines(tmp_path / "a.jsonl") if _key(1).encode() in b)
        assert taken == {"key": _key(1), "sha256": hashlib.sha256(body).hexdigest()}
        assert journal.taken() == []


def test_a_full_disk_is_a_clear_error_and_what_was_written_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jsonl"
    real = os.pwrite

    def full(descriptor: int, data: bytes, offset: int) -> int:
        if len(data) > 40:
            return real(descriptor, data[:40], offset)
        raise OSError(errno.ENOSPC, "No space left on device")

    _fill(path, 2)
    with open_journal(path) as journal:
        monkeypatch.setattr("os.pwrite", full)
        with pytest.raises(ProjectError, match=r"cannot be written \(No space left on device\)"):
            journal.put({"key": _key(2), "content": "x"})
        monkeypatch.undo()
        journal.put({"key": _key(3), "content": "room again"})
    with open_journal(path) as journal:
        assert [_key(i) in journal for i in range(4)] == [True, True, False, True]


def _hold(path: Path, pipe: Connection) -> None:
    with open_journal(path):
        pipe.send("held")
        pipe.recv()


def test_a_second_process_gets_a_clear_error(tmp_path: Path) -> None:
    here, there = multiprocessing.Pipe()
    holder = multiprocessing.get_context("spawn").Process(
        target=_hold, args=(tmp_path / "a.jsonl", there)
    )
    holder.start()
    try:
        assert here.recv() == "held"
        with (
            pytest.raises(ProjectError, match="another process is asking for the same partition"),
            open_journal(tmp_path / "a.jsonl"),
        ):
            pass
    finally:
        here.send("go")
        holder.join()
