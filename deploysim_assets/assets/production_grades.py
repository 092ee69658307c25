"""production_grades: what the deployed model really answered, under every grader identity that
some registration needs."""

from collections.abc import Iterator

import dagster as dg
import polars as pl

from deploysim_assets.assets.endpoint_run import EndpointRun
from deploysim_assets.assets.registration import Registration
from deploysim_assets.assets.sentinel_watch import Source
from deploysim_assets.automation import FOLLOW_GRADABLE
from deploysim_assets.checks.gate import require_checked
from deploysim_assets.grading.panel import Panel
from deploysim_assets.io_manager import making
from deploysim_assets.project import Project
from deploysim_assets.releases import GRADED_FOR, MODELS
from deploysim_assets.runs import JUDGE
from deploysim_assets.schema import NOT_TOLD
from deploysim_assets.storage.tables import Lake


def needed_panels(project: Project, lake: Lake, model: str) -> list[Panel]:
    """The panels of the registrations of this model and of the candidates that replay it;
    without one, the panel of the files as they are."""
    rests_on = [
        c for c in (model, *project.candidates_of(model)) if lake.current("preregistration", c)
    ]
    panels = {p.grading_id: p for c in rests_on for p in [Registration.load(lake, c).panel]}
    return list(panels.values()) or [Panel.of(project)]


def finish_reasons(lake: Lake, model: str, version: str | None) -> dict[str, int]:
    """How the deployed model's replies ended, by the logs; "not told" where these do not say."""
    prefixes = lake.scan("deidentified_prefixes", model, version)
    reply = pl.col("production_completion")
    # tables of before this column have none
    held = prefixes.collect_schema()["production_completion"]
    known = "finish_reason" in held.to_schema() if isinstance(held, pl.Struct) else False
    told = reply.struct.field("finish_reason") if known else pl.lit(None, pl.String)
    counted = prefixes.group_by(told.fill_null(NOT_TOLD).alias("finish")).len().sort("finish")
    return {str(finish): int(count) for finish, count in counted.collect().iter_rows()}


@dg.asset(
    partitions_def=MODELS,
    deps=["deidentified_prefixes", dg.AssetDep("preregistration", partition_mapping=GRADED_FOR)],
    automation_condition=FOLLOW_GRADABLE,
    group_name="production_side",
    kinds={"openai"},
    tags={"paid": "true"},
    output_required=False,  # while batches are with the provider a run ends well and makes nothing
    pool=JUDGE,
)
def production_grades(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    project: dg.ResourceParam[Project],
) -> Iterator[dg.MaterializeResult[None]]:
    """Grade the production replies to the sampled prefixes; what an earlier run graded comes
    from the journal."""
    require_checked(context, lake, project, "deidentified_prefixes", context.partition_key)
    lake = making(context, lake, project.part("endpoint", "judge"))
    model = context.partition_key
    version = lake.current("deidentified_prefixes", model)
    paid = EndpointRun(context, lake, project)
    yield from paid.grade(
        needed_panels(project, lake, model),
        lambda: paid.production_items(version),
        {
            "prefixes_version": version,
            "finish_reasons": finish_reasons(lake, model, version),
        },
        source=Source(model, version),
    )
