"""Check on the simulation of tools: whether statistics tell its turns from real ones."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import dagster as dg

from deploysim_assets.checks.specs import partitioned_check
from deploysim_assets.releases import CANDIDATES
from deploysim_assets.report.fidelity import TELLS
from deploysim_assets.storage.tables import Lake

LOOK_REAL = "turns_look_real"


def looks_real(rows: Iterable[Mapping[str, Any]]) -> dg.AssetCheckResult:
    """Amber above `TELLS` with the affordances of the forecast, and where too few turns were
    replayed to tell."""
    told = next((r for r in rows if r["measure"] == "told_apart" and r["every_affordance"]), None)
    auc = told["value"] if told else None
    metadata: dict[str, Any] = {"warns_above": TELLS, "turns": told["n"] if told else 0}
    if told and auc is not None:
        metadata |= {"auc": auc, "low": told["low"], "high": told["high"]}
    return dg.AssetCheckResult(
        check_name=LOOK_REAL,
        passed=auc is not None and auc <= TELLS,
        severity=dg.AssetCheckSeverity.WARN,
        metadata=metadata,
    )


@dg.multi_asset_check(
    name="fidelity_watch",
    specs=[partitioned_check(LOOK_REAL, "simulation_fidelity", CANDIDATES, blocking=False)],
)
def turns_look_real(
    context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]
) -> Iterator[dg.AssetCheckResult]:
    """Statistics do not tell simulated turns of the live model from its real ones."""
    yield looks_real(lake.rows("simulation_fidelity", context.partition_key))


FIDELITY_CHECKS = [turns_look_real]
