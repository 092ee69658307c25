"""The log files of the releases as they lie there now."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from deploysim_assets.logs.files import fingerprint
from deploysim_assets.logs.files import log_files as files_of
from deploysim_assets.project import Project


class Observed(NamedTuple):
    """A release's log files as they lie there now."""

    fingerprint: str
    files: int
    bytes: int


def observations(
    project: Project, seen: Mapping[str, str], models: Collection[str] | None = None
) -> dict[str, Observed]:
    """Releases (of `models`, or all) whose log files came or changed since `seen` (model version ->
    fingerprint)."""
    found: dict[str, Observed] = {}
    for release in project.releases:
        if models is not None and release.model_version not in models:
            continue
        files = files_of(project.home, release.logs.path)
        mark = fingerprint(files)
        if files and seen.get(release.model_version) != mark:
            found[release.model_version] = Observed(mark, len(files), sum(f.size for f in files))
    return found
