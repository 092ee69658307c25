"""Versioned folders of Parquet per asset and partition, with a pointer to the current one; and the
I/O manager over them.

`<base>/<asset>/model_version=<key>/run=<version>/part-*.parquet`. A version becomes current by one
rename of `_CURRENT`, so a reader sees the old table or the new one and a crash leaves the old.
Older versions stay: a report names the version it judged.
"""

import contextlib
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Generator, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from deploysim_assets.project import ProjectError

ROWS_PER_FILE = 20_000
_BATCH = 2_000
_ROW_GROUP = 20_000  # with the default the writer held twice the memory
_PRIVATE = frozenset({"raw_logs"})


class Version:
    """A table version being written: add rows to it, put facts about it into `stats`; it counts
    once `Lake.new_version` exits."""

    def __init__(self, folder: Path, schema: Mapping[str, Any]) -> None:
        self.folder = folder
        self.name = folder.name
        self.stats: dict[str, Any] = {}
        self._schemas = {"": pl.Schema(schema)}
        self._rows: dict[str, list[dict[str, Any]]] = {"": []}
        self._frames: dict[str, list[pl.DataFrame]] = {"": []}
        self._files: dict[str, int] = {"": 0}

    def side_table(self, table: str, schema: Mapping[str, Any]) -> None:
        """Declare a table kept beside the main one: rejected or quarantined rows."""
        self._schemas[table] = pl.Schema(schema)
        self._rows[table], self._frames[table], self._files[table] = [], [], 0

    def add(self, row: dict[str, Any], table: str = "") -> None:
        """Add a row; one that does not fit the table's schema raises polars' error with its
        batch."""
        self._rows[table].append(row)
        if len(self._rows[table]) >= _BATCH:
            self._pack(table)

    def extend(self, frame: pl.DataFrame) -> None:
        """Add a whole frame to the main table."""
        self._frames[""].append(frame.match_to_schema(self._schemas[""]))

    def _pack(self, table: str) -> None:
        # strict: a value of another type is a defect of ours, not a null
        self._frames[table].append(
            pl.DataFrame(self._rows[table], schema=self._schemas[table], strict=True)
        )
        self._rows[table] = []
        if sum(f.height for f in self._frames[table]) >= ROWS_PER_FILE:
            self._flush(table)

    def _flush(self, table: str) -> None:
        folder = self.folder / table
        folder.mkdir(exist_ok=True)
        path = folder / f"part-{self._files[table]:05}.parquet"
        frame = (
            pl.concat(self._frames[table])
            if self._frames[table]
            else pl.DataFrame(schema=self._schemas[table])
        )
        frame.write_parquet(path, compression="zstd", row_group_size=_ROW_GROUP)
        self._frames[table], self._files[table] = [], self._files[table] + 1

    def finish(self) -> None:
        """Write what is pending (an empty table where nothing came) and the stats."""
        for table in self._schemas:
            if self._rows[table]:
                self._pack(table)
            if self._frames[table] or not self._files[table]:
                self._flush(table)
        (self.folder / "_STATS.json").write_text(json.dumps(self.stats, sort_keys=True))


class Lake:
    """Reads and writes table versions below one folder."""

    def __init__(self, base: Path) -> None:
        self.base = base

    def folder(self, asset: str, key: str | None) -> Path:
        """The folder of one asset and partition; None is an asset without partitions."""
        return self.base / asset / f"model_version={key}" if key else self.base / asset

    def current(self, asset: str, key: str | None) -> str | None:
        """The name of the current version, or None where nothing was written yet."""
        try:
            return json.loads((self.folder(asset, key) / "_CURRENT").read_text())["version"]
        except FileNotFoundError:
            return None

    def _resolve(self, asset: str, key: str | None, version: str | None) -> Path:
        name = version or self.current(asset, key)
        folder = self.folder(asset, key) / (name or "")
        if name is None or not folder.is_dir():
            which = f"version {version} of {asset}" if version else asset
            raise ProjectError(
                f"{which}[{key}]: there is no such table in {self.base}; materialize {asset} for "
                f"{key} first"
            )
        return folder

    def scan(
        self, asset: str, key: str | None, version: str | None = None, table: str = ""
    ) -> pl.LazyFrame:
        """The current version of a table (or the one named) as a LazyFrame; ProjectError where
        it was never written."""
        folder = self._resolve(asset, key, version) / table
        # hive_partitioning=False: polars reads the folder `model_version=5.10` as the number 5.1.
        return pl.scan_parquet(folder / "part-*.parquet", hive_partitioning=False)

    def glob(self, asset: str, key: str | None, version: str | None = None) -> str:
        """The Parquet files of a table version, as DuckDB takes them."""
        return str(self._resolve(asset, key, version) / "part-*.parquet")

    def rows(
        self,
        asset: str,
        key: str | None,
        version: str | None = None,
        columns: Sequence[str | pl.Expr] | None = None,
    ) -> Iterator[dict[str, Any]]:
        """The rows of a table in the order in which they were written, a few thousand in memory
        at a time."""
        scan = self.scan(asset, key, version)
        for batch in (scan.select(columns) if columns else scan).collect_batches(
            chunk_size=_BATCH, maintain_order=True
        ):
            yield from batch.iter_rows(named=True)

    def digest(self, asset: str, key: str | None, version: str) -> str:
        """SHA-256 over the bytes of a version's main table, file by file in order."""
        total = hashlib.sha256()
        for file in sorted(self._resolve(asset, key, version).glob("part-*.parquet")):
            with file.open("rb") as stream:
                total.update(hashlib.file_digest(stream, "sha256").digest())
        return total.hexdigest()

    def stats(self, asset: str, key: str | None, version: str | None = None) -> dict[str, Any]:
        """The facts that were written beside a table version: counts of its funnel, never text."""
        return json.loads((self._resolve(asset, key, version) / "_STATS.json").read_text())

    def tables(self) -> Iterator[tuple[str, str | None, Path]]:
        """Every table of every version, side tables included: asset, partition key, folder of
        Parquet files."""
        for folder in sorted({file.parent for file in self.base.glob("**/part-*.parquet")}):
            asset, *inside = folder.relative_to(self.base).parts
            key = (
                inside[0].removeprefix("model_version=")
                if inside[0].startswith("model_version=")
                else None
            )
            yield asset, key, folder

    def drop_rows(self, folder: Path, doomed: pl.Expr) -> int:
        """Rewrite a table's files without the rows that `doomed` is true for; returns their
        number. Each file is replaced whole."""
        dropped = 0
        for path in sorted(folder.glob("part-*.parquet")):
            frame = pl.read_parquet(path, hive_partitioning=False)
            kept = frame.filter(~doomed.fill_null(value=False))
            if kept.height < frame.height:
                partial = path.with_suffix(".partial")
                kept.write_parquet(partial, compression="zstd", row_group_size=_ROW_GROUP)
                partial.replace(path)
                dropped += frame.height - kept.height
        return dropped

    @contextlib.contextmanager
    def new_version(
        self, asset: str, key: str | None, schema: Mapping[str, Any], label: str
    ) -> Generator[Version]:
        """Write a version and make it current when the block ends without an error; an error
        leaves the old one current."""
        place = self.folder(asset, key)
        if asset in _PRIVATE:
            self.base.mkdir(parents=True, exist_ok=True)
            (self.base / asset).mkdir(mode=0o700, exist_ok=True)
        folder = place / f"run={label[:8]}-{uuid.uuid4().hex[:6]}"
        folder.mkdir(parents=True)
        version = Version(folder, schema)
        try:
            yield version
            version.finish()
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        pointer = place / f".{version.name}.json"
        with pointer.open("w") as file:
            json.dump({"version": version.name, "written_at": datetime.now(UTC).isoformat()}, file)
            file.flush()
            os.fsync(file.fileno())
        pointer.replace(place / "_CURRENT")

    def write(
        self,
        asset: str,
        key: str | None,
        frame: pl.DataFrame,
        label: str,
        stats: Mapping[str, Any] | None = None,
    ) -> str:
        """Write a small table whole; returns the version's name."""
        with self.new_version(asset, key, frame.schema, label) as version:
            version.extend(frame)
            version.stats |= dict(stats or {})
        return version.name
