"""Checks on the forecast side: every prefix ended in one state, and the forecast was sealed
before production spoke."""

from collections.abc import Iterator

import dagster as dg
import polars as pl

from deploysim_assets.assets.calibration_report import first_message_at, scored_forecast
from deploysim_assets.assets.registration import Registration
from deploysim_assets.checks.specs import partitioned_check
from deploysim_assets.releases import CANDIDATES
from deploysim_assets.schema import GRADE_STATES
from deploysim_assets.storage.tables import Lake


@dg.multi_asset_check(
    name="grades_funnel",
    specs=[partitioned_check("funnel_sums", "grades", CANDIDATES, blocking=True)],
)
def grades_funnel(
    context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]
) -> Iterator[dg.AssetCheckResult]:
    """Registered prefixes = graded + those in each other state, in the counts and in the rows."""
    candidate, lake = context.partition_key, lake.held()
    registered = Registration.load(lake, candidate)
    stats = lake.stats("grades", candidate)
    found = {state: stats[state] for state in GRADE_STATES}
    where = "deidentified_prefixes", registered.predecessor, registered.prefixes_version
    prefixes = lake.written_rows(*where)
    # users may have withdrawn between the registration and the grading
    left = int(lake.scan(*where).select(pl.len()).collect().item())
    total = sum(found.values())
    passed = left <= total <= prefixes and lake.written_rows("grades", candidate) == total
    lake.keep_verdict("grades", candidate, {"funnel_sums": passed})
    yield dg.AssetCheckResult(
        passed=passed, metadata={"prefixes": prefixes, "withdrawn": prefixes - left, **found}
    )


@dg.multi_asset_check(
    name="forecast_order",
    specs=[
        partitioned_check(
            "forecast_before_production", "calibration_report", CANDIDATES, blocking=False
        )
    ],
)
def forecast_before_production(
    context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]
) -> Iterator[dg.AssetCheckResult]:
    """The seal of the forecast is older than the first production message. A forecast of the
    past is scored, but shows amber."""
    candidate = context.partition_key
    record, prospective = scored_forecast(lake, candidate)
    first = first_message_at(lake, candidate)
    metadata: dict[str, str | float] = {
        "sealed_at": record.at.isoformat(),
        "first_message_at": first.isoformat() if first else "the logs carry no times",
    }
    if first:
        metadata["hours_ahead"] = (first - record.at).total_seconds() / 3600
    yield dg.AssetCheckResult(
        passed=prospective, severity=dg.AssetCheckSeverity.WARN, metadata=metadata
    )


FORECAST_CHECKS = [grades_funnel, forecast_before_production]
