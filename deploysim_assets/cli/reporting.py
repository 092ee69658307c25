"""`deploysim report`: the figures of a release, printed only where their seals hold."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deploysim_assets.cli.running import operations, with_home
from deploysim_assets.project import ProjectError
from deploysim_assets.storage import ledger

if TYPE_CHECKING:
    from deploysim_assets.cli.home import Home
    from deploysim_assets.cli.operations import Operations
    from deploysim_assets.report.facts import ReleaseReport


def report_document(
    home: "Home | Operations", model: str, *, unverified: bool = False, lasting: bool = False
) -> dict[str, Any]:
    """The report of a release as the terminal shows it; ProjectError where a seal of what it says
    does not hold, unless it is asked for `unverified`. `lasting` leaves out what moves on by
    itself."""
    return _release_facts(home, model, unverified=unverified, lasting=lasting).model_dump()


def _release_facts(
    home: "Home | Operations", model: str, *, unverified: bool = False, lasting: bool = False
) -> "ReleaseReport":
    from deploysim_assets.assets.release_facts import release_facts

    return release_facts(home.project, home.lake, model, unverified=unverified, lasting=lasting)


def show_report(home: "Home | Operations", model: str, *, unverified: bool = False) -> None:
    """Print the report as a table."""
    from deploysim_assets.cli.tables import print_table
    from deploysim_assets.report.document import (
        broken_off_lines,
        evidence_lines,
        funnel_lines,
        registered_again,
        table,
        verdict,
    )
    from deploysim_assets.report.facts import BANNER
    from deploysim_assets.report.judges import judge_lines
    from deploysim_assets.report.promised_sections import broken_off
    from deploysim_assets.report.tables import console

    report = _release_facts(home, model, unverified=unverified)
    document = report.model_dump()
    out = console()
    if unverified:
        out.print(f"[bold red]{BANNER}[/bold red]")
    print_table(f"{model}: rates per 100,000 messages", *table(document), out)
    out.print(verdict(document["summary"]))
    if (rests := broken_off(report)) is not None:
        rows = [[cell.text for cell in row] for row in rests.rows]
        print_table(rests.caption, rests.header, rows, out)
    for line in (
        *funnel_lines(document),
        *broken_off_lines(document),
        *judge_lines(document),
        *registered_again(document),
        *evidence_lines(document),
    ):
        out.print(line, highlight=False, markup=False)


def _show_both(report: "ReleaseReport") -> None:
    from deploysim_assets.cli.tables import print_table
    from deploysim_assets.report.facts import BANNER
    from deploysim_assets.report.sections import compared

    section = compared(report)
    if not report.evidence.verified:
        click.echo(BANNER)
    for found in section.tables:
        print_table(found.caption, found.header, [[c.text for c in row] for row in found.rows])
    for sentence in section.said:
        click.echo(sentence)


def _written(report: "ReleaseReport", form: str) -> str:
    from deploysim_assets.report.page import html, markdown

    if form == "json":
        return report.model_dump_json(indent=2) + "\n"
    return html(report) if form == "html" else markdown(report)


@click.command(
    epilog="Example: deploysim report gpt-4-0613 --format html -o report.html --compare gpt-4-0314"
)
@click.argument("model")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "html", "md", "json"]),
    default="table",
    show_default=True,
    help="html is one page that needs nothing beside itself.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file to write; default: the terminal.",
)
@click.option("--compare", "other", help="Another release to show side by side.")
@click.option(
    "--unverified", is_flag=True, help="Print it even where a seal does not hold, with a banner."
)
@with_home
def report(
    home: "Home",
    model: str,
    form: str,
    as_json: bool,
    output: Path | None,
    other: str | None,
    unverified: bool,
) -> None:
    """The forecast of MODEL and, once production was graded, its score.

    Refuses to print a figure whose seal does not hold.
    """
    form = "json" if as_json else form
    if form == "table" and output is not None:
        raise ProjectError("-o writes a page: name its --format, html, md or json")
    if form == "table" and other is None:
        show_report(home, model, unverified=unverified)
        return
    from deploysim_assets.assets.release_facts import release_facts

    whole = form != "table"
    found = release_facts(home.project, home.lake, model, unverified=unverified, whole=whole)
    if other is not None:
        beside = release_facts(home.project, home.lake, other, unverified=unverified, whole=whole)
        found = found.model_copy(update={"compared_with": beside})
    if form == "table":
        _show_both(found)
        return
    text = _written(found, form)
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as wrong:
        raise ProjectError(f"{output}: cannot be written ({wrong.strerror})") from None
    click.echo(f"{output}: {len(text.encode()) / 1e3:,.0f} KB", err=True)


@click.command()
@click.argument("model")
@click.argument("behavior")
@click.option("--reason", required=True, help="Why the release may ship all the same.")
@click.option("--by", "person", required=True, help="Who accepts it.")
@with_home
def accept(home: "Home", model: str, behavior: str, reason: str, person: str) -> None:
    """Record in the ledger that a person accepts a failing or blocked gate of MODEL for BEHAVIOR;
    the report shows who, when and why.

    Example: deploysim accept gpt-4-0613 harassment --by "A. Reviewer" --reason "filtered upstream"
    """
    from deploysim_assets.assets.shown_forecast import ShownForecast

    document = report_document(home, model)
    found = {row["behavior"]: row.get("gate") for row in document["behaviors"]}
    if behavior not in found:
        raise ProjectError(f"{model}: no behavior {behavior!r}; there are: {', '.join(found)}")
    if found[behavior] not in ("fail", "blocked"):
        raise ProjectError(
            f"{model}: the gate of {behavior} says {found[behavior] or 'nothing'}; only a failing "
            "or blocked gate can be accepted"
        )
    forecast = ShownForecast.of(home.lake, model, ledger.read(home.project.home)).record
    assert forecast is not None, "a gate is of a forecast"
    body = {
        "behavior": behavior,
        "gate": found[behavior],
        "reason": reason.strip(),
        "by": person.strip(),
        "forecast": forecast.hash,
    }
    if not body["reason"] or not body["by"]:
        raise ProjectError("--reason and --by must say something")
    record = ledger.append(home.project.home, "acceptance", model, body)
    click.echo(f"record {record.seq}: {person} accepts {behavior} of {model}: {reason}")
    if home.lake.current("release_report", model):
        with operations() as opened:
            opened.run("score", model, ["release_report"])
