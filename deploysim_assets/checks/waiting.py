"""What waits behind a corpus whose blocking checks did not pass, by the verdicts in storage/."""

from collections.abc import Iterator

from deploysim_assets.project import Project
from deploysim_assets.storage import verdicts
from deploysim_assets.storage.tables import Lake


def refusal(asset: str, model: str, failed: list[str]) -> str:
    """Why a corpus is used by nothing."""
    named = ", ".join(f"{asset}.{check}" for check in failed)
    return (
        f"blocking checks failed: {named} for {model}; nothing uses this corpus before they pass: "
        "their numbers are in Dagster's UI; mend the corpus and run again"
    )


def waiting(project: Project, lake: Lake) -> Iterator[str]:
    """What waits behind a corpus whose blocking checks did not pass, and why."""
    for release in project.releases:
        for asset in verdicts.CORPORA:
            manifest = lake.manifest(asset, release.model_version)
            found = manifest and verdicts.load(lake.home, manifest)
            if found and found.failed:
                model = release.model_version
                behind = ", ".join([model, *project.candidates_of(model)])
                yield f"{refusal(asset, model, found.failed)} (waiting: {behind})"
