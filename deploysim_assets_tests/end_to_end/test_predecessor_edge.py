"""A candidate never sees its own production logs: four releases, two of them with the same
predecessor, through the real daemon."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import dagster as dg

from deploysim_assets.cli.demo import synthetic_endpoint, write_project
from deploysim_assets.cli.instance import dagster_home
from deploysim_assets.synthetic.traffic import conversations, write_logs
from deploysim_assets_tests.support import daemon, environment, lake, rows, wait_for

RELEASES = {
    "aurora-1": None,
    "aurora-2": "aurora-1",
    "aurora-2b": "aurora-1",
    "aurora-3": "aurora-2",
}


def _registry() -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = []
    for release, predecessor in RELEASES.items():
        entry: dict[str, Any] = {
            "model_version": release,
            "predecessor": predecessor,
            "logs": {"format": "openai_chat", "path": f"logs/{release}/*.jsonl"},
        }
        if predecessor:
            entry["candidate"] = {"model": release.removesuffix("b")}
        listed.append(entry)
    return listed


def _land(home: Path, release: str, count: int = 60) -> None:
    start = datetime.now(UTC) - timedelta(hours=1)
    lines = conversations(release.removesuffix("b"), count, 1, start, timedelta(seconds=1))
    write_logs(home / "logs" / release / "traffic.jsonl", lines)


def _versions(home: Path, asset: str, release: str) -> int:
    return len(list(lake(home).folder(asset, release).glob("run=*")))


def _have(home: Path, asset: str) -> set[str]:
    return {release for release in RELEASES if lake(home).current(asset, release)}


def test_each_candidate_is_forecast_from_its_predecessor_and_from_nothing_else(
    tmp_path: Path,
) -> None:
    home = tmp_path
    with synthetic_endpoint(1) as base_url:
        write_project(
            home,
            base_url,
            max_prefixes=40,
            releases=_registry(),
            judge={"model": "judge", "sentinels": 0},  # runs that have nothing to do with the edge
            automation={"poll_seconds": 2},
        )
        dagster_home(home)
        _land(home, "aurora-1")
        with (
            daemon(home),
            mock.patch.dict(os.environ, environment(home)),
            dg.DagsterInstance.get() as instance,
        ):
            wait_for(
                lambda: _have(home, "rate_estimates") == {"aurora-2", "aurora-2b"},
                600,
                "the forecasts from aurora-1",
            )
            assert _have(home, "preregistration") == {"aurora-2", "aurora-2b"}

            _land(home, "aurora-2b")  # nobody's predecessor: it is scored, and nothing else starts
            wait_for(
                lambda: _have(home, "calibration_report") == {"aurora-2b"},
                600,
                "the score of aurora-2b",
            )
            assert _have(home, "preregistration") == {"aurora-2", "aurora-2b"}

            _land(
                home,
                "aurora-2b",
                90,
                # its logs grow: production is graded anew, the forecast is scored anew and not made
                # anew
            )
            _land(home, "aurora-2")
            wait_for(
                lambda: _versions(home, "calibration_report", "aurora-2b") == 2,
                600,
                "the second score of aurora-2b",
            )
            assert lake(home).stats("raw_logs", "aurora-2b")["conversations"] == 90
            wait_for(
                lambda: (
                    "aurora-3" in _have(home, "rate_estimates")
                    and "aurora-2" in _have(home, "calibration_report")
                ),
                600,
                "the forecast of aurora-3",
            )
            assert not instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))

    for candidate in ("aurora-2", "aurora-2b", "aurora-3"):
        asked = {row["prefix_id"] for row in rows(home, "candidate_completions", candidate)}
        predecessor = RELEASES[candidate]
        assert predecessor
        assert asked == {
            row["prefix_id"] for row in rows(home, "deidentified_prefixes", predecessor)
        }
        if candidate in _have(home, "deidentified_prefixes"):
            assert not asked & {
                row["prefix_id"] for row in rows(home, "deidentified_prefixes", candidate)
            }
        assert _versions(home, "rate_estimates", candidate) == 1
    assert not any(row["prospective"] for row in rows(home, "calibration_report", "aurora-2b"))
