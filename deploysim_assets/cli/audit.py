"""`deploysim audit`: looks for what should not be there."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deploysim_assets.cli.lazy import Lazy, LazyGroup
from deploysim_assets.cli.running import clear_errors, show_json, with_home

if TYPE_CHECKING:
    from deploysim_assets.cli.home import Home


@click.group(
    cls=LazyGroup,
    lazy={"graders": Lazy("audit_graders:graders", "Hold the graders against people.")},
)
def audit() -> None:
    """Look for what should not be there."""


@audit.command("ledger", epilog="Example: deploysim audit ledger --public-key signer.pem --json")
@click.option(
    "--public-key",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Ed25519 key (PEM) of who signed first; who they handed over to is in the ledger.",
)
@click.option("--json", "as_json", is_flag=True, help="Everything that was found, as JSON.")
@with_home
def audit_ledger(home: "Home", public_key: Path | None, as_json: bool) -> None:
    """Walk from every record down to the log files, and name each thing that does not hold.

    Ends with exit code 1 where something does not. Keep the head that it prints elsewhere: a home
    that was set back as a whole is noticed only by who kept it.
    """
    from rich.console import Console

    from deploysim_assets.assets.home_audit import audit_home

    with Console(stderr=True).status("reading records, manifests, tables, journals and logs"):
        found = audit_home(home.project, home.lake, public_key)
    if as_json:
        show_json(found.document())
    else:
        for note in found.notes:
            click.echo(f"note: {note}")
        for fault in found.faults:
            click.echo(f"fault: {fault}", err=True)
        seen = f"{found.files:,} files ({found.bytes / 1e6:,.1f} MB)"
        if not found.records and found.holds:
            click.echo("The ledger is empty: nothing was audited.")
        elif found.holds:
            signed = "the signatures, " if public_key else ""
            click.echo(
                f"{found.records} records hold: the chain, {signed}every seal down to the log "
                f"files, {seen}, and the order of events."
            )
        click.echo(f"head: {found.records} {found.head}")
    if not found.holds:
        if not as_json:
            click.echo(f"{len(found.faults)} things do not hold.", err=True)
        raise click.exceptions.Exit(1)


@audit.command("bundle")
@click.argument("model")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The file to write (.zip).",
)
@click.option(
    "--public-key",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The key to put beside; default: the one that the ledger names first.",
)
@with_home
def audit_bundle(home: "Home", model: str, output: Path, public_key: Path | None) -> None:
    """Write the evidence of MODEL into one file that anybody can verify offline: ledger, manifests,
    registration, rates, report and public key. No conversation text.

    Example: deploysim audit bundle gpt-4-0613 -o gpt-4-0613.zip
    """
    from deploysim_assets.cli.reporting import report_document
    from deploysim_assets.evidence.bundle import Bundle, write_bundle
    from deploysim_assets.project import SealError
    from deploysim_assets.storage import ledger

    document = report_document(home, model, lasting=True)
    pem = public_key.read_text() if public_key else None
    held = write_bundle(home.lake, model, document, output, pem)
    if faults := Bundle(output).verify(pem).faults:
        output.unlink()
        listed = "\n  ".join(map(str, faults))
        raise SealError(f"{model}: no bundle was written, since it would not hold:\n  {listed}")
    click.echo(
        f"{output}: {held['records']} records, {held['manifests']} manifests, "
        f"{held['table_files']} table files and the report"
    )
    end = ledger.head(home.project.home)
    click.echo(f"head: {end.records} {end.hash}")


@audit.command("verify", epilog="Example: deploysim audit verify gpt-4-0613.zip --head 5c1f0a")
@click.argument("bundle", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--public-key",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Ed25519 key (PEM) of who signed first, as you have it from elsewhere.",
)
@click.option("--head", help="A ledger head that you kept: it must be in the ledger.")
@click.option("--json", "as_json", is_flag=True, help="Everything that was found, as JSON.")
@clear_errors
def audit_verify(bundle: Path, public_key: Path | None, head: str | None, as_json: bool) -> None:
    """Hold a BUNDLE together offline, without home, lake or keys, and say what cannot be checked.

    Ends with exit code 1 where something does not hold.
    """
    from deploysim_assets.evidence.bundle import Bundle

    pem = public_key.read_text() if public_key else None
    found = Bundle(bundle).verify(pem, head)
    if as_json:
        document = found._asdict() | {"holds": found.holds}
        document["faults"] = [fault._asdict() for fault in found.faults]
        show_json(document)
    else:
        for fault in found.faults:
            click.echo(f"fault: {fault}", err=True)
        if found.holds:
            click.echo(
                f"{found.model_version}: {found.records} records, {found.manifests} manifests and "
                f"{found.table_files} table files hold together, and the report says what they do."
            )
        click.echo(f"head: {found.records} {found.head}")
        for line in found.not_checked:
            click.echo(f"not checked: {line}")
    if not found.holds:
        raise click.exceptions.Exit(1)


@audit.command("rotate-key", epilog="Example: deploysim audit rotate-key new-signing-key.pem")
@click.argument("new_key", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@clear_errors
def rotate_key(new_key: Path) -> None:
    """Go over to another signing key: a record that the key in force signs names NEW_KEY, an
    Ed25519 private key (PEM). From then on DEPLOYSIM_SIGNING_KEY must name the new one."""
    from deploysim_assets.project import ProjectError
    from deploysim_assets.project.file import load_project
    from deploysim_assets.storage import ledger
    from deploysim_assets.storage.homes import home_folder
    from deploysim_assets.storage.signing import public_pem, read_private_key

    home = load_project(home_folder()).home
    if not ledger.signing_keys(ledger.read(home)):
        raise ProjectError(
            f"{home / ledger.LEDGER}: nothing is signed yet; name a key in DEPLOYSIM_SIGNING_KEY "
            "and the next record begins with it"
        )
    pem = public_pem(read_private_key(new_key, str(new_key)))
    record = ledger.append(home, ledger.KEY, "", {"public_key": pem})
    click.echo(f"record {record.seq}: {new_key} signs from the next record on")


@audit.command("deid", epilog="Example: deploysim audit deid --level 2 --per-cell 100")
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
