"""The jobs that the command line runs and an operator picks: one per side and purpose, since assets
of two partition definitions cannot share a run."""

import dagster as dg

from deploysim_assets.assets.optional import optional_groups
from deploysim_assets.project import Project


def jobs(project: Project):
    """The project's jobs; those of optional assets only where a setting brings them in."""
    pick = dg.AssetSelection
    decomposition = ["error_decomposition"] if project.self_replay else []
    selections: dict[str, dg.AssetSelection] = {
        "production": pick.groups("production") - pick.assets("log_files"),
        "forecast": pick.groups("forecast"),
        "score": pick.assets("calibration_report", *decomposition),
        "exploration": pick.groups("exploration"),
        "graders": pick.assets("grader_quality"),
        "summary": pick.assets("scorecard"),
        **optional_groups(project),
    }
    return [dg.define_asset_job(name, selection) for name, selection in selections.items()]
