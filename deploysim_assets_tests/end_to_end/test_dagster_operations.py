"""A finished project worked through GraphQL under a real webserver and daemon, as
benchmarks/dagster_operations.py does it in full; what failed is told to a webhook over HTTP."""

from collections.abc import Generator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from deploysim_assets.benchmarks.dagster_operations import (
    Site,
    canceled_and_resumed,
    daemon_killed,
    everything_again,
    late_logs,
    missing_only,
    receiver,
    site,
    wait_for,
)
from deploysim_assets_tests.support import KEYS

SEED = 3  # that of the finished home: its endpoint answers as it did


class Told(NamedTuple):
    """A site, and what its alerts posted."""

    at: Site
    posted: list[dict[str, Any]]


def _site(
    finished: Path, folder: Path, executor: str, threshold: float | None, **environment: str
) -> Generator[Told]:
    with (
        receiver() as (address, posted),
        site(
            finished,
            folder / "home",
            executor,
            SEED,
            threshold,
            DEPLOYSIM_WEBHOOK_URL=address,
            **KEYS,
            **environment,
        ) as at,
    ):
        yield Told(at, posted)


@pytest.fixture(scope="module")
def in_process(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[Told]:
    yield from _site(finished, tmp_path_factory.mktemp("in_process"), "in_process", None)


@pytest.fixture(scope="module")
def multiprocess(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[Told]:
    folder = tmp_path_factory.mktemp("multiprocess")
    style = {"DEPLOYSIM_WEBHOOK_STYLE": "slack"}
    yield from _site(finished, folder, "multiprocess", 1.0, **style)


def test_everything_again_as_a_backfill_ends_green_and_changes_nothing(in_process: Told) -> None:
    everything_again(in_process.at)


def test_late_logs_give_a_new_score_beside_the_old_one(in_process: Told) -> None:
    late_logs(in_process.at)


def test_a_canceled_backfill_is_resumed_and_pays_for_nothing_twice(in_process: Told) -> None:
    canceled_and_resumed(in_process.at)


def test_a_run_goes_on_while_the_daemon_is_killed_and_started_again(in_process: Told) -> None:
    daemon_killed(in_process.at)


def test_a_failed_run_is_told_to_the_webhook_by_file_and_mend(in_process: Told) -> None:
    run = in_process.at.launch(["raw_logs"], "aurora-2b")
    assert in_process.at.all_ended([run]) == ["FAILURE"]
    wait_for(lambda: any(p["run_id"] == run for p in in_process.posted), "the alert")
    told = [p for p in in_process.posted if p["run_id"] == run]
    assert len(told) == 1, "told once"
    assert told[0]["event"] == "run_failure"
    assert told[0]["model_version"] == "aurora-2b"
    assert "matches no file" in told[0]["failed_steps"]["raw_logs"]


def test_what_is_missing_is_made_once_however_many_ask_for_it(multiprocess: Told) -> None:
    missing_only(multiprocess.at)


def test_failed_gates_are_told_in_the_shape_of_slack(multiprocess: Told) -> None:
    """The forecasts of the test before."""
    at, posted = multiprocess
    for candidate in ("aurora-2b", "aurora-2c"):
        assert at.lake.current("rate_estimates", candidate), "forecast by the test before"
        said = f"the forecast of {candidate} does not pass its gates"
        wait_for(lambda said=said: any(said in p["text"] for p in posted), "the alert")
    assert all(set(body) == {"text"} for body in posted)
