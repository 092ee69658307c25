"""Every figure can be traced to its rows and no change goes unseen: audit, trace, bundle, report
and OpenLineage on one finished home."""

import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from deploysim_assets.benchmarks.tampering import (
    CHANGES,
    audited,
    copy_of,
    is_named,
    trial,
)
from deploysim_assets.deidentify.keys import load_keys
from deploysim_assets.evidence.bundle import Bundle
from deploysim_assets.evidence.openlineage import run_events
from deploysim_assets.storage import ledger
from deploysim_assets_tests import warm
from deploysim_assets_tests.support import deploysim, environment, lake, rows, script, serve


@pytest.fixture
def home(finished: Path, tmp_path: Path) -> Path:
    return copy_of(finished, tmp_path / "home")


def own_keys(home: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """The command line with the keys of the home's own file, as its user has them."""
    clean = {k: v for k, v in environment(home).items() if not k.endswith("_KEY")}
    done = warm.run([script("deploysim"), *arguments], env=clean, cwd=home)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.mark.parametrize("seed", range(32))
def test_a_single_change_anywhere_is_named(finished: Path, tmp_path: Path, seed: int) -> None:
    change, audit = trial(finished, tmp_path, seed)
    assert is_named(change, audit), (change, audit.faults)


def test_all_kinds_of_change_are_among_the_trials() -> None:
    assert len(CHANGES) <= 32


def test_untouched_homes_pass_wherever_they_lie(finished: Path, tmp_path: Path) -> None:
    moved = copy_of(finished, tmp_path / "moved here")
    for path in moved.rglob("*"):
        os.utime(path)
    for untouched in (finished, moved):
        audit = audited(untouched)
        assert audit.holds, audit.faults
        assert audit.records == len(ledger.read(finished))
    (moved / "logs" / "aurora-1" / "traffic.jsonl").unlink()  # rotated away by its owner
    audit = audited(moved)
    assert audit.holds
    assert any("rotated away" in note for note in audit.notes)


def test_touching_and_moving_logs_is_no_new_log(finished: Path, tmp_path: Path) -> None:
    from deploysim_assets.logs.files import fingerprint, log_files

    moved = copy_of(finished, tmp_path / "elsewhere")
    pattern = "logs/aurora-1/*.jsonl"
    before = fingerprint(log_files(finished, pattern))
    os.utime(moved / "logs" / "aurora-1" / "traffic.jsonl", (1, 1))
    assert fingerprint(log_files(moved, pattern)) == before


def test_the_audit_says_it_all_as_json_and_ends_with_one(home: Path) -> None:
    honest = deploysim(home, "audit", "ledger", "--json")
    document = json.loads(honest.stdout)
    assert document["holds"] and document["faults"] == []
    assert document["head"] == ledger.head(home).hash

    for asset in ("grades", "raw_logs", "scorecard"):
        part = next((home / "lake" / asset).rglob("run=*/part-00000.parquet"))
        part.write_bytes(part.read_bytes()[:-1] + b"x")
    found = deploysim(home, "audit", "ledger", "--json", check=False)
    assert found.returncode == 1
    named = {fault["asset"] for fault in json.loads(found.stdout)["faults"]}
    assert {"grades", "raw_logs", "scorecard"} <= named


def _doctor(home: Path, asset: str, column: str) -> None:
    import polars as pl

    version = lake(home).folder(asset, "aurora-2") / (lake(home).current(asset, "aurora-2") or "")
    part = next(version.glob("part-*.parquet"))
    frame = pl.read_parquet(part, hive_partitioning=False)
    frame.with_columns(pl.col(column) / 2).write_parquet(part)


@pytest.mark.parametrize(
    ("asset", "column"),
    [
        ("rate_estimates", "p95_high"),
        ("realized_rates", "rate"),
        ("calibration_report", "realized"),
    ],
)
def test_the_report_refuses_a_figure_whose_seal_does_not_hold(
    home: Path, asset: str, column: str
) -> None:
    said = deploysim(home, "report", "aurora-2").stdout
    assert "Ledger: " in said
    assert "No full audit yet" in said or "Last full audit" in said
    _doctor(home, asset, column)
    refused = deploysim(home, "report", "aurora-2", check=False)
    assert refused.returncode == 4
    assert f"{asset}[aurora-2]" in refused.stderr
    assert "was changed after it was written" in refused.stderr
    gate = deploysim(home, "gate", "aurora-2", "--json", check=False)
    assert gate.returncode == 4
    assert json.loads(gate.stdout)["verdict"] == "seal broken"
    shown = deploysim(home, "report", "aurora-2", "--unverified")
    assert "UNVERIFIED" in shown.stdout
    as_json = json.loads(
        deploysim(home, "report", "aurora-2", "--unverified", "--format", "json").stdout
    )
    assert as_json["evidence"]["verified"] is False


def test_the_report_lists_every_earlier_forecast_with_its_reason(finished: Path) -> None:
    document = json.loads(deploysim(finished, "report", "aurora-2", "--format", "json").stdout)
    [other] = document["other_forecasts"]
    assert other["reason"] == "first registration"
    assert (
        document["evidence"]["last_full_audit"] is None
        or (document["evidence"]["last_full_audit"]["holds"])
    )


def test_a_trace_ends_at_the_line_that_holds_the_conversation(finished: Path) -> None:
    identify = load_keys(finished, may_create=False).identify
    document: dict[str, Any] = json.loads(own_keys(finished, "trace", "aurora-2", "--json").stdout)
    items = document["items"]
    assert {item["side"] for item in items} == {"candidate", "production"}
    for item in items:
        assert item["flagged"] is True
        assert item["grader_id"]
        log = item["log"]
        line = (finished / log["file"]).read_text().splitlines()[log["line"] - 1]
        conversation = json.loads(line)["conversation_id"]
        assert identify("conversation", conversation) == item["conversation_key"]
        assert len(log["sha256"]) == 64
        if item["side"] == "candidate":
            assert item["completion"]["request_key"]
            assert item["completion"]["model"] == "aurora-2"
    judged = [i for i in items if i["judge_request_keys"]]
    assert judged
    rates = {r["behavior"]: r for r in rows(finished, "rate_estimates", "aurora-2")}
    flagged = [i for i in items if i["side"] == "candidate"]
    # late logs made newer grades of production; the candidate's were sealed once
    missing = {
        name: row["k"] - sum(i["behavior"] == name for i in flagged) for name, row in rates.items()
    }
    forgotten = ledger.latest(finished, "forget", "")
    assert forgotten is not None
    most = forgotten.body["answers"]["journal/candidate_completions/aurora-2.jsonl"]
    assert all(0 <= lost <= most for lost in missing.values()), "of who withdrew since"
    assert document["changed_since"] == [] or all(one["what"] for one in document["changed_since"])
    assert "content" not in json.dumps(items)


def test_a_trace_without_keys_ends_at_digests_and_with_text_shows_it(home: Path) -> None:
    (home / "deploysim.keys.json").rename(home / "away.json")
    document = json.loads(own_keys(home, "trace", "aurora-2", "--json").stdout)
    assert all(item["log"] is None and item["conversation_key"] for item in document["items"])
    assert {log["file"] for log in document["log_files"]} >= {"logs/aurora-1/traffic.jsonl"}
    (home / "away.json").rename(home / "deploysim.keys.json")
    name = document["items"][0]["behavior"]
    text = json.loads(own_keys(home, "trace", "aurora-2", name, "--json", "--text").stdout)
    assert all(item["reply"]["content"] for item in text["items"])
    assert all(item["behavior"] == name for item in text["items"])
    tree = own_keys(home, "trace", "aurora-2", name).stdout
    assert "logs/aurora-1/traffic.jsonl:" in tree
    wrong = own_keys(home, "trace", "aurora-2", "nothing", check=False)
    assert wrong.returncode == 64
    assert "no published figure of 'nothing'" in wrong.stderr


def _forged(name: str, content: bytes) -> bytes:
    if name != "report.json":
        return content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]
    report = json.loads(content)
    report["behaviors"][0]["rate"] = 0.123
    return json.dumps(report).encode()


def test_a_bundle_holds_together_offline_and_says_what_it_cannot_tell(
    home: Path, tmp_path: Path
) -> None:
    out = tmp_path / "release.zip"
    deploysim(home, "audit", "bundle", "aurora-2", "-o", str(out))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    verified = deploysim(elsewhere, "audit", "verify", str(out), "--head", ledger.head(home).hash)
    assert "hold together" in verified.stdout
    assert "not checked: " in verified.stdout
    with zipfile.ZipFile(out) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    texts = [p["messages"][0]["content"] for p in rows(home, "deidentified_prefixes", "aurora-1")]
    assert not any(text.encode() in whole for text in texts for whole in content.values())

    changed = 0
    for name, whole in content.items():
        if len(whole) < 50 or name == "bundle.json":
            continue
        forged = tmp_path / "forged.zip"
        with zipfile.ZipFile(forged, "w") as archive:
            for other, kept in content.items():
                archive.writestr(other, _forged(name, whole) if other == name else kept)
        assert not Bundle(forged).verify().holds, name
        changed += 1
    assert changed > 30
    nonsense = tmp_path / "nonsense.zip"
    nonsense.write_bytes(b"PK nothing")
    refused = deploysim(elsewhere, "audit", "verify", str(nonsense), check=False)
    assert refused.returncode == 64
    assert "not a whole bundle" in refused.stderr


def test_a_person_accepts_a_failing_gate_on_the_record(home: Path) -> None:
    passed = deploysim(
        home, "accept", "aurora-2", "harassment", "--by", "A. Reviewer", "--reason", "x",
        check=False,
    )  # fmt: skip
    assert passed.returncode == 64
    assert "only a failing or blocked gate can be accepted" in passed.stderr
    body = {"behavior": "harassment", "gate": "fail", "reason": "filtered upstream",
            "by": "A. Reviewer", "forecast": "x"}  # fmt: skip
    ledger.append(home, "acceptance", "aurora-2", body)
    said = deploysim(home, "report", "aurora-2").stdout
    assert "A. Reviewer accepted harassment (fail)" in " ".join(said.split())


def test_gc_takes_what_nothing_rests_on_and_the_audit_calls_it_collected(home: Path) -> None:
    frame = lake(home).scan("rate_counts", "aurora-2").collect()
    older = lake(home).write("rate_counts", "aurora-3", frame)
    newer = lake(home).write("rate_counts", "aurora-3", frame.head(1))
    before = sum(1 for _ in (home / "lake").rglob("run=*"))
    dry = deploysim(home, "gc", "--dry-run").stdout
    assert older in dry
    assert "1 versions would be removed" in dry
    assert sum(1 for _ in (home / "lake").rglob("run=*")) == before
    deploysim(home, "gc")
    assert sum(1 for _ in (home / "lake").rglob("run=*")) == before - 1
    assert lake(home).current("rate_counts", "aurora-3") == newer
    audit = audited(home)
    assert audit.holds, audit.faults
    assert ledger.read(home)[-1].kind == "gc"
    assert "0 versions removed" in deploysim(home, "gc").stdout


def test_every_materialization_becomes_run_events_with_versions_and_columns(
    finished: Path,
) -> None:
    manifest = lake(finished).manifest("rate_counts", "aurora-2")
    assert manifest is not None
    start, complete = run_events(manifest)
    assert (start.eventType.value, complete.eventType.value) == ("START", "COMPLETE")
    assert {i.name for i in complete.inputs} == {"grades/aurora-2"}
    [output] = complete.outputs
    assert output.name == "rate_counts/aurora-2"
    assert output.facets["version"].datasetVersion == manifest.digest
    assert {f.name for f in output.facets["schema"].fields} >= {"behavior", "n", "k"}
    lineage = output.facets["columnLineage"].fields
    assert lineage
    assert {f.name for c in lineage.values() for f in c.inputFields} == {"grades/aurora-2"}
    assert complete.job.facets["sql"].query.strip()


def test_events_go_to_the_named_receiver_and_a_dead_one_fails_no_run(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deploysim_assets.evidence import openlineage

    taken: list[dict[str, Any]] = []

    async def take(request: web.Request) -> web.Response:
        taken.append(await request.json())
        return web.Response(status=201)

    made = lake(finished).manifest("raw_logs", "aurora-1")
    assert made is not None
    openlineage.emit(made)  # no receiver is named: nothing is sent
    app = web.Application()
    app.router.add_post("/api/v1/lineage", take)
    with serve(app) as base:
        monkeypatch.setenv("OPENLINEAGE_URL", base.removesuffix("/v1"))
        openlineage.emit(made)
    assert [event["eventType"] for event in taken] == ["START", "COMPLETE"]
    assert {event["job"]["name"] for event in taken} == {"raw_logs"}
    assert any(i["name"] == "logs/aurora-1/traffic.jsonl" for e in taken for i in e["inputs"])
    openlineage.emit(made)  # it is gone now
    assert len(taken) == 2


def test_a_killed_writer_leaves_nothing_current_and_the_next_one_clears_it(home: Path) -> None:
    frame = lake(home).scan("rate_counts", "aurora-2").collect()
    torn = lake(home).folder("rate_counts", "aurora-3") / "run=killed-000000"
    current = lake(home).current("rate_counts", "aurora-2") or ""
    shutil.copytree(lake(home).folder("rate_counts", "aurora-2") / current, torn)
    (torn / "_MANIFEST.json").unlink()
    (torn / "_WRITING").touch()
    assert lake(home).current("rate_counts", "aurora-3") is None
    assert audited(home).holds
    lake(home).write("rate_counts", "aurora-3", frame)
    assert not torn.exists()
    assert audited(home).holds
