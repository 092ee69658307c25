"""`deploysim home copy`: a home to another folder or to a bucket, and back."""

from pathlib import Path

import click

from deploysim_assets.cli.running import clear_errors, tell


@click.group()
def home() -> None:
    """The home as a whole."""


@home.command("copy", epilog="Example: deploysim home copy . s3://backups/deploysim")
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="DST")
@clear_errors
def copy(source: str, target: str) -> None:
    """Copy the home in SRC to DST: folders, or s3://, gs:// or az:// with the credentials of the
    environment. Every file is held against the ledger's seals and read again at DST.

    Killed, run it again: it goes on where it was. Run on an earlier copy it brings that up to date.
    The key file and what is hidden (.dagster, .env) are no part of a copy.
    """
    from deploysim_assets.deidentify.keys import KEY_FILE
    from deploysim_assets.evidence.copies import vouched
    from deploysim_assets.storage.copying import copy_home

    done = copy_home(source, target, vouched, (KEY_FILE,), tell)
    click.echo(
        f"{target}: a whole copy: {done.sent + done.there:,} files, {done.bytes / 1e6:,.1f} MB "
        f"({done.sent:,} sent, {done.there:,} were there, {done.gone:,} taken away)"
    )
    if done.head.records:
        click.echo(f"ledger: {done.head.records:,} records, head {done.head.hash}")
    if done.left_out:
        click.echo(f"left out: {', '.join(done.left_out)}")
    if KEY_FILE in done.left_out:
        click.echo(f"keep {KEY_FILE} apart from the copy: without it nobody can go on with it")


@home.command("put", epilog="Example: deploysim home put deploysim.yaml")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("name", required=False)
@clear_errors
def put(file: Path, name: str | None) -> None:
    """Bring FILE into a home in a bucket, as NAME (by default its own name, or where it lies in the
    folder in which this host works): deploysim.yaml after a change, logs as logs/RELEASE/1.jsonl.
    """
    from deploysim_assets.storage.homes import put as put_there

    click.echo(f"{put_there(file.resolve(), name)} is in the bucket")
