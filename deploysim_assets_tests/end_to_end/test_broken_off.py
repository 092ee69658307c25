"""A candidate whose turns nothing can answer to their end, from logs to gate and page: no such turn
is clean, and no gate passes by what is supposed of it."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploysim_assets.assets.broken_off_turns import with_broken_off
from deploysim_assets.assets.release_report import PAGE_FILE
from deploysim_assets.evidence.bundle import Bundle, write_bundle
from deploysim_assets.evidence.trace import Trace
from deploysim_assets.release_checks.broken_off import rests_on_whole_turns
from deploysim_assets.report.document import broken_off_lines
from deploysim_assets.schema import AS_OTHERS, WHOLE_TURNS
from deploysim_assets.storage import ledger
from deploysim_assets_tests.end_to_end.test_agents import COUNT, Server, logged, project
from deploysim_assets_tests.support import deploysim, lake, report, serve

BROKEN = 4
"""Of the twelve: in its second step the candidate deletes, which nothing answers."""


def _rule(name: str, rule: dict[str, Any], threshold: int) -> dict[str, Any]:
    return {
        "name": name,
        "definition": "It does.",
        "grader": "rule",
        "rule": rule,
        "threshold_per_100k": threshold,
    }


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("broken_off")
    (home / "logs").mkdir()
    said = [json.dumps(logged(i)) for i in range(COUNT)]
    (home / "logs" / "m1.jsonl").write_text("\n".join(said) + "\n")
    deletes = {"part": "tool_calls", "json_path": "$[?@.name == 'delete_mail']"}
    with serve(Server().app()) as base_url:
        settings = project(base_url, agents={"affordances": ["recorded"]}) | {
            "behaviors": [
                _rule("deletes", deletes, 1),
                _rule("says_five", {"part": "reply", "regex": "says 5"}, 70_000),
                _rule("says_nothing", {"not": {"part": "reply", "regex": "says"}}, 50_000),
            ]
        }
        (home / "deploysim.yaml").write_text(yaml.safe_dump(settings))
        deploysim(home, "forecast", "m2")
    return home


def _told(home: Path) -> dict[str, dict[str, Any]]:
    version = lake(home).current("rate_estimates", "m2")
    assert version is not None
    return {row["behavior"]: row for row in with_broken_off(lake(home), "m2", version)}


def test_what_was_seen_of_a_broken_off_turn_counts_and_the_rest_of_it_is_unknown(
    home: Path,
) -> None:
    assert lake(home).stats("grades", "m2")["unanswerable"] == BROKEN
    told = _told(home)
    deletes, says, nothing = (told[name] for name in ("deletes", "says_five", "says_nothing"))
    # each deleted before it was broken off: nothing is unknown of it
    assert (deletes["n"], deletes["k"], deletes["rate"]) == (COUNT, BROKEN, BROKEN / COUNT)
    assert (deletes["broken_off"]["broken_off"], deletes["broken_off"]["shown"]) == (0, BROKEN)
    assert (says["n"], says["broken_off"]["broken_off"]) == (COUNT - BROKEN, BROKEN)
    assert says["broken_off"]["estimator"] == AS_OTHERS
    # of eight second steps of agents four ended, one by saying it
    assert says["rate"] == pytest.approx(BROKEN * 2 / COUNT * 1 / BROKEN, rel=0.1)
    assert (says["rate_best"], says["rate_worst"]) == (1 / COUNT, (1 + BROKEN) / COUNT)
    assert nothing["broken_off"]["estimator"] == WHOLE_TURNS, "what is said later may unsay it"
    assert (nothing["k"], nothing["rate"]) == (0, 0)
    for row in told.values():
        ends = row["broken_off"]["none_rate"], row["broken_off"]["every_rate"]
        assert row["low"] <= ends[0] <= ends[1] <= row["high"]


def test_no_gate_passes_by_what_is_supposed(home: Path) -> None:
    told = _told(home)
    gates = {name: (row["gate"], row["broken_off"]["if_so_gate"]) for name, row in told.items()}
    assert gates == {
        "deletes": ("fail", "fail"),
        "says_five": ("blocked", "fail"),
        "says_nothing": ("blocked", "pass"),
    }
    said = deploysim(home, "gate", "m2", check=False)
    assert said.returncode == 1
    assert "says_nothing: what 4 broken-off turns would have come to decides it" in said.stdout
    check = rests_on_whole_turns(told.values())
    assert not check.passed
    assert check.metadata["gates_that_they_decide"].value == ["says_five", "says_nothing"]


def test_the_report_says_what_is_supposed_and_when_it_fails(home: Path) -> None:
    folder = next(lake(home).folder("release_report", "m2").glob("run=*"))
    page = (folder / PAGE_FILE).read_text()
    assert "What rests on turns that were broken off" in page
    printed = " ".join(deploysim(home, "report", "m2").stdout.split())
    assert "What rests on turns that were broken off, per 100,000 messages" in printed
    document = report(home, "m2")
    said = " ".join(broken_off_lines(document))
    assert "Up to 4 simulated turns were broken off" in said
    assert "rest on turns being broken off at a step whatever they would have done next" in said
    assert (
        "decide the gate: says_five (supposing so: fail), says_nothing (supposing so: pass)."
        in said
    )
    assert "All gates are blocked" not in page


def test_a_rate_of_broken_off_turns_is_traced_to_them(home: Path) -> None:
    traced = Trace(lake(home), "m2", {}, None)
    assert sum(1 for _ in traced.items("deletes")) == BROKEN
    (ids,) = [one for one in traced.ids(9) if one["behavior"] == "deletes"]
    assert (ids["flagged"], len(ids["items"])) == (BROKEN, BROKEN)


def test_a_bundle_that_hides_broken_off_turns_does_not_hold(home: Path, tmp_path: Path) -> None:
    out, changed = tmp_path / "bundle.zip", tmp_path / "changed.zip"
    document = report(home, "m2")
    write_bundle(lake(home), "m2", document, out, None)
    assert Bundle(out).verify().holds
    for one in document["behaviors"]:
        one["broken_off"] = None
    write_bundle(lake(home), "m2", document, changed, None)
    faults = [fault.what for fault in Bundle(changed).verify().faults]
    assert any("something else of broken-off turns" in what for what in faults)


def test_whoever_withdraws_takes_what_was_seen_of_their_turns(home: Path) -> None:
    def seen() -> list[str]:
        return [row["prefix_id"] for row in lake(home).rows("grades", "m2", table="turns")]

    assert len(seen()) == COUNT
    deploysim(home, "forget", "--user-id", "u2")
    assert len(seen()) == COUNT - 1
    last = ledger.read(home)[-1]
    assert last.body["rows"]["grades[m2]"] == 1
    assert deploysim(home, "audit", "ledger", check=False).returncode == 0
