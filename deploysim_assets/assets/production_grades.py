"""production_grades: what the deployed model really answered, under every grader identity that some registration needs."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from deploysim_assets.assets.preregistration import Registration
from deploysim_assets.automation import FOLLOW_GRADABLE
from deploysim_assets.endpoint.batches import BatchesPendingError
from deploysim_assets.endpoint.journal import journal_file
from deploysim_assets.grading.item import Item
from deploysim_assets.grading.panel import Panel
from deploysim_assets.grading.table import grade_table
from deploysim_assets.lake import Lake, table_result
from deploysim_assets.project import Project
from deploysim_assets.releases import GRADED_FOR, MODELS
from deploysim_assets.schema import grades as grades_schema

_COLUMNS = ["prefix_id", "stratum", "weight", "user_key", "surface", "language", "messages", "production_completion"]


def needed_panels(project: Project, lake: Lake, model: str) -> list[Panel]:
    """The panels of the registrations of this model and of the candidates that replay it; without one, the panel of the files as they are."""
    rests_on = [c for c in (model, *project.candidates_of(model)) if lake.current("preregistration", c)]
    panels = {p.grading_id: p for c in rests_on for p in [Registration.load(lake, c).panel]}
    return list(panels.values()) or [Panel.of(project)]


@dg.asset(
    partitions_def=MODELS,
    deps=["deidentified_prefixes", dg.AssetDep("preregistration", partition_mapping=GRADED_FOR)],
    automation_condition=FOLLOW_GRADABLE,
    group_name="production",
    kinds={"openai"},
    tags={"paid": "true"},
    output_required=False,  # while batches are with the provider a run ends well and makes nothing
)
def production_grades(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], project: dg.ResourceParam[Project]
) -> Iterator[dg.MaterializeResult[None]]:
    """Grade the production replies to the sampled prefixes; what an earlier run graded comes from the journal."""
    model = context.partition_key
    panels = needed_panels(project, lake, model)
    prefixes = lake.current("deidentified_prefixes", model)

    def items() -> Iterator[Item]:
        for row in lake.rows("deidentified_prefixes", model, prefixes, _COLUMNS):
            yield Item(row, row["production_completion"], "completed", None)

    counts: dict[str, Any] = {}
    schema = grades_schema(sorted({name for panel in panels for name in panel.names}))
    journal = journal_file(project.home, "production_grades", model)
    try:
        with lake.new_version("production_grades", model, schema, context.run.run_id) as version:
            for panel in panels:
                graded = grade_table(panel, items, project, journal, model, version, context.log.info)
                counts[panel.grading_id] = {"grader_ids": panel.grader_ids(), **graded}
            version.stats |= {"prefixes_version": prefixes, "gradings": counts}
    except BatchesPendingError as pending:
        context.log.info(str(pending))
        return
    yield table_result(lake, "production_grades", model, version.stats)
