"""A small object that the processes of a home change in turn: who of them are at work, and what
each of them holds of something that there is only so much of."""

import contextlib
import fcntl
import math
import os
import secrets
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from deploysim_assets.project import ProjectError
from deploysim_assets.storage.locks import LOCKS, is_free

_FORMAT = 1
LEASE = 10.0
"""Seconds after which who did not change the object holds nothing of it any more."""
_BUSY, _BUSY_GAP, _BUSY_FOR_EVER = 0.005, 5.0, 300.0

State = dict[str, Any]
Change = Callable[[State, list[State]], None]
"""Changes the object in place: `members` is what each process wrote of itself, by its id. The list
are the members that are gone since the last change."""


class Shared:
    """One process's hold on a shared object. It is one file, replaced under a lock; one in a bucket
    would be replaced by compare-and-swap, and a change that was too late made again.

    A member is gone when its process has ended (a lock of its own is free) or it wrote nothing for
    `LEASE` seconds by the clock of who looks, so that no two clocks are ever compared.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.me = secrets.token_hex(8)
        self._path, self._clock = path, clock
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
            # locked before it has its name: nobody finds the mark of a living process unlocked
            nameless = path.with_name(f".{self.me}")
            alive = os.open(nameless, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(alive, fcntl.LOCK_EX)
            nameless.rename(self._mark(self.me))
        except OSError as wrong:
            raise ProjectError(
                f"{path.parent}: cannot be written ({wrong.strerror}); the home must be writable "
                "for who asks a model"
            ) from wrong
        self._beat = 0
        self._beats: dict[str, tuple[int, float]] = {}
        self._changed_at = clock()
        self._busy_since = self._busy_at = -math.inf
        self._closed = weakref.finalize(self, _end, self._lock, alive, self._mark(self.me))

    def _mark(self, member: str) -> Path:
        return self._path.with_name(f"{self._path.stem}.{member}.member")

    def change(self, change: Change, wait: float = 0.0) -> bool:
        """Change the object; False where others changed it for `wait` seconds. Whose object has no
        other member and was left by oneself finds it empty. ProjectError where the object cannot be
        written, or one other process changes it for ever."""
        if not self._locked(wait):
            return False
        try:
            state, gone = self._read()
            change(state, gone)
            self._beat += 1
            state["members"].setdefault(self.me, {})["beat"] = self._beat
            self._write(state)
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)
        for member in gone:
            mark = self._mark(member["id"])
            if mark.exists() and is_free(mark):  # else it stands still, and may come back
                mark.unlink(missing_ok=True)
        self._changed_at = self._clock()
        return True

    @property
    def lapsed(self) -> bool:
        """Whether others may have taken what this process held."""
        return self._clock() - self._changed_at > LEASE / 2

    def close(self) -> None:
        """Leave; again is no error."""
        with contextlib.suppress(OSError, ProjectError):  # that its mark is gone says it, too
            if self._closed.alive and self._locked(1.0):
                state, _ = self._read()
                state["members"].pop(self.me, None)
                self._write(state)
        self._closed()

    def _locked(self, wait: float) -> bool:
        until = self._clock() + wait
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                now = self._clock()
                if now - self._busy_at > _BUSY_GAP:  # who looks seldom may meet others by chance
                    self._busy_since = now
                self._busy_at = now
                if now - self._busy_since > _BUSY_FOR_EVER:
                    raise ProjectError(
                        f"{self._path.with_suffix('.lock')}: another process has held this lock "
                        f"for {_BUSY_FOR_EVER:.0f} s; it hangs or was stopped: end it, then run "
                        "again"
                    ) from None
                if now >= until:
                    return False
                time.sleep(_BUSY)
            else:
                self._busy_at = -math.inf
                return True

    def _read(self) -> tuple[State, list[State]]:
        try:
            state: State = orjson.loads(self._path.read_bytes())
            members: dict[str, State] = state["members"] if state["format"] == _FORMAT else {}
        except (FileNotFoundError, ValueError, KeyError, TypeError):  # the machine lost power
            state, members = {}, {}
        gone = [m | {"id": i} for i, m in members.items() if i != self.me and self._is_gone(i, m)]
        for member in gone:
            del members[member["id"]]
            self._beats.pop(member["id"], None)
        if not members:
            self._sweep()
            return {"format": _FORMAT, "members": {}}, gone
        return state, gone

    def _is_gone(self, member: str, wrote: State) -> bool:
        mark, now = self._mark(member), self._clock()
        if not mark.exists() or is_free(mark):
            return True
        beat, since = self._beats.get(member, (None, now))
        if beat != wrote["beat"]:
            self._beats[member] = wrote["beat"], now
            return False
        return now - since > LEASE

    def _sweep(self) -> None:
        """Marks of processes that were killed before they wrote anything."""
        for mark in self._path.parent.glob(f"{self._path.stem}.*.member"):
            if mark != self._mark(self.me) and is_free(mark):
                mark.unlink(missing_ok=True)

    def _write(self, state: State) -> None:
        partial = self._path.with_suffix(".partial")
        try:
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(orjson.dumps(state))
            partial.replace(self._path)
        except OSError as wrong:
            raise ProjectError(
                f"{self._path}: cannot be written ({wrong.strerror}); make room and run again"
            ) from wrong


def _end(lock: int, alive: int, mark: Path) -> None:
    mark.unlink(missing_ok=True)
    os.close(alive)
    os.close(lock)


def shared_pace(home: Path, endpoint: str) -> Shared:
    """What the processes of a home that ask one endpoint share. `endpoint` may be part of a file's
    name."""
    return Shared(home / LOCKS / "pace" / f"{endpoint}.json")


def shared_budget(home: Path) -> Shared:
    """What the processes of a home that spend its budget share."""
    return Shared(home / LOCKS / "budget" / "spent.json")
