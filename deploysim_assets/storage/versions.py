"""A table version while it is written, and what its folder says of that."""

import contextlib
import io
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from deploysim_assets.storage import disk
from deploysim_assets.storage.locks import is_free
from deploysim_assets.storage.manifests import MANIFEST
from deploysim_assets.storage.mirrors import mirror_of
from deploysim_assets.storage.objects import StoreError
from deploysim_assets.storage.statements import digest

ROWS_PER_FILE = 20_000
STATS = "_STATS.json"
WRITING = "_WRITING"
"""Marks a version that is being written; locked while its writer lives."""
BATCH = 2_000
ROW_GROUP = 20_000  # with the default the writer held twice the memory


class Version:
    """A table version being written: add rows to it, put facts about it into `stats`; it counts
    once `Lake.new_version` exits."""

    def __init__(self, folder: Path, schema: Mapping[str, Any]) -> None:
        self.folder = folder
        self.name = folder.name
        self.stats: dict[str, Any] = {}
        self.log_files: list[dict[str, Any]] = []
        self.rows: dict[Path, int | None] = {}
        self.digests: dict[Path, str] = {}
        """SHA-256 of the files that are known to have it."""
        self._schemas = {"": pl.Schema(schema)}
        self._rows: dict[str, list[dict[str, Any]]] = {"": []}
        self._frames: dict[str, list[pl.DataFrame]] = {"": []}
        self._files: dict[str, int] = {"": 0}

    def side_table(self, table: str, schema: Mapping[str, Any]) -> None:
        """Declare a table kept beside the main one: rejected or quarantined rows, or answers. Once
        more is no harm."""
        if table in self._schemas:
            return
        self._schemas[table] = pl.Schema(schema)
        self._rows[table], self._frames[table], self._files[table] = [], [], 0

    def add(self, row: dict[str, Any], table: str = "") -> None:
        """Add a row; one that does not fit the table's schema raises polars' error with its
        batch."""
        self._rows[table].append(row)
        if len(self._rows[table]) >= BATCH:
            self._pack(table)

    def extend(self, frame: pl.DataFrame, table: str = "") -> None:
        """Add a whole frame."""
        self._frames[table].append(frame.match_to_schema(self._schemas[table]))

    def take(self, frame: pl.DataFrame, table: str = "") -> None:
        """Add the rows of a frame where the last row was added: the files are those that adding
        them one by one would give."""
        if self._rows[table]:
            self._pack(table)
        self.extend(frame, table)
        self._flush_full(table)

    @property
    def at_file_start(self) -> bool:
        """Whether the next row of the main table begins a file."""
        return not self._rows[""] and not any(f.height for f in self._frames[""])

    def link(self, part: Path, rows: int, digest: str) -> None:
        """Add a whole file of another version, which is `digest` and has the rows of a full one,
        as the next of the main table."""
        assert self.at_file_start and rows == ROWS_PER_FILE, "else the files would be others"
        target = self.folder / f"part-{self._files['']:05}.parquet"
        try:
            target.hardlink_to(part)
        except OSError:  # not all file systems have links
            shutil.copyfile(part, target)
        self.rows[target], self.digests[target] = rows, digest
        self._files[""] += 1

    def page(self, name: str, text: str) -> None:
        """Keep a text beside the table: as much the version's content as its rows are."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        self.rows[path] = None

    def _pack(self, table: str) -> None:
        # strict: a value of another type is a defect of ours, not a null
        self._frames[table].append(
            pl.DataFrame(self._rows[table], schema=self._schemas[table], strict=True)
        )
        self._rows[table] = []
        self._flush_full(table)

    def _flush_full(self, table: str) -> None:
        while (held := sum(f.height for f in self._frames[table])) >= ROWS_PER_FILE:
            frame = pl.concat(self._frames[table])
            self._frames[table] = [frame[:ROWS_PER_FILE]]
            self._flush(table)
            if held > ROWS_PER_FILE:
                self._frames[table] = [frame[ROWS_PER_FILE:]]

    def _flush(self, table: str) -> None:
        folder = self.folder / table
        folder.mkdir(exist_ok=True)
        path = folder / f"part-{self._files[table]:05}.parquet"
        frame = (
            pl.concat(self._frames[table])
            if self._frames[table]
            else pl.DataFrame(schema=self._schemas[table])
        )
        write_part(frame, path)
        self.rows[path] = frame.height
        self._frames[table], self._files[table] = [], self._files[table] + 1

    def finish(self) -> None:
        """Write what is pending (an empty table where nothing came) and the stats, and force all
        to disk."""
        for table in self._schemas:
            if self._rows[table]:
                self._pack(table)
            if self._frames[table] or not self._files[table]:
                self._flush(table)
        stats = self.folder / STATS
        stats.write_text(json.dumps(self.stats, sort_keys=True))
        disk.force([*self.rows, stats])

    def schemas(self) -> dict[str, dict[str, Any]]:
        """The columns and types of each table, with their SHA-256."""
        named = {table or "main": schema for table, schema in self._schemas.items()}
        columns = {t: [[name, str(dtype)] for name, dtype in s.items()] for t, s in named.items()}
        return {t: {"sha256": digest(found), "columns": found} for t, found in columns.items()}


def write_part(frame: pl.DataFrame, path: Path) -> None:
    """Write one file of a table: the same rows give the same bytes."""
    # Where a page of Parquet ends, polars tells by the buffers behind a column, which hold rows,
    # too, that a slice has left behind: after this they hold what is written, and nothing else.
    copied = io.BytesIO()
    frame.write_ipc(copied, compat_level=pl.CompatLevel.oldest())
    copied.seek(0)
    frame = pl.read_ipc(copied)
    frame.write_parquet(path, compression="zstd", row_group_size=ROW_GROUP)


def being_written(folder: Path) -> bool:
    """Whether a version has no manifest because it is being written, or its writer was killed. One
    that is empty or gone is just begun, or was just taken back."""
    try:
        # one look: each next one sees another state
        held = {path.name for path in folder.iterdir()}
    except FileNotFoundError:
        return True
    marked = any(name.startswith(WRITING) for name in held)
    return not held or (marked and MANIFEST not in held)


def take_back(folder: Path) -> None:
    """Remove a version that never became current. The mark goes last: without it the rest would
    be a version that lost its manifest."""
    with contextlib.suppress(OSError, StoreError):  # what cannot be removed keeps its mark
        for path in disk.names(folder):
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != WRITING:
                path.unlink()
        if mirror := mirror_of(folder):
            mirror.gone(folder)
        shutil.rmtree(folder)


def clear_left_behind(place: Path) -> None:
    """Remove what killed writers left of versions that never were whole."""
    for mark in place.glob(f"run=*/{WRITING}"):
        if not (mark.parent / MANIFEST).exists() and is_free(mark):
            take_back(mark.parent)


def scan_folder(folder: Path) -> pl.LazyFrame:
    """The Parquet files of a folder as one LazyFrame."""
    # hive_partitioning=False: polars reads the folder `model_version=5.10` as the number 5.1.
    return pl.scan_parquet(folder / "part-*.parquet", hive_partitioning=False)
