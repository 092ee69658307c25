"""A real release on real answers over real HTTP: forecast by the command line, scored by the
daemon when the logs land."""

import os
import time
from pathlib import Path
from unittest import mock

import dagster as dg
import numpy as np

from deploysim_assets_tests.support import (
    Drift,
    daemon,
    deploysim,
    environment,
    lake,
    needs_shared,
    recorded_server,
    report,
    rows,
    wait_for,
)

UNFINISHED = {
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
}


def _finished_runs(instance: dg.DagsterInstance) -> int:
    assert not instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))
    return len(instance.get_runs())


def _ticks(instance: dg.DagsterInstance, name: str) -> int:
    state = next(s for s in instance.all_instigator_state() if s.instigator_name == name)
    return len(instance.get_ticks(state.instigator_origin_id, state.selector_id))


def _wait_for_ticks(instance: dg.DagsterInstance, count: int) -> None:
    before = {name: _ticks(instance, name) for name in ("automation", "new_logs")}
    wait_for(
        lambda: all(_ticks(instance, name) >= n + count for name, n in before.items()),
        300,
        f"{count} more ticks",
    )


def _settled(instance: dg.DagsterInstance) -> int:
    """How many runs there are once no run goes on and two ticks have launched none."""
    runs = -1
    while runs != len(instance.get_runs()):
        wait_for(
            lambda: not instance.get_runs(dg.RunsFilter(statuses=list(UNFINISHED))),
            300,
            "the last run",
        )
        runs = _finished_runs(instance)
        _wait_for_ticks(instance, 2)
    return runs


def _is_told(home: Path, release: str) -> bool:
    """Whether the score of a release stands on the scorecard and on its page."""
    tables = lake(home)
    if not tables.current("scorecard", None) or not tables.current("release_report", release):
        return False
    scored = any(row["state"] == "scored" for row in tables.rows("scorecard", None))
    return scored and tables.stats("release_report", release)["scored"]


@needs_shared
def test_a_real_release_is_forecast_and_then_scored_without_a_click(tmp_path: Path) -> None:
    drift = Drift(tmp_path / "home")
    home = drift.home
    with recorded_server(drift.recording) as server:
        drift.write_project(server.base_url)
        drift.land(drift.old)
        deploysim(home, "forecast", drift.new)
        assert lake(home).current("calibration_report", drift.new) is None

        with (
            daemon(home) as running,
            mock.patch.dict(os.environ, environment(home)),
            dg.DagsterInstance.get() as instance,
        ):
            drift.land(drift.new)
            # the scorecard and the page are made from what there is, and again with the score
            wait_for(lambda: _is_told(home, drift.new), 300, f"the scorecard; see {running.log}")
            runs = _settled(instance)
            last = instance.get_runs(limit=1)[0]
            assert last.tags["dagster/from_automation_condition"] == "true", (
                "automation.py tells its own runs from a person's by this tag"
            )
            _wait_for_ticks(instance, 5)
            assert _finished_runs(instance) == runs, (
                "a tick launched something though nothing had changed"
            )
            time.sleep(1)
        stats = server.stats()

    document = report(home, drift.new)
    errors = [b["multiplicative_error"] for b in document["behaviors"]]
    baseline = [b["persistence_error"] for b in document["behaviors"]]
    assert len(errors) == 4
    assert np.median(errors) < 1.3
    assert np.exp(np.mean(np.log(baseline))) > 3
    assert all(b["in_95"] for b in document["behaviors"])
    # a candidate that answers word for word as the live model did puts one question to two journals
    live = {p["prefix_id"]: p["production_completion"]["content"]
            for p in rows(home, "deidentified_prefixes", drift.old)}  # fmt: skip
    said = rows(home, "candidate_completions", drift.new)
    equal = sum(row["message"]["content"] == live[row["prefix_id"]] for row in said)
    assert stats["duplicates"] <= equal
    assert document["summary"]["prospective"] is True

    counts = lake(home).stats("grades", drift.new)
    assert (
        counts["prefixes"]
        == counts["graded"] + counts["refused"] + counts["failed"]
        == lake(home).stats("deidentified_prefixes", drift.old)["released"]
    )
    for asset in (
        "raw_logs",
        "production_grades",
        "production_rate_counts",
        "realized_rates",
        "calibration_report",
    ):
        made = list(lake(home).folder(asset, drift.new).glob("run=*"))
        assert len(made) == 1, f"{asset} was made {len(made)} times though its inputs came once"
    seals = [r["sealed_at"] for r in rows(home, "rate_estimates", drift.new)]
    assert len(set(seals)) == 1
    assert len(list(lake(home).folder("rate_estimates", drift.new).glob("run=*"))) == 1, (
        "the forecast was made again"
    )
