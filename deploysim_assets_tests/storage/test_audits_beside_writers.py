"""An audit beside runs that write: what is just becoming current is no fault."""

import shutil
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest

from deploysim_assets.evidence.audit import HomeAudit, undisturbed
from deploysim_assets.evidence.findings import Audit
from deploysim_assets.storage import ledger
from deploysim_assets.storage.manifests import MANIFEST
from deploysim_assets.storage.tables import POINTER, Lake, Made
from deploysim_assets.storage.versions import WRITING, being_written

ASSET, MODEL = "scorecard", "m-1"
AUDITS = 60


def _write(home: Path, value: int) -> str:
    frame = pl.DataFrame({"model_version": [MODEL], "x": [value]})

    def seal(made: Made) -> None:
        ledger.append(home, "scorecard", MODEL, {"x": value}, made.seals)

    return Lake.of(home).write(ASSET, MODEL, frame, "run", seal=seal)


def _look(home: Path) -> Audit:
    return HomeAudit(Lake.of(home), {}, lambda _: {}).whole()


def _write_and_fail(home: Path) -> None:
    schema = {"model_version": pl.String, "x": pl.Int64}
    with (
        pytest.raises(RuntimeError),
        Lake.of(home).new_version(ASSET, MODEL, schema, "run") as made,
    ):
        made.side_table("rejects", {"reason": pl.String})
        raise RuntimeError("boom")


@contextmanager
def _writing(home: Path) -> Generator[None]:
    """Somebody writes other, equal and unfinished versions meanwhile, as fast as it goes."""
    ended = threading.Event()

    def write() -> None:
        value = 0
        while not ended.is_set():
            _write(home, value // 2)  # every other one is what is current already
            _write_and_fail(home)
            value += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        ended.set()
        writer.join()


def test_what_others_write_meanwhile_is_no_fault(tmp_path: Path) -> None:
    _write(tmp_path, -1)
    with _writing(tmp_path):
        for _ in range(AUDITS):
            found = undisturbed(tmp_path, lambda: _look(tmp_path))
            assert found.holds, [str(fault) for fault in found.faults]


def test_what_does_not_hold_is_found_beside_writers(tmp_path: Path) -> None:
    version = _write(tmp_path, -1)
    (tmp_path / "lake" / ASSET / f"model_version={MODEL}" / version / MANIFEST).unlink()
    with _writing(tmp_path):
        found = undisturbed(tmp_path, lambda: _look(tmp_path))
    assert any(fault.version == version for fault in found.faults)


@pytest.mark.parametrize("kind", ["same", "failed", "killed"])
def test_a_version_taken_back_is_at_no_moment_one_that_lost_its_manifest(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path, 1)
    place = tmp_path / "lake" / ASSET / f"model_version={MODEL}"
    if kind == "killed":
        left = place / "run=dead-1"
        (left / "rejects").mkdir(parents=True)
        for name in (WRITING, "part-00000.parquet", "rejects/part-00000.parquet"):
            (left / name).touch()
    unlink = Path.unlink
    seen: list[bool] = []

    def unlinked(path: Path, missing_ok: bool = False) -> None:
        unlink(path, missing_ok=missing_ok)
        if path.parent.parent == place:
            held = being_written(path.parent) or (path.parent / MANIFEST).exists()
            seen.append(held)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", unlinked)
        if kind == "failed":
            _write_and_fail(tmp_path)
        else:
            _write(tmp_path, 1 if kind == "same" else 2)
    assert all(seen)
    assert bool(seen) == (kind != "failed"), "a version that failed has its mark alone"
    assert sorted(path.name for path in place.iterdir() if not path.name.startswith("run=")) == [
        POINTER
    ]
    assert _look(tmp_path).holds


def test_a_ledger_that_grows_while_it_is_listed_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        ledger.append(tmp_path, "note", MODEL, {"number": number})
    whole = ledger._marks(tmp_path)
    listings = [whole[:1] + whole[2:], whole, whole]
    monkeypatch.setattr(ledger, "_marks", lambda _: listings.pop(0))
    records, faults = ledger.examine(tmp_path)
    assert [record.seq for record in records] == [1, 2, 3] and not faults


def test_a_home_that_cannot_be_written_is_audited_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = _write(tmp_path, -1)
    (tmp_path / "lake" / ASSET / f"model_version={MODEL}" / version / MANIFEST).unlink()

    def refused(*_: object) -> int:
        raise PermissionError(13, "read-only")

    monkeypatch.setattr("deploysim_assets.storage.locks.os.open", refused)
    assert not undisturbed(tmp_path, lambda: _look(tmp_path)).holds


def test_what_ended_a_version_is_told_also_where_its_folder_is_gone(tmp_path: Path) -> None:
    schema = {"model_version": pl.String, "x": pl.Int64}
    with (
        pytest.raises(RuntimeError, match="boom"),
        Lake.of(tmp_path).new_version(ASSET, MODEL, schema, "run") as made,
    ):
        shutil.rmtree(made.folder)
        raise RuntimeError("boom")
