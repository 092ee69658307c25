"""`deploysim batches`: what is with the provider, and what is expected of it no more."""

import click

from deploysim_assets.cli.running import clear_errors
from deploysim_assets.endpoint.batch_records import Record
from deploysim_assets.endpoint.batches import drop_batch
from deploysim_assets.project import ProjectError
from deploysim_assets.project.file import load_project
from deploysim_assets.storage.homes import home_folder
from deploysim_assets.storage.journals import journals_with_batches


@click.group()
def batches() -> None:
    """Batches that are with the provider."""


@batches.command("list", epilog="Example: deploysim batches list")
@clear_errors
def list_batches() -> None:
    """Each batch that was submitted and not collected yet, with its asset, release and requests."""
    home = load_project(home_folder()).home
    for journal in journals_with_batches(home):
        record = Record.load(journal)
        for batch in record.open.values():
            click.echo(
                f"{batch.id}  {journal.parent.name}[{journal.stem}]  "
                f"{len(batch.requests):,} requests"
            )
        for intent in record.intents.values():
            click.echo(
                f"{intent.id}  {journal.parent.name}[{journal.stem}]  "
                f"{len(intent.requests):,} requests; a run ended while it created this"
            )


@batches.command("drop", epilog="Example: deploysim batches drop batch_68a1")
@click.argument("batch")
@clear_errors
def drop(batch: str) -> None:
    """Expect nothing more of BATCH: the next run asks for what it did not answer in another one.

    For a batch that the provider has lost, or that somebody cancelled there. It is not cancelled by
    this: what it answers after all is paid for and not collected.
    """
    home = load_project(home_folder()).home
    dropped = sum(drop_batch(journal, batch) for journal in journals_with_batches(home))
    if not dropped:
        raise ProjectError(
            f"{batch}: no open batch of this project; `deploysim batches list` names them"
        )
    click.echo(f"{batch} is dropped: {dropped:,} requests may be asked again")
