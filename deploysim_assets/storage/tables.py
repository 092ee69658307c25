"""Versioned folders of Parquet per asset and partition, each with its manifest, and a pointer to
the current one.

`lake/<asset>/model_version=<key>/run=<version>/part-*.parquet`. A version becomes current when its
files and its manifest are on disk and the pointer `_CURRENT` is replaced, so a reader sees the old
table or the new one and a crash leaves the old. Older versions stay: a report names the version it
judged.
"""

import contextlib
import hashlib
import json
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Self, cast

import polars as pl

from deploysim_assets.project import ProjectError, SealError
from deploysim_assets.storage import disk, ledger, manifests, verdicts
from deploysim_assets.storage.as_written import AsWritten
from deploysim_assets.storage.locks import adding, asking, held_while_writing
from deploysim_assets.storage.manifests import (
    FORMAT,
    MANIFEST,
    MANIFEST_TYPE,
    UPGRADED_FORMAT,
    Input,
    Manifest,
    Run,
)
from deploysim_assets.storage.mirrors import mirror_of
from deploysim_assets.storage.older_schemas import as_today
from deploysim_assets.storage.statements import digest, parsed
from deploysim_assets.storage.versions import (
    BATCH,
    STATS,
    WRITING,
    Version,
    being_written,
    clear_left_behind,
    scan_folder,
    take_back,
)
from deploysim_assets.storage.withdrawals import Mark, open_mark

POINTER = "_CURRENT"
ANSWERS = "answers"
"""The side table of the answers that a table of completions or grades was made from."""
SENTINEL_ANSWERS = "sentinel_answers"
"""The same of the sentinels that were graded beside a table of grades."""
SEEN_TURNS = "turns"
"""The side table of grades that says what was seen of each turn step by step."""
ANSWER_TABLES = frozenset((ANSWERS, SENTINEL_ANSWERS))
_PRIVATE = frozenset({"raw_logs"})


class Made(NamedTuple):
    """A version with its files and its manifest on disk, just before it becomes current."""

    name: str
    path: str
    manifest: str

    @property
    def seals(self) -> dict[str, str]:
        """What a ledger record that vouches for the version names."""
        return {self.path: self.manifest}


class Lake:
    """Reads and writes table versions below one folder. A view made by `during` notes what is read
    through it: that becomes the inputs of the versions written through it. What is read through it,
    or through one made by `held`, is as it was written."""

    def __init__(self, base: Path, run: Run | None = None) -> None:
        self.base, self.home = base, base.parent
        self.run = run
        self._as_written = AsWritten(self.home) if run is not None else None
        self._read: dict[tuple[str, str | None, str], Manifest] = {}
        self._mark: Mark | None = None

    @classmethod
    def of(cls, home: Path) -> Self:
        """The tables of a home."""
        return cls(home / "lake")

    def during(self, run: Run) -> Self:
        """The same tables for one making of one table: what is read is noted down for its
        manifest. ProjectError while a withdrawal is not carried out to its end."""
        view = type(self)(self.base, run)
        with adding(self.home):  # waits for a withdrawal that is being carried out
            if mirror := mirror_of(self.home):
                mirror.pull()
            view._mark = open_mark(self.home)
        return view

    def held(self) -> Self:
        """The same tables for who prints what they say: SealError where what is read is not as it
        was written."""
        return type(self)(self.base, Run())

    @contextlib.contextmanager
    def asking(self) -> Generator[None]:
        """Held by a run while it asks about what it read through this view; ProjectError where
        somebody withdrew since, whose answers would come back into a journal."""
        with asking(self.home):
            if self._mark is not None:
                self._mark.still_holds(self.home)
            yield

    def folder(self, asset: str, key: str | None) -> Path:
        """The folder of one asset and partition; None is an asset without partitions."""
        return self.base / asset / f"model_version={key}" if key else self.base / asset

    def pointer(self, asset: str, key: str | None) -> dict[str, Any] | None:
        """What the pointer to the current version says, unverified; None where there is none."""
        try:
            found: dict[str, Any] = json.loads((self.folder(asset, key) / POINTER).read_bytes())
            whole = isinstance(found["version"], str)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            found, whole = {}, False
        if not whole:
            raise ProjectError(
                f"{self.folder(asset, key) / POINTER}: not a pointer to a table version; restore "
                f"it from a copy, or take it away and materialize {asset} again"
            )
        return found

    def current(self, asset: str, key: str | None) -> str | None:
        """The name of the current version, or None where nothing was written yet; ProjectError
        where its manifest is not whole."""
        pointer = self.pointer(asset, key)
        if pointer is None:
            return None
        self._manifest(asset, key, pointer)
        return pointer["version"]

    def _manifest(self, asset: str, key: str | None, pointer: Mapping[str, Any]) -> Manifest:
        if "manifest" not in pointer:
            raise ProjectError(
                f"{self.home}: was written by an earlier deploysim; run `deploysim upgrade` first"
            )
        found = self.manifest(asset, key, pointer["version"])
        if found is None or found.digest != pointer["manifest"]:
            raise SealError(
                f"{self.folder(asset, key)}: the manifest of {pointer['version']} is missing or "
                "not the one that it became current with; `deploysim audit ledger` says what holds"
            )
        if found.predicate["format"] > FORMAT:
            raise ProjectError(
                f"{self.folder(asset, key)}: {pointer['version']} was written by a later "
                "deploysim; install that one"
            )
        return found

    def manifest(self, asset: str, key: str | None, version: str | None = None) -> Manifest | None:
        """The manifest of a version (by default the current one), or None where it has no whole
        one."""
        pointer = self.pointer(asset, key) if version is None else {"version": version}
        try:
            return manifests.read(
                self.folder(asset, key) / (pointer or {"version": ""})["version"] / MANIFEST
            )
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None

    def manifest_bytes(self, path: str) -> bytes | None:
        """The manifest of a version by its path relative to the home, as it lies there."""
        try:
            return disk.read(self.home / path / MANIFEST)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _resolve(
        self, asset: str, key: str | None, version: str | None, table: str = "", *names: str
    ) -> Path:
        """The folder of a version, of which a table (or the files named) is to be read."""
        name = version or self.current(asset, key)
        folder = self.folder(asset, key) / (name or "")
        if name is None or not folder.is_dir():
            which = f"version {version} of {asset}" if version else asset
            raise ProjectError(
                f"{which}[{key}]: there is no such table in {self.base}; materialize {asset} for "
                f"{key} first"
            )
        if self.run is not None and (asset, key, name) not in self._read:
            found = self.manifest(asset, key, name)
            if found is None:
                raise ProjectError(f"{folder}: has no whole manifest; materialize {asset} again")
            self._read[asset, key, name] = found
        if self._as_written is not None:
            self._as_written.hold(self._read[asset, key, name], folder / table, names)
        return folder

    def scan(
        self, asset: str, key: str | None, version: str | None = None, table: str = ""
    ) -> pl.LazyFrame:
        """The current version of a table (or the one named) as a LazyFrame; ProjectError where it
        was never written."""
        folder = self._resolve(asset, key, version, table)
        frame = scan_folder(folder / table)
        held = self.manifest(asset, key, folder.name)
        old = held is not None and held.predicate["format"] < FORMAT and not table
        return as_today(asset, frame) if old else frame

    def glob(self, asset: str, key: str | None, version: str | None = None) -> str:
        """The Parquet files of a table version, as DuckDB takes them."""
        return str(self._resolve(asset, key, version) / "part-*.parquet")

    def rows(
        self,
        asset: str,
        key: str | None,
        version: str | None = None,
        columns: Sequence[str | pl.Expr] | None = None,
        table: str = "",
    ) -> Iterator[dict[str, Any]]:
        """The rows of a table in the order in which they were written, a few thousand in memory
        at a time."""
        scan = self.scan(asset, key, version, table)
        for batch in (scan.select(columns) if columns else scan).collect_batches(
            chunk_size=BATCH, maintain_order=True
        ):
            yield from batch.iter_rows(named=True)

    def digest(self, asset: str, key: str | None, version: str) -> str:
        """SHA-256 over the bytes of a version's main table, file by file in order: how a
        registration of an upgraded home names its prefix set."""
        total = hashlib.sha256()
        for file in sorted(self._resolve(asset, key, version).glob("part-*.parquet")):
            total.update(bytes.fromhex(disk.sha256(file)))
        return total.hexdigest()

    def stats(self, asset: str, key: str | None, version: str | None = None) -> dict[str, Any]:
        """The facts that were written beside a table version: counts of its funnel, never text."""
        return json.loads((self._resolve(asset, key, version, "", STATS) / STATS).read_text())

    def keep_verdict(self, asset: str, key: str, checks: Mapping[str, bool]) -> None:
        """Keep what the blocking checks said of the current version."""
        manifest = self.manifest(asset, key)
        if manifest is not None:
            verdicts.save(self.home, manifest, checks)

    def written_rows(self, asset: str, key: str | None, version: str | None = None) -> int:
        """How many rows the main table of a version was written with: what lies there less what
        users have withdrawn since is the audit's business."""
        folder = self._resolve(asset, key, version)
        manifest = self.manifest(asset, key, folder.name)
        assert manifest is not None, "a version that can be read has one"
        main = f"{folder.relative_to(self.home).as_posix()}/part-"
        files = (f for f in manifest.predicate["files"] if f["name"].startswith(main))
        return sum(file["rows"] for file in files)

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

    def whole_tables(self) -> Iterator[tuple[str, str | None, Path]]:
        """Every table of every version that is not just being written."""
        for asset, key, folder in self.tables():
            version = folder if folder.name.startswith("run=") else folder.parent
            if not being_written(version):
                yield asset, key, folder

    def places(self) -> Iterator[tuple[str, str | None, Path]]:
        """Every asset and partition that something was written for, with its folder."""
        for asset in sorted(p for p in self.base.glob("*") if p.is_dir()):
            parts = sorted(asset.glob("model_version=*"))
            for folder in parts:
                yield asset.name, folder.name.removeprefix("model_version="), folder
            if not parts:
                yield asset.name, None, asset

    def versions(self, asset: str, key: str | None) -> list[str]:
        """The names of all versions of a table that lie there, oldest first where it is known."""
        folders = [f for f in self.folder(asset, key).glob("run=*") if f.is_dir()]
        found = {f.name: self.manifest(asset, key, f.name) for f in folders}
        late = datetime.max.replace(tzinfo=UTC)
        made = {name: manifest.made_at if manifest else late for name, manifest in found.items()}
        return sorted(made, key=lambda name: (made[name], name))

    @contextlib.contextmanager
    def new_version(
        self,
        asset: str,
        key: str | None,
        schema: Mapping[str, Any],
        label: str = "",
        seal: Callable[[Made], object] | None = None,
    ) -> Generator[Version]:
        """Write a version and make it current when the block ends without an error; an error
        leaves the old one current. Where the rows and columns are those of the current version,
        that one stays, and nothing is sealed anew: `Version.name` is then its name.

        `seal` is called with the version on disk, before it is current: what it appends to the
        ledger names the manifest.
        """
        run = self.run or Run(label)
        place = self.folder(asset, key)
        if asset in _PRIVATE:
            self.base.mkdir(parents=True, exist_ok=True)
            (self.base / asset).mkdir(mode=0o700, exist_ok=True)
        clear_left_behind(place)
        folder = place / f"run={run.id[:8]}-{uuid.uuid4().hex[:6]}"
        folder.mkdir(parents=True)
        version = Version(folder, schema)
        sealed = False
        try:
            with held_while_writing(folder / WRITING):
                yield version
                version.finish()
            content = self._manifest_of(asset, key, run, version)
            with adding(self.home):
                if self._mark is not None:
                    self._mark.still_holds(self.home)
                sealing = seal is not None
                same = self._current_if_same(asset, key, content, version, sealed=sealing)
                if same is not None:
                    take_back(folder)
                    version.name, version.folder = same, place / same
                    return
                disk.written([*version.rows, folder / STATS])
                disk.create(folder / MANIFEST, content)
                (folder / WRITING).unlink()
                path = folder.relative_to(self.home).as_posix()
                made = Made(version.name, path, hashlib.sha256(content).hexdigest())
                if seal is not None:
                    seal(made)
                sealed = True
                self.point_to(asset, key, made.name, made.manifest)
        except BaseException:
            if not sealed:
                take_back(folder)
            raise

    def _current_if_same(
        self,
        asset: str,
        key: str | None,
        content: bytes,
        version: Version,
        *,
        sealed: bool,
    ) -> str | None:
        """The current version, where it holds what a new one would, with the same facts beside it
        but for what asking cost, is as it was written, and is in the ledger if it is to be
        sealed."""
        try:
            pointer = self.pointer(asset, key)
            held = self._manifest(asset, key, pointer) if pointer else None
        except ProjectError:
            return None
        if held is None or held.predicate["format"] == UPGRADED_FORMAT:
            return None
        _, new = parsed(content, MANIFEST_TYPE)
        if any(held.predicate[name] != new[name] for name in ("content", "schema")):
            return None
        found = disk.sha256_of_all(self.home / file for file in held.files)
        if any(found[self.home / file] != digest for file, digest in held.files.items()):
            return None
        then = json.loads((held.path.parent / STATS).read_bytes())
        now = json.loads((version.folder / STATS).read_bytes())
        if _without_costs(then) != _without_costs(now):
            return None
        path = held.path.parent.relative_to(self.home).as_posix()
        in_ledger = any(r.seals.get(path) == held.digest for r in ledger.read(self.home))
        return held.version if in_ledger or not sealed else None

    def point_to(self, asset: str, key: str | None, version: str, manifest: str) -> None:
        """Make a version with a whole manifest the current one."""
        now = datetime.now(UTC).isoformat()
        pointer = {"version": version, "manifest": manifest, "written_at": now}
        disk.swap(self.folder(asset, key) / POINTER, json.dumps(pointer).encode())

    def _manifest_of(self, asset: str, key: str | None, run: Run, version: Version) -> bytes:
        paths = [*version.rows, version.folder / STATS]
        found = {
            **disk.sha256_of_all(path for path in paths if path not in version.digests),
            **version.digests,
        }
        names = {path: path.relative_to(self.home).as_posix() for path in paths}
        digests = {names[path]: found[path] or "" for path in paths}
        files = [
            {"name": names[p], "bytes": p.stat().st_size, "rows": version.rows.get(p)}
            for p in paths
        ]
        read = sorted(self._read.items(), key=lambda item: tuple(map(str, item[0])))
        inputs = [Input(*where, held.digest)._asdict() for where, held in read]
        content = {
            path.relative_to(version.folder).as_posix(): digests[names[path]]
            for path in version.rows
            if path.parent.name not in ANSWER_TABLES
        }
        facts = {
            "files": files,
            "schema": version.schemas(),
            "content": digest(content),
            "inputs": inputs,
            "log_files": version.log_files,
            "ledger": ledger.head(self.home)._asdict(),
        }
        said = manifests.predicate(asset, key, version.name, run, facts)
        return manifests.written(digests, said)

    def write(
        self,
        asset: str,
        key: str | None,
        frame: pl.DataFrame,
        label: str = "",
        stats: Mapping[str, Any] | None = None,
        seal: Callable[[Made], object] | None = None,
        beside: Mapping[str, pl.DataFrame] | None = None,
    ) -> str:
        """Write a small table whole, with the side tables `beside` it; returns the version's
        name."""
        with self.new_version(asset, key, frame.schema, label, seal) as version:
            version.extend(frame)
            for table, rows in (beside or {}).items():
                version.side_table(table, rows.schema)
                version.extend(rows, table)
            version.stats |= dict(stats or {})
        return version.name


_COSTS = frozenset(
    (
        "asked", "from_journal", "retries", "judge_calls", "judge_calls_from_journal",
        "prompt_tokens", "completion_tokens", "cost", "tokens_of_all_runs", "cost_of_all_runs",
        "usage_estimated", "counted_tokens", "reused",
    )
)  # fmt: skip
"""Facts of the run, not of the table: one that finds all in the journal, or takes rows over from
the version before, has others."""


def _without_costs(facts: Any) -> Any:
    """Facts as they are read from JSON, without those of the run."""
    if isinstance(facts, dict):
        held = cast("dict[str, Any]", facts)
        return {k: _without_costs(v) for k, v in held.items() if k not in _COSTS}
    return facts
