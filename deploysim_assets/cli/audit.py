"""`deploysim audit`: looks for what should not be there."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deploysim_assets.cli.audit_graders import graders
from deploysim_assets.cli.running import clear_errors, with_operations
from deploysim_assets.project import ProjectError

if TYPE_CHECKING:
    from deploysim_assets.cli.operations import Operations


@click.group()
def audit() -> None:
    """Look for what should not be there."""


audit.add_command(graders)


@audit.command("ledger")
@click.option(
    "--public-key",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Ed25519 key (PEM) that every record must be signed for.",
)
@with_operations
def audit_ledger(operations: "Operations", public_key: Path | None) -> None:
    """Verify the chain, every seal against the data it names, and the order of events; say the
    first thing that does not hold.

    Ends with exit code 1 where something does not.
    """
    from deploysim_assets.cli.audit_ledger import LedgerAudit

    found = LedgerAudit(operations.project, operations.lake, public_key)
    fault = next(found.faults(), None)
    for note in found.notes():
        click.echo(f"note: {note}")
    if fault:
        raise ProjectError(fault)
    click.echo(
        f"{len(found.records)} records hold: the chain, "
        f"{'the signatures, ' if public_key else ''}every seal and its data, and the order of "
        "events."
    )


@audit.command("deid")
@click.option(
    "--per-cell",
    type=click.IntRange(min=1),
    default=300,
    show_default=True,
    help="Canaries of each type, script and container.",
)
@click.option("--seed", default=1, show_default=True)
@click.option(
    "--level",
    type=click.Choice(["0", "1", "2"]),
    help="Measure this level; default: the one in deploysim.yaml, 0 without one.",
)
@click.option(
    "--profile",
    type=click.Choice(["chat", "strict"]),
    help="Measure this profile; default: the one in deploysim.yaml, chat without one.",
)
@click.option(
    "--clean",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of texts without identifiers, for false hits.",
)
@click.option(
    "--against",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Texts with marked spans (JSON lines of text and spans, also .gz): measure on these.",
)
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a plot of the bounds here (PNG).",
)
@clear_errors
def audit_deid(
    per_cell: int,
    seed: int,
    level: str | None,
    profile: str | None,
    clean: Path | None,
    against: Path | None,
    plot: Path | None,
) -> None:
    """Plant seeded canaries of every type, script and container, de-identify them as this project
    does, and print the recall with its lower 95% bound.

    Ends with exit code 1 where a bound of what patterns know is below 0.99.  With --against it
    scores marked texts instead, and only prints.
    """
    from deploysim_assets.cli.deid_audit import DeidAudit

    run = DeidAudit.of_project(level, profile)
    if against:
        run.against(against)
        return
    below = run.canaries(seed, per_cell, plot)
    if clean:
        run.clean(clean)
    if below:
        raise click.exceptions.Exit(1)
