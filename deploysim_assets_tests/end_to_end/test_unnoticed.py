"""Changes that once changed a figure, or left a clean answer, without a word: each is said now."""

import json
import shutil
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner

from deploysim_assets.assets.calibration_report import scored_forecast
from deploysim_assets.assets.release_facts import release_facts
from deploysim_assets.benchmarks.tampering import audited, copy_of
from deploysim_assets.cli.commands import main
from deploysim_assets.cli.gate import verdict
from deploysim_assets.cli.home import Home
from deploysim_assets.grading.labels import KEYS, keep, labels_digest
from deploysim_assets.project import SealError
from deploysim_assets.project.file import load_project
from deploysim_assets.schema import GRADER_QUALITY
from deploysim_assets.storage import last_audit, ledger
from deploysim_assets.storage.versions import STATS
from deploysim_assets_tests.support import lake

MODEL, LIVE = "aurora-2", "aurora-1"


@pytest.fixture(scope="module")
def copied(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy that each test leaves as it was."""
    return copy_of(finished, tmp_path_factory.mktemp("unnoticed") / "home")


@pytest.fixture
def home(copied: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DEPLOYSIM_HOME", str(copied))
    return copied


def _version(home: Path, asset: str, key: str) -> Path:
    return lake(home).folder(asset, key) / (lake(home).current(asset, key) or "")


def _read(home: Path, *, whole: bool = False) -> dict[str, Any]:
    opened = Home(load_project(home), lake(home))
    return release_facts(*opened, MODEL, whole=whole).model_dump()


def _run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, list(words))
    return done.exit_code, done.output


@pytest.mark.parametrize(
    ("asset", "key", "where"),
    [
        ("production_grades", MODEL, "replies"),
        ("grades", MODEL, "judge"),
        ("raw_logs", LIVE, "steps"),
        ("deidentified_prefixes", LIVE, "steps"),
    ],
)
def test_a_count_beside_a_table_is_not_printed_once_it_was_edited(
    home: Path, asset: str, key: str, where: str
) -> None:
    path = _version(home, asset, key) / STATS
    honest = path.read_bytes()
    path.write_text(json.dumps(json.loads(honest) | {"conversations": 10**6, "gradings": {}}))
    try:
        with pytest.raises(SealError, match=f"{asset}.*{STATS}: is not as it was written"):
            _read(home, whole=True)
        if where == "replies":
            opened = Home(load_project(home), lake(home))
            assert verdict(opened, MODEL).word == "seal broken"
    finally:
        path.write_bytes(honest)


def test_simulated_replies_are_counted_as_they_were_sealed_whatever_was_graded_since(
    home: Path,
) -> None:
    honest = _read(home)["funnel"]["simulated"]
    folder = lake(home).folder("grades", MODEL)
    pointer = (folder / "_CURRENT").read_bytes()
    frame = lake(home).scan("grades", MODEL).collect()
    facts = lake(home).stats("grades", MODEL)
    (grading,) = facts["gradings"]
    facts["gradings"][grading] |= {"graded": 1, "empty": 59}
    newer = lake(home).write("grades", MODEL, frame.head(1), stats=facts)
    try:
        assert _read(home)["funnel"]["simulated"] == honest
        (folder / "_CURRENT").write_bytes(pointer)
        with pytest.raises(SealError, match=rf"grades\[{MODEL}\].*was set back"):
            _read(home)
    finally:
        (folder / "_CURRENT").write_bytes(pointer)
        shutil.rmtree(folder / newer)


def test_a_score_stands_beside_the_rates_that_it_is_over(home: Path) -> None:
    honest = _read(home)
    folder = lake(home).folder("realized_rates", MODEL)
    pointer = (folder / "_CURRENT").read_bytes()
    before = {path.name for path in (home / "ledger").iterdir()}
    frame = lake(home).scan("realized_rates", MODEL).collect().with_columns(rate=pl.lit(0.5))
    newer = lake(home).write(
        "realized_rates", MODEL, frame,
        seal=lambda made: ledger.append(home, "realized", MODEL, {}, made.seals),
    )  # fmt: skip
    try:
        assert _read(home)["behaviors"] == honest["behaviors"]
        shown = json.loads(_run("status", "--json")[1])["releases"]
        (mine,) = (line for line in shown if line["model_version"] == MODEL)
        assert mine["next"] == f"deploysim backfill {MODEL}"
    finally:
        (folder / "_CURRENT").write_bytes(pointer)
        shutil.rmtree(folder / newer)
        for path in (home / "ledger").iterdir():
            if path.name not in before:
                path.unlink()


def test_a_trace_walks_through_no_table_that_was_edited(home: Path) -> None:
    part = _version(home, "rate_estimates", MODEL) / "part-00000.parquet"
    honest = part.read_bytes()
    frame = pl.read_parquet(part, hive_partitioning=False)
    frame.with_columns(k=pl.lit(0, pl.Int64)).write_parquet(part)
    try:
        code, said = _run("trace", MODEL)
        assert code == 4
        assert "is not as it was written" in said
    finally:
        part.write_bytes(honest)
    assert _run("trace", MODEL)[0] == 0


def _without(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda report: report.update({name: type(report[name])()})


_FORGED: dict[str, Callable[[dict[str, Any]], object]] = {
    "gate": lambda r: r["behaviors"][0].update(gate="pass"),
    "verdict": lambda r: r["behaviors"][0]["verdict"].update(word="pass"),
    "a behavior": lambda r: r["behaviors"].pop(),
    "summary": lambda r: r["summary"].update(median_error=1.0),
    "model": lambda r: r.update(model_version="other"),
    **{name: _without(name) for name in ("behaviors", "funnel", "registrations", "judge")},
}


def test_the_report_of_a_bundle_is_the_one_that_was_sealed(home: Path, tmp_path: Path) -> None:
    out, other, again = (tmp_path / f"{name}.zip" for name in ("out", "other", "again"))
    before = {path.name for path in (home / "ledger").iterdir()}
    try:
        code, said = _run("audit", "bundle", MODEL, "-o", str(out))
        assert code == 0
        assert f"head: {len(before) + 1} {ledger.head(home).hash}" in said
        assert _run("audit", "bundle", MODEL, "-o", str(again))[0] == 0
        assert again.read_bytes() == out.read_bytes(), "nothing is sealed anew"
        with zipfile.ZipFile(out) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}

        def verified(**changed: bytes) -> tuple[int, str]:
            with zipfile.ZipFile(other, "w") as archive:
                for name, content in (files | changed).items():
                    archive.writestr(name, content)
            return _run("audit", "verify", str(other))

        assert verified()[0] == 0
        for name, forge in _FORGED.items():
            report = json.loads(files["report.json"])
            forge(report)
            code, said = verified(**{"report.json": json.dumps(report).encode()})
            assert (code, "is not the report that was sealed" in said) == (1, True), name
        contents = json.loads(files["bundle.json"]) | {"report_rests_on": {}}
        code, said = verified(**{"bundle.json": json.dumps(contents).encode()})
        assert (code, "rests on no rate_estimates" in said) == (1, True)

        part = _version(home, "rate_counts", MODEL) / "part-00000.parquet"
        honest = part.read_bytes()
        part.write_bytes(honest[:-1] + b"x")
        code, said = _run("audit", "bundle", MODEL, "-o", str(again))
        part.write_bytes(honest)
        assert (code, again.exists()) == (4, False), said
    finally:
        for path in (home / "ledger").iterdir():
            if path.name not in before:
                path.unlink()


def test_status_says_what_the_ledger_and_the_tables_do_not_agree_on(home: Path) -> None:
    assert json.loads(_run("status", "--json")[1])["notes"] == []
    place = lake(home).folder("rate_estimates", MODEL)
    place.rename(home / "away")
    try:
        (note,) = json.loads(_run("status", "--json")[1])["notes"]
        assert note.startswith(f"rate_estimates[{MODEL}] is sealed and gone")
    finally:
        (home / "away").rename(place)
    (home / "ledger").rename(home / "away")
    try:
        notes = json.loads(_run("status", "--json")[1])["notes"]
        assert any(n.startswith(f"rate_estimates[{MODEL}] is not in the ledger") for n in notes)
    finally:
        (home / "away").rename(home / "ledger")


def test_an_audit_of_another_ledger_is_not_cited(home: Path) -> None:
    head = ledger.head(home)
    said = {"at": datetime.now(UTC).isoformat(), "by": "x", "holds": True, "faults": 0}
    last_audit.save(home, said | {"records": head.records, "head": head.hash})
    assert _read(home)["evidence"]["last_full_audit"]["holds"]
    last_audit.save(home, said | {"records": head.records, "head": "f" * 64})
    assert _read(home)["evidence"]["last_full_audit"] is None
    (home / last_audit.LAST_AUDIT).unlink()


def test_labels_that_were_counted_and_are_others_now_are_a_fault(home: Path) -> None:
    before = {path.name for path in (home / "ledger").iterdir()}
    row = dict.fromkeys(KEYS, "x") | {"labeler": "ann", "label": "no"}
    keep(home, [row])
    frame = pl.DataFrame(schema=GRADER_QUALITY)
    seal = {"labels": labels_digest(home)}
    try:
        lake(home).write(
            "grader_quality", None, frame, stats=seal,
            seal=lambda made: ledger.append(home, "finding", "", {}, made.seals),
        )  # fmt: skip
        keep(home, [row | {"labeler": "bob"}])
        assert audited(home).holds, "more labels are no harm"
        labels = home / "labels.csv"
        labels.write_text(labels.read_text().replace("ann,no", "ann,yes"))
        (fault,) = audited(home).faults
        assert "labels that it was counted from" in str(fault)
    finally:
        (home / "labels.csv").unlink()
        shutil.rmtree(lake(home).folder("grader_quality", None))
        for path in (home / "ledger").iterdir():
            if path.name not in before:
                path.unlink()


def test_a_forecast_that_was_dated_back_is_a_backtest(home: Path) -> None:
    before = {path.name for path in (home / "ledger").iterdir()}
    sealed = ledger.latest(home, "forecast", MODEL)
    assert sealed is not None
    scored, prospective = scored_forecast(lake(home), MODEL)
    assert (scored.hash, prospective) == (sealed.hash, True)
    try:
        dated = sealed.at - timedelta(days=1)
        ledger.append(home, "forecast", MODEL, sealed.body, sealed.seals, dated)
        assert scored_forecast(lake(home), MODEL)[0].hash == sealed.hash
        assert any("a clock was wrong" in note for note in audited(home).notes)
    finally:
        for path in (home / "ledger").iterdir():
            if path.name not in before:
                path.unlink()


def test_who_answered_for_the_candidate_is_counted_and_another_model_is_named(home: Path) -> None:
    from deploysim_assets.report.document import funnel_lines

    asked = lake(home).written_rows("candidate_completions", MODEL)
    assert lake(home).stats("candidate_completions", MODEL)["served_by"] == {MODEL: asked}
    report = _read(home)
    assert not any("names another model" in line for line in funnel_lines(report))
    told = {"asked_of": MODEL, "served_by_others": {"older": 7}}
    report["funnel"]["simulated"] |= told
    assert any("older (7 answers)" in line for line in funnel_lines(report))
