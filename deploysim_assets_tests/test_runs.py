"""Runs by their leases: who is dead, who waits, and what the executor setting allows."""

import threading
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterRunStatus

from deploysim_assets.project import ProjectError, Running
from deploysim_assets.runs import RELEASING, close_dead_runs, end_step, hold_partition
from deploysim_assets.storage.leases import partition_lease, run_lease


def _left_behind(home: Path, run_id: str) -> None:
    folder = home / "locks" / "runs"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / run_id).touch()


@dg.op
def _nothing() -> None:
    pass


@dg.job
def _job() -> None:
    _nothing()


def test_only_an_unfinished_run_whose_leader_was_killed_is_closed(tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        dead, alive, unknown = (
            instance.create_run_for_job(_job, status=DagsterRunStatus.STARTED).run_id
            for _ in range(3)
        )
        ended = _job.execute_in_process(instance=instance).run_id
        for run_id in (dead, ended, "of another instance"):
            _left_behind(tmp_path, run_id)
        with run_lease(tmp_path, alive):
            assert close_dead_runs(instance, tmp_path) == [dead]
        statuses = [
            run.status
            for run_id in (dead, alive, unknown, ended)
            if (run := instance.get_run_by_id(run_id))
        ]
        assert statuses == [
            DagsterRunStatus.FAILURE,
            DagsterRunStatus.STARTED,
            DagsterRunStatus.STARTED,
            DagsterRunStatus.SUCCESS,
        ]
        assert close_dead_runs(instance, tmp_path) == []


@pytest.mark.parametrize("fails", [False, True])
def test_a_step_lets_go_of_its_partition_before_the_next_begins(
    tmp_path: Path, fails: bool
) -> None:
    taken: list[str] = []

    @dg.asset
    def first(context: dg.AssetExecutionContext) -> None:
        hold_partition(context, tmp_path)
        with pytest.raises(ProjectError, match="still being made by run"):
            partition_lease(tmp_path, "first", None, "other", print, longest=0)
        taken.append("first")
        if fails:
            raise ValueError

    @dg.asset
    def other() -> None:
        partition_lease(tmp_path, "first", None, "other", print, longest=0).end()
        taken.append("other")

    job = dg.Definitions(assets=[first, other], jobs=[dg.define_asset_job("both")]).resolve_job_def(
        "both"
    )
    found = job.with_hooks(set(RELEASING)).execute_in_process(raise_on_error=False)
    assert found.success != fails
    assert taken == ["first", "other"]


def test_another_thread_has_leases_of_its_own(tmp_path: Path) -> None:
    @dg.asset
    def table(context: dg.AssetExecutionContext) -> None:
        hold_partition(context, tmp_path)
        other = threading.Thread(target=end_step)
        other.start()
        other.join()
        with pytest.raises(ProjectError, match="still being made"):
            partition_lease(tmp_path, "table", None, "other", print, longest=0)

    assert dg.materialize([table]).success
    end_step()


def test_steps_at_once_need_processes() -> None:
    assert Running(executor="multiprocess", max_concurrent=2).max_concurrent == 2
    with pytest.raises(ValueError, match="one step at a time"):
        Running(max_concurrent=2)
