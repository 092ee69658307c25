"""The guides: every command parses, every example runs, every link leads somewhere."""

import importlib
import io
import json
import re
import shlex
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from deploysim_assets.cli.commands import main
from deploysim_assets.cli.guide import FOLDER, guides
from deploysim_assets_tests.support import REPO, serve

DOCUMENTS = [REPO / "README.md", *sorted(FOLDER.glob("*.md"))]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`(deploysim [^`]+)`")


def _blocks(path: Path, kind: str) -> list[str]:
    return [body for language, body in _FENCE.findall(path.read_text("utf-8")) if language == kind]


def _commands(path: Path) -> Iterator[str]:
    for block in _blocks(path, "bash"):
        for line in block.splitlines():
            command = line.split("  #")[0].strip()
            if command.startswith("deploysim "):
                yield command
    for command in _INLINE.findall(_FENCE.sub("", path.read_text("utf-8"))):
        yield command.replace(" ...", " x")


def _all_commands() -> list[tuple[str, str]]:
    return sorted({(path.name, command) for path in DOCUMENTS for command in _commands(path)})


def _parse(command: str) -> None:
    """Resolve a command line down to the command that would run, with all its options."""
    words = shlex.split(command)[1:]
    group: click.Command = main
    context: click.Context | None = None
    while isinstance(group, click.Group):
        if not words:  # the name of a group, in prose
            return
        found = group.get_command(context or click.Context(main), words[0])
        assert found is not None, f"{command}: no command {words[0]!r}"
        group, words = found, words[1:]
    if words or not any(p.required for p in group.params):
        group.make_context(group.name, words)


@pytest.mark.parametrize(("document", "command"), _all_commands())
def test_every_command_of_the_guides_is_one(
    document: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(click.Path, "convert", lambda self, value, param, ctx: Path(value))
    _parse(command)


def _leaves(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        assert found is not None
        if isinstance(found, click.Group):
            yield from _leaves(found, f"{path} {name}")
        else:
            yield f"{path} {name}", found


def test_the_help_of_every_command_has_an_example_that_parses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(click.Path, "convert", lambda self, value, param, ctx: Path(value))
    for path, command in _leaves(main, "deploysim"):
        told = " ".join(f"{command.help} {command.epilog or ''}".split())
        _, found, example = told.partition("Example: ")
        assert found and example.startswith(path), f"{path}: no example of itself"
        _parse(example.partition(" && ")[0])


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.md")), ids=lambda p: p.stem)
def test_the_python_of_a_guide_runs(path: Path) -> None:
    held: dict[str, Any] = {"__name__": "guide"}
    for block in _blocks(path, "python"):
        exec(compile(block, str(path), "exec"), held)
    if path.stem == "8-extending":
        _use_the_extensions(held, _blocks(path, "yaml")[0])
    if path.stem == "10-agents":
        _use_the_agents(held, _blocks(path, "yaml"))


def _use_the_agents(held: dict[str, Any], blocks: list[str]) -> None:
    from deploysim_assets.agents.functions import Functions
    from deploysim_assets.agents.moment import Call, Moment, Result
    from deploysim_assets.behaviors.rule import Rule
    from deploysim_assets.project import Agents

    settings, rule = (yaml.safe_load(block) for block in blocks)
    agents = Agents.model_validate(settings["agents"])
    assert agents.answered_by("list_orders") == agents.affordances
    assert agents.answered_by("search_docs") == ("recorded", "connector")
    assert len(Rule.model_validate(rule["rule"]).sequence or ()) == 2

    functions = Functions({"list_orders": held["list_orders"]})
    made = {"id": "1", "name": "cancel_order", "arguments": '{"order": "o1"}'}
    for calls, orders in (([], '["o1","o2"]'), ([made], '["o2"]')):
        steps = [{"role": "assistant", "tool_calls": calls}]
        call = Call("2", "list_orders", '{"customer": "c1"}')
        moment = Moment({}, steps, call, {"customer": "c1"}, {})
        assert functions.look(moment) == Result(orders, "function")


def _use_the_extensions(held: dict[str, Any], rule: str) -> None:
    from deploysim_assets.behaviors import Behavior
    from deploysim_assets.deidentify.scrub import Scrubber
    from deploysim_assets.grading.answers import verdicts
    from deploysim_assets.grading.document import document
    from deploysim_assets.grading.item import Item
    from deploysim_assets.grading.judge import Questions
    from deploysim_assets.grading.rules import holds
    from deploysim_assets.project import Judge

    def said(role: str, text: str) -> dict[str, Any]:
        empty = dict.fromkeys(("tool_calls", "tool_call_id", "name", "reasoning", "at"))
        return {"role": role, "content": text, "finish_reason": None} | empty

    [discount] = [Behavior.model_validate(b) for b in yaml.safe_load(rule)]
    assert discount.rule
    offer = said("assistant", "Today 20% off!")
    assert holds(discount.rule, [said("user", "Is it blue?")], offer)
    assert not holds(discount.rule, [said("user", "Any discount?")], offer)

    shouting = Behavior(name="shouting", definition="It shouts.")
    item = Item({"messages": [said("user", "hi")]}, said("assistant", "GO AWAY"), "completed", None)
    body = Questions([shouting]).request(
        document(item, 10_000), "shouting-1", Judge(model="shouting-1"), b"\0" * 32
    )
    with serve(held["app"]) as url:
        request = urllib.request.Request(
            f"{url}/chat/completions",
            json.dumps(body).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            content = json.loads(response.read())["choices"][0]["message"]["content"]
    found = verdicts({"status": "completed", "content": content}, ["shouting"])["shouting"]
    assert found and found.flagged and "GO AWAY" in found.rationale

    ticket = {
        "ticket": "t1",
        "turns": [{"by": "customer", "text": "a"}, {"by": "agent", "text": "b"}],
    }
    lines = f"{json.dumps(ticket)}\n{{}}\n".encode()
    read = list(held["read"](io.BytesIO(lines)))
    assert [m.role for m in read[0].messages] == ["user", "assistant"]
    assert read[1].line == 2 and "Field required" in read[1].reason

    scrubber = Scrubber(b"k" * 32)
    scrubber._detectors.append(held["Tickets"]())
    text = scrubber.scrub([said("user", "see HD-123456 please")], "scope").messages[0]["content"]
    assert "HD-123456" not in text and text.startswith("see ")


def test_guides_are_listed_in_the_order_of_their_numbers() -> None:
    names = [one.name for one in guides()]
    assert (names[0], names[1], names[9]) == ("first-hour", "reading", "agents")


def test_links_and_names_lead_somewhere() -> None:
    known = {one.name for one in guides()}
    assert len(known) == len(guides()) >= 10
    for path in DOCUMENTS:
        text = path.read_text("utf-8")
        for name in re.findall(r"deploysim guide ([a-z-]+)", text):
            assert name in known, f"{path.name}: no guide {name}"
        for link in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (path.parent / link).exists(), f"{path.name}: {link}"
        for module in re.findall(r"python -m (deploysim_assets[.\w]+)", text):
            assert importlib.util.find_spec(module), f"{path.name}: {module}"


def test_assets_name_a_guide_that_there_is() -> None:
    from deploysim_assets import catalog

    assert set(catalog._GUIDES.values()) <= {one.name for one in guides()}


def test_what_a_large_month_takes_follows_from_the_figures_beside_it() -> None:
    lines = (FOLDER / "6-operating.md").read_text().splitlines()
    rows = [[c.strip() for c in line.split("|")[1:-1]] for line in lines if line.startswith("| ")]
    said = {row[0]: row[1:] for row in rows if len(row) == 3}
    conversations, drawn = 5e8, 1.3e6

    def figures(cell: str) -> list[float]:
        return [float(n.replace(",", "")) for n in re.findall(r"[0-9][0-9,]*(?:\.[0-9]+)?", cell)]

    def row(name: str) -> tuple[list[float], list[float]]:
        given, month = said[name]
        return figures(given), figures(month)

    def hours(count: float, milliseconds: float) -> float:
        return count * milliseconds / 3.6e6

    (kilobytes, *_), (terabytes,) = row("logs as they come")
    assert terabytes == conversations * kilobytes / 1e9
    for name in ("reading", "drawing"):
        (each, *_), (month, *_) = row(name)
        assert month == pytest.approx(hours(conversations, each), rel=0.05), name
    (_, level_0, _, level_2), (least, most) = row("de-identifying what was drawn")
    assert [least, most] == pytest.approx([hours(drawn, level_0), hours(drawn, level_2)], rel=0.05)
    (reply, judgement), (month,) = row("asking and grading")
    assert month == pytest.approx(hours(drawn, reply) + hours(2 * drawn, judgement), rel=0.05)
    _, (millions, taken, pace) = row("requests")
    assert millions * 1e6 == 3 * drawn
    assert taken == pytest.approx(millions * 1e6 / pace / 3600, rel=0.05)
    (money,) = (name for name in said if name.startswith("money"))
    cost_in, cost_out = figures(money)[:2]
    tokens, (replies, judgements) = row(money)
    of_reply, of_judgement = (
        (a * cost_in + b * cost_out) / 1e6 for a, b in (tokens[:2], tokens[2:])
    )
    assert [replies, judgements] == pytest.approx([drawn * of_reply, 2 * drawn * of_judgement])
