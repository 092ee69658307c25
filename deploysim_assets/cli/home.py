"""What a command works on that only reads: the project and its tables, without Dagster."""

from typing import NamedTuple

from deploysim_assets.project import Project
from deploysim_assets.project.file import load_project
from deploysim_assets.storage.homes import home_folder
from deploysim_assets.storage.tables import Lake


class Home(NamedTuple):
    """A project and its tables."""

    project: Project
    lake: Lake


def open_home() -> Home:
    """The home that DEPLOYSIM_HOME names; ProjectError where there is none to read."""
    project = load_project(home_folder())
    return Home(project, Lake.of(project.home))
