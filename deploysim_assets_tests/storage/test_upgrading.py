"""A home of the previous release: refused before `upgrade`, whole after it, also when that was
killed, and then audited by the rules of its time."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from deploysim_assets.evidence.audit import HomeAudit
from deploysim_assets.project import ProjectError
from deploysim_assets.schema import COMPLETIONS, PREFIXES
from deploysim_assets.storage import disk, ledger, upgrading
from deploysim_assets.storage.journal import framed, lines
from deploysim_assets.storage.statements import digest
from deploysim_assets.storage.tables import Lake
from deploysim_assets.storage.upgrading import upgrade_home

KEY = "ab" * 32


def _table(home: Path, asset: str, key: str, run: str, frame: pl.DataFrame, at: datetime) -> Path:
    """A table version as the previous release wrote it."""
    place = home / "lake" / asset / f"model_version={key}"
    (place / f"run={run}").mkdir(parents=True)
    frame.write_parquet(place / f"run={run}" / "part-00000.parquet")
    (place / f"run={run}" / "_STATS.json").write_text('{"rows": 1}')
    pointer = {"version": f"run={run}", "written_at": at.isoformat()}
    (place / "_CURRENT").write_text(json.dumps(pointer))
    return place / f"run={run}"


def _old_records(home: Path, *records: tuple[str, dict[str, Any]]) -> None:
    previous, at = "0" * 64, datetime(2026, 5, 1, 10, tzinfo=UTC)
    written: list[str] = []
    for seq, (kind, body) in enumerate(records, 1):
        record: dict[str, Any] = {
            "seq": seq,
            "at": (at + timedelta(hours=seq)).isoformat(),
            "kind": kind,
            "model_version": "m-2",
            "body": body,
            "previous": previous,
        }
        previous = record["hash"] = digest(record)
        written.append(json.dumps(record))
    (home / "ledger.jsonl").write_text("\n".join(written) + "\n")


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Prefixes in two versions, a registration on the first, completions with a journal."""
    home, at = tmp_path / "home", datetime(2026, 5, 1, tzinfo=UTC)
    columns = ["prefix_id", "conversation_key", "user_key", "model_version", "turn_index"]
    rows = pl.DataFrame([{"prefix_id": "01" * 16}], schema=PREFIXES).select(columns)
    first = _table(home, "deidentified_prefixes", "m-1", "old", rows, at)
    _table(home, "deidentified_prefixes", "m-1", "new", pl.concat([rows, rows]), at)
    asked = {"prefix_id": "01" * 16, "model_version": "m-2", "request_key": KEY}
    completions = pl.DataFrame([asked], schema=COMPLETIONS).drop("error")
    _table(home, "candidate_completions", "m-2", "c", completions, at)
    part = hashlib.sha256((first / "part-00000.parquet").read_bytes()).digest()
    prefixes = {
        "asset": "deidentified_prefixes",
        "partition": "m-1",
        "version": "run=old",
        "sha256": hashlib.sha256(part).hexdigest(),
    }
    panel, candidate = {"behaviors": []}, {"model": "m-2"}
    body = {"panel": panel, "grader_ids": {}, "prefixes": prefixes, "candidate": candidate}
    _old_records(home, ("registration", body), ("withdrawal", {"users": [], "conversations": []}))
    journal = home / "journal" / "candidate_completions" / "m-2.jsonl"
    journal.parent.mkdir(parents=True)
    journal.write_bytes(
        framed(json.dumps({"key": KEY, "content": "yes"}).encode())
        + framed(json.dumps({"key": "cd" * 32, "content": "uncited"}).encode())
    )
    journal.chmod(0o600)
    return home


def _faults(home: Path) -> list[str]:
    audit = HomeAudit(Lake.of(home), {}, lambda _: {}).whole()
    return [str(fault) for fault in audit.faults]


def _content(home: Path) -> dict[str, bytes]:
    return {p.relative_to(home).as_posix(): p.read_bytes() for p in disk.files(home)}


def test_an_old_home_is_refused_with_one_sentence(old: Path) -> None:
    sentence = "was written by an earlier deploysim; run `deploysim upgrade` first"
    with pytest.raises(ProjectError, match=sentence):
        Lake.of(old).rows("deidentified_prefixes", "m-1").__next__()
    with pytest.raises(ProjectError, match=sentence):
        ledger.append(old, "forecast", "m-2", {})


def test_an_upgraded_home_holds_by_the_rules_of_its_time(old: Path) -> None:
    before = _content(old)
    done = upgrade_home(old)
    assert done is not None
    assert (done.versions, done.answers) == (3, 1)
    after = _content(old)
    changed = {name for name in before if before[name] != after[name]}
    assert {name.rpartition("/")[2] for name in changed} == {"_CURRENT", "m-2.jsonl"}
    journal = old / "journal/candidate_completions/m-2.jsonl"
    assert [json.loads(body).get("about") for body in lines(journal)] == ["01" * 16, None]
    assert journal.stat().st_mode & 0o777 == 0o600

    assert _faults(old) == []
    [record] = [r for r in ledger.read(old) if r.kind == ledger.UPGRADE]
    assert len(record.seals) == 3
    assert record.body["current"]["lake/deidentified_prefixes/model_version=m-1"] == "run=new"
    read = list(Lake.of(old).rows("deidentified_prefixes", "m-1", "run=old"))
    assert [row["stratum"] for row in read] == [None]  # a column that it did not have
    ledger.append(old, "forecast", "m-2", {"registration": "", "rows": []})

    settled = _content(old)
    assert upgrade_home(old) is None
    assert _content(old) == settled


@pytest.mark.parametrize("version", ["old", "new"])
def test_a_table_changed_after_the_upgrade_is_found(old: Path, version: str) -> None:
    upgrade_home(old)
    part = next((old / "lake/deidentified_prefixes").rglob(f"run={version}/part-*"))
    frame = pl.read_parquet(part)
    frame.with_columns(prefix_id=pl.lit("02" * 16)).write_parquet(part)
    faults = _faults(old)
    assert any("was changed after it was written" in fault for fault in faults)
    assert any("is not the registered prefix set" in fault for fault in faults) == (
        version == "old"
    )


def test_a_table_changed_before_the_upgrade_is_found_by_its_old_seal(old: Path) -> None:
    part = next((old / "lake/deidentified_prefixes").rglob("run=old/part-*"))
    frame = pl.read_parquet(part)
    frame.with_columns(prefix_id=pl.lit("02" * 16)).write_parquet(part)
    upgrade_home(old)
    assert any("is not the registered prefix set" in fault for fault in _faults(old))


def test_a_changed_old_record_stops_the_upgrade(old: Path) -> None:
    said = (old / "ledger.jsonl").read_text()
    (old / "ledger.jsonl").write_text(said.replace("run=old", "run=new", 1))
    with pytest.raises(ProjectError, match="hash does not match its content"):
        upgrade_home(old)
    assert not list(old.rglob("_MANIFEST.json"))


class _Killed(BaseException):
    pass


@pytest.mark.parametrize("step", range(1, 11))
def test_an_upgrade_that_was_killed_is_resumed(
    old: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = 0

    def counted(act: Any) -> Any:
        def stop(*arguments: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps == step:
                raise _Killed
            return act(*arguments)

        return stop

    with monkeypatch.context() as patched:
        patched.setattr(upgrading.disk, "create", counted(disk.create))
        patched.setattr(upgrading.disk, "replace", counted(disk.replace))
        try:
            upgrade_home(old)
        except _Killed:
            assert steps == step
    upgrade_home(old)
    assert _faults(old) == []
    assert sum(r.kind == ledger.UPGRADE for r in ledger.read(old)) == 1
    assert len(list(Lake.of(old).rows("deidentified_prefixes", "m-1"))) == 2
    assert upgrade_home(old) is None
