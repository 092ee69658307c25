"""Batch mode end to end: submitted, interrupted, collected by another process; failed rows go online; the daemon goes on by itself."""

import os
import signal
import subprocess
from pathlib import Path

import dagster as dg

from deploysim_assets.assets.open_batches import with_open_batches
from deploysim_assets.endpoint.batches import submitted
from deploysim_assets.endpoint.journal import journal_file
from deploysim_assets.project import load_project
from deploysim_assets_tests.support import Drift, daemon, deploysim, environment, lake, needs_shared, recorded_server, rows, script, wait_for

TASKS = ("math_prime",)
BATCH = {"mode": "batch", "batches": {"max_requests": 100, "poll_seconds": 1}, "max_concurrency": 16, "api_key_env": "OPENAI_API_KEY"}


def _project(drift: Drift, base_url: str) -> None:
    drift.write_project(base_url, endpoint={"base_url": base_url, **BATCH})
    drift.land(drift.old)


def _rates(home: Path) -> list[tuple[str, int, int]]:
    return [(row["behavior"], row["n"], row["k"]) for row in rows(home, "rate_estimates", Drift.new)]


@needs_shared
def test_a_forecast_through_batches_survives_a_kill_between_submit_and_collect(tmp_path: Path) -> None:
    drift, plain = Drift(tmp_path / "batched", TASKS), Drift(tmp_path / "plain", TASKS)
    with recorded_server(drift.recording) as server:
        plain.write_project(server.base_url)
        plain.land(plain.old)
        deploysim(plain.home, "forecast", plain.new)
        billed = server.stats()["served"]
    with recorded_server(drift.recording, "--batch-polls", "3", "--error-rate", "0.05") as server:
        _project(drift, server.base_url)
        journal = journal_file(drift.home, "candidate_completions", drift.new)
        process = subprocess.Popen([script("deploysim"), "forecast", drift.new], env=environment(drift.home), cwd=drift.home, start_new_session=True)
        wait_for(lambda: bool(submitted(journal)[0]), 120, "the candidate's batches", 0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        before = submitted(journal)[1]
        deploysim(drift.home, "forecast", drift.new)
        stats = server.stats()
    assert _rates(drift.home) == _rates(plain.home)
    open_batches, keys = submitted(journal)
    assert open_batches == []
    assert before <= keys
    prefixes = len(rows(drift.home, "candidate_completions", drift.new))
    assert len(keys) == prefixes > 100, "no request was submitted a second time"
    assert stats["batches"] >= 4
    assert stats["served"] <= billed + 100, "at most the batch whose id could not be written down is paid for twice"
    assert {row["status"] for row in rows(drift.home, "candidate_completions", drift.new)} == {"completed"}
    counts = lake(drift.home).stats("candidate_completions", drift.new)
    assert counts["asked"] + counts["from_journal"] == prefixes
    assert counts["tokens_of_all_runs"] > 0


@needs_shared
def test_the_daemon_submits_lets_go_and_collects_when_the_batches_are_done(tmp_path: Path) -> None:
    drift = Drift(tmp_path / "home", TASKS)
    with recorded_server(drift.recording, "--batch-polls", "2") as server:
        _project(drift, server.base_url)
        deploysim(drift.home, "status")
        with daemon(drift.home):
            wait_for(lambda: lake(drift.home).current("rate_estimates", drift.new) is not None, 240, "the forecast", 1)
        assert server.stats()["duplicates"] == 0
    assert with_open_batches(load_project(drift.home)) == []
    with dg.DagsterInstance.from_config(str(drift.home / ".dagster")) as instance:
        runs = instance.get_runs()
        assert all(run.status == dg.DagsterRunStatus.SUCCESS for run in runs), "a run that only submitted has not failed"
        collected = [run for run in runs if run.tags.get("dagster/sensor_name") == "open_batches"]
    assert len(collected) >= 3, "one for each of production_grades, candidate_completions and grades"
