"""`deploysim status`: what there is of each release, and what can be done next."""

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

import click

from deploysim_assets.cli.running import show_json, with_home

if TYPE_CHECKING:
    from deploysim_assets.cli.home import Home
    from deploysim_assets.project import Release

_HELD = {
    "forecast": "rate_estimates",
    "realized": "realized_rates",
    "scored": "calibration_report",
}


def next_step(home: "Home", release: "Release", with_logs: Collection[str]) -> str:
    """The command that takes a release further, or what it waits for."""
    model, lake = release.model_version, home.lake
    if release.predecessor and not lake.current("rate_estimates", model):
        return (
            f"deploysim forecast {model}"
            if release.predecessor in with_logs
            else f"waits for logs of {release.predecessor}"
        )
    if model not in with_logs:
        return f"waits for logs of {model}"
    realized = lake.current("realized_rates", model)
    scored = lake.manifest("calibration_report", model) if release.predecessor else None
    inputs = scored.inputs if scored else []
    over = {given.version for given in inputs if given.asset == "realized_rates"}
    # a run that was killed between the two leaves a score over the rates of before
    if not realized or (release.predecessor and not scored) or (over and realized not in over):
        return f"deploysim backfill {model}"
    return "-"


def _unsealed(home: "Home") -> Iterator[str]:
    """Tables that are current and that no record seals, and sealed ones of which none is
    current."""
    from deploysim_assets.storage import ledger

    sealed = {path for record in ledger.read(home.project.home) for path in record.seals}
    for release in home.project.releases:
        for asset in _HELD.values():
            version = home.lake.current(asset, release.model_version)
            folder = home.lake.folder(asset, release.model_version)
            here = folder.relative_to(home.lake.home).as_posix() + "/"
            if version and here + version not in sealed:
                what = "is not in the ledger"
            elif not version and any(path.startswith(here) for path in sealed):
                what = "is sealed and gone"
            else:
                continue
            where = f"{asset}[{release.model_version}]"
            yield f"{where} {what}: `deploysim audit ledger` says what does not hold"


def status_document(home: "Home") -> dict[str, Any]:
    """The state of every release, and what is in the way, as JSON."""
    from deploysim_assets.assets.observed_logs import observations
    from deploysim_assets.assets.registry_lines import refused_lines
    from deploysim_assets.checks.waiting import waiting
    from deploysim_assets.project.file import home_place
    from deploysim_assets.project.last_good import not_loaded_yet
    from deploysim_assets.storage.objects import is_url

    project, lake = home
    logs = observations(project, {})
    releases = [
        {
            "model_version": release.model_version,
            "predecessor": release.predecessor,
            **{
                word: lake.current(asset, release.model_version) is not None
                for word, asset in _HELD.items()
            },
            "next": next_step(home, release, logs),
        }
        for release in project.releases
    ]
    notes = [
        *_unsealed(home),
        *waiting(project, lake),
        *refused_lines(project, project.home),
        *filter(None, [not_loaded_yet(project)]),
    ]
    place, named_by = home_place()
    return {
        "home": str(project.home),
        "place": place if is_url(place) else str(project.home),
        "named_by": named_by,
        "releases": releases,
        "notes": notes,
    }


@click.command()
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
@with_home
def status(home: "Home", *, as_json: bool) -> None:
    """What there is of each release, and what can be done next.

    Example: deploysim status --json
    """
    from deploysim_assets.cli.tables import print_table
    from deploysim_assets.project import CONFIG_FILE

    document = status_document(home)
    if as_json:
        show_json(document)
        return
    header = ("release", "predecessor", *_HELD, "next")
    rows = [
        [
            line["model_version"],
            line["predecessor"] or "-",
            *("yes" if line[word] else "-" for word in _HELD),
            line["next"],
        ]
        for line in document["releases"]
    ]
    click.echo(f"home: {document['place']} ({document['named_by']})")
    print_table(str(home.project.home / CONFIG_FILE), header, rows)
    for sentence in document["notes"]:
        click.echo(sentence)
