"""Checks by the clock: logs that stopped, and forecasts that do not know newer traffic."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
import yaml

from deploysim_assets.cli.demo import write_project
from deploysim_assets.project import Project
from deploysim_assets.project.file import load_project
from deploysim_assets.release_checks.freshness import forecast_result, logs_result
from deploysim_assets.storage import ledger
from deploysim_assets.storage.tables import Lake
from deploysim_assets_tests.support import environment

NOW = datetime.now(UTC)
FRAME = pl.DataFrame({"x": [1]})


@pytest.fixture
def project(tmp_path: Path) -> Project:
    extra = {"freshness": {"logs_days": 7, "forecast_days": 10}}
    write_project(tmp_path, "http://127.0.0.1:9/v1", 10)
    path = tmp_path / "deploysim.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | extra))
    return load_project(tmp_path)


def test_logs_that_stopped_are_told_only_of_the_release_that_is_deployed(project: Project) -> None:
    lake = Lake(project.home / "lake")
    lake.write("raw_logs", "aurora-1", FRAME)
    for days, passes in ((6.9, True), (7.1, False)):
        result = logs_result(project, lake, "aurora-1", NOW - timedelta(days=days), NOW)
        assert result.passed is passes
        assert result.metadata["most_days_allowed"].value == 7
    assert not logs_result(project, lake, "aurora-1", None, NOW).passed
    lake.write("raw_logs", "aurora-2", FRAME)
    replaced = logs_result(project, lake, "aurora-1", NOW - timedelta(days=99), NOW)
    assert replaced.passed
    assert replaced.metadata["no_longer_deployed"].value == "replaced by aurora-2"
    assert not logs_result(project, lake, "aurora-2", NOW - timedelta(days=99), NOW).passed


def test_a_forecast_that_does_not_know_newer_traffic_is_told_until_it_ships(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(project.home / "lake")
    long_ago = NOW - timedelta(days=11)
    ledger.append(project.home, "forecast", "aurora-2", {"rows": []}, {}, long_ago)
    assert forecast_result(project, lake, "aurora-2").passed, "no newer prefixes are there"
    lake.write("deidentified_prefixes", "aurora-1", FRAME)
    old = forecast_result(project, lake, "aurora-2")
    assert not old.passed
    assert old.metadata["days_older"].value == pytest.approx(11, abs=0.1)
    ledger.append(project.home, "forecast", "aurora-2", {"rows": []}, {}, NOW)
    assert forecast_result(project, lake, "aurora-2").passed, "sealed anew"
    ledger.append(project.home, "forecast", "aurora-2", {"rows": []}, {}, long_ago)
    lake.write("raw_logs", "aurora-2", FRAME)
    assert forecast_result(project, lake, "aurora-2").passed, "it has shipped"


RUN = """
import json, dagster as dg
from datetime import datetime, UTC
from deploysim_assets.definitions import defs
from deploysim_assets.release_checks.freshness import freshness_schedules
from deploysim_assets.releases import PROJECT
asked = {}
for schedule in freshness_schedules(PROJECT):
    context = dg.build_schedule_context(
        scheduled_execution_time=datetime.now(UTC), repository_def=defs.get_repository_def())
    ticked = schedule.evaluate_tick(context)
    asked[schedule.name] = [r.tags["dagster/partition"] for r in ticked.run_requests]
with dg.DagsterInstance.ephemeral() as instance:
    done = defs.resolve_job_def("check_logs_keep_coming").execute_in_process(
        instance=instance, tags={"dagster/partition": "aurora-1"}, raise_on_error=False)
    found = [e.asset_check_evaluation_data for e in done.all_events
             if e.event_type_value == "ASSET_CHECK_EVALUATION"]
print(json.dumps({"asked": asked, "success": done.success,
    "found": [[f.check_name, f.partition, f.passed, f.severity.value] for f in found]}))
"""


def test_the_schedule_asks_for_each_release_that_has_the_table_and_late_logs_only_warn(
    project: Project,
) -> None:
    lake = Lake(project.home / "lake")
    lake.write("raw_logs", "aurora-1", FRAME)
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        env=environment(project.home),
        cwd=project.home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["asked"] == {"logs_keep_coming_daily": ["aurora-1"], "forecast_is_recent_daily": []}
    assert said["success"], "a warning fails no run"
    assert said["found"] == [["logs_keep_coming", "aurora-1", False, "WARN"]]
