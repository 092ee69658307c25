"""`deploysim behaviors`: list them, see what the novelty audit found, and adopt a finding."""

import json
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any, cast

import click
import yaml

from deploysim_assets.behaviors import Behavior
from deploysim_assets.cli.running import show_json, with_home, with_operations
from deploysim_assets.project import CONFIG_FILE, ProjectError
from deploysim_assets.project.file import BEHAVIORS_FILE, load_project
from deploysim_assets.storage import disk

if TYPE_CHECKING:
    from deploysim_assets.cli.home import Home
    from deploysim_assets.cli.operations import Operations


@click.group()
def behaviors() -> None:
    """The taxonomy: what is graded, and what was found beside it."""


@behaviors.command("list", epilog="Example: deploysim behaviors list --json")
@click.option("--json", "as_json", is_flag=True, help="Every behavior whole, as JSON.")
@with_home
def listed(home: "Home", *, as_json: bool) -> None:
    """Every behavior with its identity, grader and threshold."""
    from deploysim_assets.cli.tables import print_table

    if as_json:
        show_json([
            b.model_dump(mode="json", by_alias=True) | {"identity": b.identity}
            for b in home.project.behaviors
        ])  # fmt: skip
        return
    rows = [
        [
            b.name,
            b.identity,
            b.grader,
            f"{b.threshold_per_100k:g}" if b.threshold_per_100k else "-",
            shorten(b.definition, 40, placeholder=" ..."),
        ]
        for b in home.project.behaviors
    ]
    header = ("name", "identity", "grader", "threshold per 100k", "definition")
    print_table("Behaviors", header, rows)


@behaviors.command("novel", epilog="Example: deploysim behaviors novel gpt-4-0613")
@click.argument("model")
@click.option("--json", "as_json", is_flag=True, help="Every finding whole, as JSON.")
@with_operations
def novel(operations: "Operations", model: str, *, as_json: bool) -> None:
    """What MODEL does on its predecessor's prefixes that the predecessor did not, and no
    behavior names."""
    from deploysim_assets.cli.tables import print_table
    from deploysim_assets.report.tables import per_100k

    lake = operations.lake
    if not lake.current("novel_behaviors", model):
        operations.run("exploration", model, ["novel_behaviors"])
    found = list(lake.rows("novel_behaviors", model))
    opened = lake.current("open_findings", model)
    told = list(lake.rows("open_findings", model)) if opened else []
    if as_json:
        show_json({"model_version": model, "novel_behaviors": found, "open_findings": told})
        return
    rows = [
        [
            str(r["finding"]),
            f"{r['says'].partition(', ')[0]} ({'; '.join(r['features'][:2])})",
            f"{r['candidate_only']} : {r['live_only']}",
            per_100k(abs(r["difference"])),
            f"{r['q_value']:.2g}",
        ]
        for r in found
    ]
    header = (
        "",
        "what it does",
        "this model alone : the one before",
        "difference per 100k",
        "q",
    )
    if rows:
        print_table(f"{model}: differences that no behavior names", header, rows)
    else:
        click.echo(f"{model}: no difference beyond chance that no behavior names.")
    if opened:
        rows = [[f"j{r['finding']}", r["name"], str(r["prefixes"]), r["definition"]] for r in told]
        print_table(
            f"{model}: what the judge objects to beyond them",
            ("", "name", "replies", "definition"),
            rows,
        )


def _grader(operations: "Operations", model: str, finding: str) -> dict[str, Any]:
    """How a finding is to be graded; ProjectError where there is no such finding, or no rule can
    tell it."""
    judged = finding.startswith("j")
    asset, number = ("open_findings", finding[1:]) if judged else ("novel_behaviors", finding)
    rows = list(operations.lake.rows(asset, model)) if operations.lake.current(asset, model) else []
    found = next((r for r in rows if str(r["finding"]) == number), None)
    if found is None:
        raise ProjectError(
            f"{model}: the novelty audit has no finding {finding}; see `deploysim behaviors "
            f"novel {model}`"
        )
    if judged:
        return {"grader": "judge", "rubric": found["definition"]}
    if found["proposal"] is None:
        raise ProjectError(
            f"{model}: finding {finding} ({found['features'][0]}) cannot be told by a rule; add "
            f"a judged behavior to {BEHAVIORS_FILE} by hand"
        )
    return {"grader": "rule", "rule": json.loads(found["proposal"])}


def _write(path: Path, added: dict[str, Any]) -> None:
    """Append a behavior to the behaviors file, leaving what stands there as it is."""
    held = yaml.safe_load(path.read_text(encoding="utf-8"))
    text = yaml.safe_dump([added], sort_keys=False, allow_unicode=True)
    if isinstance(held, list):
        path.write_text(
            path.read_text(encoding="utf-8").rstrip("\n") + "\n\n" + text, encoding="utf-8"
        )
        return
    form = cast("dict[str, Any]", held)
    form["add"] = [*(form.get("add") or []), added]
    path.write_text(yaml.safe_dump(form, sort_keys=False, allow_unicode=True), encoding="utf-8")


@behaviors.command(
    "adopt",
    epilog="Example: deploysim behaviors adopt gpt-4-0613 2 --name flattery "
    "--definition 'Opens with praise.'",
)
@click.argument("model")
@click.argument("finding")
@click.option("--name", required=True, help="Name of the new behavior.")
@click.option(
    "--definition", required=True, help="What it is, in a sentence, for people and judges."
)
@click.option(
    "--threshold",
    type=click.FloatRange(min=0, min_open=True),
    help="Rate per 100,000 that a release must stay under.",
)
@with_operations
def adopt(
    operations: "Operations",
    model: str,
    finding: str,
    name: str,
    definition: str,
    threshold: float | None,
) -> None:
    """Make FINDING of MODEL's novelty audit a behavior, and register MODEL again with it.

    A difference (1, 2, ...) is graded by the proposed rule, which stands in behaviors.yaml
    afterwards: read it, and sharpen it before the next forecast. What the judge found (j1, j2, ...)
    is graded by the judge.
    """
    project = operations.project
    added: dict[str, Any] = {"name": name, "definition": definition} | _grader(
        operations, model, finding
    )
    named = yaml.safe_load((project.home / CONFIG_FILE).read_text(encoding="utf-8")).get(
        "behaviors", BEHAVIORS_FILE
    )
    if not isinstance(named, str):
        raise ProjectError(
            f"{project.home / CONFIG_FILE}: behaviors: the list stands in this file; move it to "
            f"a file of its own, {BEHAVIORS_FILE}"
        )
    added |= {"threshold_per_100k": threshold} if threshold else {}
    Behavior.model_validate(added)
    before = (project.home / named).read_text(encoding="utf-8")
    _write(project.home / named, added)
    try:
        operations.project = load_project(project.home)
    except ProjectError:
        (project.home / named).write_text(before, encoding="utf-8")
        raise
    disk.written([project.home / named])
    click.echo(f"{name} added to {project.home / named}")
    operations.register(model, f"adopted {name}, finding {finding} of the novelty audit")
    click.echo(
        f"{model} is registered with it. `deploysim forecast {model}` grades it and seals anew; "
        "completions are not asked for again."
    )
