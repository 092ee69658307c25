"""What an earlier reading of a release's logs made of each file, so that a file that is as it was
then need not be read again."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import polars as pl

from deploysim_assets.logs.files import LogFile, digest


class OfFile(NamedTuple):
    """What an earlier reading made of a log file: its rows in the table from `start` up to `stop`,
    the ids of their conversations and users, and the first and last time in them; its rejects; and
    the file's facts."""

    start: int
    stop: int
    ids: Sequence[str]
    users: Sequence[str | None]
    times: tuple[datetime, ...]
    rejects: Sequence[dict[str, Any]]
    facts: dict[str, Any]


class EarlierReading:
    """An earlier reading, made alike: by the same code and settings, of a format in which each file
    holds whole conversations, and nobody has withdrawn since.

    `log_files` are the facts of its files in the order in which they were read, `table` and
    `rejects` what became of them.  `repeats` are the reasons of rejects that speak of other files.
    """

    def __init__(
        self,
        log_files: Sequence[dict[str, Any]],
        table: pl.LazyFrame,
        rejects: pl.LazyFrame,
        repeats: str,
    ) -> None:
        self._files = {facts["file"]: facts for facts in log_files}
        self._place = {facts["file"]: i for i, facts in enumerate(log_files)}
        self._rows = table.select("log_file", "conversation_id", "user_id", "started_at").collect()
        self._ranges = _ranges(self._rows["log_file"])
        side = rejects.collect()
        self._rejects: dict[str, list[dict[str, Any]]] = {}
        for row in side.iter_rows(named=True):
            self._rejects.setdefault(row["file"], []).append(row)
        self._repeats = {r["file"] for r in side.iter_rows(named=True) if r["reason"] == repeats}
        twice = Counter(facts["file"] for facts in log_files)
        self._unclear = {name for name, n in twice.items() if n > 1} | {
            name for name, ranges in self._ranges.items() if len(ranges) > 1
        }
        self._whole = 0
        """How many of its first files came again as they were, each in its place."""

    def of(self, file: LogFile) -> OfFile | None:
        """What was made of a file, where that would be made of it again; None where it must be
        read. Ask for the files in the order in which they are read."""
        facts = self._files.get(file.name)
        if facts is None or digest(file) != (facts["sha256"], facts["bytes"]):
            return None
        place = self._place[file.name]
        undisturbed = place <= self._whole
        self._whole += place == self._whole
        if file.name in self._unclear or (file.name in self._repeats and not undisturbed):
            return None  # of a repeated conversation nobody can tell whether it still is one
        start, stop = self._ranges.get(file.name, [(0, 0)])[0]
        times = self._rows["started_at"][start:stop].drop_nulls()
        limits = (times.min(), times.max()) if len(times) else ()
        return OfFile(
            start,
            stop,
            self._rows["conversation_id"][start:stop].to_list(),
            self._rows["user_id"][start:stop].to_list(),
            tuple(t for t in limits if isinstance(t, datetime)),
            self._rejects.get(file.name, []),
            dict(facts),
        )


def _ranges(names: pl.Series) -> Mapping[str, list[tuple[int, int]]]:
    """Name -> the stretches of rows that bear it."""
    found: dict[str, list[tuple[int, int]]] = {}
    start = 0
    for length, name in _runs(names):
        found.setdefault(name, []).append((start, start + length))
        start += length
    return found


def _runs(names: pl.Series) -> Iterable[tuple[int, str]]:
    return names.rle().struct.unnest().iter_rows()
