"""A job as the processes of a run find it again."""

import dagster as dg

from deploysim_assets.definitions import definitions, defs
from deploysim_assets.project import Project
from deploysim_assets.releases import PROJECT


def job_of(name: str, project: str) -> dg.JobDefinition:
    """A job of a project, which is given as JSON."""
    same = PROJECT is not None and PROJECT.model_dump_json(by_alias=True) == project
    of = defs if same else definitions(Project.model_validate_json(project))
    return of.resolve_job_def(name)
