"""Leases in a bucket: who works on what just now, on whichever host.

A lease is an object that names its holders, each until a time that a thread moves on while the
holder lives; it is changed by create and compare-and-swap alone. A holder whose time is over by
more than the clocks of two hosts may differ has died.
"""

import json
import math
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, NamedTuple

from deploysim_assets.project import ProjectError
from deploysim_assets.storage.objects import Changed, Objects, State, StoreError

SECONDS = 60.0
"""How long a lease holds without a sign of life."""
SKEW = 30.0
"""Seconds by which the clocks of two hosts may differ."""
FOLDER = "locks/leases"
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 2.0

Holders = dict[str, dict[str, Any]]
"""Who holds it -> `until` (seconds since 1970), `alone`, and what it has to say."""


class Dead(NamedTuple):
    """A holder that gave no sign of life any more: who, until when, and what it said last."""

    owner: str
    until: float
    said: dict[str, Any]


class Lease:
    """A lease that is held. `said` travels with it; `dead` are those that held it alone and
    died."""

    def __init__(self, name: str, owner: str, until: float, dead: list[Dead]) -> None:
        self.name, self.owner, self.until, self.dead = name, owner, until, dead
        self.said: dict[str, Any] = {}
        self.lost = False


class Leases:
    """The leases of one process in one bucket."""

    def __init__(
        self,
        objects: Objects,
        seconds: float | None = None,
        skew: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._objects, self._clock = objects, clock
        self._seconds = SECONDS if seconds is None else seconds
        self._skew = SKEW if skew is None else skew
        self._held: dict[str, Lease] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._end = threading.Event()

    def take(
        self, name: str, *, alone: bool, longest: float, tell: Callable[[str], object] = len
    ) -> Lease | str:
        """The lease, or who holds it still after `longest` seconds. `tell` hears who, each time
        that it is waited for."""
        owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        begun, wait = time.monotonic(), _FIRST_WAIT
        while True:
            holders, state = self._read(name)
            now = self._clock()
            living = {o: h for o, h in holders.items() if h["until"] + self._skew > now}
            hindering = sorted(o for o, h in living.items() if alone or h["alone"])
            if hindering:
                if time.monotonic() - begun >= longest:
                    return hindering[0]
                tell(hindering[0])
                time.sleep(min(wait, max(0.0, longest - (time.monotonic() - begun))))
                wait = min(wait * 1.5, _LONGEST_WAIT)
                continue
            dead = [
                Dead(o, h["until"], h["said"])
                for o, h in holders.items()
                if o not in living and h["alone"]
            ]
            lease = Lease(name, owner, now + self._seconds, dead)
            mine = {"until": lease.until, "alone": alone, "said": lease.said}
            if self._write(name, living | {owner: mine}, state):
                with self._lock:
                    self._held[owner] = lease
                self._keep_alive()
                return lease

    def end(self, lease: Lease) -> None:
        """Let go; a bucket that cannot be reached is no error, for the lease ends by itself."""
        with self._lock:
            self._held.pop(lease.owner, None)
        try:
            while True:
                holders, state = self._read(lease.name)
                if lease.owner not in holders:
                    return
                del holders[lease.owner]
                if self._write(lease.name, holders, state):
                    return
        except StoreError:
            return

    def left_behind(self, below: str) -> dict[str, float]:
        """The leases below a name whose holders have all died -> until when the last one held it
        (seconds since 1970)."""
        found: dict[str, float] = {}
        for one in self._objects.list(_folder(below)):
            name = one.name.removeprefix(f"{FOLDER}/").removesuffix(".json")
            holders, _ = self._read(name)
            until = max((h["until"] for h in holders.values()), default=math.inf)
            if until + self._skew <= self._clock():
                found[name] = until
        return found

    def drop(self, name: str) -> None:
        """Take a lease's object away, once nobody holds it."""
        self._objects.delete(_place(name))

    def check(self, lease: Lease) -> None:
        """ProjectError where a lease is not held any more: another host may work on the same."""
        if lease.lost or self._clock() >= lease.until:
            raise ProjectError(
                f"{self._objects.where}: the lease on {lease.name} was lost, for the bucket could "
                f"not be reached for {self._seconds:.0f} s; see to that, and run again (what was "
                "paid for is in the journal)"
            )

    def check_all(self) -> None:
        """The same of every lease that this process holds."""
        with self._lock:
            held = list(self._held.values())
        for lease in held:
            self.check(lease)

    def renew(self) -> None:
        """Give a sign of life in every lease."""
        with self._lock:
            held = list(self._held.values())
        for lease in held:
            try:
                self._renewed(lease)
            except StoreError:
                continue  # the next try may go well; until then the time runs out

    def tell(self, lease: Lease) -> None:
        """Let others see what a lease says now."""
        self._renewed(lease)

    @contextmanager
    def held(
        self, name: str, *, alone: bool, longest: float, busy: Callable[[str], str]
    ) -> Generator[Lease]:
        """Held for a block; ProjectError, in words of `busy`, where another one has it still."""
        found = self.take(name, alone=alone, longest=longest)
        if isinstance(found, str):
            raise ProjectError(busy(found))
        try:
            yield found
        finally:
            self.end(found)

    def _renewed(self, lease: Lease) -> None:
        while not lease.lost:
            holders, state = self._read(lease.name)
            mine = holders.get(lease.owner)
            now = self._clock()
            if mine is None or now >= lease.until + self._skew:
                lease.lost = True
                return
            holders[lease.owner] = mine | {"until": now + self._seconds, "said": {**lease.said}}
            if self._write(lease.name, holders, state):
                lease.until = now + self._seconds
                return

    def _keep_alive(self) -> None:
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                return
            self._thread = threading.Thread(target=self._live, daemon=True, name="leases")
            self._thread.start()

    def _live(self) -> None:
        while not self._end.wait(self._seconds / 4):
            self.renew()
            with self._lock:
                if not self._held:
                    self._thread = None
                    return

    def _read(self, name: str) -> tuple[Holders, State | None]:
        try:
            held = self._objects.get(_place(name))
        except FileNotFoundError:
            return {}, None
        return json.loads(held.content)["holders"], held.state

    def _write(self, name: str, holders: Holders, state: State | None) -> bool:
        """Whether nobody wrote meanwhile."""
        content = json.dumps({"nonce": uuid.uuid4().hex, "holders": holders}).encode()
        try:
            if state is None:
                self._objects.create(_place(name), content)
            else:
                self._objects.swap(_place(name), content, state)
        except (Changed, FileExistsError):
            return False
        return True


def _folder(below: str) -> str:
    return f"{FOLDER}/{below}"


def _place(name: str) -> str:
    return f"{FOLDER}/{name}.json"
