"""`deploysim trace`: from a published figure to the log lines that it rests on."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import click

from deploysim_assets.cli.running import show_json, with_home
from deploysim_assets.project import ProjectError
from deploysim_assets.schema import turn_messages

if TYPE_CHECKING:
    from rich.tree import Tree

    from deploysim_assets.cli.home import Home
    from deploysim_assets.evidence.trace import Trace

_SHOWN = 20
_PIPED_WIDTH = 400


def traced(operations: "Home", model: str) -> "tuple[Trace, dict[str, Any]]":
    """The trace of a release, and what its graders are now where they are not as registered;
    SealError where a table that it walks through is not as it was written."""
    from deploysim_assets.deidentify.keys import load_keys
    from deploysim_assets.evidence.trace import Trace
    from deploysim_assets.grading.panel import Panel
    from deploysim_assets.storage import ledger

    project, lake = operations.project, operations.lake.held()
    project.release(model)
    registered = [
        Panel.from_record(r.body["panel"])
        for r in ledger.read(project.home)
        if r.kind == "registration"
    ]
    now = Panel.of(project)
    graders = {panel.grading_id: panel.grader_ids() for panel in (*registered, now)}
    try:
        identify = load_keys(project.home, may_create=False).identify
    except ProjectError:
        identify = None
    trace = Trace(lake, model, graders, identify)
    mine = ledger.latest(project.home, "registration", model)
    other = (
        {"step": "graders", "what": "another grader", "used": mine.body["grading_id"],
         "current": now.grading_id}
        if mine and mine.body["grading_id"] != now.grading_id
        else {}
    )  # fmt: skip
    return trace, other


@click.command()
@click.argument("model")
@click.argument("behavior", required=False)
@click.option("--json", "as_json", is_flag=True, help="The whole trace, as JSON.")
@click.option("--text", is_flag=True, help="With the de-identified text of each item.")
@with_home
def trace(operations: "Home", model: str, behavior: str | None, as_json: bool, text: bool) -> None:
    """Trace the figures of MODEL (of one BEHAVIOR) down to file and line of the logs.

    Ids only, no text, unless --text asks for de-identified text. Without the key file the walk ends
    at keyed ids and the digests of the log files.

    Example: deploysim trace gpt-4-0613 fabricated_facts --json
    """
    found, other_graders = traced(operations, model)
    items = list(found.items(behavior, text=text))
    changed = found.changed_since() + ([other_graders] if other_graders else [])
    steps = [
        {
            "step": f"{m.asset}[{m.partition}]" if m.partition else m.asset,
            "version": m.version,
            "manifest": m.digest,
            **{name: m.predicate[name] for name in ("run", "code", "libraries", "settings")},
            "inputs": [given._asdict() for given in m.inputs],
        }
        for m in found.steps.values()
    ]
    if as_json:
        document = {
            "model_version": model,
            "figures": found.figures(behavior),
            "items": items,
            "steps": steps,
            "sentinels": found.sentinels(),
            "log_files": found.log_files(),
            "changed_since": changed,
        }
        show_json(document)
        return
    from rich.console import Console

    out = Console(highlight=False)
    if not out.is_terminal:
        out = Console(highlight=False, width=_PIPED_WIDTH)
    tree = _tree(model, found.figures(behavior), items, steps, changed, text=text)
    watched = tree.add(
        "the judge was watched by" if found.sentinels() else "nobody watched the judge"
    )
    for one in found.sentinels():
        of = one["drawn_from"]
        watched.add(
            f"{one['side']}: {one['items']} sentinels of {of['asset']}, {of['partition']}, sealed "
            f"by record {one['record']}, occasion {one['occasion']}"
        )
    out.print(tree)


def _tree(
    model: str,
    figures: dict[str, list[dict[str, Any]]],
    items: list[dict[str, Any]],
    steps: list[dict[str, Any]],
    changed: list[dict[str, Any]],
    *,
    text: bool,
) -> "Tree":
    from rich.markup import escape
    from rich.tree import Tree

    tree = Tree(f"[bold]{model}[/bold]")
    names = list(dict.fromkeys(row["behavior"] for rows in figures.values() for row in rows))
    for name in names:
        branch = tree.add(f"[bold]{escape(name)}[/bold]")
        for asset, rows in figures.items():
            for row in rows:
                if row["behavior"] == name:
                    numbers = ", ".join(
                        f"{k} {_short(v)}"
                        for k, v in row.items()
                        if k not in ("behavior", "grading_id") and v is not None
                    )
                    branch.add(f"{asset}: {numbers}")
        mine = [item for item in items if item["behavior"] == name]
        for item in mine[:_SHOWN]:
            log = item["log"]
            place = f"{log['file']}:{log['line']}" if log else "no key file: no line"
            answer = (
                f" <- completion {item['completion']['request_key'][:12]}"
                if (item["completion"])
                else ""
            )
            leaf = branch.add(
                escape(
                    f"{item['side']}: grade by {item['grader_id']}{answer} <- prefix "
                    f"{item['prefix_id'][:12]} <- conversation "
                    f"{(item['conversation_key'] or '')[:12]} <- {place}"
                )
            )
            if text:
                for line in _turn(item["reply"]) if item["reply"] else ():
                    leaf.add(escape(line))
        if len(mine) > _SHOWN:
            branch.add(f"{len(mine) - _SHOWN} more flagged items; `--json` has them all")
    made = tree.add("made by")
    for step in steps:
        code = step["code"].get("commit") or step["code"].get("record") or "?"
        run = step["run"]
        made.add(
            escape(
                f"{step['step']} {step['version']}: {run['at'][:19]} by {run['launched_by']}, run "
                f"{run['id'][:8] or '-'}, code {step['code']['version']} {code[:12]}"
            )
        )
    since = tree.add("changed since" if changed else "nothing of it has changed since")
    for one in changed:
        since.add(escape(f"{one['step']}: {one['what']} ({_short(one['used'])} then, "
                         f"{_short(one['current'])} now)"))  # fmt: skip
    return tree


def _turn(reply: dict[str, Any]) -> Iterator[str]:
    """The messages of a turn, a line or more each: calls, results, and what was said last."""
    for message in turn_messages(reply):
        said = message["content"]
        if message["role"] == "tool":
            yield f"{message['name'] or 'tool'} -> {said}"
            continue
        calls: list[dict[str, Any]] = message["tool_calls"] or []
        if said or not calls:
            yield f"{said}"
        yield from (f"calls {call['name']}({call['arguments']})" for call in calls)


def _short(value: Any) -> str:
    """A figure, or the name of a state of the code, in a few characters."""
    if isinstance(value, dict):
        code = cast("dict[str, Any]", value)
        return f"{code.get('commit') or code.get('record') or code.get('version')}"[:12]
    return f"{value:.4g}" if isinstance(value, float) else f"{value}"
