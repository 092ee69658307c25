"""Checks on the forecast side: every prefix ended in one state, and the forecast was sealed
before production spoke."""

from collections.abc import Iterator
from datetime import datetime

import dagster as dg

from deploysim_assets.assets.calibration_report import seal_of
from deploysim_assets.assets.preregistration import Registration
from deploysim_assets.checks.specs import partitioned_check
from deploysim_assets.project import Project
from deploysim_assets.releases import CANDIDATES
from deploysim_assets.schema import GRADE_STATES
from deploysim_assets.storage import ledger
from deploysim_assets.storage.tables import Lake


@dg.multi_asset_check(
    name="grades_funnel",
    specs=[partitioned_check("funnel_sums", "grades", CANDIDATES, blocking=True)],
)
def grades_funnel(
    context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]
) -> Iterator[dg.AssetCheckResult]:
    """Registered prefixes = graded + those in each other state, in the counts and in the rows."""
    candidate = context.partition_key
    registered = Registration.load(lake, candidate)
    rows = lake.scan("grades", candidate).select("status").collect()["status"].value_counts()
    found = {str(status): int(count) for status, count in rows.iter_rows()}
    stats = lake.stats("grades", candidate)
    prefixes = lake.stats(
        "deidentified_prefixes", registered.predecessor, registered.prefixes_version
    )["released"]
    passed = sum(found.values()) == prefixes and all(
        found.get(s, 0) == stats[s] for s in GRADE_STATES
    )
    yield dg.AssetCheckResult(
        passed=passed, metadata={"prefixes": prefixes, **{s: found.get(s, 0) for s in GRADE_STATES}}
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
    context: dg.AssetCheckExecutionContext,
    lake: dg.ResourceParam[Lake],
    project: dg.ResourceParam[Project],
) -> Iterator[dg.AssetCheckResult]:
    """The seal of the forecast is older than the first production message. A forecast of the
    past is scored, but shows amber."""
    candidate = context.partition_key
    seal: ledger.Record = seal_of(project, lake, candidate)
    known = lake.stats("raw_logs", candidate)["first_message_at"]
    first = datetime.fromisoformat(known) if known else None
    metadata: dict[str, str | float] = {
        "sealed_at": seal.at.isoformat(),
        "first_message_at": known or "the logs carry no times",
    }
    if first:
        metadata["hours_ahead"] = (first - seal.at).total_seconds() / 3600
    yield dg.AssetCheckResult(
        passed=first is not None and seal.at < first,
        severity=dg.AssetCheckSeverity.WARN,
        metadata=metadata,
    )


FORECAST_CHECKS = [grades_funnel, forecast_before_production]
