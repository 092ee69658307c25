"""Looking for people in what lies in a home, whatever wrote it there."""

import contextlib
import gzip
import io
import json
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO, cast

import polars as pl
import zstandard

from deploysim_assets.storage import disk
from deploysim_assets.storage.journal import lines
from deploysim_assets.storage.journals import journal_files
from deploysim_assets.storage.withdrawals import PLAN_FILE

_SHORTEST_ID = 6
_WORDS = frozenset({"assistant", "developer", "function", "system"})
"""A shorter id than that, or one of these words, stands in any file: it is looked for by columns
and readers alone."""
_TEXTS = (
    ".jsonl", ".json", ".yaml", ".db", ".db-wal", ".log", ".csv", ".replaced", ".gz", ".zst",
    ".partial", ".html",
)  # fmt: skip
_DAMAGE = (EOFError, OSError, zlib.error, zstandard.ZstdError)
"""What reading a compressed file raises that was cut short: what is behind nobody can read."""
_READ_AT_ONCE = 1 << 24


def decompressed(path: Path) -> IO[bytes]:
    """A file's bytes, decompressed by its ending, all frames of it."""
    if path.suffix == ".zst":
        unpacked = zstandard.ZstdDecompressor().stream_reader(
            path.open("rb"), read_across_frames=True, closefd=True
        )
        return io.BufferedReader(cast("io.RawIOBase", unpacked), _READ_AT_ONCE)
    return cast("IO[bytes]", gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def compressed(path: Path, ending: str) -> IO[bytes]:
    """A file to write, compressed as a file of some ending is."""
    if ending == ".zst":
        return cast("IO[bytes]", zstandard.open(path, "wb"))
    return cast("IO[bytes]", gzip.open(path, "wb")) if ending == ".gz" else path.open("wb")


def files_with_ids(home: Path, ids: Iterable[str]) -> tuple[int, dict[str, int]]:
    """How many files of a home were searched for ids (logs included, compressed ones too; tables
    are searched by their columns), and how often one stands in which.

    The plan of a withdrawal names them until all is done, and goes then.
    """
    needles = _needles(set(ids))
    files = [p for p in disk.files(home) if p.suffix in _TEXTS and PLAN_FILE not in p.name]
    hits = {path.relative_to(home).as_posix(): _hits(path, needles) for path in files}
    return len(files), {name: count for name, count in hits.items() if count}


def answers_with(home: Path, phrases: list[str]) -> dict[str, int]:
    """How many answers of which journal say one of some phrases."""
    found: dict[str, int] = {}
    for path in journal_files(home):
        said = pl.Series([line.decode(errors="replace") for line in lines(path)], dtype=pl.String)
        if hits := int(said.str.contains_any(phrases).sum()):
            found[path.relative_to(home).as_posix()] = hits
    return found


def _needles(ids: set[str]) -> list[bytes]:
    """How ids stand in JSON, whether or not it spells what is not ASCII in escapes."""
    written = {
        json.dumps(name, ensure_ascii=escaped)
        for name in ids
        if len(name) >= _SHORTEST_ID and name not in _WORDS
        for escaped in (True, False)
    }
    return [needle.encode() for needle in sorted(written)]


def _hits(path: Path, needles: list[bytes]) -> int:
    """How many of some words stand in a file, read piece by piece, decompressed by its ending."""
    longest = max(map(len, needles), default=0)
    hits, before = 0, b""
    with contextlib.suppress(*_DAMAGE), decompressed(path) as file:
        while needles and (block := file.read(_READ_AT_ONCE)):
            piece = before + block
            # one that stood wholly in what was kept was counted before
            hits += sum(piece.count(needle) - before.count(needle) for needle in needles)
            before = piece[-(longest - 1) :]
    return hits
