"""`deploysim upgrade` and `deploysim gc`: what brings an older home up to date, and what takes away
what nothing rests on."""

from typing import TYPE_CHECKING

import click

from deploysim_assets.cli.running import clear_errors, with_home

if TYPE_CHECKING:
    from deploysim_assets.cli.home import Home


@click.command(epilog="Example: deploysim upgrade")
@clear_errors
def upgrade() -> None:
    """Bring a home that an earlier deploysim wrote up to date: manifests for every table version,
    and a record in the ledger that names them. Its old records and tables stay as they are.

    Interrupted, it goes on where it was; on a home that is up to date it does nothing.
    """
    from deploysim_assets.project.file import home_folder, load_project
    from deploysim_assets.storage.upgrading import upgrade_home

    home = load_project(home_folder()).home
    done = upgrade_home(home)
    if done is None:
        click.echo(f"{home}: nothing to do: it is up to date")
        return
    click.echo(
        f"{home}: {done.versions} table versions have manifests, {done.answers} journalled answers "
        f"say whose they are; ledger record {done.record} names it all"
    )


@click.command(epilog="Example: deploysim gc --dry-run")
@click.option("--dry-run", is_flag=True, help="Say what would go, and remove nothing.")
@with_home
def gc(home: "Home", dry_run: bool) -> None:
    """Remove table versions that are not current and that no record of the ledger reaches, and
    record what went: the audit calls it collected."""
    from deploysim_assets.evidence.collecting import collect, collectable
    from deploysim_assets.storage.mirrors import mirror_of

    found = collectable(home.lake)
    for path, size in found.items():
        click.echo(f"{size / 1e6:10,.1f} MB  {path}")
    if not dry_run and (found or mirror_of(home.lake.home)):
        collect(home.lake, list(found))
    total = sum(found.values()) / 1e6
    would = "would be removed" if dry_run else "removed"
    click.echo(f"{len(found)} versions {would}, {total:,.1f} MB")
