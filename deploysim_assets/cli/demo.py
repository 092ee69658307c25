"""`deploysim demo`: four releases of a synthetic product, a chat or agents, are forecast, shipped
and scored through the real assets."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from rich.console import Console

from deploysim_assets.agents.extras import extra
from deploysim_assets.forecast.rates import midp_interval
from deploysim_assets.project import CONFIG_FILE, ProjectError
from deploysim_assets.project.file import BEHAVIORS_FILE, load_project
from deploysim_assets.report.tables import (
    console,
    limits,
    observed,
    per_100k,
    rich_table,
    summary_lines,
    times,
)
from deploysim_assets.synthetic import agent_traffic, agent_world, traffic, world
from deploysim_assets.synthetic.agent_world import SIMULATOR
from deploysim_assets.synthetic.desk import FUNCTIONS

_MARKER = ".deploysim-demo"


class Product(NamedTuple):
    """A synthetic product whose true rates are known: its releases in order, its behaviors, its
    traffic (release, count, seed, first, spacing), what deploysim.yaml says of it beside that, what
    a turn of it is called, and how many conversations of each release its demo ships."""

    releases: tuple[str, ...]
    behaviors: Sequence[world.SyntheticBehavior | agent_world.AgentBehavior]
    conversations: Callable[[str, int, int, datetime, timedelta], Iterator[dict[str, Any]]]
    settings: dict[str, Any]
    unit: str
    size: int


CHAT = Product(world.RELEASES, world.BEHAVIORS, traffic.conversations, {}, "messages", 3_000)
AGENTS = Product(
    agent_world.RELEASES,
    agent_world.BEHAVIORS,
    agent_traffic.conversations,
    {
        "agents": {
            "functions": FUNCTIONS,
            "simulator": {"model": SIMULATOR},
            "discriminator": {"sample": 100, "ablation": 40},
        },
        "self_replay": {"max_prefixes": 150},
    },
    "turns",
    400,
)


@contextlib.contextmanager
def synthetic_endpoint(seed: int) -> Generator[str]:
    """Run the synthetic world's server in a process of its own; gives its base URL."""
    command = [sys.executable, "-m", "deploysim_assets.synthetic.server", "--seed", str(seed)]
    with subprocess.Popen(  # noqa: S603
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdin and server.stdout
        port = server.stdout.readline().strip()
        if not port:
            raise ProjectError("the demo's server did not start; see the message above")
        try:
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.stdin.close()


def write_project(
    home: Path, base_url: str, max_prefixes: int, product: Product = CHAT, **extra: Any
) -> None:
    """Write deploysim.yaml and behaviors.yaml for a synthetic product; `extra` replaces
    top-level keys."""
    listed: list[dict[str, Any]] = []
    releases = product.releases
    for release, predecessor in zip(releases, (None, *releases), strict=False):
        entry: dict[str, Any] = {
            "model_version": release,
            "predecessor": predecessor,
            "logs": {"format": "openai_chat", "path": f"logs/{release}/*.jsonl"},
        }
        if predecessor:
            entry["candidate"] = {
                "model": release,
                "params": {"temperature": 1.0, "max_tokens": 800},
            }
        listed.append(entry)
    config = {
        "releases": listed,
        "endpoint": {"base_url": base_url, "max_concurrency": 16},
        "judge": {"model": "judge"},
        "behaviors": BEHAVIORS_FILE,
        "sampling": {"max_prefixes": max_prefixes, "seed": 7},
        "deidentification": {"min_level": 0},
    } | product.settings
    behaviors: list[dict[str, Any]] = []
    for b in product.behaviors:
        grader: dict[str, Any] = (
            {"grader": "rule", "rule": b.rule}
            if b.rule
            else {"grader": "judge", "rubric": f"An example: {b.phrase}"}
        )
        behaviors.append({"name": b.name, "definition": b.definition, **grader})
    (home / CONFIG_FILE).write_text(yaml.safe_dump(config | extra, sort_keys=False))
    (home / BEHAVIORS_FILE).write_text(
        yaml.safe_dump(behaviors, sort_keys=False, allow_unicode=True)
    )


def _fresh(home: Path) -> None:
    if home.exists() and any(home.iterdir()) and not (home / _MARKER).exists():
        raise ProjectError(
            f"{home}: not empty, and not an earlier demo; name another folder with --home"
        )
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    (home / _MARKER).touch()


def ship(
    home: Path,
    release: str,
    count: int,
    seed: int,
    first: datetime,
    spacing: timedelta,
    product: Product = CHAT,
) -> None:
    """Let a release's production logs land: `count` conversations from `first` on."""
    traffic.write_logs(
        home / "logs" / release / "traffic.jsonl",
        product.conversations(release, count, seed, first, spacing),
    )


def run_demo(
    home: Path, seed: int, count: int, tell: Callable[[str], None], product: Product = CHAT
) -> None:
    """Build the world in `home`, take every release through forecast, shipping and scoring, and
    print it all beside the truth."""
    releases = product.releases
    start = time.monotonic()
    if "agents" in product.settings:
        for package in ("bm25s", "sklearn"):  # said now, and not by a step in the middle
            extra(package, "the demo of agents")
    _fresh(home)
    os.environ["DEPLOYSIM_HOME"] = str(home)
    os.environ.pop("DAGSTER_HOME", None)
    with synthetic_endpoint(seed) as base_url:
        write_project(home, base_url, max_prefixes=count * 4 // 3, product=product)
        import dagster as dg

        from deploysim_assets.cli.instance import WORKSPACE_YAML, dagster_home
        from deploysim_assets.cli.operations import Operations

        (home / "workspace.yaml").write_text(WORKSPACE_YAML)
        os.environ["DAGSTER_HOME"] = str(dagster_home(home))
        with dg.DagsterInstance.get() as instance:
            operations = Operations(load_project(home), instance, tell)
            tell(f"{releases[0]} is in production: {count:,} conversations")
            ship(
                home,
                releases[0],
                count,
                seed,
                datetime.now(UTC) - timedelta(days=14),
                timedelta(minutes=5),
                product,
            )
            for release in releases[1:]:
                tell(
                    f"{release} is a candidate: forecast from the traffic of "
                    f"{operations.project.predecessor(release)}"
                )
                operations.forecast(release)
                tell(
                    f"{release} ships: {count:,} conversations of it land (production in fast "
                    "motion)"
                )
                now, spacing = datetime.now(UTC), timedelta(microseconds=50)
                ship(home, release, count, seed, now, spacing, product)
                operations.backfill([release])
            out = console()
            for release in releases[1:]:
                _print_release(out, operations.lake, release, product)
            _print_scorecard(out, operations.lake)
            if operations.project.agents is not None:
                _print_fidelity(out, operations.lake, releases[-1])
    out.print(
        f"\nDone in {time.monotonic() - start:.0f} s. See it in Dagster's UI, with every table, "
        "plot and check:"
    )
    out.print(
        f"  cd {home} && DEPLOYSIM_HOME=$PWD DAGSTER_HOME=$PWD/.dagster dg dev -w workspace.yaml",
        soft_wrap=True,
        highlight=False,
    )


def _print_release(out: Console, lake: Any, release: str, product: Product) -> None:
    scored = {row["behavior"]: row for row in lake.rows("calibration_report", release)}
    rows: list[list[str]] = []
    for behavior in product.behaviors:
        row, estimate = (
            scored[behavior.name],
            next(r for r in lake.rows("rate_estimates", release) if r["behavior"] == behavior.name),
        )
        rows.append(
            [
                behavior.name,
                observed(
                    row["persistence_k"],
                    row["persistence_n"],
                    midp_interval(round(row["persistence_k"]), round(row["persistence_n"]))[1],
                ),
                observed(
                    row["forecast_k"], row["forecast_n"], row["forecast_high"], row["forecast"]
                ),
                limits(estimate["p95_low"], estimate["p95_high"]),
                observed(
                    row["realized_k"], row["realized_n"], row["realized_high"], row["realized"]
                ),
                per_100k(behavior.rates[product.releases.index(release)]),
                times(row["multiplicative_error"]) + ("" if row["resolved"] else "*"),
                "yes" if row["in_95"] else "no",
            ]
        )
    header = (
        "behavior",
        "before",
        "forecast",
        "95% forecast",
        "realized",
        "truth",
        "error",
        "in 95%",
    )
    out.print(rich_table(f"{release}: rates per 100,000 {product.unit}", header, rows))


def _print_scorecard(out: Console, lake: Any) -> None:
    summary = next(row for row in lake.rows("scorecard", None) if row["model_version"] == "(all)")
    out.print("* fewer than 5 events on a side: unresolved, kept out of the median.\n")
    out.print("All releases:")
    for line in summary_lines(summary):
        out.print(f"  {line}")


def _print_fidelity(out: Console, lake: Any, release: str) -> None:
    """How well real turns are told from simulated ones, by what answered their calls."""
    rows = [row for row in lake.rows("simulation_fidelity", release) if row["tool"] is None]
    measures = ("taken_for_real", "told_apart", "exact")

    def of(affordances: str, measure: str, source: str | None = None) -> float | None:
        return next(
            (
                row["value"]
                for row in rows
                if (row["affordances"], row["measure"], row["source"])
                == (affordances, measure, source)
            ),
            None,
        )

    def shown(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    table: list[list[str]] = []
    for name in dict.fromkeys(row["affordances"] for row in rows):
        taken, told, exact = (of(name, measure) for measure in measures)
        cells = [shown(taken, ".0%"), shown(told, ".2f"), shown(exact, ".0%")]
        table.append([name, *cells, shown(of(name, "results", "model") or 0.0, ".0%")])
    header = ("calls answered by", "taken for real", "AUC", "as recorded", "invented")
    live = rows[0]["live_version"]
    out.print(rich_table(f"Simulated turns of {live} beside its real ones", header, table))
    out.print("Best are 50% taken for real and an AUC of 0.5: nobody can tell them.")
