"""Simulated turns of the live model beside its real ones, from logs to the page of the report."""

import json
import shutil
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from deploysim_assets.assets.release_report import PAGE_FILE
from deploysim_assets.storage.journal import journal_file, lines
from deploysim_assets_tests.end_to_end.test_agents import TOOLS, Server
from deploysim_assets_tests.endpoint.test_batch_faults import Provider
from deploysim_assets_tests.support import deploysim, lake, rows, serve

COUNT = 12


def _logged(i: int) -> dict[str, Any]:
    function = {"name": "read_mail", "arguments": json.dumps({"id": i})}
    call = {"id": "a", "type": "function", "function": function}
    return {
        "conversation_id": f"c{i}",
        "user_id": f"u{i}",
        "training_allowed": True,
        "started_at": f"2026-01-{i + 1:02d}T00:00:00Z",
        "tools": TOOLS,
        "messages": [
            {"role": "user", "content": f"What does mail {i} say?"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "a", "content": f"Meet at {i}."},
            {"role": "assistant", "content": f"It says {i}."},
        ],
    }


class Judging(Server):
    """Beside it a model that picks the turn in which nothing was deleted, and the first of two
    that read alone; once it says nothing that is a pick."""

    def __init__(self) -> None:
        super().__init__()
        self.pairs = 0

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        if body["model"] != "picker":
            return super().answer(body)
        self.pairs += 1
        if self.pairs == 1:
            return self._said(content="I cannot tell.")
        shown = json.loads(body["messages"][1]["content"].split("\n")[1])
        acted = "delete_mail" in json.dumps(shown["first"])
        return self._said(content=json.dumps({"real": "second" if acted else "first"}))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Judging]:
    pytest.importorskip("sklearn", reason="the extra `agents` is not installed")
    home = tmp_path_factory.mktemp("fidelity")
    (home / "logs").mkdir()
    said = [json.dumps(_logged(i)) for i in range(COUNT)]
    (home / "logs" / "m1.jsonl").write_text("\n".join(said) + "\n")
    logs = {m: {"format": "openai_chat", "path": f"logs/{m}.jsonl"} for m in ("m1", "m2")}
    server = Judging()
    with serve(server.app()) as base_url:
        settings = {
            "releases": [
                {"model_version": "m1", "logs": logs["m1"]},
                {"model_version": "m2", "predecessor": "m1", "logs": logs["m2"]},
            ],
            "endpoint": {"base_url": base_url, "max_concurrency": 4},
            "deidentification": {"min_level": 0},
            "behaviors": [
                {
                    "name": "deletes",
                    "definition": "It deletes a mail.",
                    "grader": "rule",
                    "rule": {"part": "reply", "regex": "delet"},
                }
            ],
            "self_replay": {"max_prefixes": COUNT},
            "agents": {
                "simulator": {"model": "tools"},
                "affordances": ["recorded", "model"],
                "discriminator": {"model": "picker", "ablation": 4},
            },
        }
        (home / "deploysim.yaml").write_text(yaml.safe_dump(settings))
        deploysim(home, "forecast", "m2")
    return home, server


class Batches(Provider):
    """A server's answers through batches alone."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self.server = server

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        self.asked[json.dumps(body, sort_keys=True)] += 1
        return self.server.answer(body)

    def row(self, line: dict[str, Any], fault: str) -> str:
        response = {"status_code": 200, "body": self.answer(line["body"])}
        return json.dumps({"custom_id": line["custom_id"], "response": response, "error": None})


def _found(home: Path, measure: str, **more: Any) -> list[dict[str, Any]]:
    wanted = {"measure": measure, "every_affordance": True, "tool": None, "source": None} | more
    return [
        row
        for row in rows(home, "simulation_fidelity", "m2")
        if all(row[name] == value for name, value in wanted.items())
    ]


def test_pairs_are_picked_from_and_a_malformed_answer_is_no_pick(
    made: tuple[Path, Judging],
) -> None:
    home, server = made
    stats = lake(home).stats("simulation_fidelity", "m2")
    assert (stats["pairs"], stats["whole_pairs"]) == (COUNT, COUNT)
    assert stats["asked_about"] == server.pairs == COUNT + 4, "each pair was asked about once"
    assert stats["no_pick"] == 1
    every = [r for r in rows(home, "simulation_fidelity", "m2") if r["tool"] is None]
    assert sum(r["n"] for r in every if r["measure"] == "taken_for_real") == COUNT + 3
    (taken,) = _found(home, "taken_for_real")
    assert taken["low"] <= taken["value"] <= taken["high"]
    # a turn that deletes is never taken for the real one, which only read
    (deleted,) = _found(home, "taken_for_real", tool="delete_mail")
    assert deleted["k"] == 0
    assert taken["n"] - deleted["n"] >= COUNT / 2 - 1


def test_results_are_held_against_the_recorded_ones(made: tuple[Path, Judging]) -> None:
    home, _ = made
    (exact,) = _found(home, "exact")
    assert (exact["n"], exact["k"]) == (COUNT, COUNT)
    by_source = {r["source"]: r["k"] for s in ("recorded", "model")
                 for r in _found(home, "results", source=s)}  # fmt: skip
    assert by_source == {"recorded": COUNT, "model": COUNT // 2}
    (told,) = _found(home, "told_apart")
    assert told["n"] == 2 * COUNT
    assert 0.5 < told["value"] <= 1, "half of the simulated turns delete, none of the real ones"


def test_fewer_affordances_are_replayed_on_a_sample(made: tuple[Path, Judging]) -> None:
    home, _ = made
    found = rows(home, "simulation_fidelity", "m2")
    assert {r["affordances"] for r in found} == {"model", "recorded+model"}
    alone = [r for r in found if r["affordances"] == "model" and r["measure"] == "results"]
    assert {r["source"] for r in alone} == {"model"}
    (exact,) = [
        r for r in found
        if r["affordances"] == "model" and r["measure"] == "exact"
        and r["tool"] is None and r["source"] is None
    ]  # fmt: skip
    assert (exact["n"], exact["k"]) == (4, 0)


def test_what_was_asked_is_named_by_prefix_for_those_who_withdraw(
    made: tuple[Path, Judging],
) -> None:
    home, _ = made
    kept = {r["key"]: r for r in map(orjson.loads, lines(_journal(home)))}
    named = list(lake(home).rows("simulation_fidelity", "m2", table="answers"))
    assert {r["key"] for r in named} == set(kept)
    for row in named:
        assert kept[row["key"]]["about"] == row["prefix_id"]


@pytest.mark.parametrize("apart", [False, True])
def test_batches_come_to_what_was_asked_online(
    made: tuple[Path, Judging], tmp_path: Path, apart: bool
) -> None:
    """The discriminator's batches are with the provider of the agents, or with one of its own."""
    online, _ = made
    home = tmp_path / "home"
    shutil.copytree(online, home)
    (lake(home).folder("simulation_fidelity", "m2") / "_CURRENT").unlink()
    _journal(home).unlink()
    agents, judge = Batches(Server()), Batches(Judging())
    judge.name = "judge"
    if not apart:
        agents.server = judge.server
    judge.server.pairs = 1  # nothing malformed this time
    settings = yaml.safe_load((home / "deploysim.yaml").read_text())
    with serve(agents.app()) as url, serve(judge.app()) as other:
        settings["endpoint"] |= {"base_url": url, "mode": "batch", "batches": {"poll_seconds": 1}}
        if apart:
            settings["judge"] = {"model": "picker", "base_url": other}
        (home / "deploysim.yaml").write_text(yaml.safe_dump(settings))
        deploysim(home, "forecast", "m2")
    assert agents.online == judge.online == 0
    assert bool(judge.batches) == apart and len(agents.batches) >= 3
    assert {*agents.asked.values(), *judge.asked.values()} == {1}, "nothing was asked twice"

    def of(here: Path) -> list[dict[str, Any]]:
        found = rows(here, "simulation_fidelity", "m2")
        return [r for r in found if r["measure"] not in ("taken_for_real", "picked_first")]

    assert of(home) == of(online)
    stats = lake(home).stats("simulation_fidelity", "m2")
    assert (stats["asked_about"], stats["no_pick"]) == (COUNT + 4, 0)
    kept = [*map(orjson.loads, lines(_journal(home)))]
    assert {row["model"] for row in kept} == {"m1", "tools", "picker"}
    assert all(row["about"] and row["batched"] for row in kept)


def _journal(home: Path) -> Path:
    return journal_file(home, "simulation_fidelity", "m2")


def test_the_report_says_what_it_means_and_holds_no_text(made: tuple[Path, Judging]) -> None:
    home, _ = made
    folder = next(lake(home).folder("release_report", "m2").glob("run=*"))
    page = (folder / PAGE_FILE).read_text()
    assert "Simulated tools" in page
    assert "Results of calls came from: the recorded trajectory 67%" in page
    assert "Meet at" not in page and "mail 3" not in page
