"""Locks of the home that the operating system lets go of when their holder dies: who changes what
is there already (forget, gc, upgrade) has it alone, who adds a table has it with others."""

import contextlib
import fcntl
import os
from collections.abc import Generator
from pathlib import Path

from deploysim_assets.project import ProjectError

LOCKS = "locks"
SWAP = f"{LOCKS}/swap"
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
def adding(home: Path) -> Generator[None]:
    """Held while a table version becomes current; waits for who has the home alone."""
    with _flock(home / LOCKS / "home", fcntl.LOCK_SH, ""):
        yield


@contextlib.contextmanager
def asking(home: Path) -> Generator[None]:
    """Held while a run asks a model and writes answers down; waits for who takes answers out."""
    with _flock(home / LOCKS / "asking", fcntl.LOCK_SH, ""):
        yield


@contextlib.contextmanager
def nobody_asks(home: Path, what: str) -> Generator[None]:
    """No run writes an answer down meanwhile; ProjectError where one is asking."""
    busy = f"{home}: {_ASKING} {what}"
    with _flock(home / LOCKS / "asking", fcntl.LOCK_EX | fcntl.LOCK_NB, busy):
        yield


@contextlib.contextmanager
def alone(home: Path, what: str) -> Generator[None]:
    """The home for oneself, once every table that is just becoming current is there; ProjectError
    where another command has it for itself."""
    busy = f"{home}: another command is changing what is there; wait for it to end, then {what}"
    with (
        _flock(home / LOCKS / "changing", fcntl.LOCK_EX | fcntl.LOCK_NB, busy),
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
    with _flock(home / LOCKS / "home", fcntl.LOCK_EX, ""):
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
