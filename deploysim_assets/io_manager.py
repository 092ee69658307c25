"""Dagster's view of the tables in storage/: the I/O manager, and what the UI shows of a version."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from deploysim_assets.storage.tables import Lake


def table_metadata(lake: Lake, asset: str, key: str | None) -> dict[str, Any]:
    """What Dagster's UI shows of the current version: rows, version, path and column schema."""
    scan = lake.scan(asset, key)
    columns = [dg.TableColumn(name, str(dtype)) for name, dtype in scan.collect_schema().items()]
    return {
        "dagster/row_count": int(scan.select(pl.len()).collect().item()),
        "dagster/column_schema": dg.TableSchema(columns=columns),
        "version": lake.current(asset, key) or "",
        "path": dg.MetadataValue.path(str(lake.folder(asset, key))),
    }


def table_result(
    lake: Lake, asset: str, key: str | None, facts: Mapping[str, Any]
) -> dg.MaterializeResult[None]:
    """The result of an asset that wrote its table itself: what the UI shows of it, and the facts
    of its funnel."""
    return dg.MaterializeResult(metadata={**table_metadata(lake, asset, key), **facts})  # pyright: ignore[reportReturnType]


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
        lake, asset = Lake(Path(self.base)), context.asset_key.to_user_string()
        keys = context.asset_partition_keys if context.has_asset_partitions else [None]
        return pl.concat([lake.scan(asset, key) for key in keys])
