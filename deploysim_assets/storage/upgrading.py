"""Homes of an earlier deploysim: manifests are written beside their table versions, which stay as
they are, and a record of the ledger names them all."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import polars as pl

from deploysim_assets.project import ProjectError
from deploysim_assets.storage import disk, ledger, manifests
from deploysim_assets.storage.journal import framed, lines, locked
from deploysim_assets.storage.journals import journal_files
from deploysim_assets.storage.locks import alone
from deploysim_assets.storage.manifests import MANIFEST, UPGRADED_FORMAT, Run
from deploysim_assets.storage.statements import digest
from deploysim_assets.storage.tables import POINTER, Lake
from deploysim_assets.storage.versions import STATS


class Upgraded(NamedTuple):
    """What an upgrade came to."""

    versions: int
    answers: int
    record: int


def upgrade_home(home: Path) -> Upgraded | None:
    """Bring a home up to date; None where it is. Interrupted at any moment, it can be run again.

    ProjectError where the old ledger does not hold, or a run is under way.
    """
    lake = Lake(home / "lake")
    with alone(home, "run `deploysim upgrade` again"):
        made = [record for record in ledger.read(home) if record.kind == ledger.UPGRADE]
        if not (_has_old_pointers(lake) or ((home / ledger.LEDGER_FILE).exists() and not made)):
            return None
        if made:  # killed when only the pointers were left to do
            _point(lake, made[0].seals)
            return Upgraded(made[0].body["versions"], made[0].body["answers"], made[0].seq)
        answers = sum(_say_whose(path, lake) for path in journal_files(home))
        named = dict(_manifests(lake))
        pointers = {place: lake.pointer(*place[:2]) for place in lake.places()}
        current = {
            place[2].relative_to(home).as_posix(): pointer["version"]
            for place, pointer in pointers.items()
            if pointer is not None
        }
        body = {"versions": len(named), "answers": answers, "current": current}
        record = ledger.append(home, ledger.UPGRADE, "", body, named or None)
        _point(lake, named)
    return Upgraded(len(named), answers, record.seq)


def _point(lake: Lake, manifests_of: Mapping[str, str]) -> None:
    """Write beside each old pointer the manifest of the version that it names."""
    for asset, key, folder in lake.places():
        pointer = lake.pointer(asset, key)
        if pointer is not None and "manifest" not in pointer:
            path = (folder / pointer["version"]).relative_to(lake.home).as_posix()
            if path not in manifests_of:
                raise ProjectError(
                    f"{folder / POINTER}: names {pointer['version']}, which is not whole; restore "
                    "it from a copy, or take the pointer away"
                )
            lake.point_to(asset, key, pointer["version"], manifests_of[path])


def _has_old_pointers(lake: Lake) -> bool:
    pointers = (lake.pointer(asset, key) for asset, key, _ in lake.places())
    return any(pointer is not None and "manifest" not in pointer for pointer in pointers)


def _manifests(lake: Lake) -> Iterator[tuple[str, str]]:
    """Write a manifest beside every whole version that has none; path and digest of each."""
    for asset, key, folder in lake.places():
        for version in sorted(p for p in folder.glob("run=*") if (p / STATS).exists()):
            if not (version / MANIFEST).exists():
                disk.create(version / MANIFEST, _manifest(lake, asset, key, version))
            content = (version / MANIFEST).read_bytes()
            path = version.relative_to(lake.home).as_posix()
            yield path, hashlib.sha256(content).hexdigest()


def _manifest(lake: Lake, asset: str, key: str | None, version: Path) -> bytes:
    """What can be told of a version afterwards: its files. What it was made from is in the facts
    beside it, as they were kept then."""
    parts = sorted(version.rglob("part-*.parquet"))
    paths = [*parts, version / STATS]
    found = disk.sha256_of_all(paths)
    names = {path: path.relative_to(lake.home).as_posix() for path in paths}
    files = [
        {
            "name": names[path],
            "bytes": path.stat().st_size,
            "rows": pl.scan_parquet(path).select(pl.len()).collect().item()
            if path in parts
            else None,
        }
        for path in paths
    ]
    schema: dict[str, Any] = {}
    for part in parts:
        table = part.parent.relative_to(version).as_posix().replace(".", "main")
        columns = [[name, str(dtype)] for name, dtype in pl.read_parquet_schema(part).items()]
        schema[table] = {"sha256": digest(columns), "columns": columns}
    facts = {
        "format": UPGRADED_FORMAT,
        "files": files,
        "schema": schema,
        "content": digest({names[p].rpartition("/run=")[2]: found[p] for p in parts}),
        "inputs": [],
        "log_files": [],
        "ledger": None,
    }
    said = manifests.predicate(asset, key, version.name, Run(), facts)
    said["run"]["at"] = _made_at(version)
    said["code"], said["libraries"] = {"version": None}, {}
    return manifests.written({names[p]: found[p] or "" for p in paths}, said)


def _made_at(version: Path) -> str:
    """When a version became current, where its pointer still says so; else its files' time."""
    pointer = version.parent / POINTER
    if pointer.exists():
        held = json.loads(pointer.read_bytes())
        if held.get("version") == version.name and "written_at" in held:
            return held["written_at"]
    return datetime.fromtimestamp((version / STATS).stat().st_mtime, UTC).isoformat()


def _say_whose(path: Path, lake: Lake) -> int:
    """Write beside each completion in a journal which prefix it answers; returns how many say so.
    Answers of a judge cannot be told apart afterwards: the first withdrawal takes them all."""
    of: dict[str, str] = {}
    for asset, _, folder in lake.tables():
        columns = pl.read_parquet_schema(next(iter(sorted(folder.glob("part-*.parquet")))))
        if asset == path.parent.name and "request_key" in columns:
            found = pl.scan_parquet(folder / "part-*.parquet", hive_partitioning=False)
            rows = found.select("request_key", "prefix_id").drop_nulls().collect()
            of |= dict(rows.iter_rows())
    if not of:
        return 0
    said = 0
    kept: list[bytes] = []
    with locked(path):
        for body in lines(path):
            answer: dict[str, Any] = orjson.loads(body)
            if answer["key"] in of and "about" not in answer:
                answer["about"] = of[answer["key"]]
            said += "about" in answer
            kept.append(framed(orjson.dumps(answer)))
        disk.replace(path, b"".join(kept))
    return said
