"""What a setting of the project brings in."""

import dagster as dg

from deploysim_assets.assets.elicitation import (
    elicitation_completions,
    elicitation_grades,
    elicitation_profile,
)
from deploysim_assets.assets.error_decomposition import error_decomposition
from deploysim_assets.assets.evaluation_awareness import awareness_grades, evaluation_awareness
from deploysim_assets.assets.grader_drift import grader_drift
from deploysim_assets.assets.open_findings import open_findings
from deploysim_assets.assets.self_replay import self_completions, self_grades
from deploysim_assets.assets.simulation_fidelity import simulation_fidelity
from deploysim_assets.project import Project

_BY_SETTING: dict[str, list[dg.AssetsDefinition]] = {
    "self_replay": [self_completions, self_grades, error_decomposition],
    "elicitation": [elicitation_completions, elicitation_grades, elicitation_profile],
    "awareness": [awareness_grades, evaluation_awareness],
    "exploration": [open_findings],
    "sentinels": [grader_drift],
}


_GROUPS = ("self_replay", "elicitation", "awareness")


def optional_assets(project: Project) -> list[dg.AssetsDefinition]:
    """The assets whose setting the project has."""
    found = [
        asset
        for setting, assets in _BY_SETTING.items()
        if getattr(project, setting)
        for asset in assets
    ]
    return [*found, simulation_fidelity] if project.replays_agents_of_the_live_model else found


def optional_groups(project: Project) -> dict[str, dg.AssetSelection]:
    """Each group that a setting brings in, as a job runs it. `error_decomposition` is of
    candidates and goes with the score instead: assets of two partition definitions cannot share
    a job."""
    selections: dict[str, dg.AssetSelection] = {
        group: dg.AssetSelection.groups(group) for group in _GROUPS if getattr(project, group)
    }
    if project.self_replay:
        selections["self_replay"] -= dg.AssetSelection.assets("error_decomposition")
    if project.replays_agents_of_the_live_model:
        selections["fidelity"] = dg.AssetSelection.assets("simulation_fidelity")
    return selections
