"""A small object in a bucket that the hosts of a home change in turn: how much each of them holds
of something that there is only so much of. What a host holds its processes divide (sharing.py)."""

import contextlib
import fcntl
import json
import os
import random
import secrets
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from deploysim_assets.project import ProjectError
from deploysim_assets.storage.locks import LOCKS
from deploysim_assets.storage.mirrors import mirror_of
from deploysim_assets.storage.objects import Changed, Objects, StoreError
from deploysim_assets.storage.objects import State as Content
from deploysim_assets.storage.sharing import State

EVERY_THERE = 2.0
"""Seconds between two changes of a host."""
HOLDS = 20.0
"""Seconds for which a host holds what it had when it last began to change the object."""
GONE = 45.0
"""Seconds without a change, on the clock of who looks, after which a host holds nothing. No two
clocks are compared: they may differ by anything, and run at half or twice each other's speed."""
LONGEST = 60.0
"""Seconds without the bucket after which a run ends."""
_FORMAT = 1
_TRIES = 30
_APART = 0.2
_LONGEST_END = 5.0
_FOLDER = f"{LOCKS}/shared"

T = TypeVar("T")


class SharedThere:
    """A host's hold on a shared object in a bucket, of which one process of the host takes care:
    who `leads`. Another takes it over where that one ended, with what the host holds."""

    def __init__(
        self, objects: Objects, name: str, lead: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`lead` is the file whose lock who leads holds; in it stands what the host is called."""
        self.where = f"{objects.where}/{name}"
        self.me = ""
        self.wrong = ""
        """What was last wrong with the bucket."""
        self._objects, self._name, self._clock = objects, name, clock
        self._process = secrets.token_hex(8)
        self._beat = 0
        self._beats: dict[str, tuple[str, float]] = {}
        self._there = False
        self._life, self._lock = 0, threading.Lock()
        lead.parent.mkdir(parents=True, exist_ok=True)
        self._lead = os.open(lead, os.O_RDWR | os.O_CREAT, 0o600)
        self._closed = weakref.finalize(self, os.close, self._lead)

    def leads(self) -> bool:
        """Whether this process takes care of what the host holds."""
        if not self.me:
            try:
                fcntl.flock(self._lead, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            self._call(os.pread(self._lead, 100, 0).decode(errors="replace"))
        return True

    def _call(self, name: str) -> None:
        self.me = name or secrets.token_hex(8)
        os.ftruncate(self._lead, 0)
        os.pwrite(self._lead, self.me.encode(), 0)

    def change(self, change: Callable[[State, list[State]], T]) -> tuple[T, float]:
        """Change the object: `change` is given what stands there and who is gone since, changes the
        former in place and depends on nothing else, for it is called again where another host was
        first. Returns what it returned, and until when the host holds what it wrote, by this one's
        clock. StoreError where the bucket does not answer."""
        try:
            return self._changed(change)
        except StoreError as wrong:
            self.wrong = str(wrong)
            raise

    def _changed(self, change: Callable[[State, list[State]], T]) -> tuple[T, float]:
        life = self._life
        for _ in range(_TRIES):
            begun = self._clock()
            with self._lock:
                if life != self._life:
                    raise StoreError(f"{self.where}: this process no longer shares it")
                state, content = self._read()
                gone = self._gone(state)
                mine = state["members"].get(self.me)
                if mine is not None and self._there and mine["beat"][0] != self._process:
                    # a copy of the working folder is at work elsewhere under the same name
                    self._call("")
                found = change(state, gone)
                self._beat += 1
                state["members"].setdefault(self.me, {})["beat"] = [self._process, self._beat]
                if self._written(state, content):
                    self._there = True
                    return found, begun + HOLDS
            time.sleep(random.uniform(0, _APART))  # noqa: S311 (jitter)
        raise StoreError(f"{self.where}: other hosts changed it {_TRIES} times in between")

    def give_up(self) -> None:
        """What a thread is still at comes too late: nothing waits for it."""
        self._life += 1
        self.wrong = "nothing, for seconds"

    def end(self, last: Callable[[], object], *, leave: bool) -> None:
        """Change it a last time, hold nothing any more where no process of this host is left, and
        let another take care. A bucket that cannot be reached is no error, for what a host holds
        ends by itself."""
        self._life += 1
        if self._lock.acquire(timeout=_LONGEST_END):  # else a thread is at it, and will be for long
            self._lock.release()
            with contextlib.suppress(StoreError):
                last()
                if leave:
                    self._leave()
        self.let_go()

    def _leave(self) -> None:
        for _ in range(_TRIES):
            state, content = self._read()
            if state["members"].pop(self.me, None) is None or self._written(state, content):
                return

    def let_go(self) -> None:
        """Leave it to another process of this host to take care; again is no error."""
        self._life += 1
        if self.me:
            fcntl.flock(self._lead, fcntl.LOCK_UN)
        self.me, self._there, self._beats = "", False, {}

    def _read(self) -> tuple[State, Content | None]:
        try:
            held = self._objects.get(self._name)
        except FileNotFoundError:
            return {"format": _FORMAT, "members": {}}, None
        try:
            state: State = json.loads(held.content)
            known = state["format"] == _FORMAT and isinstance(state["members"], dict)
        except (ValueError, KeyError, TypeError):
            known, state = False, {}
        if not known:
            raise ProjectError(
                f"{self.where}: is nothing that this deploysim wrote; use the same version on all "
                "hosts, or take the object away while no run asks"
            )
        return state, held.state

    def _written(self, state: State, content: Content | None) -> bool:
        """Whether nobody else wrote meanwhile."""
        raw = json.dumps(state).encode()
        try:
            if content is None:
                self._objects.create(self._name, raw)
            else:
                self._objects.swap(self._name, raw, content)
        except (Changed, FileExistsError):
            return False
        return True

    def _gone(self, state: State) -> list[State]:
        """Takes out those that are gone."""
        members: dict[str, State] = state["members"]
        now = self._clock()
        seen = {
            i: self._beats[i]
            if self._beats.get(i, ("", 0.0))[0] == str(m["beat"])
            else (str(m["beat"]), now)
            for i, m in members.items()
            if i != self.me
        }
        self._beats = seen
        return [members.pop(i) | {"id": i} for i, (_, since) in seen.items() if now - since > GONE]


def _shared(home: Path, name: str) -> SharedThere | None:
    mirror = mirror_of(home)
    if mirror is None:
        return None
    return SharedThere(mirror.hasty, f"{_FOLDER}/{name}.json", home / LOCKS / "hosts" / name)


def pace_there(home: Path, endpoint: str) -> SharedThere | None:
    """What the hosts of a home in a bucket that ask one endpoint share; None on a disk."""
    return _shared(home, f"pace-{endpoint}")


def budget_there(home: Path) -> SharedThere | None:
    """What the hosts of a home in a bucket that spend its budget share; None on a disk."""
    return _shared(home, "budget")
