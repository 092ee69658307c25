"""A settled project worked through GraphQL under a real webserver and daemon, as
benchmarks/dagster_operations.py does it in full; what failed is told to a webhook over HTTP."""

from collections.abc import Generator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from deploysim_assets.benchmarks.counting_endpoint import receiver
from deploysim_assets.benchmarks.dagster_operations import (
    canceled_and_resumed,
    daemon_killed,
    everything_again,
    freshness_by_the_clock,
    late_logs,
)
from deploysim_assets.benchmarks.dagster_site import Site, site, wait_for
from deploysim_assets_tests.support import WarmSite


class Told(NamedTuple):
    """A site, and what its alerts posted."""

    at: Site
    posted: list[dict[str, Any]]


SEED = 3  # that of the settled home: its endpoint answers as it did


@pytest.fixture(scope="module")
def told(settled: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[Told]:
    folder = tmp_path_factory.mktemp("operations") / "home"
    with receiver() as (address, posted):
        settings = {"DEPLOYSIM_WEBHOOK_URL": address}
        with site(settled, folder, "in_process", SEED, kind=WarmSite, **settings) as at:
            yield Told(at, posted)


def test_everything_again_as_a_backfill_ends_green_and_changes_nothing(told: Told) -> None:
    everything_again(told.at)


def test_late_logs_give_a_new_score_beside_the_old_one(told: Told) -> None:
    late_logs(told.at)


def test_freshness_is_looked_at_by_the_clock(told: Told) -> None:
    freshness_by_the_clock(told.at)


def test_a_canceled_backfill_is_resumed_and_pays_for_nothing_twice(told: Told) -> None:
    canceled_and_resumed(told.at)


def test_a_run_goes_on_while_the_daemon_is_killed_and_started_again(told: Told) -> None:
    daemon_killed(told.at)


def test_a_failed_run_is_told_to_the_webhook_by_file_and_mend(told: Told) -> None:
    run = told.at.launch(["raw_logs"], "aurora-2b")
    assert told.at.all_ended([run]) == ["FAILURE"]
    wait_for(lambda: any(p["run_id"] == run for p in told.posted), "the alert")
    (alert,) = [p for p in told.posted if p["run_id"] == run]
    assert alert["event"] == "run_failure"
    assert alert["model_version"] == "aurora-2b"
    assert "matches no file" in alert["failed_steps"]["raw_logs"]
