"""`deploysim report`: the figures of a release, printed only where their seals hold."""

from typing import TYPE_CHECKING, Any

import click

from deploysim_assets.cli.running import with_home
from deploysim_assets.project import ProjectError
from deploysim_assets.storage import last_audit, ledger

if TYPE_CHECKING:
    from deploysim_assets.cli.home import Home
    from deploysim_assets.cli.operations import Operations

_BANNER = "UNVERIFIED: the seals of these figures were not checked, or do not hold."


def report_document(
    operations: "Home | Operations", model: str, *, unverified: bool = False
) -> dict[str, Any]:
    """The report of a release as JSON; ProjectError where a seal of what it prints does not hold,
    unless it is asked for `unverified`."""
    from deploysim_assets.assets.current_quality import current_quality
    from deploysim_assets.assets.home_audit import refuse_broken_seals
    from deploysim_assets.assets.registration import Registration
    from deploysim_assets.assets.reply_funnel import reply_funnel
    from deploysim_assets.forecast.gate import blocked
    from deploysim_assets.forecast.summary import summarize
    from deploysim_assets.report.document import release_report

    project, lake = operations.project, operations.lake
    project.release(model)
    if not unverified:
        refuse_broken_seals(project, lake, model)
    realized, scored = (
        list(lake.rows(asset, model)) if lake.current(asset, model) else []
        for asset in ("realized_rates", "calibration_report")
    )
    version = scored[0]["forecast_version"] if scored else lake.current("rate_estimates", model)
    estimates = list(lake.rows("rate_estimates", model, version)) if version else []
    quality: dict[str, dict[str, Any]] = {}
    if lake.current("preregistration", model):
        registered = Registration.load(lake, model)
        gradings = {row["grading_id"] for row in estimates} or {registered.panel.grading_id}
        realized = [r for r in realized if r["grading_id"] in gradings]
        quality = current_quality(
            lake, registered.panel.grader_ids(), model, registered.predecessor
        )
        for row in estimates:
            row["gate"] = blocked(row["gate"], quality.get(row["behavior"]), project.min_precision)
    if not estimates and not realized:
        raise ProjectError(
            f"{model}: nothing to report yet; run `deploysim forecast {model}`, or `deploysim "
            f"backfill {model}` once its logs are there"
        )
    records = ledger.examine(project.home)[0]
    mine = [record for record in records if record.model_version == model]
    registrations = [r.body | {"at": r.at} for r in mine if r.kind == "registration"]
    document = release_report(
        model,
        estimates,
        realized,
        scored,
        summarize(scored) if scored else {},
        registrations,
        quality,
        reply_funnel(lake, model),
    )
    return document | {
        "acceptances": [r.body | {"at": r.at} for r in mine if r.kind == "acceptance"],
        "other_forecasts": _other_forecasts(lake, model) if scored else [],
        "evidence": {
            "verified": not unverified,
            "ledger": {
                "records": len(records),
                "head": records[-1].hash if records else None,
            },
            "manifests": {
                asset: manifest.digest
                for asset in ("rate_estimates", "realized_rates", "calibration_report")
                if (manifest := lake.manifest(asset, model)) is not None
            },
            "last_full_audit": last_audit.load(project.home),
        },
    }


def _other_forecasts(lake: Any, model: str) -> list[dict[str, Any]]:
    """Sealed forecasts of the release that are not the one scored, with what they would have
    scored."""
    manifest = lake.manifest("calibration_report", model)
    if manifest is None or "other_forecasts" not in manifest.predicate["schema"]:
        return []
    found: dict[str, dict[str, Any]] = {}
    names = ("record", "sealed_at", "reason", "prospective")
    for row in lake.rows("calibration_report", model, table="other_forecasts"):
        named = {name: row[name] for name in names}
        known = found.setdefault(row["record"], named | {"errors": {}})
        if row["behavior"]:
            known["errors"][row["behavior"]] = row["multiplicative_error"]
    return list(found.values())


def show_report(operations: "Home | Operations", model: str, *, unverified: bool = False) -> None:
    """Print the report as a table."""
    from deploysim_assets.report.document import (
        evidence_lines,
        funnel_lines,
        registered_again,
        table,
        verdict,
    )
    from deploysim_assets.report.tables import console, rich_table

    document = report_document(operations, model, unverified=unverified)
    out = console()
    if unverified:
        out.print(f"[bold red]{_BANNER}[/bold red]")
    out.print(rich_table(f"{model}: rates per 100,000 messages", *table(document)))
    out.print(verdict(document["summary"]))
    for line in (
        *funnel_lines(document),
        *registered_again(document),
        *evidence_lines(document),
    ):
        out.print(line, highlight=False)


@click.command()
@click.argument("model")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "md"]),
    default="table",
    show_default=True,
)
@click.option(
    "--unverified", is_flag=True, help="Print it even where a seal does not hold, with a banner."
)
@with_home
def report(operations: "Home", model: str, form: str, unverified: bool) -> None:
    """The forecast of MODEL and, once production was graded, its score.

    Refuses to print a figure whose seal does not hold.
    """
    if form == "table":
        show_report(operations, model, unverified=unverified)
        return
    import orjson

    from deploysim_assets.report.document import markdown

    document = report_document(operations, model, unverified=unverified)
    if form == "json":
        click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
    else:
        click.echo((f"> **{_BANNER}**\n\n" if unverified else "") + markdown(document))


@click.command()
@click.argument("model")
@click.argument("behavior")
@click.option("--reason", required=True, help="Why the release may ship all the same.")
@click.option("--by", "person", required=True, help="Who accepts it.")
@with_home
def accept(operations: "Home", model: str, behavior: str, reason: str, person: str) -> None:
    """Record in the ledger that a person accepts a failing or blocked gate of MODEL for BEHAVIOR;
    the report shows who, when and why.

    Example: deploysim accept gpt-4-0613 harassment --by "A. Reviewer" --reason "filtered upstream"
    """
    document = report_document(operations, model)
    found = {row["behavior"]: row.get("gate") for row in document["behaviors"]}
    if behavior not in found:
        raise ProjectError(f"{model}: no behavior {behavior!r}; there are: {', '.join(found)}")
    if found[behavior] not in ("fail", "blocked"):
        raise ProjectError(
            f"{model}: the gate of {behavior} says {found[behavior] or 'nothing'}; only a failing "
            "or blocked gate can be accepted"
        )
    forecast = ledger.latest(operations.project.home, "forecast", model)
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
    record = ledger.append(operations.project.home, "acceptance", model, body)
    click.echo(f"record {record.seq}: {person} accepts {behavior} of {model}: {reason}")
