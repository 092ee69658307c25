"""What is read for a table or a figure is as it was written, and what blocking checks said is on
the record."""

import hashlib
import json
import os
from pathlib import Path

import polars as pl
import pytest

from deploysim_assets.evidence.copies import vouched
from deploysim_assets.evidence.seals import Seals, clock_notes, unchecked_faults
from deploysim_assets.project import SealError
from deploysim_assets.storage import ledger, verdicts
from deploysim_assets.storage.manifests import MANIFEST, Run
from deploysim_assets.storage.statements import canonical
from deploysim_assets.storage.tables import Lake
from deploysim_assets.storage.versions import STATS

SCHEMA = {"x": pl.Int64}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake.of(tmp_path)
    with lake.new_version("raw_logs", "m", SCHEMA) as version:
        version.side_table("rejects", SCHEMA)
        for x in range(3):
            version.add({"x": x})
            version.add({"x": -x}, "rejects")
        version.stats["read"] = 3
    return lake


def _folder(lake: Lake) -> Path:
    return lake.folder("raw_logs", "m") / (lake.current("raw_logs", "m") or "")


@pytest.mark.parametrize("file", ["part-00000.parquet", "rejects/part-00000.parquet", STATS])
def test_what_was_edited_is_read_by_no_run_and_printed_by_nobody(lake: Lake, file: str) -> None:
    path = _folder(lake) / file
    table = "rejects" if "/" in file else ""
    whole = path.read_bytes()
    if file == STATS:
        path.write_text(json.dumps({"read": 4}))
    else:
        pl.DataFrame({"x": [7, 7, 7]}).write_parquet(path)

    def read(view: Lake) -> object:
        if file == STATS:
            return view.stats("raw_logs", "m")
        return view.scan("raw_logs", "m", table=table).collect()

    for view in (lake.during(Run("r")), lake.held()):
        with pytest.raises(SealError, match=f"{path.name}: is not as it was written"):
            read(view)
    path.write_bytes(whole)
    view = lake.held()
    read(view)
    assert view.stats("raw_logs", "m") == {"read": 3}
    assert view.glob("raw_logs", "m")


def test_what_a_withdrawal_left_is_read_and_a_forged_manifest_is_not(lake: Lake) -> None:
    folder = _folder(lake)
    part = folder / "part-00000.parquet"
    before = hashlib.sha256(part.read_bytes()).hexdigest()
    pl.DataFrame({"x": [1, 2]}).write_parquet(part)
    after, size = hashlib.sha256(part.read_bytes()).hexdigest(), part.stat().st_size
    name = part.relative_to(lake.home).as_posix()
    ledger.append(lake.home, "forget", "", {"files": {name: [[before, after, size]]}})
    assert lake.held().scan("raw_logs", "m").collect()["x"].to_list() == [1, 2]

    version = folder.relative_to(lake.home).as_posix()
    sealed = hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
    ledger.append(lake.home, "registration", "m", {}, {version: sealed})
    held = json.loads((folder / MANIFEST).read_bytes())
    held["predicate"]["inputs"] = [["raw_logs", "other", "run=1", "0" * 64]]
    (folder / MANIFEST).write_bytes(canonical(held))
    with pytest.raises(SealError, match="is not the manifest that the ledger seals"):
        lake.held().stats("raw_logs", "m", folder.name)


def test_a_verdict_is_in_the_ledger_and_a_pass_of_what_nobody_asks_for_is_not(lake: Lake) -> None:
    manifest = lake.manifest("raw_logs", "m")
    assert manifest is not None
    assert verdicts.load(lake.home, manifest) is None
    lake.keep_verdict("raw_logs", "m", {"funnel_sums": False, "other": True})
    found = verdicts.load(lake.home, manifest)
    assert found is not None
    assert found.failed == ["funnel_sums"]
    lake.keep_verdict("raw_logs", "m", {"funnel_sums": False, "other": True})
    assert [r.kind for r in ledger.read(lake.home)] == ["checks"], "said once"
    # where it was kept before, whoever could write there made a pass of it
    forged = lake.home / "verdicts" / "raw_logs" / "m.json"
    forged.parent.mkdir(parents=True)
    said = {"manifest": manifest.digest, "checks": {"funnel_sums": True}}
    forged.write_text(json.dumps(said))
    assert verdicts.load(lake.home, manifest) == found

    lake.write("rate_counts", "m", pl.DataFrame({"x": [1]}))
    lake.keep_verdict("rate_counts", "m", {"unique": True})
    assert len(ledger.read(lake.home)) == 1
    for passed in (False, True):
        lake.keep_verdict("rate_counts", "m", {"unique": passed})
    assert len(ledger.read(lake.home)) == 3, "that it passes after it failed is news"


def test_what_was_used_though_it_had_failed_is_a_fault(lake: Lake) -> None:
    manifest = lake.manifest("raw_logs", "m")
    assert manifest is not None
    path = manifest.path.parent.relative_to(lake.home).as_posix()
    lake.keep_verdict("raw_logs", "m", {"funnel_sums": False})
    ledger.append(lake.home, "registration", "m", {}, {path: manifest.digest})
    lake.keep_verdict("raw_logs", "m", {"funnel_sums": True})
    ledger.append(lake.home, "registration", "m", {}, {path: manifest.digest})
    seals = Seals(ledger.read(lake.home))

    def faults(until: int) -> list[str]:
        return [str(f) for f in unchecked_faults(seals, path, manifest.digest, until)]

    (fault,) = faults(2)
    assert "of which funnel_sums had failed (record 1)" in fault
    assert not faults(4)


def test_a_record_is_no_older_than_those_it_follows(tmp_path: Path) -> None:
    from datetime import UTC, datetime, timedelta

    now = datetime.now(UTC)
    ago = now - timedelta(days=3)
    first = ledger.append(tmp_path, "registration", "m", {}, at=now - timedelta(days=9))
    ledger.append(tmp_path, "forecast", "m", {}, at=ago)
    ledger.append(tmp_path, "realized", "m", {}, at=now)
    back = ledger.append(tmp_path, "forecast", "m", {}, at=now - timedelta(days=8))
    records = ledger.read(tmp_path)
    assert ledger.there_since(records, back) == now
    assert ledger.there_since(records, first) == first.at
    (note,) = clock_notes(records)
    assert note.startswith("record 4 says")
    ledger.append(tmp_path, "forecast", "m", {}, at=ago)  # its table was lost: sealed again
    assert len(list(clock_notes(ledger.read(tmp_path)))) == 1


def test_a_record_edited_in_place_is_seen_by_a_process_that_read_it_before(tmp_path: Path) -> None:
    record = ledger.append(tmp_path, "registration", "m", {"rate": 1})
    assert ledger.read(tmp_path)
    was = record.path.stat()
    whole = record.path.read_bytes()
    with record.path.open("r+b") as file:
        file.write(whole.replace(b"sha256", b"sha265"))
    os.utime(record.path, ns=(was.st_atime_ns, was.st_mtime_ns))
    with pytest.raises(SealError, match="not a ledger record"):
        ledger.read(tmp_path)


@pytest.mark.parametrize("held", ['{"users": []}', "null", None])
def test_a_copy_is_not_begun_over_from_a_home_that_lost_who_withdrew(
    tmp_path: Path, held: str | None
) -> None:
    body = {"users": ["u"], "conversations": []}
    records = [ledger.append(tmp_path, "withdrawal", "", body)]
    names = [] if held is None else ["withdrawn.json"]
    with pytest.raises(SealError, match="withdrawn.json: lacks 1 who withdrew"):
        vouched(records, names, lambda _: (held or "").encode())
    assert vouched(records, ["withdrawn.json"], lambda _: b'{"users": ["u"]}') == {}
