"""grades: the candidate's simulated replies under the registered graders."""

from collections.abc import Iterator

import dagster as dg

from deploysim_assets.assets.endpoint_run import EndpointRun
from deploysim_assets.assets.registration import Registration
from deploysim_assets.assets.sentinel_watch import Source
from deploysim_assets.automation import ONCE
from deploysim_assets.grading.item import Item
from deploysim_assets.io_manager import making
from deploysim_assets.project import Project
from deploysim_assets.releases import CANDIDATES, FROM_PREDECESSOR
from deploysim_assets.runs import JUDGE
from deploysim_assets.storage.tables import Lake


@dg.asset(
    partitions_def=CANDIDATES,
    deps=[
        "candidate_completions",
        dg.AssetDep("deidentified_prefixes", partition_mapping=FROM_PREDECESSOR),
    ],
    automation_condition=ONCE,
    group_name="candidate_side",
    kinds={"openai"},
    tags={"paid": "true"},
    output_required=False,  # while batches are with the provider a run ends well and makes nothing
    pool=JUDGE,
)
def grades(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    project: dg.ResourceParam[Project],
) -> Iterator[dg.MaterializeResult[None]]:
    """Grade every simulated reply. A reply that is missing, or that no grader could grade, is
    null for the behavior, never false.

    Where turns are rolled out, the side table `turns` says what was seen of each, those that were
    broken off included, and with which step it first met each rule.
    """
    lake = making(context, lake, project.part("endpoint", "judge"))
    registered = Registration.load(lake, context.partition_key)
    paid = EndpointRun(context, lake, project)

    def items() -> Iterator[Item]:
        return paid.completed_items(
            registered.predecessor, registered.prefixes_version, "candidate_completions"
        )

    facts = {"registration": registered.record_hash}
    source = Source(
        registered.predecessor,
        registered.prefixes_version,
        lake.current("candidate_completions", context.partition_key),
    )
    yield from paid.grade(
        [registered.panel],
        items,
        facts,
        registered.early_stopping,
        source,
        turns=registered.broken_off is not None,
    )
