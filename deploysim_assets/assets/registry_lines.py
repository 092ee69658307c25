"""What the ledger knows of the release registry: each line as it was when it was first used, and
every change since."""

from typing import Any

from deploysim_assets.project import Project, ProjectError
from deploysim_assets.storage import ledger
from deploysim_assets.storage.tables import Lake


def registry_line(project: Project, model: str) -> dict[str, Any]:
    """A release's line of the registry, as content."""
    return project.release(model).model_dump(mode="json")


def adopt_line(project: Project, lake: Lake, model: str) -> None:
    """Record a release's line where it is new or was changed since it was last used.

    ProjectError where its predecessor is another one than when it was registered: what was promised
    rests on that predecessor's traffic.
    """
    line = registry_line(project, model)
    before = ledger.latest(lake.home, "registry", model)
    registered = ledger.latest(lake.home, "registration", model)
    if registered and registered.body["predecessor"] != line["predecessor"]:
        raise ProjectError(
            f"deploysim.yaml: releases: {model}.predecessor: is {line['predecessor']!r}, but "
            f"{model} was registered on the traffic of {registered.body['predecessor']!r} "
            f"(record {registered.seq}); put that back, or enter another release"
        )
    if before is None:
        ledger.append(lake.home, "registry", model, {"line": line, "changes": []})
    elif before.body["line"] != line:
        was = before.body["line"]
        changes = sorted(name for name in line if line[name] != was.get(name))
        ledger.append(lake.home, "registry", model, {"line": line, "changes": changes})
