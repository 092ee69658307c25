"""How runs live and die: the executor, the leases that a run holds, and the end of runs whose
process was killed.

Dagster's code server sees the death of the run workers that it started. What dies together with
the code server or its host, and every run of the command line, is known by the run's lease.
"""

import contextlib
import importlib
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg

from deploysim_assets.pools import StepsOfRun, wait_for_a_pool
from deploysim_assets.project import Project, ProjectError
from deploysim_assets.project.running import Resources, Running
from deploysim_assets.storage.leases import (
    Lease,
    partition_lease,
    run_lease,
    runs_left_behind,
    settle,
)

ENDPOINT, JUDGE, DEIDENTIFY = "endpoint", "judge", "deidentify"
"""Pools: steps of one pool run at once only as far as its limit in the instance allows."""

EXECUTOR_TAG = "deploysim/executor"
"""A run with this tag is carried out by that executor, whatever deploysim.yaml names."""
_BY_TAG = {"in_process": dg.in_process_executor, "multiprocess": dg.multiprocess_executor}

_step = threading.local()  # a thread carries out one step at a time


def hold_partition(context: dg.AssetExecutionContext, home: Path) -> None:
    """The partition that a step makes, for this run alone until the step ends; waits for another
    run that has it."""
    end_step()
    _step.lease = partition_lease(
        home,
        context.asset_key.to_user_string(),
        context.partition_key if context.has_partition_key else None,
        context.run.run_id,
        context.log.info,
    )


def end_step() -> None:
    """Let go of the partition that this thread's last step held."""
    lease: Lease | None = getattr(_step, "lease", None)
    _step.lease = None
    if lease is not None:
        lease.end()


class _Leased(dg.Executor):
    """An executor that holds the run's lease while it leads the run, ends each step's, and sleeps
    while every step that could run waits for a pool."""

    def __init__(
        self, inner: dg.Executor, home: Path, tagged: Callable[[str], dg.Executor]
    ) -> None:
        self._inner, self._home, self._tagged = inner, home, tagged

    @property
    def retries(self) -> Any:
        return self._inner.retries

    @property
    def step_dependency_config(self) -> Any:
        return self._inner.step_dependency_config

    def execute(self, plan_context: Any, execution_plan: Any) -> Iterator[dg.DagsterEvent]:
        steps = StepsOfRun(execution_plan.get_executable_step_deps())
        named = plan_context.run_tags.get(EXECUTOR_TAG)
        inner = self._tagged(named) if named else self._inner
        with (
            run_lease(self._home, plan_context.run_id),
            _closing(inner.execute(plan_context, execution_plan)) as events,
        ):
            try:
                for event in events:
                    if event.is_step_success or event.is_step_failure or event.is_step_up_for_retry:
                        end_step()
                    yield event
                    steps.note(event)
                    if blocked := steps.all_blocked():
                        # where no daemon and no command of ours runs, nobody else would free them
                        wait_for_a_pool(
                            plan_context.instance, plan_context.run_id, blocked, steps.ended,
                            partial(close_dead_runs, plan_context.instance, self._home),
                        )  # fmt: skip
            finally:
                end_step()


@contextlib.contextmanager
def _closing(events: Iterator[dg.DagsterEvent]) -> Generator[Iterator[dg.DagsterEvent]]:
    """Ends what yields the events: it gives back the places in line for a pool then."""
    try:
        yield events
    finally:
        if isinstance(events, Generator):
            events.close()


def _in_pods(
    chosen: Running, assets: Iterable[dg.AssetsDefinition | dg.AssetSpec]
) -> tuple[dg.ExecutorDefinition, dict[str, Any]]:
    try:
        inner: dg.ExecutorDefinition = importlib.import_module("dagster_k8s").k8s_job_executor
    except ImportError:
        raise ProjectError(
            "deploysim.yaml: dagster.executor: k8s needs dagster-k8s, which is not installed; "
            "`pip install 'deploysim[k8s]'` (in the image, too), or choose another executor"
        ) from None
    return inner, pods(chosen, assets)


def pods(chosen: Running, assets: Iterable[dg.AssetsDefinition | dg.AssetSpec]) -> dict[str, Any]:
    """What dagster-k8s is told of the pods of steps: memory and CPU of each, by the group of its
    asset."""
    of_group: dict[str, Resources] = {**chosen.resources}
    default = of_group.pop("default", Resources())
    per_step = {
        asset.node_def.name: of_group[group].of_pod()
        for asset in assets
        if isinstance(asset, dg.AssetsDefinition)
        for group in set(asset.group_names_by_key.values())
        if group in of_group
    }
    at_once = {"max_concurrent": chosen.max_concurrent} if chosen.max_concurrent else {}
    return at_once | {"step_k8s_config": default.of_pod(), "per_step_k8s_config": per_step}


def executor(
    project: Project, assets: Iterable[dg.AssetsDefinition | dg.AssetSpec] = ()
) -> dg.ExecutorDefinition:
    """The executor that deploysim.yaml names, or a run's tag, with leases; ProjectError where its
    library is missing."""
    chosen = project.dagster
    if chosen.executor == "k8s":
        inner, config = _in_pods(chosen, assets)
    elif chosen.executor == "multiprocess":
        inner = dg.multiprocess_executor
        config = {"max_concurrent": chosen.max_concurrent} if chosen.max_concurrent else {}
    else:
        # a step costs 0.1 s in process and 0.7 s in one of its own
        inner, config = dg.in_process_executor, {}

    @dg.executor(
        name=chosen.executor,
        config_schema=inner.config_schema.as_field(),
        requirements=inner.get_requirements,
    )
    def leased(init: dg.InitExecutorContext) -> dg.Executor:
        def made(by: dg.ExecutorDefinition, settings: dict[str, Any]) -> dg.Executor:
            assert by.executor_creation_fn is not None, "all are made by a function"
            return by.executor_creation_fn(init._replace(executor_config=settings, executor_def=by))

        def tagged(name: str) -> dg.Executor:
            if name == chosen.executor:
                return made(inner, {**init.executor_config, **config})
            if name not in _BY_TAG:
                raise ProjectError(
                    f"run tag {EXECUTOR_TAG}: {name!r} cannot be chosen for a run: "
                    f"{' or '.join(_BY_TAG)} can (k8s by `dagster: {{executor: k8s}}` in "
                    "deploysim.yaml, for its pods need `resources`)"
                )
            # what every executor has; the rest is at its default
            return made(_BY_TAG[name], {"retries": init.executor_config["retries"]})

        return _Leased(made(inner, {**init.executor_config, **config}), project.home, tagged)

    return leased


_UNFINISHED = [
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.CANCELING,
]


_LONG_AGO = 86_400.0
"""Seconds after which a run of a lost host that this instance does not know is nobody's."""


def close_dead_runs(instance: dg.DagsterInstance, home: Path) -> list[str]:
    """Mark as failed the unfinished runs whose leading process was killed, and free what they held;
    returns their ids. Hosts of a home in a bucket that share an instance do so for each other; of
    those that do not each leaves the others' runs alone. A run without a lease in this home is
    somebody else's to judge."""
    closed: list[str] = []
    for run_id, since in runs_left_behind(home).items():
        run = instance.get_run_by_id(run_id)
        if run is None and since > time.time() - _LONG_AGO:
            continue
        if run is not None and run.status in _UNFINISHED:
            instance.report_run_failed(
                run,
                ("the host of this run was lost; what it paid for and had sent is in the journal: "
                 if since else
                 "the process that led this run was killed; what it paid for is in the journal: ")
                + "run it again to go on",
            )  # fmt: skip
            closed.append(run_id)
        instance.event_log_storage.free_concurrency_slots_for_run(run_id)
        settle(home, run_id)
    return closed
