"""candidate_completions: the one turn that the candidate does at each registered prefix."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from deploysim_assets.assets.endpoint_run import EndpointRun
from deploysim_assets.assets.registration import Registration
from deploysim_assets.assets.rolling_out import Turns, columns_for
from deploysim_assets.automation import ONCE
from deploysim_assets.io_manager import making
from deploysim_assets.project import Project
from deploysim_assets.releases import CANDIDATES, FROM_PREDECESSOR
from deploysim_assets.runs import ENDPOINT
from deploysim_assets.storage.tables import Lake


@dg.asset(
    partitions_def=CANDIDATES,
    deps=[
        "preregistration",
        dg.AssetDep("deidentified_prefixes", partition_mapping=FROM_PREDECESSOR),
    ],
    automation_condition=ONCE,
    group_name="candidate_side",
    kinds={"openai"},
    tags={"paid": "true"},
    output_required=False,  # while batches are with the provider a run ends well and makes nothing
    pool=ENDPOINT,
)
def candidate_completions(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    project: dg.ResourceParam[Project],
) -> Iterator[dg.MaterializeResult[None]]:
    """Ask the candidate for its reply to every prefix of the registered version. Answers are
    journalled: a rerun asks for what is missing."""
    lake = making(context, lake, project.part("endpoint"))
    registered = Registration.load(lake, context.partition_key)
    library = registered.predecessor, registered.prefixes_version
    turns = Turns(project, lake, registered.agents, registered.candidate, registered.seed, library)

    def prefixes() -> Iterator[dict[str, Any]]:
        return lake.rows(
            "deidentified_prefixes",
            registered.predecessor,
            registered.prefixes_version,
            columns_for(registered.agents),
        )

    facts = {"registration": registered.record_hash}
    yield from EndpointRun(context, lake, project).complete(prefixes, turns, facts)
