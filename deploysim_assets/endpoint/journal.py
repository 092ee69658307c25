"""The journal of finished requests: append-only, checksummed, so that an answer once paid for is never asked for again."""

import contextlib
import fcntl
import os
import time
import zlib
from collections.abc import Generator
from pathlib import Path
from typing import Any

import orjson

from deploysim_assets.project import ProjectError

_SYNC_ROWS = 64
_SYNC_SECONDS = 0.5


class Journal:
    """One file of answers by request key. Each line is a CRC-32 and a JSON object; the index in memory holds places, not answers."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self._places: dict[bytes, tuple[int, int]] = {}
        self._unsynced = 0
        self._synced_at = time.monotonic()
        self._end = self._load()

    def _load(self) -> int:
        """Index the whole lines and cut off what a crash left behind them; returns the end."""
        end = 0
        with self._path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n") or f"{zlib.crc32(line[9:-1]):08x}".encode() != line[:8]:
                    break
                self._places[bytes.fromhex(orjson.loads(line[9:])["key"])] = (end, len(line))
                end += len(line)
            torn = file.seek(0, os.SEEK_END) - end
        if torn:
            with self._path.open("rb") as file:
                file.seek(end)
                rest = file.read()
            if rest.count(b"\n") > 1:  # one torn line is a crash; whole lines behind a bad one are damage
                raise ProjectError(f"{self._path}: damaged at byte {end}, with whole lines behind it; restore the file, or cut it there")
            os.ftruncate(self._descriptor, end)
        return end

    def __contains__(self, key: str) -> bool:
        return bytes.fromhex(key) in self._places

    def get(self, key: str) -> dict[str, Any]:
        """The journalled answer of a request; KeyError where there is none."""
        start, length = self._places[bytes.fromhex(key)]
        return orjson.loads(os.pread(self._descriptor, length, start)[9:])

    def put(self, answer: dict[str, Any]) -> None:
        """Write an answer (with its `key`). It is in the file when this returns, and forced to disk with its group."""
        body = orjson.dumps(answer)
        line = b"%08x %s\n" % (zlib.crc32(body), body)
        written = 0
        while written < len(line):  # a full disk writes short before it raises
            written += os.pwrite(self._descriptor, line[written:], self._end + written)
        self._places[bytes.fromhex(answer["key"])] = (self._end, len(line))
        self._end += len(line)
        self._unsynced += 1
        if self._unsynced >= _SYNC_ROWS or time.monotonic() - self._synced_at > _SYNC_SECONDS:
            self.sync()

    def sync(self) -> None:
        """Force everything written so far to disk."""
        os.fdatasync(self._descriptor)
        self._unsynced, self._synced_at = 0, time.monotonic()


@contextlib.contextmanager
def open_journal(path: Path) -> Generator[Journal]:
    """The journal at `path`, locked for this process; ProjectError where another process is writing it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ProjectError(f"{path}: another process is asking for the same partition; wait for it to end, or stop it") from None
        journal = Journal(path, descriptor)
        yield journal
        journal.sync()
    finally:
        os.close(descriptor)


def drop_answers(path: Path, keys: set[str]) -> int:
    """Rewrite a journal without the answers of some requests; returns their number. ProjectError where it is being written."""
    with open_journal(path):
        kept: list[bytes] = []
        dropped = 0
        for line in path.read_bytes().splitlines(keepends=True):
            if orjson.loads(line[9:])["key"] in keys:
                dropped += 1
            else:
                kept.append(line)
        if dropped:
            partial = path.with_suffix(".partial")
            partial.write_bytes(b"".join(kept))
            partial.replace(path)
    return dropped
