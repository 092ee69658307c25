"""The journals of a home in a bucket: one object that holds what was there at some time, and the
segments that came since, each created once."""

import contextlib
import fcntl
import os
import re
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from deploysim_assets.project import ProjectError
from deploysim_assets.storage import disk
from deploysim_assets.storage.buckets import Bucket
from deploysim_assets.storage.journal import JOURNALS
from deploysim_assets.storage.known import Known, Reach
from deploysim_assets.storage.objects import State
from deploysim_assets.storage.withdrawals import open_mark

_AT_ONCE = 16
SEGMENT = re.compile(rf"({JOURNALS}/.+\.jsonl)/(\d{{8}})")


class Journals:
    """The journals in a bucket and those of this host's folder. `quiet` keeps the other threads and
    processes of this host from bringing anything down."""

    def __init__(
        self,
        home: Path,
        bucket: Bucket,
        known: Known,
        quiet: Callable[[], contextlib.AbstractContextManager[None]],
    ) -> None:
        self.home, self.bucket, self._known, self._quiet = home, bucket, known, quiet

    def _name(self, path: Path) -> str:
        return path.relative_to(self.home).as_posix()

    def bring(self, below: str, states: Mapping[str, State]) -> None:
        """Bring the journals below a name to what a listing of it has."""
        bases = {name: state for name, state in states.items() if is_journal(name)}
        segments: dict[str, dict[int, str]] = {}
        for name in states:
            if found := SEGMENT.fullmatch(name):
                segments.setdefault(found[1], {})[int(found[2])] = name
        known = {name for name in self._known.journals() if name.startswith(f"{below}/")}
        for name in {*bases, *segments, *known}:
            with _held(self.home / name) as free:
                if free and (name in bases or name in segments):
                    self._bring(name, bases.get(name, {}), segments.get(name, {}))
                elif free:
                    (self.home / name).unlink()
                    self._known.drop_journal(name)

    def _bring(self, name: str, base: State, segments: Mapping[int, str]) -> None:
        path, reach = self.home / name, self._known.reach(name)
        with path.open("rb") as file:
            file.seek(reach.there)
            tail = file.read()
        put_away = not base and reach.segment > 0 and reach.segment not in segments
        if reach.base != base or put_away:
            if reach.base or reach.segment:
                tail = b""  # written anew elsewhere: what was not sent may be of who withdrew
            reach = Reach(0, base, 0)
        new = [name] if base and not reach.there else []
        new += [segments[number] for number in sorted(segments) if number > reach.segment]
        if not new:
            return
        target = path
        if tail:  # not written over before it stands elsewhere: it is nowhere else
            target = path.with_name(f".{path.name}.coming")
            with path.open("rb") as old, target.open("wb") as file:
                disk.copy_start(old, file, reach.there)
        there = reach.there
        with target.open("r+b") as file, ThreadPoolExecutor(_AT_ONCE) as pool:
            file.truncate(there)
            file.seek(there)
            for held in pool.map(self.bucket.get, new):
                there += file.write(held.content)
            file.write(tail)
            file.flush()
            os.fsync(file.fileno())
        target.replace(path)
        last = max(segments, default=reach.segment)
        self._known.note_reach(name, Reach(there, base, last))

    def open(self, path: Path) -> int:
        """Bring a journal, and those beside it, to what the bucket holds. What an earlier process
        here could not send goes where somebody withdrew since: it may be theirs. Returns how many
        bytes went."""
        folder = self._name(path.parent)
        with self._quiet():
            self.bring(folder, self.bucket.states(folder))
        withdrawals = open_mark(self.home).sha256
        name, gone = self._name(path), 0
        with self._quiet(), _held(path) as free:
            there = self._known.reach(name).there
            if free and self._known.opened_under(name) not in (None, withdrawals):
                gone = max(0, path.stat().st_size - there)
                os.truncate(path, min(there, path.stat().st_size))
            if free:
                self._known.note_opened(name, withdrawals)
        return gone

    def send(self, path: Path, limit: int) -> int:
        """Bring what a journal holds beyond what is there to the bucket, whole lines up to a byte;
        the number of bytes. Its lease must be held."""
        name = self._name(path)
        reach = self._known.reach(name)
        with path.open("rb") as file:
            file.seek(reach.there)
            new = file.read(max(0, limit - reach.there))
        new = new[: new.rfind(b"\n") + 1]
        if not new:
            return 0
        try:
            self.bucket.create(f"{name}/{reach.segment + 1:08}", new)
        except FileExistsError:
            raise ProjectError(
                f"{self.bucket.where}/{name}: another host wrote to it; run again once it ended"
            ) from None
        here = Reach(reach.there + len(new), reach.base, reach.segment + 1)
        self._known.note_reach(name, here)
        return len(new)


def is_journal(name: str) -> bool:
    """Whether an object is a journal, whose later part may lie in segments."""
    return name.startswith(f"{JOURNALS}/") and name.endswith(".jsonl")


@contextlib.contextmanager
def _held(path: Path) -> Generator[bool]:
    """Whether no process of this host writes a journal; none begins to meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = True
        except BlockingIOError:
            free = False
        yield free
    finally:
        os.close(descriptor)
