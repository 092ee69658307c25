"""grades: the candidate's simulated replies under the registered graders."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from deploysim_assets.assets.preregistration import Registration
from deploysim_assets.automation import ONCE
from deploysim_assets.endpoint.batches import BatchesPendingError
from deploysim_assets.endpoint.journal import journal_file
from deploysim_assets.grading.item import Item
from deploysim_assets.grading.table import grade_table
from deploysim_assets.lake import Lake, table_result
from deploysim_assets.project import Project
from deploysim_assets.releases import CANDIDATES, FROM_PREDECESSOR
from deploysim_assets.schema import grades as grades_schema

_COLUMNS = ["prefix_id", "stratum", "weight", "user_key", "surface", "language", "messages"]


def _items(lake: Lake, registered: Registration) -> Iterator[Item]:
    prefixes = lake.rows("deidentified_prefixes", registered.predecessor, registered.prefixes_version, _COLUMNS)
    completions = lake.rows("candidate_completions", registered.model_version, columns=["prefix_id", "message", "status", "error"])
    for prefix, completion in zip(prefixes, completions, strict=True):
        assert prefix["prefix_id"] == completion["prefix_id"], "completions are written in the order of the registered prefixes"
        reply = completion["message"] if completion["status"] == "completed" else None
        yield Item(prefix, reply, completion["status"], completion["error"])


@dg.asset(
    partitions_def=CANDIDATES,
    deps=["candidate_completions", dg.AssetDep("deidentified_prefixes", partition_mapping=FROM_PREDECESSOR)],
    automation_condition=ONCE,
    group_name="forecast",
    kinds={"openai"},
    tags={"paid": "true"},
    output_required=False,  # while batches are with the provider a run ends well and makes nothing
)
def grades(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], project: dg.ResourceParam[Project]) -> Iterator[dg.MaterializeResult[None]]:
    """Grade every simulated reply. A reply that is missing, or that no grader could grade, is null for the behavior, never false."""
    candidate = context.partition_key
    registered = Registration.load(lake, candidate)
    metadata: dict[str, Any] = {"grading_id": registered.panel.grading_id, "grader_ids": registered.panel.grader_ids()}
    journal = journal_file(project.home, "grades", candidate)
    try:
        with lake.new_version("grades", candidate, grades_schema(registered.panel.names), context.run.run_id) as version:
            counts = grade_table(registered.panel, lambda: _items(lake, registered), project, journal, candidate, version, context.log.info)
            version.stats |= {"registration": registered.record_hash, **metadata, **counts}
    except BatchesPendingError as pending:
        context.log.info(str(pending))
        return
    yield table_result(lake, "grades", candidate, version.stats)
