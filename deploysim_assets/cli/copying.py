"""`deploysim home copy`: a home to another folder or to a bucket, and back."""

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
