"""Waiting for a pool of Dagster without keeping a core busy.

A step that finds its pool taken is asked for again and again: the pause that Dagster's executors
(1.13) make in between is never above 0, in process and multiprocess alike. So the run sleeps here
while it has nothing else to do, and looks once a second whether a step has its turn.
"""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Collection, Generator, Mapping
from types import FrameType
from typing import Any

import dagster as dg

_LOOK_EVERY = 1.0
_POOL = "pool"
_BEGUN = (
    dg.DagsterEventType.STEP_WORKER_STARTING,
    dg.DagsterEventType.STEP_START,
    dg.DagsterEventType.STEP_RESTARTED,
)
_ENDING = (dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED)


class StepsOfRun:
    """How far the steps of a run are, by its events. `waits_for` names for each step those that
    come before it."""

    def __init__(self, waits_for: Mapping[str, Collection[str]]) -> None:
        self.ended: set[str] = set()
        self._waits_for = waits_for
        self._never: set[str] = set()
        self._running: set[str] = set()
        self._blocked: dict[str, str] = {}

    def note(self, event: dg.DagsterEvent) -> None:
        """Take in what the executor says."""
        step, kind = event.step_key, event.event_type
        if step is None or step not in self._waits_for:
            return
        if kind is dg.DagsterEventType.ENGINE_EVENT:
            pool = event.engine_event_data.metadata.get(_POOL)
            if pool is not None:
                self._blocked[step] = str(pool.value)
            return
        if kind in _BEGUN:
            self._blocked.pop(step, None)
            self._running.add(step)
        elif event.is_step_success or event.is_step_skipped or event.is_step_failure:
            self._blocked.pop(step, None)
            self._running.discard(step)
            self.ended.add(step)
            if event.is_step_failure:
                self._never.add(step)
        elif event.is_step_up_for_retry:
            self._running.discard(step)

    def all_blocked(self) -> dict[str, str]:
        """The steps that wait for a pool, with its name, where no other step runs or could."""
        if self._running or not self._blocked:
            return {}
        never, before = set(self._never), -1
        while before != len(never):  # what stands behind a failed step is never begun, without word
            before = len(never)
            never |= {s for s, first in self._waits_for.items() if not never.isdisjoint(first)}
        over = self.ended | never
        ready = (s for s, first in self._waits_for.items() if s not in over and over >= set(first))
        return {} if any(s not in self._blocked for s in ready) else dict(self._blocked)


def wait_for_a_pool(
    instance: dg.DagsterInstance,
    run_id: str,
    blocked: Mapping[str, str],
    ended: Collection[str],
    free_the_dead: Callable[[], object] = lambda: None,
) -> None:
    """Sleep until one of the blocked steps has its turn, or its pool is gone; raises
    DagsterExecutionInterruptedError where the run is to end. The steps that ended give their places
    back first: their executor would do so only once it goes on. `free_the_dead` gives back those of
    runs that were killed."""
    storage = instance.event_log_storage
    for step in ended:
        storage.free_concurrency_slot_for_step(run_id, step)
    with _interruptible():
        while True:
            free_the_dead()
            time.sleep(_LOOK_EVERY)
            for step, pool in blocked.items():
                # takes its place in line again where an operator freed the run's places
                if storage.claim_concurrency_slot(pool, run_id, step).is_claimed:
                    return
                if pool not in storage.get_concurrency_keys():
                    return
                held = storage.get_concurrency_info(pool)
                if held.slot_count > max(held.active_slot_count, held.assigned_step_count):
                    # Dagster (1.13) looks for a place and stands in line in two transactions: if
                    # the place became free in between, nobody calls this step, ever
                    storage.free_concurrency_slot_for_step(run_id, step)
                    if storage.claim_concurrency_slot(pool, run_id, step).is_claimed:
                        return
            run = instance.get_run_by_id(run_id)
            if run is None or run.status in _ENDING:
                raise dg.DagsterExecutionInterruptedError


@contextlib.contextmanager
def _interruptible() -> Generator[None]:
    """Outside of steps Dagster only notes that a signal came."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(_signal: int, _frame: FrameType | None) -> None:
        raise dg.DagsterExecutionInterruptedError

    before: dict[int, Any] = {s: signal.signal(s, end) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
