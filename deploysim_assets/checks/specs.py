"""The one place where a partitioned check is declared."""

import warnings

import dagster as dg

from deploysim_assets.checks.meanings import description


def partitioned_check(
    name: str,
    asset: str,
    partitions: dg.PartitionsDefinition[str],
    *,
    blocking: bool,
    said: str | None = None,
) -> dg.AssetCheckSpec:
    """A check with a status per partition: without `partitions_def` the next green partition hides
    a red one. `said` describes a check that checks/meanings.py does not know.

    Dagster marks the parameter as preview and warns at every import; it is needed, and tested with
    the daemon here.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return dg.AssetCheckSpec(
            name,
            asset=asset,
            description=said or description(asset, name),
            blocking=blocking,
            partitions_def=partitions,
        )
