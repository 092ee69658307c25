"""Batch mode under the daemon: runs submit and end, the sensor collects, and the forecast is
sealed without a click."""

from pathlib import Path

import dagster as dg

from deploysim_assets.assets.open_batches import with_open_batches
from deploysim_assets.cli.instance import dagster_home
from deploysim_assets.project.file import load_project
from deploysim_assets_tests.support import (
    Drift,
    daemon,
    lake,
    needs_shared,
    recorded_server,
    wait_for,
)

UNFINISHED = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
BATCH = {
    "mode": "batch",
    "batches": {"max_requests": 300, "poll_seconds": 1},
    "max_concurrency": 16,
}


@needs_shared
def test_the_daemon_submits_lets_go_and_collects_when_the_batches_are_done(tmp_path: Path) -> None:
    drift = Drift(tmp_path / "home", ("math_prime",))
    with recorded_server(drift.recording, "--batch-polls", "2") as server:
        drift.write_project(server.base_url, endpoint={"base_url": server.base_url, **BATCH})
        drift.land(drift.old)
        dagster_home(drift.home)
        with daemon(drift.home):
            wait_for(
                lambda: lake(drift.home).current("rate_estimates", drift.new) is not None,
                600,
                "the forecast",
                0.5,
            )
            with dg.DagsterInstance.from_config(str(drift.home / ".dagster")) as instance:
                wait_for(
                    lambda: not instance.get_runs(dg.RunsFilter(statuses=UNFINISHED)),
                    600,
                    "the last run to end",
                    0.5,
                )
        assert server.stats()["duplicates"] == 0
    assert with_open_batches(load_project(drift.home)) == []
    with dg.DagsterInstance.from_config(str(drift.home / ".dagster")) as instance:
        runs = instance.get_runs()
        assert not [run for run in runs if run.status == dg.DagsterRunStatus.FAILURE], (
            "a run that only submitted has not failed"
        )
        collected = [run for run in runs if run.tags.get("dagster/sensor_name") == "open_batches"]
    # Not one for each paid asset: where the daemon asks for an asset again because its inputs came,
    # that run collects.
    assert collected, "nothing was collected by the sensor"
