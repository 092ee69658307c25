"""Leases: who works on what just now. Each is a file lock, which the operating system lets go of
when its holder dies, however it dies: what is free was left, what is held is alive."""

import contextlib
import fcntl
import os
import time
import weakref
from collections.abc import Callable, Generator
from pathlib import Path

from deploysim_assets.project import ProjectError
from deploysim_assets.storage.locks import LOCKS, LONGEST_WAIT
from deploysim_assets.storage.mirrors import mirror_of

_TELL_EVERY = 60.0
_LOOK_EVERY = 0.5


@contextlib.contextmanager
def run_lease(home: Path, run_id: str) -> Generator[None]:
    """Held by the process that leads a run for as long as it does. Its file is gone once the run
    has ended, so one that lies there unlocked is of a run whose process was killed."""
    path = _runs(home) / run_id
    path.parent.mkdir(parents=True, exist_ok=True)
    # locked before it has its name: who looks never finds the file of a living run unlocked
    partial = path.with_name(f".{run_id}.{os.getpid()}")
    descriptor = os.open(partial, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        partial.rename(path)
        yield
    finally:
        path.unlink(missing_ok=True)
        partial.unlink(missing_ok=True)
        os.close(descriptor)


def runs_left_behind(home: Path) -> list[str]:
    """The ids of the runs whose leading process was killed."""
    return sorted(path.name for path in _runs(home).glob("[!.]*") if _left_behind(path))


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


def _runs(home: Path) -> Path:
    return home / LOCKS / "runs"


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
