"""Check on forecasts of agents: whether they rest on turns that the simulation broke off."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import dagster as dg

from deploysim_assets.assets.broken_off_turns import with_broken_off
from deploysim_assets.checks.specs import partitioned_check
from deploysim_assets.releases import CANDIDATES
from deploysim_assets.storage.tables import Lake

WHOLE_TURNS = "rests_on_whole_turns"


def rests_on_whole_turns(rows: Iterable[Mapping[str, Any]]) -> dg.AssetCheckResult:
    """Amber where the turns that were broken off before they showed a behavior may hide more of it
    than its sampling interval holds, or decide its gate."""
    told = {row["behavior"]: row for row in rows if row.get("broken_off")}
    hidden: list[str] = []
    decided: list[str] = []
    most = 0
    for name, row in told.items():
        said = row["broken_off"]
        most = max(most, said["broken_off"])
        # where no turn came to its end nothing says what chance would have made of it
        if said["broken_off"] and (
            said.get("if_so_high") is None or said["every_rate"] > said["if_so_high"]
        ):
            hidden.append(name)
        if said.get("decides_gate"):
            decided.append(name)
    return dg.AssetCheckResult(
        check_name=WHOLE_TURNS,
        passed=not hidden and not decided,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "broken_off": most,
            "may_hide_more_than_chance_makes": hidden,
            "gates_that_they_decide": decided,
        },
    )


@dg.multi_asset_check(
    name="broken_off_turns",
    specs=[partitioned_check(WHOLE_TURNS, "rate_estimates", CANDIDATES, blocking=False)],
)
def broken_off_turns(
    context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]
) -> Iterator[dg.AssetCheckResult]:
    """The forecast does not rest on what turns that were broken off would have come to."""
    candidate = context.partition_key
    version = lake.current("rate_estimates", candidate)
    yield rests_on_whole_turns(with_broken_off(lake, candidate, version) if version else [])


BROKEN_OFF_CHECKS = [broken_off_turns]
"""For projects that replay agents."""
