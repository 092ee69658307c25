"""A server that answers nothing is never an all-clear: no forecast where nothing was graded, and
blocked gates and a worst case where too much is missing."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from aiohttp import web

from deploysim_assets.storage import ledger
from deploysim_assets_tests.support import deploysim, lake, report, rows, serve

COUNT = 100


def _answer(content: str | None, finish: str) -> web.Response:
    message = {"role": "assistant", "content": content}
    return web.json_response(
        {
            "choices": [{"message": message, "finish_reason": finish}],
            "usage": {"prompt_tokens": 9, "completion_tokens": 4},
        }
    )


@contextmanager
def server(empty: int) -> Generator[tuple[str, list[str]]]:
    """Leaves `empty` of 100 replies of the candidate empty; the judge flags nothing."""
    asked: list[str] = []

    async def chat(request: web.Request) -> web.Response:
        body = await request.json()
        asked.append(body["model"])
        if body["model"] == "judge":
            names = body["response_format"]["json_schema"]["schema"]["required"]
            clean = {
                "assessment": "graded", "flagged": False, "severity": 0, "confidence": 1.0,
                "rationale": "",
            }  # fmt: skip
            return _answer(json.dumps(dict.fromkeys(names, clean)), "stop")
        number = int(body["messages"][-1]["content"].rpartition(" ")[2])
        return _answer("", "length") if number < empty else _answer("Of course.", "stop")

    app = web.Application()
    app.router.add_post("/v1/chat/completions", chat)
    with serve(app) as url:
        yield url, asked


def write_project(home: Path, url: str) -> None:
    (home / "logs").mkdir(parents=True)
    lines = [
        {
            "conversation_id": f"c{i}", "user_id": f"u{i}", "training_allowed": True,
            "started_at": "2026-05-01T10:00:00Z", "surface": "web", "language": "en",
            "messages": [{"role": "user", "content": f"question number {i}"},
                         {"role": "assistant", "content": "" if i == 7 else "An answer."}],
        }
        for i in range(COUNT)
    ]  # fmt: skip
    (home / "logs" / "old.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    logs = {"format": "openai_chat", "path": "logs/old.jsonl"}
    releases = [
        {"model_version": "old", "predecessor": None, "logs": logs},
        {
            "model_version": "new", "predecessor": "old", "logs": logs | {"path": "logs/new.jsonl"},
            "candidate": {"model": "new"},
        },
    ]  # fmt: skip
    config: dict[str, Any] = {
        "releases": releases,
        "endpoint": {"base_url": url},
        "judge": {"model": "judge"},
        "behaviors": [{"name": "rude", "definition": "d", "threshold_per_100k": 90_000}],
        "deidentification": {"min_level": 0},
    }
    (home / "deploysim.yaml").write_text(yaml.safe_dump(config))


def test_nothing_but_empty_replies_is_no_forecast_and_one_sentence(tmp_path: Path) -> None:
    with server(COUNT) as (url, asked):
        write_project(tmp_path, url)
        done = deploysim(tmp_path, "forecast", "new", check=False)
        graded, twice = COUNT - 1, 20  # what production answered, and the sentinels among it
        assert asked.count("judge") == graded + twice
    assert done.returncode == 64
    said = done.stderr.strip().splitlines()[-1]
    assert "no reply was graded, so there is no forecast: of 100 prefixes 100 empty" in said
    assert "Traceback" not in done.stderr
    assert lake(tmp_path).current("rate_estimates", "new") is None
    assert "forecast" not in {r.kind for r in ledger.read(tmp_path)}, "nothing was sealed"


@pytest.fixture(scope="module")
def third(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    home = tmp_path_factory.mktemp("third")
    with server(30) as (url, _):
        write_project(home, url)
        return home, deploysim(home, "forecast", "new").stdout


def test_thirty_percent_empty_shows_what_is_missing_and_the_worst_case(
    third: tuple[Path, str],
) -> None:
    home, shown = third
    shown = " ".join(shown.split())
    assert "Replies simulated: 70 of 100 graded, 30 empty (30.0%)." in shown
    assert "All gates are blocked" in shown
    document = report(home, "new")
    rude = document["behaviors"][0]
    assert (rude["n"], rude["k"], rude["rate_best"], rude["gate"]) == (70, 0, 0.0, "blocked")
    assert rude["rate_worst"] == pytest.approx(0.3)
    assert "30,000" in shown, "the worst case per 100,000"
    simulated, live = (document["funnel"][side] for side in ("simulated", "live"))
    assert simulated["states"]["empty"] == 30
    assert sum(simulated["states"].values()) == simulated["prefixes"] == COUNT
    assert (live["states"]["empty"], live["untold"]) == (1, COUNT)
    assert "the two sides are not alike" in shown
    assert {r["status"] for r in rows(home, "candidate_completions", "new")} == {
        "completed",
        "empty",
    }


def test_the_checks_are_red_for_the_candidate_and_green_at_one_percent_in_production(
    third: tuple[Path, str],
) -> None:
    checks = {
        asset: dg.AssetCheckKey(dg.AssetKey(asset), "replies_are_whole")
        for asset in ("candidate_completions", "production_grades")
    }
    with dg.DagsterInstance.from_config(str(third[0] / ".dagster")) as instance:
        latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(
            list(checks.values())
        )
    found: dict[str, tuple[bool, dg.AssetCheckSeverity]] = {}
    for asset, key in checks.items():
        event = latest[key].event
        assert event and event.dagster_event
        evaluated = event.dagster_event.asset_check_evaluation_data
        found[asset] = evaluated.passed, evaluated.severity
    assert found["candidate_completions"] == (False, dg.AssetCheckSeverity.ERROR)
    assert found["production_grades"] == (True, dg.AssetCheckSeverity.WARN)
