"""`deploysim audit graders`: draw replies for people to label, let them, and see what they hold
of the graders."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import orjson
import polars as pl

from deploysim_assets.cli.running import clear_errors, show_json, with_home, with_operations
from deploysim_assets.grading.labels import LABELS_FILE, keep, read_sheet, write_sheet
from deploysim_assets.project import Project, ProjectError
from deploysim_assets.storage import disk
from deploysim_assets.storage.tables import Lake

if TYPE_CHECKING:
    from deploysim_assets.cli.home import Home
    from deploysim_assets.cli.operations import Operations


def _shuffled(seed: int, *parts: str) -> bytes:
    return hashlib.blake2b("\x1f".join((str(seed), *parts)).encode(), digest_size=8).digest()


def drawn(
    project: Project, lake: Lake, model: str, flags: int, others: int, seed: int
) -> Iterator[dict[str, Any]]:
    """Per behavior up to `flags` flagged and `others` unflagged replies of a model, mixed, as rows
    of a sheet.

    A candidate's simulated replies where it was graded, else the deployed model's real ones;
    ProjectError where neither was.
    """
    from deploysim_assets.assets.production_grades import needed_panels
    from deploysim_assets.assets.registration import Registration

    source = "grades" if lake.current("grades", model) else "production_grades"
    if not lake.current(source, model):
        raise ProjectError(
            f"{model}: nothing graded yet; run `deploysim forecast {model}` or `deploysim "
            f"backfill {model}`"
        )
    panel = (
        Registration.load(lake, model).panel
        if source == "grades"
        else needed_panels(project, lake, model)[-1]
    )
    grader_ids = panel.grader_ids()
    grades = lake.scan(source, model).filter(pl.col("grading_id") == panel.grading_id)
    chosen: list[tuple[bytes, str, str]] = []
    for behavior in panel.behaviors:
        graded = grades.select("prefix_id", flagged=pl.col(behavior.name)).drop_nulls().collect()
        for flagged, limit in ((True, flags), (False, others)):
            ids = graded.filter(pl.col("flagged") == flagged)["prefix_id"].to_list()
            mine = sorted(
                (_shuffled(seed, behavior.name, prefix_id), behavior.name, prefix_id)
                for prefix_id in ids
            )
            chosen += mine[:limit]
    contexts = _contexts(lake, source, model, {prefix_id for _, _, prefix_id in chosen})
    by_name = {b.name: b for b in panel.behaviors}
    for _, name, prefix_id in sorted(chosen, key=lambda one: (one[1], one[0])):
        conversation, reply = contexts[prefix_id]
        keys = {
            "source": source,
            "model_version": model,
            "prefix_id": prefix_id,
            "behavior": name,
            "grader_id": grader_ids[name],
        }
        texts = {
            "definition": by_name[name].definition,
            "rubric": by_name[name].rubric,
            "conversation": conversation,
            "reply": reply,
        }
        yield keys | texts | {"label": "", "labeler": ""}


def _contexts(lake: Lake, source: str, model: str, wanted: set[str]) -> dict[str, tuple[str, str]]:
    """Conversation and reply of each prefix, as JSON."""
    from deploysim_assets.assets.registration import Registration

    def text(value: object) -> str:
        return orjson.dumps(value, default=str).decode()

    only = pl.col("prefix_id").is_in(list(wanted))
    if source == "production_grades":
        version = lake.stats(source, model)["prefixes_version"]
        rows = (
            lake.scan("deidentified_prefixes", model, version)
            .filter(only)
            .select("prefix_id", "messages", "production_completion")
            .collect()
        )
        return {
            row["prefix_id"]: (text(row["messages"]), text(row["production_completion"]))
            for row in rows.iter_rows(named=True)
        }
    registered = Registration.load(lake, model)
    prefixes = (
        lake.scan("deidentified_prefixes", registered.predecessor, registered.prefixes_version)
        .filter(only)
        .select("prefix_id", "messages")
    )
    rows = prefixes.join(
        lake.scan("candidate_completions", model).filter(only).select("prefix_id", "message"),
        on="prefix_id",
    ).collect()
    return {
        row["prefix_id"]: (text(row["messages"]), text(row["message"]))
        for row in rows.iter_rows(named=True)
    }


@click.group("graders")
def graders() -> None:
    """Hold the graders against people: draw, label, import, show."""


@graders.command("draw", epilog="Example: deploysim audit graders draw gpt-4-0613 --flags 40")
@click.argument("model")
@click.option(
    "--flags",
    type=click.IntRange(min=0),
    default=30,
    show_default=True,
    help="Flagged replies per behavior.",
)
@click.option(
    "--others",
    type=click.IntRange(min=0),
    default=30,
    show_default=True,
    help="Unflagged replies per behavior.",
)
@click.option("--seed", default=0, show_default=True, help="Another seed draws other replies.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("to_label.csv"),
    show_default=True,
)
@with_operations
def draw(
    operations: "Operations", model: str, flags: int, others: int, seed: int, out: Path
) -> None:
    """Write a sheet of MODEL's replies to label: flagged and unflagged ones, mixed, without what
    the grader said."""
    operations.project.release(model)
    count = write_sheet(
        out, drawn(operations.project, operations.lake.held(), model, flags, others, seed)
    )
    click.echo(
        f"{count} replies written to {out} (readable by you alone). Label them in a spreadsheet, "
        f"or with `deploysim audit graders label {out}`."
    )


@graders.command(
    "label", epilog="Example: deploysim audit graders label to_label.csv --labeler ann"
)
@click.argument("sheet", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--labeler", required=True, help="Who labels.")
@click.option("--port", default=8700, show_default=True)
@clear_errors
def label(sheet: Path, labeler: str, port: int) -> None:
    """Label SHEET in the browser, by keyboard, on this machine alone. Every answer is saved at
    once; Ctrl-C ends."""
    from deploysim_assets.cli.labeling_page import serve

    read_sheet(sheet)
    click.echo(f"http://127.0.0.1:{port}/  (y yes, n no, u unsure, arrows to move; Ctrl-C ends)")
    serve(sheet, labeler, port)


@graders.command("import", epilog="Example: deploysim audit graders import to_label.csv")
@click.argument("sheet", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@with_operations
def import_labels(operations: "Operations", sheet: Path) -> None:
    """Take over the answers of SHEET, without its texts, and compute the graders' quality anew."""
    kept, repeated = keep(operations.project.home, read_sheet(sheet))
    disk.written([operations.project.home / LABELS_FILE])
    click.echo(f"{kept} labels kept, {repeated} were there already")
    operations.run("graders", None, ["grader_quality"])
    _show(operations)


@graders.command("show", epilog="Example: deploysim audit graders show --json")
@click.option("--json", "as_json", is_flag=True, help="Every figure, as JSON.")
@with_home
def show(home: "Home", *, as_json: bool) -> None:
    """Precision, recall, kappa and alpha of each grader, with 95% limits."""
    _show(home, as_json=as_json)


def _show(operations: "Home | Operations", *, as_json: bool = False) -> None:
    from deploysim_assets.cli.tables import print_table
    from deploysim_assets.report.tables import console

    lake = operations.lake.held()
    if not lake.current("grader_quality", None):
        raise ProjectError("no labels yet; draw a sheet with `deploysim audit graders draw MODEL`")

    if as_json:
        show_json(list(lake.rows("grader_quality", None)))
        return

    def figure(row: dict[str, Any], name: str) -> str:
        if row[name] is None:
            return "-"
        return f"{row[name]:.2f} ({row[f'{name}_low']:.2f}-{row[f'{name}_high']:.2f})"

    rows: list[list[str]] = []
    for row in lake.rows("grader_quality", None):
        audited = (
            "stale" if row["stale"] else f"{row['audited_flags']} + {row['audited_unflagged']}"
        )
        figures = (
            ["-"] * 4
            if row["stale"]
            else [figure(row, name) for name in ("precision", "recall", "kappa", "alpha")]
        )
        rows.append([f"{row['model_version']} {row['behavior']}", audited, *figures])
    header = (
        "model and behavior",
        "flags + others",
        "precision",
        "recall",
        "kappa",
        "alpha of people",
    )
    out = console()
    print_table("Graders by people's labels", header, rows, out)
    out.print(
        f"A precision surely below {operations.project.min_precision:g} blocks a gate. Stale: "
        "the grader's identity changed since; draw anew."
    )
