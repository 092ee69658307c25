"""The command line: conveniences over Dagster. Everything it does is a run of the code
location's jobs and shows in the UI."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deploysim_assets.cli.lazy import Lazy, Main
from deploysim_assets.cli.running import clear_errors, show_json, tell, with_home, with_operations

if TYPE_CHECKING:
    from deploysim_assets.cli.home import Home
    from deploysim_assets.cli.operations import Operations

_LAZY = {
    "accept": Lazy("reporting:accept", "Accept a failing or blocked gate, in the ledger."),
    "audit": Lazy("audit:audit", "Look for what should not be there."),
    "batches": Lazy("batches:batches", "Batches that are with the provider."),
    "behaviors": Lazy("behaviors:behaviors", "What is graded, and what was found beside it."),
    "gate": Lazy("gate:gate", "Whether a release may ship: an exit code for scripts."),
    "gc": Lazy("upkeep:gc", "Remove table versions that nothing rests on."),
    "guide": Lazy("guide:guide", "Read a guide."),
    "home": Lazy("copying:home", "Copy the home, to a bucket or back."),
    "import": Lazy("import_logs:import_logs", "Logs of another format into a release's folder."),
    "init": Lazy("starting:init", "Write a project to start from, or one for your logs."),
    "report": Lazy("reporting:report", "The forecast of a release and its score."),
    "status": Lazy("status:status", "What there is of each release, and what is next."),
    "trace": Lazy("trace:trace", "From a published figure down to the log lines."),
    "upgrade": Lazy("upkeep:upgrade", "Bring a home of an earlier deploysim up to date."),
}


@click.group(cls=Main, lazy=_LAZY, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="deploysim")
def main() -> None:
    """Forecast how often a release will misbehave in production, and score the forecast when its
    logs land.

    The project is the deploysim.yaml in DEPLOYSIM_HOME (default: the current folder). Exit codes:
    0 to 4 are a verdict (see `deploysim gate`), 64 usage or configuration, 69 the endpoint, 70 an
    error of deploysim itself.

    Examples: deploysim demo, deploysim init --from logs/, deploysim guide
    """


@main.command(epilog="Example: deploysim demo --home /tmp/demo --conversations 1000")
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
    help="Production conversations of each release.  [default: 3000, of agents 400]",
)
@click.option("--agents", is_flag=True, help="Agents with e-mail and files instead of a chat.")
@clear_errors
def demo(home: Path, seed: int, conversations: int | None, *, agents: bool) -> None:
    """Forecast, ship and score four releases of a synthetic product, a chat or agents, whose true
    rates are known."""
    from deploysim_assets.cli.demo import AGENTS, CHAT, run_demo
    from deploysim_assets.project.file import local_folder

    product = AGENTS if agents else CHAT
    folder = local_folder(home, "--home")
    run_demo(folder, seed, conversations or product.size, tell, product)


@main.command(epilog="Example: deploysim forecast gpt-4-0613")
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
    from deploysim_assets.cli.reporting import show_report

    operations.forecast(model, fresh=fresh)
    show_report(operations, model)


@main.command(
    epilog="Example: deploysim register gpt-4-0613 --reason 'sharper rubric of harassment'"
)
@click.argument("model")
@click.option(
    "--reason", default="", help="Why it is registered again; the ledger and the report show it."
)
@with_operations
def register(operations: "Operations", model: str, reason: str) -> None:
    """Register MODEL (again, with a reason) as the files and its predecessor's traffic are now.
    The next forecast rests on it."""
    operations.register(model, reason)


@main.command(epilog="Example: deploysim backfill gpt-4-0613")
@click.argument("models", nargs=-1, required=True)
@with_operations
def backfill(operations: "Operations", models: tuple[str, ...]) -> None:
    """Read and grade the production logs of MODELS, and score the forecasts that were made of
    them."""
    from deploysim_assets.cli.reporting import show_report

    operations.backfill(models)
    for model in models:
        show_report(operations, model)


@main.command(epilog="Example: deploysim plan --factor 1.5 --prefixes 5000 --plot plan.png")
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
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
@with_home
def plan(
    home: "Home",
    factor: float,
    ratio: float,
    prefixes: int | None,
    plot: Path | None,
    *,
    as_json: bool,
) -> None:
    """How many prefixes for which precision, gate or comparison, what they cost, and where more
    stop helping."""
    from deploysim_assets.cli.plan import make_plan, show_plan, write_plot
    from deploysim_assets.cli.pricing import costs_of
    from deploysim_assets.cli.shares import lines_of, propose_shares

    project = home.project
    found = make_plan(project, home.lake.held(), factor, ratio)
    candidates = [r for r in project.releases if r.predecessor]
    count = prefixes or found.prefixes_now
    costs = costs_of(project, candidates[-1] if candidates else None, count)
    proposal = propose_shares(project, home.lake.held())
    if plot:
        write_plot(found, plot)
    if as_json:
        parts = [cost._asdict() for cost in costs]
        shares = proposal and proposal._asdict()
        show_json(found._asdict() | {"prefixes": count, "costs": parts, "strata": shares})
        return
    show_plan(found, factor, ratio, count, costs)
    for line in lines_of(proposal):
        click.echo(line)
    if plot:
        click.echo(f"plot: {plot}")


@main.command(epilog="Example: deploysim forget --user-id u17 --user-id u23")
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
    from deploysim_assets.project import ProjectError
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
