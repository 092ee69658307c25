"""The last deploysim.yaml that was loaded whole: what goes on running while the file is wrong."""

import json
import os
from pathlib import Path

from pydantic import ValidationError

from deploysim_assets.project.errors import ProjectError
from deploysim_assets.project.file import load_project
from deploysim_assets.project.project import CONFIG_FILE, Project

LAST_GOOD = ".last_good_project.json"


def save_last_good(project: Project) -> None:
    """Keep a project that was loaded, whole or not at all."""
    content = project.model_dump_json(by_alias=True, exclude={"home"})
    path = project.home / LAST_GOOD
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_text(content, encoding="utf-8")
    partial.replace(path)


def last_good(home: Path) -> Project | None:
    """The project that was loaded last, or None where there is none that this version reads."""
    try:
        content = json.loads((home / LAST_GOOD).read_text(encoding="utf-8"))
        return Project.model_validate(content | {"home": home})
    except (FileNotFoundError, ValueError, TypeError, ValidationError):
        return None


def load_or_last_good(home: Path) -> tuple[Project, str]:
    """The project, and "" or why its files could not be read, so that it is the last good one;
    ProjectError where there is none."""
    try:
        return load_project(home), ""
    except ProjectError as wrong:
        before = last_good(home)
        if before is None:
            raise
        return before, str(wrong)


def not_loaded_yet(project: Project) -> str | None:
    """A sentence where Dagster's daemon last loaded another deploysim.yaml than there is now."""
    before = last_good(project.home)
    if before is None or before == project:
        return None
    changed = sorted(
        name
        for name in type(project).model_fields
        if getattr(before, name) != getattr(project, name)
    )
    return (
        f"Dagster last loaded another {CONFIG_FILE} (other: {', '.join(changed)}); it takes up the "
        "change within a minute or two where the daemon runs: the sensor `registry` says why not"
    )
