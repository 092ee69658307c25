"""Locks of the home that the operating system lets go of when their holder dies: who changes what
is there already (forget, gc, upgrade) has it alone, who adds a table has it with others."""

import contextlib
import fcntl
import os
from collections.abc import Generator
from pathlib import Path

from deploysim_assets.project import ProjectError
from deploysim_assets.storage.mirrors import mirror_of

LOCKS = "locks"
SWAP = f"{LOCKS}/swap"
LONGEST_WAIT = 6 * 3600.0
"""Seconds that anybody waits for who works on the same on another host."""
_ASKING = "a run is asking a model; wait for it to end, or stop it, then"


@contextlib.contextmanager
def _flock(path: Path, operation: int, busy: str) -> Generator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, operation)
        except BlockingIOError:
            raise ProjectError(busy) from None
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _held(home: Path, name: str, operation: int, busy: str) -> Generator[None]:
    """A lock of the home: among the processes of this host, and then, where the home is in a
    bucket, among hosts."""
    with _flock(home / LOCKS / name, operation, busy):
        mirror = mirror_of(home)
        if mirror is None:
            yield
            return
        alone = bool(operation & fcntl.LOCK_EX)
        longest = 0.0 if operation & fcntl.LOCK_NB else LONGEST_WAIT
        said = busy or f"{home}: waited for {LONGEST_WAIT / 3600:.0f} hours; run again"

        def by(owner: str) -> str:
            return f"{said} (on another host, {owner})"

        with mirror.leases.held(name, alone=alone, longest=longest, busy=by):
            if alone:
                mirror.pull()
            yield


@contextlib.contextmanager
def held_here(home: Path, name: str) -> Generator[None]:
    """Held by one process of this host; the others wait."""
    with _flock(home / LOCKS / name, fcntl.LOCK_EX, ""):
        yield


@contextlib.contextmanager
def adding(home: Path) -> Generator[None]:
    """Held while a table version becomes current; waits for who has the home alone."""
    with _held(home, "home", fcntl.LOCK_SH, ""):
        yield


@contextlib.contextmanager
def asking(home: Path) -> Generator[None]:
    """Held while a run asks a model and writes answers down; waits for who takes answers out."""
    with _held(home, "asking", fcntl.LOCK_SH, ""):
        yield


@contextlib.contextmanager
def nobody_asks(home: Path, what: str) -> Generator[None]:
    """No run writes an answer down meanwhile; ProjectError where one is asking."""
    busy = f"{home}: {_ASKING} {what}"
    with _held(home, "asking", fcntl.LOCK_EX | fcntl.LOCK_NB, busy):
        yield


@contextlib.contextmanager
def alone(home: Path, what: str) -> Generator[None]:
    """The home for oneself, once every table that is just becoming current is there; ProjectError
    where another command has it for itself."""
    busy = f"{home}: another command is changing what is there; wait for it to end, then {what}"
    with (
        _held(home, "changing", fcntl.LOCK_EX | fcntl.LOCK_NB, busy),
        nothing_becomes_current(home),
    ):
        yield


@contextlib.contextmanager
def swapping(folder: Path) -> Generator[None]:
    """Held while an object of a folder is compared and replaced; waits for others who do."""
    with _flock(folder / SWAP, fcntl.LOCK_EX, ""):
        yield


@contextlib.contextmanager
def nothing_becomes_current(home: Path) -> Generator[None]:
    """Held by who looks at the home as a whole: waits for what is just becoming current and for
    who changes what is there, and makes the next ones wait."""
    with _held(home, "home", fcntl.LOCK_EX, ""):
        yield


@contextlib.contextmanager
def held_while_writing(mark: Path) -> Generator[None]:
    """A mark that is locked as long as this process lives and writes."""
    # locked before it has its name: who looks for what was left never finds it unlocked
    unlocked = mark.with_name(f"{mark.name}-unlocked")
    with _flock(unlocked, fcntl.LOCK_EX, ""):
        unlocked.rename(mark)
        yield


def is_free(mark: Path) -> bool:
    """Whether nobody holds a mark's lock: its writer is gone."""
    try:
        with _flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB, "held"):
            return True
    except ProjectError:
        return False
