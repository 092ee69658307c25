"""Runs by their leases: who is dead, who waits, and what the executor setting allows."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster import DagsterRunStatus

from deploysim_assets import runs
from deploysim_assets.pools import wait_for_a_pool
from deploysim_assets.project import Project, ProjectError, Running
from deploysim_assets.runs import (
    EXECUTOR_TAG,
    close_dead_runs,
    end_step,
    executor,
    hold_partition,
)
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


def test_a_run_of_a_lost_host_is_closed_by_the_instance_that_knows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    with dg.DagsterInstance.ephemeral() as instance:
        dead = instance.create_run_for_job(_job, status=DagsterRunStatus.STARTED).run_id
        found = {dead: now - 100, "of another instance": now - 100, "long ago": now - 90_000}
        settled: list[str] = []
        monkeypatch.setattr(runs, "runs_left_behind", lambda _: found)
        monkeypatch.setattr(runs, "settle", lambda _, run_id: settled.append(run_id))
        assert close_dead_runs(instance, tmp_path) == [dead]
        run = instance.get_run_by_id(dead)
        assert run is not None and run.status is DagsterRunStatus.FAILURE
        (said,) = [str(e.message) for e in instance.all_logs(dead) if "lost" in str(e.message)]
        assert said.startswith("the host of this run was lost")
    assert settled == [dead, "long ago"]


def _executor(home: str, chosen: str = "in_process") -> dg.ExecutorDefinition:
    running = Running.model_validate({"executor": chosen})
    return executor(Project.model_construct(home=Path(home), dagster=running))


def two_assets(home: str, fails: str) -> dg.JobDefinition:
    """A table, and one that asks whether the first's partition is free."""

    @dg.asset
    def first(context: dg.AssetExecutionContext) -> None:
        hold_partition(context, Path(home))
        with pytest.raises(ProjectError, match="still being made by run"):
            partition_lease(Path(home), "first", None, "other", print, longest=0)
        (Path(home) / "held").touch()
        if fails:
            raise ValueError

    @dg.asset
    def other() -> None:
        partition_lease(Path(home), "first", None, "other", print, longest=0).end()
        (Path(home) / "free").touch()

    both = dg.define_asset_job("both", executor_def=_executor(home))
    return dg.Definitions(assets=[first, other], jobs=[both]).resolve_job_def("both")


def _here(function: str, *arguments: str) -> Any:
    return dg.build_reconstructable_job("deploysim_assets_tests.test_runs", function, arguments)


@pytest.mark.parametrize("fails", ["", "fails"])
def test_a_step_lets_go_of_its_partition_before_the_next_begins(tmp_path: Path, fails: str) -> None:
    with (
        dg.DagsterInstance.local_temp(str(tmp_path)) as instance,
        dg.execute_job(_here("two_assets", str(tmp_path), fails), instance) as found,
    ):
        assert found.success != bool(fails)
    assert (tmp_path / "held").exists()
    assert (tmp_path / "free").exists()


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


def pooled(home: str, chosen: str) -> dg.JobDefinition:
    """A step of a pool, one of no pool, and, where a step is no process, a second one of the pool
    and one behind the first."""

    @dg.op(pool="judge")
    def one() -> int:
        return 1

    @dg.op(pool="judge")
    def two() -> None:
        pass

    @dg.op
    def free() -> None:
        (Path(home) / "free").touch()

    @dg.op
    def behind(found: int) -> None:
        pass

    @dg.job(executor_def=_executor(home, chosen))
    def pooled_job() -> None:
        found = one()
        free()
        if chosen == "in_process":
            behind(found)
            two()

    return pooled_job


def _blocked(
    home: Path, chosen: str, meanwhile: Callable[[dg.DagsterInstance, float], None]
) -> tuple[dg.DagsterRun, float, float]:
    """A run whose pool is taken, and what is done meanwhile in another thread; gives the run, the
    seconds that it took, and those of the processor."""
    one_each = {"concurrency": {"pools": {"granularity": "op", "default_limit": 1}}}
    with dg.DagsterInstance.local_temp(str(home), overrides=one_each) as instance:
        instance.event_log_storage.set_concurrency_slots("judge", 1)
        taken = instance.event_log_storage.claim_concurrency_slot("judge", "another run", "grades")
        assert taken.is_claimed
        job = _here("pooled", str(home), chosen)
        job.get_definition()  # what loading takes is not waiting
        other = threading.Thread(target=meanwhile, args=(instance, time.monotonic()))
        begun, used = time.monotonic(), time.process_time()
        other.start()
        with dg.execute_job(job, instance, raise_on_error=False) as found:
            took, used = time.monotonic() - begun, time.process_time() - used
            other.join()
            run = instance.get_run_by_id(found.run_id)
        assert run is not None
        return run, took, used


def _wait(done: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not done():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("chosen", ["in_process", "multiprocess"])
def test_a_run_whose_pool_is_taken_sleeps_until_its_turn(tmp_path: Path, chosen: str) -> None:
    def let_go(instance: dg.DagsterInstance, begun: float) -> None:
        storage = instance.event_log_storage
        _wait((tmp_path / "free").exists)  # what needs no pool has run
        steps = 2 if chosen == "in_process" else 1
        _wait(lambda: len(storage.get_concurrency_info("judge").pending_steps) == 1 + steps)
        time.sleep(4)
        (run,) = instance.get_runs()
        storage.free_concurrency_slots_for_run(run.run_id)  # as an operator may, to no effect
        storage.free_concurrency_slots_for_run("another run")

    run, took, used = _blocked(tmp_path, chosen, let_go)
    assert run.status is DagsterRunStatus.SUCCESS
    assert used < took - 2.5, "a core was busy while the pool was taken"


def test_a_run_whose_pool_is_taken_can_be_ended(tmp_path: Path) -> None:
    def terminate(instance: dg.DagsterInstance, begun: float) -> None:
        storage = instance.event_log_storage
        _wait((tmp_path / "free").exists)
        _wait(lambda: len(storage.get_concurrency_info("judge").pending_steps) == 3)
        (run,) = instance.get_runs()
        instance.report_run_canceling(run)
        os.kill(os.getpid(), signal.SIGTERM)

    run, _, _ = _blocked(tmp_path, "in_process", terminate)
    assert run.status is DagsterRunStatus.CANCELED


def two_processes(home: str) -> dg.JobDefinition:
    """A step that tells its process."""

    @dg.asset
    def told() -> None:
        (Path(home) / "pid").write_text(str(os.getpid()))

    job = dg.define_asset_job("told", executor_def=_executor(home))
    return dg.Definitions(assets=[told], jobs=[job]).resolve_job_def("told")


@pytest.mark.parametrize("named", ["in_process", "multiprocess", "k8s"])
def test_a_run_may_name_its_executor(tmp_path: Path, named: str) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        job, tags = _here("two_processes", str(tmp_path)), {EXECUTOR_TAG: named}
        if named == "k8s":
            with dg.execute_job(job, instance, tags=tags) as found:
                assert not found.success
            (failed,) = [e for e in found.all_events if e.is_run_failure]
            assert "in_process or multiprocess can" in str(failed)
            return
        with dg.execute_job(job, instance, tags=tags) as found:
            assert found.success
    here = (tmp_path / "pid").read_text() == str(os.getpid())
    assert here == (named == "in_process")


def test_a_place_to_which_nobody_was_called_is_taken(tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        storage: Any = instance.event_log_storage
        storage.set_concurrency_slots("judge", 1)
        # in line behind somebody whose place became free just before it stood there
        storage.add_pending_step("judge", "a run", "grades", should_assign=False)
        assert not storage.claim_concurrency_slot("judge", "a run", "grades").is_claimed
        wait_for_a_pool(instance, "a run", {"grades": "judge"}, [])
        assert storage.get_concurrency_info("judge").active_run_ids == {"a run"}


def test_who_waits_for_a_place_that_is_taken_keeps_its_turn(tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        storage = instance.event_log_storage
        storage.set_concurrency_slots("judge", 1)
        for run in ("first", "second", "third"):
            storage.claim_concurrency_slot("judge", run, "grades")
        with pytest.raises(dg.DagsterExecutionInterruptedError):  # no such run: it looks once
            wait_for_a_pool(instance, "second", {"grades": "judge"}, [])
        storage.free_concurrency_slots_for_run("first")
        assert not storage.claim_concurrency_slot("judge", "third", "grades").is_claimed
        assert storage.claim_concurrency_slot("judge", "second", "grades").is_claimed


def test_the_place_of_a_run_that_was_killed_goes_to_who_waits(tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        storage = instance.event_log_storage
        storage.set_concurrency_slots("judge", 1)
        dead = instance.create_run_for_job(_job, status=DagsterRunStatus.STARTED).run_id
        for run in (dead, "second"):
            storage.claim_concurrency_slot("judge", run, "grades")
        _left_behind(tmp_path, dead)
        wait_for_a_pool(
            instance, "second", {"grades": "judge"}, [], lambda: close_dead_runs(instance, tmp_path)
        )
        assert storage.get_concurrency_info("judge").active_run_ids == {"second"}
