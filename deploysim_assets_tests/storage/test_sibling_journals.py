"""The journals of other partitions: their answers are taken over, and their damage is named."""

import hashlib
from pathlib import Path

import pytest

from deploysim_assets.project import ProjectError
from deploysim_assets.storage.journal import open_journal


def _key(i: int) -> str:
    return hashlib.sha256(str(i).encode()).hexdigest()


def _fill(path: Path, count: int) -> None:
    with open_journal(path) as journal:
        for i in range(count):
            journal.put({"key": _key(i), "content": f"answer {i}"})


def test_damage_in_another_partitions_journal_is_named_and_costs_no_answer(tmp_path: Path) -> None:
    other, mine = tmp_path / "other.jsonl", tmp_path / "mine.jsonl"
    _fill(other, 1_000)
    whole = other.read_bytes()
    data = bytearray(whole)
    data[len(data) // 2] ^= 1
    other.write_bytes(data)
    with pytest.raises(ProjectError, match=r"other\.jsonl: damaged at byte"), open_journal(mine):
        pass
    assert other.read_bytes() == bytes(data)
    other.write_bytes(whole[:-20])  # another process is writing its last line
    with open_journal(mine) as journal:
        assert sum(_key(i) in journal for i in range(1_000)) == 999


def test_a_sibling_that_is_rewritten_under_a_reader_is_an_error_and_no_answer(
    tmp_path: Path,
) -> None:
    other = tmp_path / "other.jsonl"
    _fill(other, 20)
    with open_journal(tmp_path / "mine.jsonl") as journal:
        other.write_bytes(b"".join(other.read_bytes().splitlines(keepends=True)[10:]))
        with pytest.raises(ProjectError, match=r"other\.jsonl: damaged.*rewritten"):
            for i in range(20):
                _ = _key(i) in journal
