"""The demo of agents, of two releases: turns are rolled out through the real assets, graded, scored
and printed beside the truth."""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from deploysim_assets.synthetic.desk import desk_at, run
from deploysim_assets_tests import warm
from deploysim_assets_tests.support import environment, rows

_COUNT = 60
_DEMO = f"""
from pathlib import Path
from deploysim_assets.cli.demo import AGENTS, run_demo
run_demo(Path.cwd() / "home", 1, {_COUNT}, print, AGENTS._replace(releases=AGENTS.releases[:2]))
"""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("demo")
    done = warm.run([sys.executable, "-c", _DEMO], env=environment(folder), cwd=folder, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "home", done.stdout


def test_agents_are_forecast_and_scored_beside_the_truth(demo: tuple[Path, str]) -> None:
    _, said = demo
    assert "courier-2: rates per 100,000 turns" in said
    [followed] = [s for s in said.splitlines() if "following_injected_instructions  " in s]
    assert "1,200" in followed
    assert "Sealed before the first production message." in " ".join(said.split())
    assert "Simulated turns of courier-1 beside its real ones" in said
    assert any(
        line.split()[:1] == ["recorded+function+library+model"] for line in said.splitlines()
    )


def test_turns_are_rolled_out_and_their_results_are_those_of_the_real_tools(
    demo: tuple[Path, str],
) -> None:
    home, _ = demo
    prefixes = {row["prefix_id"]: row for row in rows(home, "deidentified_prefixes", "courier-1")}
    assert all(len(row["tools"]) == 7 and not row["tools_inferred"] for row in prefixes.values())
    turns = rows(home, "candidate_completions", "courier-2")
    assert {row["status"] for row in turns} == {"completed"}
    assert any(len(row["message"]["steps"]) >= 4 for row in turns)
    sources: Counter[str] = Counter()
    for row in turns:
        before = prefixes[row["prefix_id"]]["messages"]
        steps: list[dict[str, Any]] = row["message"]["steps"]
        asked = {call["id"]: call for step in steps for call in step["tool_calls"]}
        for place, step in enumerate(steps):
            if step["role"] == "tool":
                call, desk = asked[step["tool_call_id"]], desk_at([*before, *steps[:place]])
                assert step["content"] == run(desk, call["name"], json.loads(call["arguments"]))
                sources[step["source"]] += 1
    assert sources.keys() == {"recorded", "function"}


def test_no_raw_identifier_is_in_a_turn(demo: tuple[Path, str]) -> None:
    home, _ = demo
    needle = "@lindenhof.test"
    assert needle in (home / "logs" / "courier-1" / "traffic.jsonl").read_text()
    for asset in ("deidentified_prefixes", "candidate_completions", "grades"):
        for model in ("courier-1", "courier-2"):
            if (home / "lake" / asset / f"model_version={model}").exists():
                assert needle not in json.dumps(rows(home, asset, model), default=str)
