"""The jobs that the command line runs and an operator picks: one per side and purpose, since assets
of two partition definitions cannot share a run."""

import dagster as dg

from deploysim_assets.assets.optional import optional_groups
from deploysim_assets.project import Project
from deploysim_assets.release_checks.evidence import EVIDENCE_JOB

_SAID = {
    "production": "Logs to realized rates of a deployed release: read, de-identify, grade, count.",
    "forecast": "Forecast of a candidate: register, ask, grade, estimate and seal.",
    "score": "Hold the sealed forecast of a release against its production; its report.",
    "exploration": "Look for behavior of a candidate that nobody named.",
    "graders": "How far people agree with the graders, by the labels that were imported.",
    "drift": "Whether the judge is still the one that it was, by the sentinels it graded again.",
    "summary": "The scorecard over all releases.",
    "self_replay": "Replay a deployed release on its own traffic, for the simulation's own error.",
    "elicitation": "Ask again where the candidate was flagged: chance, or every time?",
    "fidelity": "How well simulated turns of the live model's agents are told from real ones.",
    "awareness": "Whether conversations look like an evaluation, and whether the model says so.",
}


def jobs(project: Project):
    """The project's jobs; those of optional assets only where a setting brings them in."""
    pick = dg.AssetSelection
    decomposition = ["error_decomposition"] if project.self_replay else []
    selections: dict[str, dg.AssetSelection] = {
        "production": pick.groups("production_side") - pick.assets("log_files"),
        "forecast": pick.groups("candidate_side"),
        "score": pick.assets("calibration_report", "release_report", *decomposition),
        "exploration": pick.groups("exploration"),
        "graders": pick.assets("grader_quality"),
        **({"drift": pick.assets("grader_drift")} if project.sentinels else {}),
        "summary": pick.assets("scorecard"),
        **optional_groups(project),
    }
    named = [
        dg.define_asset_job(name, chosen, description=_SAID[name], tags=project.dagster.run_tags)
        for name, chosen in selections.items()
    ]
    return [*named, EVIDENCE_JOB]
