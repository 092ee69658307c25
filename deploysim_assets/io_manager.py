"""Dagster's view of the tables in storage/: the I/O manager, and what the UI shows of a version."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from deploysim_assets.evidence.openlineage import emit
from deploysim_assets.runs import hold_partition
from deploysim_assets.schema.lineage import LINEAGE, resolved
from deploysim_assets.schema.meanings import Meaning, meanings
from deploysim_assets.storage import ledger
from deploysim_assets.storage.manifests import Run, user
from deploysim_assets.storage.tables import Lake, Made

LAUNCHED_BY = "deploysim/launched_by"
"""The run tag that says who launched a run; without it the user of the process did."""


def making(context: dg.AssetExecutionContext, lake: Lake, settings: Mapping[str, Any]) -> Lake:
    """The tables as one run of an asset reads and writes them: what it reads, the `settings` of the
    project's files that it goes by, and who launched it go into the manifest of what it writes.

    The partition is this run's alone until the step ends; a second run waits here for the first.
    """
    hold_partition(context, lake.home)
    tags = context.run.tags
    launched_by = tags.get(LAUNCHED_BY) or tags.get("user") or user()
    if "dagster/from_automation_condition" in tags:
        launched_by = f"automation of {launched_by}"
    lineage = LINEAGE.get(context.asset_key.to_user_string(), {})
    settings = {"column_lineage": lineage, **settings} if lineage else settings
    return lake.during(Run(context.run.run_id, launched_by, settings))


def markdown(label: str, parts: Sequence[str]) -> dict[str, Any]:
    """Texts that the UI shows at once, under a label each: `plot`, `plot 2`, ..."""
    return {
        label if i == 1 else f"{label} {i}": dg.MetadataValue.md(part)
        for i, part in enumerate(parts, 1)
    }


def column_schema(types: Mapping[str, Any], said: Mapping[str, Meaning]) -> dg.TableSchema:
    """The columns of a table with types, descriptions and, as tags, units."""
    return dg.TableSchema(
        [
            dg.TableColumn(
                name,
                str(dtype),
                said[name].text,
                tags={"unit": said[name].unit} if said[name].unit else None,
            )
            for name, dtype in types.items()
        ]
    )


def column_lineage(lineage: Mapping[str, Sequence[str]]) -> dg.TableColumnLineage:
    """Column -> `asset.column`, as Dagster shows it."""
    return dg.TableColumnLineage(
        {
            column: [dg.TableColumnDep(*source.split(".", 1)) for source in sources]
            for column, sources in lineage.items()
        }
    )


def table_metadata(
    lake: Lake, asset: str, key: str | None, said: Mapping[str, Meaning] | None = None
) -> dict[str, Any]:
    """What Dagster's UI shows of the current version: rows, version, path, columns and what they
    are made from. `said` describes the columns of a SQL model."""
    scan = lake.scan(asset, key)
    types = scan.collect_schema()
    manifest = lake.manifest(asset, key)
    assert manifest is not None, "the table was just written"
    lineage = resolved(manifest.predicate["settings"].get("column_lineage", {}), types)
    return {
        "dagster/row_count": int(scan.select(pl.len()).collect().item()),
        "dagster/column_schema": column_schema(types, said or meanings(asset, types)),
        "dagster/column_lineage": column_lineage(lineage),
        "version": lake.current(asset, key) or "",
        "manifest": manifest.digest,
        "path": dg.MetadataValue.path(str(lake.folder(asset, key))),
    }


def table_result(
    lake: Lake,
    asset: str,
    key: str | None,
    facts: Mapping[str, Any],
    checks: Sequence[dg.AssetCheckResult] = (),
    said: Mapping[str, Meaning] | None = None,
) -> dg.MaterializeResult[Any]:
    """The result of an asset that wrote its table itself: the facts of its funnel and its plots,
    what the UI shows of any table, and a data version that is equal for equal content."""
    manifest = lake.manifest(asset, key)
    assert manifest is not None, "the table was just written"
    unchanged = lake.run is not None and manifest.predicate["run"]["id"] != lake.run.id
    if not unchanged:
        emit(manifest)
    return dg.MaterializeResult(
        metadata={**facts, **table_metadata(lake, asset, key, said), "unchanged": unchanged},
        data_version=dg.DataVersion(manifest.predicate["content"]),
        check_results=checks,
    )


def written(
    context: dg.AssetExecutionContext,
    lake: Lake,
    frame: pl.DataFrame,
    facts: Mapping[str, Any],
    seal: Callable[[Made], object] | None = None,
    stats: Mapping[str, Any] | None = None,
    beside: Mapping[str, pl.DataFrame] | None = None,
) -> dg.MaterializeResult[Any]:
    """Write an asset's small table whole, sealed where it is to be, with `stats` and side tables
    beside it, and give its result."""
    asset = context.asset_key.to_user_string()
    key = context.partition_key if context.has_partition_key else None
    lake.write(asset, key, frame, seal=seal, stats=stats, beside=beside)
    return table_result(lake, asset, key, facts)


def finding(context: dg.AssetExecutionContext, lake: Lake) -> Callable[[Made], object]:
    """Seals a table that nothing is made from and that people read beside the forecast."""
    asset = context.asset_key.to_user_string()
    key = context.partition_key if context.has_partition_key else ""

    def seal(made: Made) -> object:
        return ledger.append(lake.home, "finding", key, {"asset": asset}, made.seals)

    return seal


class LakeIOManager(dg.ConfigurableIOManager):
    """Stores what an asset returns as a new version, and hands an upstream table on as a
    LazyFrame of its current version."""

    base: str

    def handle_output(self, context: dg.OutputContext, obj: pl.DataFrame) -> None:
        asset = context.asset_key.to_user_string()
        key = context.partition_key if context.has_partition_key else None
        lake = Lake(Path(self.base))
        lake.write(asset, key, obj, context.run_id)
        context.add_output_metadata(table_metadata(lake, asset, key))

    def load_input(self, context: dg.InputContext) -> pl.LazyFrame:
        lake, asset = Lake(Path(self.base)).held(), context.asset_key.to_user_string()
        keys = context.asset_partition_keys if context.has_asset_partitions else [None]
        return pl.concat([lake.scan(asset, key) for key in keys])
