"""`deploysim init`: a project to start from, or one that fits logs that are there."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from deploysim_assets.cli.running import clear_errors, plain

if TYPE_CHECKING:
    from collections import Counter

    from deploysim_assets.cli.first_look import Level, Look, Turns

_TEMPLATES = Path(__file__).parent.parent / "templates"
_NAMED = 6
_LEAST_SHARE = 0.01
"""A model with fewer of the conversations than this is no release of its own."""

_PROJECT = """\
# Written by `deploysim init --from {path}`.
# Append releases, never remove one: a line taken out hides its history.
releases:
{releases}
endpoint: {{base_url: {base_url}, api_key_env: OPENAI_API_KEY, max_concurrency: 32}}
judge: {{model: {judge}}}
behaviors: behaviors.yaml
sampling: {{max_prefixes: {prefixes}, seed: 7}}
# the deployed model answers its own prefixes: what the first forecast's error is learned from
self_replay: {{max_prefixes: {replayed}}}
{agents}{deidentification}{prices}"""

_AGENTS = """\
# turns with tools are done again call by call, every result simulated: see `deploysim guide`
agents: {}
"""


class Wanted(NamedTuple):
    """What the options say of a project for logs."""

    path: str
    log_format: str | None
    model_version: str | None
    candidate: str
    base_url: str
    judge: str
    prices: tuple[float, float] | None
    level: int | None
    consent_basis: str | None
    prefixes: int


@click.command()
@click.option("--from", "path", metavar="LOGS", help="Look at these logs (a file, folder, glob or "
              "fsspec URL), say what they hold, and write a project for them.")  # fmt: skip
@click.option("--format", "log_format", help="The logs' format, where it should not be told.")
@click.option("--model-version", help="The release that all of these logs are of; default: the "
              "models that the logs name, in order of time.")  # fmt: skip
@click.option("--candidate", default="candidate", show_default=True,
              help="The release to forecast, where the logs are of one model; also its name at the "
              "endpoint.")  # fmt: skip
@click.option("--base-url", default="https://api.openai.com/v1", show_default=True,
              help="An OpenAI-compatible endpoint that serves models and judge.")  # fmt: skip
@click.option("--judge", default="judge-model", show_default=True, help="The judge's name there.")
@click.option("--prices", nargs=2, type=click.FloatRange(min=0), metavar="PROMPT COMPLETION",
              help="Prices per million tokens, of all models alike, for an estimate.")  # fmt: skip
@click.option("--level", type=click.IntRange(0, 2),
              help="The level of de-identification to write down; default 2. Below 2 names of "
              "people stay in the texts: your decision.")  # fmt: skip
@click.option("--consent-basis", help="Why every conversation may be used, where the logs carry "
              "no consent.")  # fmt: skip
@click.option("--prefixes", type=click.IntRange(min=1), default=20_000, show_default=True,
              help="User turns to draw, at most.")  # fmt: skip
@clear_errors
def init(path: str | None, **options: Any) -> None:
    """Write a project to start from: deploysim.yaml, behaviors.yaml, workspace.yaml and the keys.
    Files that are there are kept.

    Example: deploysim init --from logs/may/ --candidate gpt-4-0613 --prices 2.5 10
    """
    from deploysim_assets.cli.instance import WORKSPACE_YAML, dagster_home
    from deploysim_assets.deidentify.keys import create_key_file
    from deploysim_assets.project import CONFIG_FILE, ProjectError
    from deploysim_assets.project.file import BEHAVIORS_FILE, home_folder, home_place, load_project
    from deploysim_assets.project.json_schema import first_line

    home = home_folder()
    wanted = Wanted(path, **options) if path else None
    if wanted and (home / CONFIG_FILE).exists():
        raise ProjectError(
            f"{home / CONFIG_FILE}: is there already; name another folder in DEPLOYSIM_HOME, or "
            "take it away"
        )
    home.mkdir(parents=True, exist_ok=True)
    click.echo(f"home     {home}  ({home_place().named_by})")
    project = _for_logs(home, wanted) if wanted else (_TEMPLATES / CONFIG_FILE).read_text()
    files = {
        CONFIG_FILE: first_line("deploysim.schema.json") + project,
        BEHAVIORS_FILE: first_line("behaviors.schema.json")
        + (_TEMPLATES / BEHAVIORS_FILE).read_text(),
        "workspace.yaml": WORKSPACE_YAML,
    }
    if not wanted:
        from deploysim_assets.cli.first_look import reachable_level

        reached = reachable_level()
        least = "" if reached.level == 2 else " at most"
        click.echo(f"names    de-identification level {reached.level}{least}: {reached.why}")
    made: list[Path] = []
    for name, content in files.items():
        if (home / name).exists():
            click.echo(f"kept     {home / name}")
            continue
        (home / name).write_text(content, encoding="utf-8")
        made.append(home / name)
        click.echo(f"written  {home / name}")
    click.echo(
        f"keys     {create_key_file(home)}  (yours alone; without it later rows cannot be joined "
        "with earlier ones)"
    )
    click.echo(f"dagster  {dagster_home(home)}")
    if wanted:
        try:
            releases = load_project(home).releases
        except ProjectError:
            for written in made:
                written.unlink()
            raise
        candidate = next(r.model_version for r in releases if r.predecessor)
        click.echo(
            f"Next: see that endpoint, judge and behaviors are yours, then `deploysim status` and "
            f"`deploysim forecast {candidate}`. `deploysim guide first-hour` has it step by step."
        )
    else:
        click.echo(
            "Next: name your releases and their logs in deploysim.yaml, then `deploysim forecast "
            "MODEL`. `deploysim guide first-hour` has it step by step."
        )


def _for_logs(home: Path, wanted: Wanted) -> str:
    """Look at the logs, say what they hold, and give the deploysim.yaml for them. ProjectError
    where they cannot be read, or hold no turn that a candidate could be asked."""
    from deploysim_assets.cli.first_look import look_at, reachable_level
    from deploysim_assets.cli.import_logs import files_of
    from deploysim_assets.logs import reader
    from deploysim_assets.logs.detect import detect
    from deploysim_assets.project import ProjectError

    files = files_of(home, [wanted.path])
    if wanted.log_format:
        reader(wanted.log_format)
        seen = look_at(files, wanted.log_format, "as --format says")
    else:
        told = detect(files)
        seen = look_at(files, told.format, told.why)
    _say(seen, named=wanted.model_version)
    if not seen.turns:
        raise ProjectError(
            f"{wanted.path}: no user message is followed by a reply, so there is nothing to ask a "
            "candidate"
        )
    releases = _releases(home, seen, wanted)
    reached = reachable_level(seen.languages)
    level = 2 if wanted.level is None else wanted.level
    _say_level(reached, level)
    if not seen.consent["yes"] and not wanted.consent_basis:
        click.echo(
            "consent  none of them says so: nothing may be used before you write down why, with "
            "--consent-basis or as logs.consent_basis"
        )
    deployed = seen.models[releases[0]["seen_as"]] if not wanted.model_version else seen.all_turns()
    prefixes = min(wanted.prefixes, deployed.turns)
    replayed = min(5_000, prefixes)
    _say_costs(home, deployed, prefixes, replayed, wanted.prices)
    prices = ""
    if wanted.prices:
        asked = {r["asked_as"] for r in releases} | {wanted.judge}
        prices = "prices:   # per million tokens\n" + "".join(
            f"  {_yaml(name)}: {{prompt: {wanted.prices[0]:g}, completion: {wanted.prices[1]:g}}}\n"
            for name in sorted(asked)
        )
    return _PROJECT.format(
        path=plain(wanted.path),
        releases="\n".join(r["text"] for r in releases),
        base_url=_yaml(wanted.base_url),
        judge=_yaml(wanted.judge),
        prefixes=prefixes,
        replayed=replayed,
        agents=_AGENTS if seen.tools else "",
        deidentification=(
            "deidentification: {min_level: 2}\n"
            if level == 2
            else f"deidentification: {{min_level: {level}}}   # names of people stay in the texts\n"
        ),
        prices=prices,
    )


def _releases(home: Path, seen: "Look", wanted: Wanted) -> list[dict[str, str]]:
    """The registry's lines: what the logs are of, in order of time, and a candidate where they are
    of one model alone."""
    from deploysim_assets.cli.first_look import as_key

    source = {"format": seen.format, "path": _pattern(home, wanted.path)}
    if wanted.consent_basis:
        source["consent_basis"] = wanted.consent_basis
    large = [
        name
        for name, turns in seen.models.items()
        if turns.turns and turns.conversations >= _LEAST_SHARE * seen.conversations
    ]
    if wanted.model_version:
        names = sorted(name for name in seen.models if name)
        chain = [(wanted.model_version, "", names)]
    else:
        chain = [(as_key(name), name, [name] if name else []) for name in large]
    lines: list[dict[str, str]] = []
    for key, name, names in chain:
        others = [n for n in names if n != key]
        logs = source | ({"model_names": others} if others else {})
        before = lines[-1]["key"] if lines else None
        lines.append(_line(key, name or key, before, logs, seen_as=name))
    if len(lines) == 1:
        key = as_key(wanted.candidate)
        if key == lines[0]["key"]:
            key = f"{key}-next"
        logs = {"format": "openai_chat", "path": f"logs/{key}/*.jsonl"}
        lines.append(_line(key, wanted.candidate, lines[0]["key"], logs, seen_as=""))
    return lines


def _line(
    key: str, asked_as: str, before: str | None, logs: dict[str, Any], *, seen_as: str
) -> dict[str, str]:
    text = [
        f"  - model_version: {_yaml(key)}",
        f"    predecessor: {_yaml(before)}",
        f"    logs: {_yaml(logs)}",
    ]
    if before:
        candidate = {"model": asked_as, "params": {"temperature": 1.0, "max_tokens": 2000}}
        text.append(f"    candidate: {_yaml(candidate)}")
    return {"key": key, "asked_as": asked_as, "seen_as": seen_as, "text": "\n".join(text)}


def _yaml(value: Any) -> str:
    """A value on one line. JSON is YAML, and quotes what would be taken for something else; what
    YAML takes in no file is escaped."""
    import json

    text = json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def _pattern(home: Path, path: str) -> str:
    """The glob that deploysim.yaml names: relative to the home where the logs lie below it."""
    import glob

    if "://" in path:
        return path
    place = Path.cwd() / path
    pattern = glob.escape(str(place)) + "/**" if place.is_dir() else str(place)
    inside = Path(pattern)
    return inside.relative_to(home).as_posix() if inside.is_relative_to(home) else pattern


def _most(counted: "Counter[str]", empty: str) -> str:
    shown = [f"{n:,} {plain(name) or empty}" for name, n in counted.most_common(_NAMED)]
    more = len(counted) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _say(seen: "Look", *, named: str | None) -> None:
    click.echo(f"format   {seen.format}: {seen.why}")
    click.echo(
        f"counts   {seen.files:,} files, {seen.conversations:,} conversations of {seen.users:,} "
        f"users, {seen.turns:,} user turns with a reply; {seen.rejected.total():,} rejected"
    )
    for reason, times in seen.rejected.most_common(_NAMED):
        click.echo(f"         {times:,} x {reason}")
    for name, turns in seen.models.items():
        first = f" from {turns.first:%Y-%m-%d}" if turns.first else ""
        shown = plain(name) or "not named by the logs"
        click.echo(
            f"model    {shown}: {turns.conversations:,} conversations, {turns.turns:,} turns{first}"
        )
    if "" in seen.models and named is None:
        click.echo("         say which with --model-version: it is asked under that name")
    click.echo(f"language {_most(seen.languages, 'not named')}")
    click.echo(f"surface  {_most(seen.surfaces, 'not named')}")
    click.echo(f"consent  {_most(seen.consent, 'not said')}")
    if seen.tools:
        click.echo(
            f"tools    conversations with tools: {_most(seen.tools, '')}; `agents: {{}}` replays "
            "their turns with simulated results"
        )


def _say_level(reached: "Level", level: int) -> None:
    least = "" if reached.level == 2 else " at most"
    click.echo(f"names    de-identification level {reached.level}{least}: {reached.why}")
    if reached.quarantined:
        click.echo(
            f"         {reached.quarantined:.0%} of the conversations are in other languages: "
            "name a model for them in deidentification.ner, or they are quarantined"
        )
    if level > reached.level:
        click.echo(
            f"         level {level} is written down, so a forecast is refused until the model is "
            f"there; or set deidentification.min_level to {reached.level}: your decision"
        )


def _say_costs(
    home: Path, turns: "Turns", prefixes: int, replayed: int, prices: tuple[float, float] | None
) -> None:
    from deploysim_assets.cli.first_look import costs
    from deploysim_assets.project.file import BEHAVIORS_FILE, load_behaviors

    own = home / BEHAVIORS_FILE
    behaviors = load_behaviors(own if own.exists() else _TEMPLATES / BEHAVIORS_FILE)
    total = 0.0
    for cost in costs(turns, prefixes, replayed, behaviors):
        money = ""
        if prices:
            total += cost.money(prices)
            money = f", {cost.money(prices):,.2f} in money"
        click.echo(
            f"cost     about {cost.requests:,} {cost.what}: {cost.prompt:,.0f} prompt and "
            f"{cost.completion:,.0f} completion tokens{money}"
        )
    click.echo(
        f"cost     {total:,.2f} in money for a first forecast of {prefixes:,} prefixes"
        if prices
        else "cost     in money: name prices per million tokens, --prices PROMPT COMPLETION"
    )
