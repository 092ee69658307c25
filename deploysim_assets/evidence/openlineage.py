"""Each materialization as OpenLineage run events, made from its manifest, for whatever receiver the
OPENLINEAGE settings of the environment name. Without them nothing is sent."""

import logging
import os
import time
import uuid
from typing import TYPE_CHECKING, Any

from deploysim_assets.schema.lineage import resolved
from deploysim_assets.storage.manifests import Manifest

if TYPE_CHECKING:
    from openlineage.client.event_v2 import RunEvent

NAMESPACE = "deploysim"
_PRODUCER = "https://pypi.org/project/deploysim"
_SETTINGS = ("OPENLINEAGE_URL", "OPENLINEAGE_CONFIG", "OPENLINEAGE__TRANSPORT")
_PAUSE_SECONDS = 600.0  # the client tries for half a minute before it gives up
_log = logging.getLogger(__name__)


def receiver_is_named() -> bool:
    """Whether the environment names a receiver. The client alone would print events to the log."""
    return any(name.startswith(_SETTINGS) and value for name, value in os.environ.items())


def _name(asset: str, partition: str | None) -> str:
    return f"{asset}/{partition}" if partition else asset


def _column_lineage(manifest: Manifest) -> Any:
    """Column lineage, as the manifest names `asset.column` per column."""
    from openlineage.client.facet_v2 import column_lineage_dataset as facet

    partitions = {given.asset: given.partition for given in manifest.inputs}
    fields: dict[str, facet.Fields] = {}
    columns = [name for name, _ in manifest.predicate["schema"]["main"]["columns"]]
    said = manifest.predicate["settings"].get("column_lineage", {})
    for column, sources in resolved(said, columns).items():
        split = (source.split(".", 1) for source in sources)
        fields[column] = facet.Fields(
            [
                facet.InputField(NAMESPACE, _name(asset, partitions.get(asset)), field)
                for asset, field in split
            ]
        )
    return facet.ColumnLineageDatasetFacet(fields)


def run_events(manifest: Manifest) -> "list[RunEvent]":
    """The start and the completion of the run that made a version: its inputs and its output with
    their versions, columns and sizes, who launched it, and the code."""
    from openlineage.client import event_v2 as event
    from openlineage.client import facet_v2 as facet

    said = manifest.predicate
    code, run = said["code"], said["run"]
    seed = f"{run['id'] or manifest.digest}/{manifest.asset}/{manifest.version}"
    tags = {
        "dagster_run": run["id"],
        "launched_by": run["launched_by"],
        "manifest": manifest.digest,
        "commit": code.get("commit") or code.get("record") or "",
    }
    engine = facet.processing_engine_run.ProcessingEngineRunFacet(
        version=code["version"] or "unknown", name="deploysim"
    )
    tagged = facet.tags_run.TagsRunFacet(
        [facet.tags_run.TagsRunFacetFields(k, v, "DEPLOYSIM") for k, v in tags.items() if v]
    )
    where = event.Run(
        str(uuid.uuid5(uuid.NAMESPACE_URL, seed)), {"processing_engine": engine, "tags": tagged}
    )
    sql = said["settings"].get("sql", {}).get(manifest.asset)
    job_facets = {"sql": facet.sql_job.SQLJobFacet(sql, "duckdb")} if sql else {}
    job = event.Job(NAMESPACE, manifest.asset, dict(job_facets))

    def version(digest: str) -> Any:
        return facet.dataset_version_dataset.DatasetVersionDatasetFacet(digest)

    inputs = [
        event.InputDataset(
            NAMESPACE, _name(i.asset, i.partition), facets={"version": version(i.manifest)}
        )
        for i in manifest.inputs
    ]
    inputs += [
        event.InputDataset(NAMESPACE, log["file"], facets={"version": version(log["sha256"])})
        for log in said.get("log_files", [])
    ]
    main = [file for file in said["files"] if file["rows"] is not None]
    schema = facet.schema_dataset.SchemaDatasetFacet(
        [
            facet.schema_dataset.SchemaDatasetFacetFields(column, dtype)
            for column, dtype in said["schema"]["main"]["columns"]
        ]
    )
    sizes = facet.output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
        sum(file["rows"] for file in main), sum(file["bytes"] for file in main), len(main)
    )
    output = event.OutputDataset(
        NAMESPACE,
        _name(manifest.asset, manifest.partition),
        {"outputStatistics": sizes},
        facets={
            "version": version(manifest.digest),
            "schema": schema,
            "columnLineage": _column_lineage(manifest),
        },
    )
    return [
        event.RunEvent(
            eventTime=run["at"],
            producer=_PRODUCER,
            run=where,
            job=job,
            eventType=state,
            inputs=inputs,
            outputs=[output],
        )
        for state in (event.RunState.START, event.RunState.COMPLETE)
    ]


class _Receiver:
    """The client, and until when it is left alone after it did not answer."""

    client: Any = None
    paused_until = 0.0


def emit(manifest: Manifest) -> None:
    """Send the events of a version; a receiver that does not answer, or does not take them, is
    logged, left alone for ten minutes, and never fails a run."""
    if not receiver_is_named() or time.monotonic() < _Receiver.paused_until:
        return
    try:
        from openlineage.client import OpenLineageClient

        _Receiver.client = _Receiver.client or OpenLineageClient()
        for event in run_events(manifest):
            _Receiver.client.emit(event)
    except Exception as wrong:  # noqa: BLE001 (a receiver may fail in any way)
        _Receiver.paused_until = time.monotonic() + _PAUSE_SECONDS
        _log.warning(
            "OpenLineage: the events of %s were not taken (%s); the run goes on",
            manifest.asset,
            type(wrong).__name__,
        )
