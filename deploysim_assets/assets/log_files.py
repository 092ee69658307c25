"""log_files: the production logs that lie ready, written by the product and reported here by a cursor sensor."""

import json
from collections.abc import Mapping

import dagster as dg

from deploysim_assets.automation import close_dead_runs
from deploysim_assets.logs.files import fingerprint
from deploysim_assets.logs.files import log_files as files_of
from deploysim_assets.project import Project
from deploysim_assets.releases import MODELS

log_files = dg.AssetSpec(
    "log_files",
    partitions_def=MODELS,
    group_name="production",
    description="Log files of a release as `logs.path` of deploysim.yaml names them. External: observed, never written.",
)


def observations(project: Project, seen: Mapping[str, str]) -> dict[str, tuple[str, int, int]]:
    """Releases whose log files came or changed since `seen`: model version -> (fingerprint, files, bytes)."""
    found: dict[str, tuple[str, int, int]] = {}
    for release in project.releases:
        files = files_of(project.home, release.logs.path)
        print_ = fingerprint(files)
        if files and seen.get(release.model_version) != print_:
            found[release.model_version] = (print_, len(files), sum(f.size for f in files))
    return found


def reported(instance: dg.DagsterInstance, model_version: str) -> str | None:
    """The fingerprint last reported for a release, or None."""
    key = dg.AssetKey("log_files")
    records = instance.fetch_materializations(dg.AssetRecordsFilter(key, asset_partitions=[model_version]), limit=1).records
    event = records[0].asset_materialization if records else None
    return event.tags.get("dagster/data_version") if event and event.tags else None


def materialization(model_version: str, observed: tuple[str, int, int]) -> dg.AssetMaterialization:
    """The event that tells Dagster of a release's log files."""
    print_, files, size = observed
    return dg.AssetMaterialization(
        "log_files",
        partition=model_version,
        metadata={"files": files, "bytes": size, "fingerprint": print_},
        tags={"dagster/data_version": print_},
    )


def new_logs_sensor(project: Project) -> dg.SensorDefinition:
    """Reports releases whose log files came or grew. The cursor holds the fingerprints; what the CLI reported is not reported again."""

    @dg.sensor(
        name="new_logs",
        minimum_interval_seconds=project.automation.poll_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Looks for production logs that came or grew, and reports them as log_files.",
    )
    def new_logs(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        close_dead_runs(context.instance)
        seen: dict[str, str] = json.loads(context.cursor or "{}")
        changed = observations(project, seen)
        if not changed:
            return dg.SkipReason("no log file came or changed")
        fresh = {m: o for m, o in changed.items() if reported(context.instance, m) != o[0]}
        cursor = json.dumps(seen | {m: o[0] for m, o in changed.items()}, sort_keys=True)
        return dg.SensorResult(asset_events=[materialization(m, o) for m, o in fresh.items()], cursor=cursor)

    return new_logs
