"""Rows of a table's current version that the next one takes over instead of making them again.

What is taken over is what would be made: the next version is the same, byte for byte, as one made
from nothing. So the earlier version is no input of it; `reused` beside the table says what was
taken from where.
"""

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import polars as pl

from deploysim_assets.project import ProjectError
from deploysim_assets.storage import disk, manifests
from deploysim_assets.storage.manifests import FORMAT, Manifest
from deploysim_assets.storage.tables import Lake
from deploysim_assets.storage.versions import ROWS_PER_FILE, Version, scan_folder

Expected = Callable[[str, str], str]
"""File (relative to the home) and its digest when it was written -> its digest today, after what
withdrawals took out of it."""


class Part(NamedTuple):
    """A file of a main table: where it lies, its rows as they are now, and its SHA-256 when it was
    written."""

    path: Path
    rows: int
    written: str


def _main_files(lake: Lake, manifest: Manifest) -> dict[str, str]:
    """The files of a version's main table, in order, with their digests when they were written."""
    main = manifest.path.parent.relative_to(lake.home).as_posix() + "/part-"
    return {f: digest for f, digest in sorted(manifest.files.items()) if f.startswith(main)}


def parts_of(lake: Lake, manifest: Manifest) -> list[Part]:
    """The files of a version's main table, in order; an OSError where one is out of reach."""
    found: list[Part] = []
    for file, digest in _main_files(lake, manifest).items():
        path = lake.home / file
        rows = pl.scan_parquet(path, hive_partitioning=False).select(pl.len()).collect().item()
        found.append(Part(path, int(rows), digest))
    return found


class Earlier:
    """A version of a table that is as it was written, but for withdrawals."""

    def __init__(self, manifest: Manifest, parts: Sequence[Part]) -> None:
        self.manifest, self.parts = manifest, parts
        self._starts = [sum(p.rows for p in parts[:i]) for i in range(len(parts))]
        self._held: tuple[int, pl.DataFrame] | None = None

    def scan(self, table: str = "") -> pl.LazyFrame:
        """The main table, or one beside it."""
        return scan_folder(self.manifest.path.parent / table)

    def _part(self, number: int) -> pl.DataFrame:
        if self._held is None or self._held[0] != number:
            path = self.parts[number].path
            self._held = number, pl.read_parquet(path, hive_partitioning=False)
        return self._held[1]

    def gathered(self, numbers: Sequence[int]) -> Iterator[pl.DataFrame]:
        """Rows by number, in that order; quick where they mostly rise."""
        for i, some in groupby(numbers, lambda n: bisect_right(self._starts, n) - 1):
            yield self._part(i)[[n - self._starts[i] for n in some]]

    def give(self, version: Version, start: int, stop: int) -> None:
        """Add the rows from `start` up to `stop` to a version that is being written: whole files
        by a link, where they come to stand in whole files again."""
        for i, (first, part) in enumerate(zip(self._starts, self.parts, strict=True)):
            low, high = max(start, first), min(stop, first + part.rows)
            if low >= high:
                continue
            if high - low == part.rows == ROWS_PER_FILE and version.at_file_start:
                version.link(part.path, part.rows, part.written)
            else:
                version.take(self._part(i)[low - first : high - first])


def earlier(
    lake: Lake, asset: str, key: str | None, settings: Collection[str], expected: Expected
) -> Earlier | None:
    """The current version of a table, where the next would be made as it was: by the same code and
    libraries, and the same of the run's `settings`. None where there is none, or where its files
    are not as they were written (or as withdrawals left them): then all is made again."""
    assert lake.run is not None, "a view of one making"
    try:
        name = lake.current(asset, key)
    except ProjectError:
        return None
    found = lake.manifest(asset, key, name) if name else None
    if found is None or found.predicate["format"] != FORMAT:
        return None
    made, now = found.predicate, lake.run.settings
    same = (
        all(made["settings"].get(name) == now.get(name) for name in settings)
        and made["code"].get("files") == manifests.code()["files"]
        and made["libraries"] == manifests.libraries()
    )
    return as_written(lake, found, expected) if same else None


def as_written(lake: Lake, manifest: Manifest, expected: Expected) -> Earlier | None:
    """A version whose files are as they were written, or as withdrawals left them; else None."""
    files = manifest.files
    found = disk.sha256_of_all(lake.home / file for file in files)
    if any(found[lake.home / file] != expected(file, digest) for file, digest in files.items()):
        return None
    return Earlier(manifest, parts_of(lake, manifest))


class Stays(NamedTuple):
    """Which files of a version are files of an older one, too: `rows` of each, in order, and
    whether it is; `left` are the older one's others, as they were written."""

    rows: list[tuple[int, bool]]
    left: list[Path]


def stays(lake: Lake, old: Manifest, new: Manifest, expected: Expected) -> Stays:
    """Compare two versions of a table file by file."""
    then, now = _main_files(lake, old), parts_of(lake, new)
    today = {part.written for part in now}
    left = {file: digest for file, digest in then.items() if digest not in today}
    found = disk.sha256_of_all(lake.home / file for file in left)
    whole = [
        file for file, digest in left.items() if found[lake.home / file] == expected(file, digest)
    ]
    before = set(then.values())
    return Stays(
        [(part.rows, part.written in before) for part in now],
        [lake.home / file for file in whole],
    )
