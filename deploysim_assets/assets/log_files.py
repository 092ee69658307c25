"""log_files: the production logs that lie ready, written by the product and reported here by a
cursor sensor."""

import json
from datetime import UTC, datetime

import dagster as dg

from deploysim_assets.assets.observed_logs import Observed, observations
from deploysim_assets.checks.waiting import waiting
from deploysim_assets.project import Project
from deploysim_assets.releases import MODELS
from deploysim_assets.runs import close_dead_runs
from deploysim_assets.storage.tables import Lake

log_files = dg.AssetSpec(
    "log_files",
    partitions_def=MODELS,
    group_name="production_side",
    description=(
        "Production logs of a release, where `logs.path` of deploysim.yaml says they lie. Written "
        "by the product and only observed here: the sensor `new_logs` reports what came or grew."
    ),
)


def _last_report(instance: dg.DagsterInstance, model_version: str) -> dg.EventLogRecord | None:
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(dg.AssetKey("log_files"), asset_partitions=[model_version]), limit=1
    ).records
    return records[0] if records else None


def reported(instance: dg.DagsterInstance, model_version: str) -> str | None:
    """The fingerprint last reported for a release, or None."""
    record = _last_report(instance, model_version)
    event = record.asset_materialization if record else None
    return event.tags.get("dagster/data_version") if event and event.tags else None


def last_reported(instance: dg.DagsterInstance, model_version: str) -> datetime | None:
    """When a release's log files were last seen to have come or changed, or None."""
    record = _last_report(instance, model_version)
    return datetime.fromtimestamp(record.timestamp, UTC) if record else None


def materialization(model_version: str, observed: Observed) -> dg.AssetMaterialization:
    """The event that tells Dagster of a release's log files."""
    return dg.AssetMaterialization(
        "log_files",
        partition=model_version,
        metadata=observed._asdict(),
        tags={"dagster/data_version": observed.fingerprint},
    )


def new_logs_sensor(project: Project) -> dg.SensorDefinition:
    """Reports releases whose log files came or grew. The cursor holds the fingerprints; what the
    CLI reported is not reported again."""

    @dg.sensor(
        name="new_logs",
        minimum_interval_seconds=project.automation.poll_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Looks for production logs that came or grew, and reports them as log_files.",
    )
    def new_logs(
        context: dg.SensorEvaluationContext, lake: dg.ResourceParam[Lake]
    ) -> dg.SensorResult | dg.SkipReason:
        # automation waits for runs in progress, so one that died without a word must be closed
        close_dead_runs(context.instance, project.home)
        seen: dict[str, str] = json.loads(context.cursor or "{}")
        changed = observations(project, seen)
        held_up = list(waiting(project, lake))
        for sentence in held_up:
            context.log.warning(sentence)
        if not changed:
            return dg.SkipReason("; ".join(["no log file came or changed", *held_up]))
        fresh = {m: o for m, o in changed.items() if reported(context.instance, m) != o.fingerprint}
        cursor = json.dumps(seen | {m: o.fingerprint for m, o in changed.items()}, sort_keys=True)
        return dg.SensorResult(
            asset_events=[materialization(m, o) for m, o in fresh.items()], cursor=cursor
        )

    return new_logs
