"""Checks that look at the clock: whether logs still come, and whether a forecast knows the traffic
that there is. Switched on by `freshness` in deploysim.yaml; a schedule runs them every day."""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from deploysim_assets.assets.calibration_report import forecasts_of
from deploysim_assets.assets.log_files import last_reported
from deploysim_assets.checks.specs import partitioned_check
from deploysim_assets.project import Project
from deploysim_assets.releases import CANDIDATES, MODELS
from deploysim_assets.storage.tables import Lake

LOGS, FORECAST = "logs_keep_coming", "forecast_is_recent"
_DAY = 86400.0


def replaced_by(project: Project, lake: Lake, model: str) -> str | None:
    """A later release that has production logs of its own: this one's need not grow any more."""
    return next((c for c in project.candidates_of(model) if lake.current("raw_logs", c)), None)


def logs_result(
    project: Project, lake: Lake, model: str, grown_at: datetime | None, now: datetime
) -> dg.AssetCheckResult:
    """Whether the logs of a release came or grew within `freshness.logs_days`; passed where it is
    no longer the deployed one."""
    most = project.freshness.logs_days
    assert most is not None
    until, successor = project.release(model).logs.until, replaced_by(project, lake, model)
    over = (until is not None and until <= now) or successor is not None
    facts: dict[str, str | float] = {"most_days_allowed": most}
    if grown_at is not None:
        facts |= {"grown_at": grown_at.isoformat()}
        facts |= {"days_since": round((now - grown_at).total_seconds() / _DAY, 2)}
    if over:
        facts["no_longer_deployed"] = f"replaced by {successor}" if successor else f"until {until}"
    late = grown_at is None or (now - grown_at).total_seconds() > most * _DAY
    return dg.AssetCheckResult(
        check_name=LOGS,
        passed=over or not late,
        severity=dg.AssetCheckSeverity.WARN,
        metadata=facts,
    )


def forecast_result(project: Project, lake: Lake, candidate: str) -> dg.AssetCheckResult:
    """Whether the predecessor's prefixes are newer than the forecast by more than
    `freshness.forecast_days`; passed once the release has shipped."""
    most = project.freshness.forecast_days
    assert most is not None
    predecessor = project.predecessor(candidate)
    sealed = forecasts_of(lake, candidate)
    prefixes = lake.manifest("deidentified_prefixes", predecessor)
    shipped = lake.current("raw_logs", candidate) is not None
    facts: dict[str, str | float | bool] = {"most_days_allowed": most, "shipped": shipped}
    days = 0.0
    if sealed and prefixes:
        days = (prefixes.made_at - sealed[-1].at).total_seconds() / _DAY
        facts |= {
            "sealed_at": sealed[-1].at.isoformat(),
            "prefixes_made_at": prefixes.made_at.isoformat(),
            "days_older": round(max(0.0, days), 2),
        }
    return dg.AssetCheckResult(
        check_name=FORECAST,
        passed=shipped or days <= most,
        severity=dg.AssetCheckSeverity.WARN,
        metadata=facts,
    )


@dg.multi_asset_check(
    name="logs_freshness", specs=[partitioned_check(LOGS, "raw_logs", MODELS, blocking=False)]
)
def logs_freshness(
    context: dg.AssetCheckExecutionContext,
    lake: dg.ResourceParam[Lake],
    project: dg.ResourceParam[Project],
) -> Iterator[dg.AssetCheckResult]:
    """The logs of the release that is deployed now still grow."""
    model = context.partition_key
    grown_at = last_reported(context.instance, model)
    yield logs_result(project, lake, model, grown_at, datetime.now(UTC))


@dg.multi_asset_check(
    name="forecast_freshness",
    specs=[partitioned_check(FORECAST, "rate_estimates", CANDIDATES, blocking=False)],
)
def forecast_freshness(
    context: dg.AssetCheckExecutionContext,
    lake: dg.ResourceParam[Lake],
    project: dg.ResourceParam[Project],
) -> Iterator[dg.AssetCheckResult]:
    """The forecast of a release that has not shipped knows its predecessor's traffic."""
    yield forecast_result(project, lake, context.partition_key)


def freshness_checks(project: Project) -> list[dg.AssetChecksDefinition]:
    """The checks that the project has switched on."""
    switched = {
        logs_freshness: project.freshness.logs_days,
        forecast_freshness: project.freshness.forecast_days,
    }
    return [check for check, days in switched.items() if days is not None]


def freshness_schedules(project: Project) -> list[dg.ScheduleDefinition]:
    """A schedule per switched-on check, which runs it every morning for each release that has the
    table."""
    return [_schedule(project, check) for check in freshness_checks(project)]


def _schedule(project: Project, check: dg.AssetChecksDefinition) -> dg.ScheduleDefinition:
    spec = next(iter(check.check_specs))
    asset = spec.asset_key.to_user_string()
    name = f"{spec.name}_daily"
    job = dg.define_asset_job(
        f"check_{spec.name}",
        dg.AssetSelection.checks(check),
        description=f"The check {spec.name} of a release, by the clock.",
    )

    @dg.schedule(
        name=name,
        job=job,
        cron_schedule="0 6 * * *",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Runs the check {spec.name} every morning for each release that has {asset}.",
    )
    def daily(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest]:
        lake = Lake.of(project.home)
        for release in project.releases:
            if lake.current(asset, release.model_version):
                yield dg.RunRequest(
                    f"{context.scheduled_execution_time:%Y-%m-%d}/{release.model_version}",
                    # a job of checks alone has no partitions for Dagster to look a key up in
                    tags={"dagster/partition": release.model_version},
                )

    return daily
