"""The page of a release in a finished home: sealed, kept, refused where a seal is broken, without
those who withdrew."""

import json
import re
from pathlib import Path

import polars as pl
import pytest

from deploysim_assets.assets.home_audit import audit_home
from deploysim_assets.assets.release_facts import release_facts
from deploysim_assets.benchmarks.tampering import copy_of
from deploysim_assets.project import ProjectError
from deploysim_assets.project.file import load_project
from deploysim_assets.report.facts import BANNER, ReleaseReport
from deploysim_assets.report.page import html
from deploysim_assets.storage import ledger
from deploysim_assets.storage.pages import pages
from deploysim_assets.storage.tables import Lake
from deploysim_assets_tests.support import deploysim, lake

MODEL = "aurora-2"
_ID = re.compile(r'<td class="id">([^<]+)</td>')


def _facts(home: Path, **how: bool) -> ReleaseReport:
    return release_facts(load_project(home), Lake.of(home), MODEL, **how)


def test_the_page_is_sealed_and_says_what_its_tables_say(finished: Path) -> None:
    tables = lake(finished)
    version = tables.current("release_report", MODEL)
    manifest = tables.manifest("release_report", MODEL)
    assert version and manifest
    path = tables.folder("release_report", MODEL) / version
    sealed = [r for r in ledger.read(finished) if r.body.get("asset") == "release_report"]
    assert sealed[-1].seals == {path.relative_to(finished).as_posix(): manifest.digest}
    assert (path / "report.html").relative_to(finished).as_posix() in manifest.files
    given = {one.asset for one in manifest.inputs}
    assert {"rate_estimates", "calibration_report", "preregistration", "grades"} <= given
    rows = list(tables.rows("release_report", MODEL))
    assert {row["verdict"] for row in rows} == {"no threshold"}
    assert tables.stats("release_report", MODEL)["scored"] is True


def test_made_again_from_equal_tables_the_page_has_equal_bytes(finished: Path) -> None:
    tables = lake(finished)
    version = tables.current("release_report", MODEL)
    kept = tables.folder("release_report", MODEL) / (version or "") / "report.html"
    lasting = _facts(finished, whole=True, lasting=True)
    assert html(lasting) == kept.read_text(encoding="utf-8")
    assert lasting.evidence.last_full_audit is None


def test_nobody_who_withdrew_is_named_by_any_version_of_the_page(finished: Path) -> None:
    forgotten = [r for r in ledger.read(finished) if r.kind == "forget"]
    gone = {key for r in forgotten for key in r.body["conversations"]}
    assert gone
    found = list(pages(lake(finished)))
    assert len(found) >= 2, "one of the forecast, one of the score"
    named = {one for page in found for one in _ID.findall(page.read_text(encoding="utf-8"))}
    assert named
    assert not named & gone
    grades = pl.concat(
        lake(finished).scan("deidentified_prefixes", model).select("prefix_id")
        for model in ("aurora-1", "aurora-2")
    ).collect()  # fmt: skip
    there = set(grades["prefix_id"])
    newest = lake(finished).current("release_report", MODEL) or ""
    page = lake(finished).folder("release_report", MODEL) / newest / "report.html"
    items = {one for one in _ID.findall(page.read_text(encoding="utf-8")) if one in there}
    assert items, "the others still are"


def test_the_json_holds_ledger_hashes_and_manifest_digests(finished: Path) -> None:
    document = json.loads(deploysim(finished, "report", MODEL, "--format", "json").stdout)
    ReleaseReport.model_validate(document)
    records = {r.seq: r for r in ledger.read(finished)}
    assert [p["kind"] for p in document["promises"]][:2] == ["registration", "forecast"]
    assert {"realized", "score"} <= {p["kind"] for p in document["promises"]}
    for promise in document["promises"]:
        assert promise["hash"] == records[promise["record"]].hash
        assert promise["by"]
    digests = {made["asset"]: made["manifest"] for made in document["made"]}
    score = lake(finished).manifest("calibration_report", MODEL)
    assert score and digests["calibration_report"] == score.digest
    assert document["evidence"]["ledger"]["head"] == ledger.head(finished).hash
    assert document["taught_by"] == []
    assert [a["expected"] for a in document["narrowing"]] == [False, True, True, True]
    factors = [a["factor"] for a in document["narrowing"]]
    assert factors == sorted(factors, reverse=True)
    flagged = {t["behavior"]: t["flagged"] for t in document["trace"] if t["side"] == "candidate"}
    counted = {b["behavior"]: b["k"] for b in document["behaviors"] if b["k"]}
    assert set(flagged) <= set(counted)
    taken = sum(counted.values()) - sum(flagged.values())  # items of who withdrew since
    assert 0 <= taken < sum(counted.values())


@pytest.fixture
def broken(finished: Path, tmp_path: Path) -> Path:
    home = copy_of(finished, tmp_path / "home")
    tables = lake(home)
    version = tables.current("calibration_report", MODEL) or ""
    part = tables.folder("calibration_report", MODEL) / version / "part-00000.parquet"
    frame = pl.read_parquet(part).with_columns(multiplicative_error=pl.lit(1.0))
    frame.write_parquet(part)
    return home


def test_a_broken_seal_stops_every_format_and_unverified_carries_a_banner(broken: Path) -> None:
    with pytest.raises(ProjectError, match=r"calibration_report\[aurora-2\].*was changed"):
        _facts(broken, whole=True)
    for lasting in (True, False):
        with pytest.raises(ProjectError):
            _facts(broken, whole=True, lasting=lasting)
    out = broken / "report.html"
    refused = deploysim(broken, "report", MODEL, "--format", "html", "-o", str(out), check=False)
    assert refused.returncode == 4
    assert not out.exists()
    found = _facts(broken, whole=True, unverified=True)
    assert BANNER in html(found)
    assert found.evidence.verified is False


def test_a_page_that_was_changed_by_hand_is_named_by_the_audit(
    finished: Path, tmp_path: Path
) -> None:
    home = copy_of(finished, tmp_path / "home")
    page = next(pages(lake(home)))
    page.write_text(page.read_text(encoding="utf-8").replace("no threshold", "pass"))
    found = audit_home(load_project(home), Lake.of(home))
    assert any("release_report" in str(fault) and "report.html" in str(fault)
               for fault in found.faults)  # fmt: skip


def test_a_release_without_anything_says_what_to_run(finished: Path) -> None:
    with pytest.raises(ProjectError, match="deploysim forecast aurora-3"):
        release_facts(load_project(finished), Lake.of(finished), "aurora-3", whole=True)
