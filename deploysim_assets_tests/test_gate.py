"""`deploysim gate`: the verdict by a sealed forecast, and what each exit code stands for. The seals
themselves are broken in end_to_end/test_evidence.py."""

import contextlib
import json
from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
import yaml
from click.testing import CliRunner

from deploysim_assets.assets.registration import Registration
from deploysim_assets.assets.reply_funnel import served_by_others
from deploysim_assets.cli import gate, reporting
from deploysim_assets.cli.commands import main
from deploysim_assets.cli.demo import write_project
from deploysim_assets.cli.home import Home
from deploysim_assets.grading.panel import Panel
from deploysim_assets.project.file import load_project
from deploysim_assets.schema import (
    CALIBRATION,
    GRADER_QUALITY,
    RATE_ESTIMATES,
    REGISTRATIONS,
    RELEASE_REPORT,
)
from deploysim_assets.storage import ledger
from deploysim_assets.storage.manifests import Run
from deploysim_assets.storage.tables import Lake, Made

MODEL = "aurora-2"
NAMES = ("harassment", "fabricated_citation", "false_tool_report")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A project whose three judged behaviors have a threshold, and a registration of it."""
    write_project(tmp_path, "http://127.0.0.1:9/v1", 10)
    listed = yaml.safe_load((tmp_path / "behaviors.yaml").read_text())
    kept = [b | {"threshold_per_100k": 100} for b in listed if b["name"] in NAMES]
    (tmp_path / "behaviors.yaml").write_text(yaml.safe_dump(kept))
    found = Home(load_project(tmp_path), Lake.of(tmp_path))
    _register(found)
    return found


def _register(home: Home) -> str:
    body = {
        "model_version": MODEL, "predecessor": "aurora-1", "prefixes": {"version": "v"},
        "panel": Panel.of(home.project).record(), "sampling": {"seed": 1},
        "candidate": home.project.release(MODEL).asked_as.model_dump(mode="json"),
        "challenging_prompts": {}, "early_stopping": None, "grading": {},
    }  # fmt: skip
    record = ledger.append(home.project.home, "registration", MODEL, body)
    row = dict.fromkeys(REGISTRATIONS) | {
        "model_version": MODEL, "body": json.dumps(body), "record_hash": record.hash,
        "registered_at": record.at, "prefixes": len(home.lake.home.parts),
    }  # fmt: skip
    with home.lake.new_version("preregistration", MODEL, REGISTRATIONS) as version:
        version.extend(pl.DataFrame([row], schema=REGISTRATIONS))
    return record.hash


def _seal(home: Home, **gates: str) -> str:
    rows: list[dict[str, Any]] = [
        dict.fromkeys(RATE_ESTIMATES)
        | {
            "model_version": MODEL, "behavior": name, "gate": gate, "threshold": 100e-5,
            "gate_upper": 90e-5, "prob_above_threshold": 0.01, "sealed_at": datetime.now(UTC),
        }
        for name, gate in gates.items()
    ]  # fmt: skip
    body = {"registration": Registration.load(home.lake, MODEL).record_hash, "rows": []}
    sealed: list[str] = []

    def seal(made: Made) -> None:
        sealed.append(ledger.append(home.project.home, "forecast", MODEL, body, made.seals).hash)

    with home.lake.new_version("rate_estimates", MODEL, RATE_ESTIMATES, seal=seal) as version:
        version.extend(pl.DataFrame(rows, schema=RATE_ESTIMATES))
    return sealed[0]


def _score(home: Home) -> None:
    """The forecast that is current now becomes the one that is scored."""
    row = dict.fromkeys(CALIBRATION) | {
        "model_version": MODEL, "behavior": NAMES[0], "prospective": True,
        "forecast_version": home.lake.current("rate_estimates", MODEL),
    }  # fmt: skip
    with home.lake.new_version("calibration_report", MODEL, CALIBRATION) as version:
        version.extend(pl.DataFrame([row], schema=CALIBRATION))


def _accept(home: Home, behavior: str, word: str, forecast: str) -> None:
    body = {"behavior": behavior, "gate": word, "by": "A. Reviewer", "reason": "filtered upstream",
            "forecast": forecast}  # fmt: skip
    ledger.append(home.project.home, "acceptance", MODEL, body)


@pytest.fixture(autouse=True)
def _unsealed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The seals are not what is looked at here."""
    monkeypatch.setattr("deploysim_assets.assets.home_audit.refuse_broken_seals", lambda *_: None)


@pytest.mark.parametrize(
    ("gates", "word", "code"),
    [
        (("pass", "pass", "pass"), "pass", 0),
        (("pass", "blocked", "fail"), "fail", 1),
        (("not graded", "blocked", "pass"), "blocked", 2),
        (("pass", "not graded", "pass"), "not measured", 3),
        (("no threshold", "no threshold", "no threshold"), "not measured", 3),
    ],
)
def test_the_worst_of_the_gates_is_the_verdict(
    home: Home, monkeypatch: pytest.MonkeyPatch, gates: tuple[str, ...], word: str, code: int
) -> None:
    _seal(home, **dict(zip(NAMES, gates, strict=True)))
    monkeypatch.setenv("DEPLOYSIM_HOME", str(home.project.home))
    done = CliRunner().invoke(main, ["gate", MODEL, "--json"])
    document = json.loads(done.stdout)
    assert (done.exit_code, document["exit_code"], document["verdict"]) == (code, code, word)
    said = CliRunner().invoke(main, ["gate", MODEL]).stdout.splitlines()
    assert said[0] == f"{MODEL}: {word}"
    measured = [g for g in gates if g != "no threshold"]
    assert len(said) == 1 + max(1, len(measured)), "a line for each"


def test_an_acceptance_counts_for_its_own_forecast_and_verdict_alone(home: Home) -> None:
    first = _seal(home, harassment="fail", fabricated_citation="pass")
    _accept(home, "harassment", "blocked", first)
    assert gate.verdict(home, MODEL).word == "fail", "another word was accepted"
    _accept(home, "harassment", "fail", first)
    found = gate.verdict(home, MODEL)
    assert found.word == "pass"
    assert found.reasons[0].accepted and found.reasons[0].accepted["by"] == "A. Reviewer"
    _seal(home, harassment="fail")
    assert gate.verdict(home, MODEL).word == "fail", "a new forecast was accepted by nobody"


def test_a_forecast_sealed_after_the_score_changes_neither_gate_nor_acceptance(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored = _seal(home, harassment="fail", fabricated_citation="pass")
    _score(home)
    _accept(home, "harassment", "fail", scored)
    assert gate.verdict(home, MODEL).word == "pass"
    _register(home)  # of the behaviors as they are: the late forecast passes all of them
    late = _seal(home, harassment="pass", fabricated_citation="fail", false_tool_report="pass")
    found = gate.verdict(home, MODEL)
    assert found.word == "pass", "the scored forecast is the one that the acceptance is of"
    assert {r.behavior: r.gate for r in found.reasons} == {
        "harassment": "fail",
        "fabricated_citation": "pass",
    }
    _accept(home, "fabricated_citation", "fail", late)
    assert gate.verdict(home, MODEL).reasons[1].accepted is None

    told = {"behaviors": [{"behavior": "harassment", "gate": "fail"}]}
    monkeypatch.setattr(reporting, "report_document", lambda *_: told)
    monkeypatch.setenv("DEPLOYSIM_HOME", str(home.project.home))
    words = ["accept", MODEL, "harassment", "--by", "B. Reviewer", "--reason", "seen again"]
    made: list[object] = []

    @contextlib.contextmanager
    def jobs() -> Generator[SimpleNamespace]:
        yield SimpleNamespace(run=lambda *asked: made.append(asked))

    monkeypatch.setattr(reporting, "operations", jobs)
    home.lake.write("release_report", MODEL, pl.DataFrame(schema=RELEASE_REPORT))
    assert CliRunner().invoke(main, words).exit_code == 0
    assert made == [("score", MODEL, ["release_report"])], "the page shows the acceptance"
    newest = ledger.latest(home.project.home, "acceptance", MODEL)
    assert newest is not None
    assert newest.body["forecast"] == scored


def test_a_min_precision_that_is_lowered_after_the_forecast_unblocks_nothing(home: Home) -> None:
    grader = Panel.of(home.project).grader_ids()["harassment"]
    quality = dict.fromkeys(GRADER_QUALITY) | {
        "source": "grades", "model_version": MODEL, "behavior": "harassment", "stale": False,
        "grader_id": grader, "precision": 0.1, "precision_low": 0.05, "precision_high": 0.2,
    }  # fmt: skip
    home.lake.write("grader_quality", None, pl.DataFrame([quality], schema=GRADER_QUALITY))
    run = Run("r", "", home.project.part("min_precision"))
    _seal(Home(home.project, home.lake.during(run)), **dict.fromkeys(NAMES, "pass"))
    assert gate.verdict(home, MODEL).word == "blocked"
    lowered = home.project.model_copy(update={"min_precision": 0.0})
    found = gate.verdict(Home(lowered, home.lake), MODEL)
    assert found.word == "blocked"
    assert any(
        note.startswith("min_precision: the forecast was made under") for note in found.notes
    )


@pytest.mark.parametrize(
    ("named", "others"),
    [("aurora-2", {}), ("aurora-2-2026-03-01", {}), ("lab/Aurora-2", {}), ("old", {"old": 5})],
)
def test_another_model_that_answered_is_a_note(
    home: Home, named: str, others: dict[str, int]
) -> None:
    _seal(home, **dict.fromkeys(NAMES, "pass"))
    registered = Registration.load(home.lake, MODEL)
    assert registered.candidate.model == "aurora-2"
    rows = pl.DataFrame({"prefix_id": ["p"]})
    home.lake.write("candidate_completions", MODEL, rows, stats={"served_by": {named: 5}})
    assert served_by_others(home.lake, registered) == others


def test_what_was_never_forecast_is_not_measured(home: Home) -> None:
    assert gate.verdict(home, MODEL).word == "not measured"
    assert gate.verdict(home, "aurora-1").word == "not measured"
    _seal(home, **dict.fromkeys(NAMES, "pass"))
    assert gate.verdict(home, MODEL).word == "pass"
    _register(home)
    stale = gate.verdict(home, MODEL)
    assert (stale.word, "registered anew" in stale.reasons[0].why) == ("not measured", True)


def test_a_behavior_that_was_not_registered_is_not_measured(home: Home) -> None:
    _seal(home, **dict.fromkeys(NAMES, "pass"))
    path = home.project.home / "behaviors.yaml"
    listed = yaml.safe_load(path.read_text())
    listed[0]["threshold_per_100k"] = 5
    added = {"name": "newer", "definition": "d", "threshold_per_100k": 10}
    path.write_text(yaml.safe_dump([*listed, added]))
    found = gate.verdict(Home(load_project(home.project.home), home.lake), MODEL)
    assert found.word == "not measured"
    assert [r.behavior for r in found.reasons if r.gate == "not measured"] == ["newer"]
    assert found.notes == [
        f"{listed[0]['name']}: registered with a threshold of 100.0, now 5.0; the gate goes by the "
        "registered one"
    ]


def test_usage_configuration_and_our_own_errors_have_codes_of_their_own(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEPLOYSIM_HOME", str(home.project.home))
    for arguments in (["gate"], ["gate", "nobody"], ["gat"], ["plan", "--factor", "1"]):
        assert CliRunner().invoke(main, arguments).exit_code == 64, arguments
    assert "Did you mean 'gate'?" in CliRunner().invoke(main, ["gat"]).stderr

    def broken(*_: object) -> None:
        raise ValueError("words of a conversation")

    monkeypatch.setattr(gate, "verdict", broken)
    done = CliRunner().invoke(main, ["gate", MODEL])
    assert done.exit_code == 70
    assert "ValueError" in done.stderr and "words of a conversation" not in done.output
