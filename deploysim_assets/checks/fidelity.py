"""Check on the simulation of tools: whether statistics tell its turns from real ones."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from deploysim_assets.checks.specs import partitioned_check
from deploysim_assets.releases import CANDIDATES
from deploysim_assets.storage.tables import Lake

LOOK_REAL = "turns_look_real"
HIGHEST_AUC = 0.7


@dg.multi_asset_check(
    name="fidelity_watch",
    specs=[partitioned_check(LOOK_REAL, "simulation_fidelity", CANDIDATES, blocking=False)],
)
def turns_look_real(
    context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]
) -> Iterator[dg.AssetCheckResult]:
    """The statistical discriminator stays at or below 0.7. Where too few turns were replayed to
    tell, nothing is known, which warns as well."""
    found = [
        row
        for row in lake.rows("simulation_fidelity", context.partition_key)
        if row["measure"] == "told_apart" and row["every_affordance"]
    ]
    auc = found[0]["value"] if found else None
    metadata: dict[str, Any] = {"warns_above": HIGHEST_AUC, "turns": found[0]["n"] if found else 0}
    if auc is not None:
        metadata |= {name: found[0][name] for name in ("value", "low", "high")}
    yield dg.AssetCheckResult(
        passed=auc is not None and auc <= HIGHEST_AUC,
        severity=dg.AssetCheckSeverity.WARN,
        metadata=metadata,
    )


FIDELITY_CHECKS = [turns_look_real]
