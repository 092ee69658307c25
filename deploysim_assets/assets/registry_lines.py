"""What the ledger knows of the release registry: each line as it was when it was first used, and
every change since."""

from pathlib import Path
from typing import Any

from deploysim_assets.project import CONFIG_FILE, Candidate, Project, ProjectError
from deploysim_assets.storage import ledger
from deploysim_assets.storage.tables import Lake


def registry_line(project: Project, model: str) -> dict[str, Any]:
    """A release's line of the registry, as content."""
    return project.release(model).model_dump(mode="json")


def _other_predecessor(project: Project, registered: ledger.Record) -> str | None:
    model, now = registered.model_version, project.release(registered.model_version).predecessor
    if registered.body["predecessor"] == now:
        return None
    return (
        f"{CONFIG_FILE}: releases: {model}.predecessor: is {now!r}, but {model} was registered on "
        f"the traffic of {registered.body['predecessor']!r} (record {registered.seq}); put that "
        "back, or enter another release"
    )


def adopt_line(project: Project, lake: Lake, model: str) -> None:
    """Record a release's line where it is new or was changed since it was last used.

    ProjectError where its predecessor is another one than when it was registered: what was promised
    rests on that predecessor's traffic.
    """
    line = registry_line(project, model)
    before = ledger.latest(lake.home, "registry", model)
    registered = ledger.latest(lake.home, "registration", model)
    if registered and (refused := _other_predecessor(project, registered)):
        raise ProjectError(refused)
    if before is None:
        ledger.append(lake.home, "registry", model, {"line": line, "changes": []})
    elif before.body["line"] != line:
        was = before.body["line"]
        changes = sorted(name for name in line if line[name] != was.get(name))
        ledger.append(lake.home, "registry", model, {"line": line, "changes": changes})


def refused_lines(project: Project, home: Path) -> list[str]:
    """Why the registry may not be taken as it stands: a sentence for each release that was used and
    is gone, and for each whose predecessor or request settings are not those that it was registered
    with. Where its logs lie may change; that is recorded when they are read."""
    known = {release.model_version for release in project.releases}
    used = {r.model_version: r for r in ledger.read(home) if r.kind in ("registry", "registration")}
    refused = [
        f"{CONFIG_FILE}: releases: {model} is gone, but the ledger holds what was made of it "
        f"(record {record.seq}); put the line back"
        for model, record in used.items()
        if model not in known
    ]
    for model in known:
        registered = ledger.latest(home, "registration", model)
        if registered is None:
            continue
        other = _other_predecessor(project, registered)
        if other:
            refused.append(other)
        elif project.release(model).asked_as != Candidate.model_validate(
            registered.body["candidate"]
        ):
            refused.append(
                f"{CONFIG_FILE}: releases: {model}.candidate: is not what {model} was registered "
                f"with (record {registered.seq}); put that back, or register it anew with "
                f"`deploysim register {model} --reason ...`"
            )
    return sorted(refused)
