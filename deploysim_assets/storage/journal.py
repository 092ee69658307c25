"""The journal of finished requests: append-only, checksummed, so that an answer once paid for is
never asked for again."""

import contextlib
import fcntl
import hashlib
import os
import time
import zlib
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson

from deploysim_assets.project import ProjectError
from deploysim_assets.storage import disk
from deploysim_assets.storage.sending import Sender, sending

JOURNALS = "journal"
BATCHES = ".batches.jsonl"
_GUESSED_LINE = 4096
_SYNC_ROWS = 64
_SYNC_SECONDS = 0.5


def journal_file(home: Path, asset: str, key: str) -> Path:
    """Where an asset's partition keeps its answers."""
    return home / JOURNALS / asset / f"{key}.jsonl"


def set_aside(path: Path) -> None:
    """Put a journal and its batches away under another name, so that nothing in them is used and
    nothing is lost."""
    for file in (path, path.with_name(path.name.removesuffix(".jsonl") + BATCHES)):
        if file.exists():
            aside = file.rename(file.with_suffix(f".{time.time_ns()}.replaced"))
            disk.written([aside])
            disk.unlink(file)


def put_aside(path: Path) -> list[Path]:
    """The earlier files of a journal that `set_aside` kept."""
    return sorted(path.parent.glob(f"{path.stem}.[0-9]*.replaced"))


def lines(path: Path) -> Iterator[bytes]:
    """The JSON of a journal's whole lines, up to the first that is torn."""
    with path.open("rb") as file:
        for line in file:
            if not _whole(line):
                return
            yield line[9:-1]


def _whole(line: bytes) -> bool:
    return line.endswith(b"\n") and f"{zlib.crc32(line[9:-1]):08x}".encode() == line[:8]


def torn(path: Path, end: int | None = None) -> bytes:
    """What a crash left behind the whole lines of a journal (which end at a place that may be
    known); ProjectError where whole lines follow a bad one, which is damage and not a crash."""
    if end is None:
        end = sum(len(line) + 10 for line in lines(path))
    with path.open("rb") as file:
        file.seek(end)
        rest = file.read()
    _refuse_damage(path, end, rest)
    return rest


def framed(body: bytes) -> bytes:
    """A journal's line: a CRC-32 before the JSON."""
    return b"%08x %s\n" % (zlib.crc32(body), body)


class Journal:
    """One file of answers by request key. Each line is a CRC-32 and a JSON object; the index in
    memory holds places, not answers.

    `siblings` are other partitions' journals: an answer to the same request is taken over from them
    instead of asked for again.
    """

    def __init__(
        self,
        path: Path,
        descriptor: int,
        siblings: Iterable[Path] = (),
        sender: Sender | None = None,
    ) -> None:
        self._path = path
        self._sender = sender
        self._descriptor = descriptor
        self._places: dict[bytes, int] = {}
        self._siblings = [(sibling, _sibling_index(sibling)) for sibling in siblings]
        self._taken: list[dict[str, str]] | None = None
        self._unsynced = 0
        self._synced_at = time.monotonic()
        self._end = self._load()

    def _load(self) -> int:
        """Index the whole lines and cut off what a crash left behind them; returns the end."""
        self._places = _index(self._path)
        with self._path.open("rb") as file:
            end = max(self._places.values(), default=0)
            file.seek(end)
            end += len(file.readline()) if self._places else 0
        if torn(self._path, end):
            os.ftruncate(self._descriptor, end)
        return end

    def __contains__(self, key: str) -> bool:
        place = _place_of(key)
        if place not in self._places:
            for path, index in self._siblings:
                if place in index:
                    with path.open("rb") as file:
                        found = _checked(_body(file.fileno(), path, index[place]), path, key)
                        self.put(found | {"copied": True})
                    break
        return place in self._places

    def get(self, key: str) -> dict[str, Any]:
        """The journalled answer of a request; KeyError where there is none."""
        body = _body(self._descriptor, self._path, self._places[_place_of(key)])
        answer = _checked(body, self._path, key)
        if self._taken is not None:
            self._taken.append({"key": key, "sha256": hashlib.sha256(body).hexdigest()})
        return answer

    def taken(self) -> list[dict[str, str]]:
        """Request key and digest of each answer read since this was last asked: what the row that
        is just written was made from. Noted down from the first time on that it is asked."""
        taken, self._taken = self._taken or [], []
        return list({one["key"]: one for one in taken}.values())

    def put(self, answer: dict[str, Any]) -> None:
        """Write an answer (with its `key`). It is in the file when this returns, and forced to
        disk with its group."""
        line = framed(orjson.dumps(answer))
        written = 0
        try:
            while written < len(line):  # a full disk writes short before it raises
                written += os.pwrite(self._descriptor, line[written:], self._end + written)
        except OSError as wrong:
            os.ftruncate(self._descriptor, self._end)
            raise ProjectError(
                f"{self._path}: cannot be written ({wrong.strerror}); what is in it is kept: "
                "make room and run again"
            ) from wrong
        self._places[_place_of(answer["key"])] = self._end
        self._end += len(line)
        self._unsynced += 1
        if self._unsynced >= _SYNC_ROWS or time.monotonic() - self._synced_at > _SYNC_SECONDS:
            self._force()

    def sync(self) -> None:
        """Force everything written so far to disk, and to the bucket that the home may be in."""
        self._force()
        if self._sender is not None:
            self._sender.send(self._end)

    def _force(self) -> None:
        os.fdatasync(self._descriptor)
        self._unsynced, self._synced_at = 0, time.monotonic()
        if self._sender is not None:
            self._sender.synced(self._end)


def _place_of(key: str) -> bytes:
    return bytes.fromhex(key[:32])  # 128 of 256 bits tell requests apart, and halve the index


def _index(path: Path) -> dict[bytes, int]:
    places: dict[bytes, int] = {}
    at = 0
    if path.exists():
        for line in lines(path):
            places[_place_of(orjson.loads(line)["key"])] = at
            at += len(line) + 10
    return places


def _sibling_index(path: Path) -> dict[bytes, int]:
    """The index of another partition's journal. What lies behind damage in it would be asked, and
    paid, for again; a torn end is a line that its process is writing."""
    places = _index(path)
    with path.open("rb") as file:
        end = max(places.values(), default=0)
        file.seek(end)
        end += len(file.readline()) if places else 0
        line = file.readline()
        if line and not _whole(line):
            _refuse_damage(path, end, line + file.read())
    return places


def _refuse_damage(path: Path, end: int, rest: bytes) -> None:
    # one torn line is a crash; whole lines behind a bad one are damage
    if rest.count(b"\n") > 1:
        raise ProjectError(
            f"{path}: damaged at byte {end}, with whole lines behind it; restore the file, or cut "
            "it there"
        )


def _body(descriptor: int, path: Path, start: int) -> bytes:
    """The JSON of the line that starts at a place; ProjectError where no whole line does."""
    size = _GUESSED_LINE
    while b"\n" not in (found := os.pread(descriptor, size, start)) and len(found) == size:
        size *= 8
    line = found[: found.find(b"\n") + 1]
    if not _whole(line):
        raise _rewritten(path, start)
    return line[9:-1]


def _checked(body: bytes, path: Path, key: str) -> dict[str, Any]:
    answer: dict[str, Any] = orjson.loads(body)
    if answer["key"] != key:
        raise _rewritten(path)
    return answer


def _rewritten(path: Path, at: int | None = None) -> ProjectError:
    where = "" if at is None else f" at byte {at}"
    return ProjectError(
        f"{path}: damaged{where}, or rewritten by another process; run again, and where that does "
        "not help restore the file"
    )


@contextlib.contextmanager
def locked(path: Path) -> Generator[int]:
    """The open file of a journal, locked for this process; ProjectError where another process is
    writing it. A file that was replaced meanwhile is opened again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ProjectError(
                    f"{path}: another process is asking for the same partition; wait for it to "
                    "end, or stop it"
                ) from None
            if path.exists() and os.fstat(descriptor).st_ino == path.stat().st_ino:
                yield descriptor
                return
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def open_journal(path: Path) -> Generator[Journal]:
    """The journal at `path`, locked for this process; ProjectError where another process is
    writing it.

    Answers are also found in the journals beside it, those of other partitions.
    """
    with sending(path) as sender, contextlib.ExitStack() as held:
        # who brings journals down locks each for a moment
        with sender.quiet() if sender else contextlib.nullcontext():
            descriptor = held.enter_context(locked(path))
        siblings = (
            other
            for other in sorted(path.parent.glob("*.jsonl"))
            if other != path and not other.name.endswith(BATCHES)
        )
        journal = Journal(path, descriptor, siblings, sender)
        if sender is None:
            yield journal
            journal.sync()
            return
        sender.start()
        try:
            yield journal
            journal.sync()
        except BaseException:
            sender.give_up()
            raise
        sender.finish()
