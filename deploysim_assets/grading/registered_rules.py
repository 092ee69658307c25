"""Rules of registrations made before rules ran on re2: the engine that they were registered with,
in a process of its own, so that a pattern that backtracks without end can be ended."""

import multiprocessing
import threading
from collections import Counter
from multiprocessing.connection import Connection
from typing import Any

from deploysim_assets.behaviors import Rule
from deploysim_assets.behaviors.patterns import BACKTRACKING
from deploysim_assets.grading.rules import NotTold, holds

SECONDS = 1.0
_START_SECONDS = 60.0
_GIVEN_UP = 3


def _answer(pipe: Connection) -> None:
    pipe.send(None)
    while True:
        try:
            rule, messages, reply = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(holds(rule, messages, reply, BACKTRACKING))
        except NotTold:
            pipe.send(None)


class TimedRules:
    """Rules on `re` under a time limit. A rule that ran out of time on three items is not tried
    again: its grades are missing."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._late: Counter[Rule] = Counter()
        self._lock = threading.Lock()
        self._pipe: Connection | None = None
        self._process: Any = None

    def holds(
        self, rule: Rule, messages: list[dict[str, Any]], reply: dict[str, Any]
    ) -> bool | None:
        """Whether the rule's condition is met; None where it could not be told (in time)."""
        with self._lock:
            if self._late[rule] >= _GIVEN_UP:
                return None
            pipe = self._pipe or self._start()
            pipe.send((rule, messages, reply))
            if pipe.poll(self._seconds):
                told: bool | None = pipe.recv()
                return told
            self._late[rule] += 1
            self.close()
            return None

    def _start(self) -> Connection:
        context = multiprocessing.get_context("spawn")
        self._pipe, there = context.Pipe()
        self._process = context.Process(target=_answer, args=(there,), daemon=True)
        self._process.start()
        there.close()
        if not self._pipe.poll(_START_SECONDS):
            self.close()
            raise RuntimeError("the process for registered rules did not start")
        self._pipe.recv()
        return self._pipe

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
        if self._pipe is not None:
            self._pipe.close()
        self._pipe = self._process = None


REGISTERED = TimedRules()
"""One process for all; started by the first registered rule that is met."""
