"""self_completions, self_grades: a deployed model answers fresh prefixes of its own traffic, graded
beside what it really answered.

Neither model nor traffic moves, so what differs is the simulation's own error. Opt-in:
`self_replay` in deploysim.yaml.
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from deploysim_assets.assets.endpoint_run import EndpointRun, lowest_prefixes
from deploysim_assets.assets.production_grades import needed_panels
from deploysim_assets.assets.registration import Registration
from deploysim_assets.assets.rolling_out import Turns, columns_for
from deploysim_assets.automation import CHEAP, FOLLOW_GRADABLE
from deploysim_assets.checks.gate import require_checked
from deploysim_assets.io_manager import making
from deploysim_assets.project import Candidate, Project
from deploysim_assets.releases import GRADED_FOR, MODELS
from deploysim_assets.runs import ENDPOINT, JUDGE
from deploysim_assets.storage.tables import Lake


def live_settings(project: Project, lake: Lake, model: str) -> tuple[Candidate, int]:
    """The settings under which the model was registered as a candidate; for one that never was,
    those of the file."""
    if lake.current("preregistration", model):
        registered = Registration.load(lake, model)
        return registered.candidate, registered.seed
    return project.release(model).asked_as, project.sampling.seed


@dg.asset(
    partitions_def=MODELS,
    deps=["deidentified_prefixes"],
    automation_condition=CHEAP,
    group_name="self_replay",
    kinds={"openai"},
    tags={"paid": "true"},
    output_required=False,  # while batches are with the provider a run ends well and makes nothing
    pool=ENDPOINT,
)
def self_completions(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    project: dg.ResourceParam[Project],
) -> Iterator[dg.MaterializeResult[None]]:
    """Ask the deployed model for its reply to some of its own prefixes. Follows new logs; its
    journal holds what was answered before."""
    assert project.self_replay is not None
    require_checked(context, lake, project, "deidentified_prefixes", context.partition_key)
    settings = ("agents",) if project.agents is not None else ()
    lake = making(context, lake, project.part("endpoint", "self_replay", *settings))
    model = context.partition_key
    version = lake.current("deidentified_prefixes", model)
    chosen = lowest_prefixes(lake, model, version, project.self_replay.max_prefixes)
    asked_as, seed = live_settings(project, lake, model)
    turns = Turns(project, lake, project.agents, asked_as, seed, (model, version))
    columns = columns_for(project.agents)

    def prefixes() -> Iterator[dict[str, Any]]:
        return (
            row
            for row in lake.rows("deidentified_prefixes", model, version, columns)
            if row["prefix_id"] in chosen
        )

    yield from EndpointRun(context, lake, project).complete(
        prefixes, turns, {"prefixes_version": version}
    )


@dg.asset(
    partitions_def=MODELS,
    deps=[
        "self_completions",
        "deidentified_prefixes",
        dg.AssetDep("preregistration", partition_mapping=GRADED_FOR),
    ],
    automation_condition=FOLLOW_GRADABLE,
    group_name="self_replay",
    kinds={"openai"},
    tags={"paid": "true"},
    output_required=False,
    pool=JUDGE,
)
def self_grades(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    project: dg.ResourceParam[Project],
) -> Iterator[dg.MaterializeResult[None]]:
    """Grade the replayed answers with every grader identity that production_grades has for the
    model."""
    lake = making(context, lake, project.part("endpoint", "judge"))
    model = context.partition_key
    version = lake.stats("self_completions", model)["prefixes_version"]
    paid = EndpointRun(context, lake, project)
    panels = needed_panels(project, lake, model)
    yield from paid.grade(
        panels,
        lambda: paid.completed_items(model, version, "self_completions"),
        {"prefixes_version": version},
    )
