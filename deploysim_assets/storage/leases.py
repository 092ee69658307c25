"""Leases: who works on what just now. Each is a file lock, which the operating system lets go of
when its holder dies, however it dies: what is free was left, what is held is alive."""

import contextlib
import fcntl
import math
import os
import time
import weakref
from collections.abc import Callable, Generator
from pathlib import Path

from deploysim_assets.project import ProjectError
from deploysim_assets.storage.locks import LOCKS, LONGEST_WAIT
from deploysim_assets.storage.mirrors import mirror_of
from deploysim_assets.storage.objects import StoreError

_TELL_EVERY = 60.0
_LOOK_EVERY = 0.5
LOOK_THERE_EVERY = 5.0
"""Seconds between two looks into the bucket for runs of hosts that were lost."""
_RUNS = "runs"
_looked: dict[Path, float] = {}


@contextlib.contextmanager
def run_lease(home: Path, run_id: str) -> Generator[None]:
    """Held by the process that leads a run for as long as it does. Its file is gone once the run
    has ended, so one that lies there unlocked is of a run whose process was killed. In a home in a
    bucket other hosts know by a lease there that the run's host is alive."""
    path = _runs(home) / run_id
    path.parent.mkdir(parents=True, exist_ok=True)
    # locked before it has its name: who looks never finds the file of a living run unlocked
    partial = path.with_name(f".{run_id}.{os.getpid()}")
    descriptor = os.open(partial, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        partial.rename(path)
        with _run_among_hosts(home, run_id):
            yield
    finally:
        path.unlink(missing_ok=True)
        partial.unlink(missing_ok=True)
        os.close(descriptor)


@contextlib.contextmanager
def _run_among_hosts(home: Path, run_id: str) -> Generator[None]:
    mirror = mirror_of(home)
    if mirror is None:
        yield
        return
    name = f"{_RUNS}/{run_id}"

    def busy(owner: str) -> str:
        return f"run {run_id} is led by another process ({owner}); start a new run"

    try:
        with mirror.leases.held(name, alone=True, longest=0, busy=busy):
            yield
    finally:
        with contextlib.suppress(StoreError):
            mirror.leases.drop(name)


def runs_left_behind(home: Path) -> dict[str, float]:
    """The ids of the runs whose leading process was killed -> since when that is known (seconds
    since 1970; 0 of a run of this host). Of other hosts' runs, which are looked at every few
    seconds, those that gave no sign of life for so long that they cannot write to the home any
    more; a bucket that does not answer tells of none."""
    here = {p.name: 0.0 for p in sorted(_runs(home).glob("[!.]*")) if _left_behind(p)}
    mirror, now = mirror_of(home), time.monotonic()
    if mirror is None or now < _looked.get(home, -math.inf) + LOOK_THERE_EVERY:
        return here
    _looked[home] = now
    living = {p.name for p in _runs(home).glob("[!.]*")} - here.keys()
    try:
        found = mirror.leases.left_behind(_RUNS)
    except StoreError:
        return here
    there = {name.removeprefix(f"{_RUNS}/"): until for name, until in found.items()}
    return {run: until for run, until in there.items() if run not in living} | here


def _left_behind(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        # taken away meanwhile: the run ended just now
        return os.fstat(descriptor).st_nlink > 0
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)


def settle(home: Path, run_id: str) -> None:
    """Drop the lease of a run that was left behind, once its end is recorded."""
    (_runs(home) / run_id).unlink(missing_ok=True)
    if mirror := mirror_of(home):
        with contextlib.suppress(StoreError):
            mirror.leases.drop(f"{_RUNS}/{run_id}")


def _runs(home: Path) -> Path:
    return home / LOCKS / _RUNS


class Lease:
    """A partition of an asset for one run alone, until `end`, or the death of the process."""

    def __init__(self, descriptor: int) -> None:
        self._held = contextlib.ExitStack()
        self._held.callback(os.close, descriptor)
        self._close = weakref.finalize(self, self._held.close)

    def until_end(self, end: Callable[[], object]) -> None:
        """Have something else let go of with it."""
        self._held.callback(end)

    def end(self) -> None:
        """Let go; again is no error."""
        self._close()


def partition_lease(
    home: Path,
    asset: str,
    key: str | None,
    run_id: str,
    tell: Callable[[str], None],
    longest: float | None = None,
) -> Lease:
    """Take a partition of an asset for a run. Where another run works on it, wait for that one, say
    so once a minute, and after `longest` seconds raise a ProjectError that names it."""
    path = home / LOCKS / "partitions" / f"{asset}@{key or ''}"
    path.parent.mkdir(parents=True, exist_ok=True)
    what = f"{asset}[{key}]" if key else asset
    limit = LONGEST_WAIT if longest is None else longest
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    lease = Lease(descriptor)
    begun = time.monotonic()
    told = -_TELL_EVERY
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waited = time.monotonic() - begun
            # empty for the moment in which the other one has it and has not written its name
            holder = os.pread(descriptor, 100, 0).decode(errors="replace") or "another run"
            if waited >= limit:
                lease.end()
                raise _still_made(what, holder, waited) from None
            if waited - told >= _TELL_EVERY:
                tell(f"{what} is being made by {holder}; waiting for it to end")
                told = waited
            time.sleep(min(_LOOK_EVERY, max(0.0, limit - waited)))
        else:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"run {run_id}".encode(), 0)
            _among_hosts(home, f"partitions/{path.name}", what, lease, limit, tell)
            return lease


def _among_hosts(
    home: Path, name: str, what: str, lease: Lease, limit: float, tell: Callable[[str], None]
) -> None:
    mirror = mirror_of(home)
    if mirror is None:
        return

    def waits(owner: str) -> None:
        if owner not in told:
            tell(f"{what} is being made on another host ({owner}); waiting for it to end")
            told.add(owner)

    told = set[str]()
    begun = time.monotonic()
    found = mirror.leases.take(name, alone=True, longest=limit, tell=waits)
    if isinstance(found, str):
        lease.end()
        raise _still_made(what, found, time.monotonic() - begun)
    lease.until_end(lambda: mirror.leases.end(found))


def _still_made(what: str, holder: str, waited: float) -> ProjectError:
    return ProjectError(
        f"{what} is still being made by {holder} after {waited / 60:.0f} minutes; let that run "
        "end, or terminate it in Dagster's UI, then run again"
    )
