"""Tables read from bytes that were held against their manifest: what somebody puts into a file and
takes out again is not read unseen."""

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from deploysim_assets.project import ProjectError
from deploysim_assets.storage import disk
from deploysim_assets.storage.manifests import FORMAT, Manifest
from deploysim_assets.storage.older_schemas import as_today
from deploysim_assets.storage.tables import Lake
from deploysim_assets.storage.versions import STATS


def verified_parts(
    lake: Lake, asset: str, key: str | None, version: str | None
) -> Iterator[pl.LazyFrame]:
    """The files of a version's main table in order, each read once and whole into memory, and
    refused (ProjectError) where it is not as it was written."""
    lake.scan(asset, key, version)  # an input like any
    manifest = _manifest(lake, asset, key, version)
    folder = manifest.path.parent
    main = [lake.home / name for name in manifest.files]
    for path in sorted(p for p in main if p.parent == folder and p.suffix == ".parquet"):
        content = _content(lake, manifest, path)
        frame = pl.scan_parquet(io.BytesIO(content), hive_partitioning=False)
        yield as_today(asset, frame) if manifest.predicate["format"] < FORMAT else frame


def verified_batches(
    lake: Lake,
    asset: str,
    key: str | None,
    version: str | None,
    columns: Sequence[str | pl.Expr],
    size: int,
) -> Iterator[pl.DataFrame]:
    """`columns` of a version in frames of up to `size` rows, read as `verified_parts` does."""
    for part in verified_parts(lake, asset, key, version):
        yield from part.select(columns).collect_batches(chunk_size=size, maintain_order=True)


def verified_stats(
    lake: Lake, asset: str, key: str | None, version: str | None = None
) -> dict[str, Any]:
    """`Lake.stats`; ProjectError where they are not as they were written."""
    manifest = _manifest(lake, asset, key, version)
    return json.loads(_content(lake, manifest, manifest.path.parent / STATS))


def _manifest(lake: Lake, asset: str, key: str | None, version: str | None) -> Manifest:
    name = version or lake.current(asset, key)
    manifest = lake.manifest(asset, key, name) if name else None
    if manifest is None:
        raise ProjectError(f"{asset}[{key}]: has no whole version; materialize {asset} first")
    return manifest


def _content(lake: Lake, manifest: Manifest, path: Path) -> bytes:
    try:
        content = disk.read(path)
    except FileNotFoundError:
        content = b""
    said = manifest.files[path.relative_to(lake.home).as_posix()]
    if hashlib.sha256(content).hexdigest() != said:
        raise ProjectError(
            f"{path}: is not as it was written; `deploysim audit ledger` says what else is not: "
            f"restore it from a copy, or materialize {manifest.asset} again"
        )
    return content
