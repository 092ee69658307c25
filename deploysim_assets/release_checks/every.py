"""All checks of a project, and the schedules that run some of them by themselves."""

import dagster as dg

from deploysim_assets.checks.corpus import CORPUS_CHECKS
from deploysim_assets.project import Project
from deploysim_assets.release_checks.broken_off import BROKEN_OFF_CHECKS
from deploysim_assets.release_checks.evidence import EVIDENCE_SCHEDULE, evidence_holds
from deploysim_assets.release_checks.fidelity import FIDELITY_CHECKS
from deploysim_assets.release_checks.forecast import FORECAST_CHECKS
from deploysim_assets.release_checks.freshness import freshness_checks, freshness_schedules
from deploysim_assets.release_checks.judges import judge_checks
from deploysim_assets.release_checks.replies import REPLY_CHECKS


def checks(project: Project) -> list[dg.AssetChecksDefinition]:
    """The checks; those by the clock only where a setting switches them on."""
    agents = [
        *(BROKEN_OFF_CHECKS if project.agents is not None else []),
        *(FIDELITY_CHECKS if project.replays_agents_of_the_live_model else []),
    ]
    fixed = [*CORPUS_CHECKS, *REPLY_CHECKS, *FORECAST_CHECKS, evidence_holds]
    return [*fixed, *agents, *judge_checks(project), *freshness_checks(project)]


def schedules(project: Project) -> list[dg.ScheduleDefinition]:
    """What runs checks by the clock."""
    return [EVIDENCE_SCHEDULE, *freshness_schedules(project)]
