"""The sensor that goes on with a paid asset once the provider has finished its batches.

A batch may take a day. A run that waited would hold a worker all the time and be lost with it, and
a retry in place waits inside the worker, too; so the run ends when its batches are submitted, and
this sensor starts the next one.
"""

import dagster as dg

from deploysim_assets.assets.optional import optional_assets
from deploysim_assets.assets.simulation_fidelity import endpoints
from deploysim_assets.endpoint.batches import any_open, submitted
from deploysim_assets.project import Endpoint, Project, ProjectError
from deploysim_assets.storage.journal import journal_file

_PAID = ("candidate_completions", "grades", "production_grades")


def paid_assets(project: Project) -> tuple[str, ...]:
    """The assets of the project that ask an endpoint."""
    optional = (
        asset for asset in optional_assets(project) if asset.tags_by_key[asset.key].get("paid")
    )
    return _PAID + tuple(asset.key.to_user_string() for asset in optional)


def endpoints_of(project: Project, asset: str) -> tuple[Endpoint, ...]:
    """The endpoints that a paid asset asks."""
    if asset == "simulation_fidelity":
        return endpoints(project)
    return (project.endpoint if asset.endswith("completions") else project.judge_endpoint(),)


def with_open_batches(project: Project) -> list[tuple[str, str]]:
    """Paid assets and partitions whose batches were submitted and not collected."""
    partitions = [
        (asset, release.model_version)
        for asset in paid_assets(project)
        for release in project.releases
    ]
    return [
        (asset, key)
        for asset, key in partitions
        if submitted(journal_file(project.home, asset, key))[0]
    ]


def open_batches_sensor(project: Project) -> dg.SensorDefinition:
    """Asks after open batches every `endpoint.batches.poll_seconds`, and requests a run of each
    asset whose batches are all done."""

    @dg.sensor(
        name="open_batches",
        jobs=[
            dg.define_asset_job(
                f"collect_{asset}",
                dg.AssetSelection.assets(asset),
                description=f"Collects the batches of {asset} that the provider has finished.",
            )
            for asset in paid_assets(project)
        ],
        minimum_interval_seconds=max(1, int(project.endpoint.batches.poll_seconds)),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Goes on with completions and grades whose batches the provider has finished.",
    )
    def open_batches() -> dg.SensorResult | dg.SkipReason:
        requests: list[dg.RunRequest] = []
        waiting = 0
        for asset, key in with_open_batches(project):
            file = journal_file(project.home, asset, key)
            try:
                finished = not any_open(file, *endpoints_of(project, asset))
            except ProjectError as wrong:
                return dg.SkipReason(str(wrong))
            if finished:
                mark = ",".join(batch.id for batch in submitted(file)[0])
                requests.append(
                    dg.RunRequest(
                        f"{asset}/{key}/{mark}", job_name=f"collect_{asset}", partition_key=key
                    )
                )
            else:
                waiting += 1
        if not requests:
            return dg.SkipReason(
                f"{waiting} assets wait for batches" if waiting else "no batch is open"
            )
        return dg.SensorResult(run_requests=requests)

    return open_batches
