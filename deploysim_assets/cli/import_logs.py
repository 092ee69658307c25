"""`deploysim import`: logs of any known format into a release's log folder, or only a look at what
they would give."""

# pyright: reportUnknownVariableType=false, reportMissingTypeStubs=false

import glob
import hashlib
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deploysim_assets.cli.running import clear_errors
from deploysim_assets.project import CONFIG_FILE, Deidentification, ProjectError
from deploysim_assets.project.file import home_folder, load_project

if TYPE_CHECKING:
    from deploysim_assets.logs.conversation import Conversation
    from deploysim_assets.logs.conversations import Imported
    from deploysim_assets.logs.files import LogFile

AUTO = "auto"
_WILD = re.compile(r"[*?\[]")
_REASONS = 20
_SHOWN = 3
_CHARACTERS = 600


@click.command("import", epilog="Example: deploysim import traces/ --model-version gpt-4-0613")
@click.argument("arguments", metavar="[FORMAT] PATH...", nargs=-1, required=True)
@click.option(
    "--format",
    "log_format",
    help="The logs' format, where it is not the first argument; `auto` (the default) tells it "
    "from the first records.",
)
@click.option(
    "--model-version", help="The release whose production logs these are; not for --dry-run."
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Write nothing: show counts, rejects with reasons, and three conversations cleared of "
    "identifiers.",
)
@clear_errors
def import_logs(
    arguments: tuple[str, ...], log_format: str | None, model_version: str | None, *, dry_run: bool
) -> None:
    """Bring logs of FORMAT at PATH (files, folders, globs or fsspec URLs) into the release's log
    folder, as openai_chat.

    `deploysim backfill` or the daemon take them from there. An import that was interrupted is run
    again: it gives the same file.
    """
    from deploysim_assets.logs import reader
    from deploysim_assets.logs.detect import detect

    home = home_folder()
    name, paths = _named(arguments, log_format)
    if name != AUTO:
        reader(name)
    target = None if dry_run else _target(home, model_version, paths)
    files = files_of(home, paths)
    if name == AUTO:
        seen = detect(files)
        name = seen.format
        click.echo(f"format: {name} ({seen.why})")
    if target is None:
        _look(home, name, files)
        return
    found = _write(name, files, target)
    click.echo(f"{found.conversations:,} conversations written to {target}, "
               f"{found.rejected.total():,} rejected")  # fmt: skip
    _show_rejects(found.rejected)


def _named(arguments: tuple[str, ...], option: str | None) -> tuple[str, list[str]]:
    """The format and the paths of both spellings: `import FORMAT PATH`, `import PATH --format
    FORMAT`."""
    from deploysim_assets.logs import READERS

    first, *others = arguments
    formats = {AUTO, *READERS}
    if others and (first in formats or (option is None and not _is_place(first))):
        if option is not None and option != first:
            raise ProjectError(
                f"two formats: {first} and --format {option}; name one, or for a file called "
                f"{first} write ./{first}"
            )
        return first, others
    return option or AUTO, list(arguments)


def _is_place(argument: str) -> bool:
    return "/" in argument or "*" in argument or Path(argument).exists()


def files_of(home: Path, paths: list[str]) -> "list[LogFile]":
    """The log files at some places: files, folders, globs or URLs. ProjectError where there are
    none."""
    from deploysim_assets.logs.files import log_files

    files: list[LogFile] = []
    for path in paths:
        place = Path.cwd() / path
        pattern = glob.escape(path) if "://" not in path and place.exists() else path
        found = log_files(Path.cwd(), f"{pattern}/**" if place.is_dir() else pattern, home)
        if not found:
            raise ProjectError(f"{path}: matches no file")
        files += found
    return list({file.path: file for file in files}.values())


def _target(home: Path, model_version: str | None, paths: list[str]) -> Path:
    """Where the import goes: a file named for the places that it comes from, so that the same
    places, imported again when their logs have grown, replace it."""
    if model_version is None:
        raise ProjectError("--model-version: missing; name the release whose logs these are")
    from fsspec.utils import glob_translate

    source = load_project(home).release(model_version).logs
    places = [p if "://" in p else str(Path.cwd() / p) for p in paths]
    mark = hashlib.sha256("\0".join(sorted(places)).encode("utf-8", "surrogatepass")).hexdigest()
    folder = home
    for part in Path(source.path).parent.parts:
        if _WILD.search(part):
            break
        folder /= part
    target = folder / f"imported-{mark[:16]}.jsonl"
    found_as = target if Path(source.path).is_absolute() else target.relative_to(home)
    taken = re.match(glob_translate(source.path), found_as.as_posix())
    if source.format != "openai_chat" or not taken:
        raise ProjectError(
            f"deploysim.yaml: releases: {model_version}: an import is written as openai_chat to "
            f"{target}, which logs.format "
            f"{source.format!r} and logs.path {source.path!r} would not read; set format: "
            "openai_chat and a path that ends in *.jsonl"
        )
    return target


def _write(name: str, files: "list[LogFile]", target: Path) -> "Imported":
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from deploysim_assets.logs import reader
    from deploysim_assets.logs.conversations import import_into

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, transient=True) as progress:
        task = progress.add_task(f"{len(files)} files", total=sum(f.size for f in files))
        return import_into(target, files, reader(name), lambda n: progress.advance(task, n))


def _show_rejects(rejected: Counter[str]) -> None:
    for reason, times in rejected.most_common(_REASONS):
        click.echo(f"  {times:,} x {reason}")
    if len(rejected) > _REASONS:
        click.echo(f"  and {len(rejected) - _REASONS:,} other reasons")


def _look(home: Path, name: str, files: "list[LogFile]") -> None:
    """Read all and write nothing: counts, rejects, and some conversations cleared of
    identifiers."""
    from deploysim_assets.logs import reader
    from deploysim_assets.logs.conversations import import_files

    kept: list[Conversation] = []
    messages: Counter[str] = Counter()
    known: Counter[str] = Counter()

    def look(item: "Conversation", _: "LogFile") -> None:
        if len(kept) < _SHOWN:
            kept.append(item)
        messages.update(m.role for m in item.messages)
        known.update({
            "with a user": item.user_id is not None,
            "with a time": item.started_at is not None,
            "with consent": item.training_allowed is True,
            "without a word on consent": item.training_allowed is None,
            "with attachments": item.has_attachments,
            "with a finish reason": any(m.finish_reason for m in item.messages),
            "with tools": bool(item.tools) and not item.tools_inferred,
            "with tools told from their calls": item.tools_inferred is True,
            "with a commit": item.commit is not None,
        })  # fmt: skip

    found = import_files(files, reader(name), look, lambda _: None)
    click.echo(f"{found.conversations:,} conversations, {found.rejected.total():,} rejected; "
               "nothing was written")  # fmt: skip
    _show_rejects(found.rejected)
    click.echo("messages: " + ", ".join(f"{n:,} {role}" for role, n in messages.most_common()))
    click.echo("conversations: " + ", ".join(f"{n:,} {what}" for what, n in known.items() if n))
    policy, level = _policy(home)
    click.echo(f"\nCleared of identifiers at level {policy.min_level}{level}:")
    for place, item in enumerate(kept, 1):
        _show_cleared(place, item, policy)


def _policy(home: Path) -> tuple[Deidentification, str]:
    """The project's policy where there is one that this machine can keep, else patterns alone."""
    if (home / CONFIG_FILE).exists():
        policy = load_project(home).deidentification
        if policy.unreachable(home) is None:
            return policy.model_copy(update={"languages": None}), ""
    return Deidentification(min_level=0), ", where names of people stay; look at what you show"


def _show_cleared(place: int, item: "Conversation", policy: Deidentification) -> None:
    import secrets

    from deploysim_assets.deidentify.scrub import Quarantined, Scrubber

    click.echo(f"\n  {place}.")
    try:
        # a key of this run alone: nothing shown here can be joined with any table
        scrubber = Scrubber(secrets.token_bytes(32), policy)
        row = item.row("")
        scope = secrets.token_hex(16)
        cleared = scrubber.scrub(row["messages"], scope, item.language, None, row["tools"] or ())
    except Quarantined as why:
        click.echo(f"  not shown: quarantined ({why})")
        return
    if cleared.tools:
        told = " (told from their calls)" if item.tools_inferred else ""
        click.echo(f"  tools: {_short(', '.join(t['name'] for t in cleared.tools))}{told}")
    for message in cleared.messages:
        for line in _lines(message):
            click.echo(f"  {line}")


def _lines(message: dict[str, Any]) -> list[str]:
    ended = message["finish_reason"]
    head = message["role"] + (f" ({ended})" if ended else "")
    said = [("thinks: ", message["reasoning"]), ("", message["content"])]
    lines = [f"{head}: {mark}{_short(text)}" for mark, text in said if text]
    calls: list[dict[str, Any]] = message["tool_calls"] or []
    return lines + [f"{head}: calls {c['name']}({_short(c['arguments'])})" for c in calls]


def _short(text: str) -> str:
    """A text's beginning on one line, without what a terminal would obey."""
    plain = "".join(c if c.isprintable() else " " for c in text[:_CHARACTERS])
    return plain + (f" ... ({len(text):,} characters)" if len(text) > _CHARACTERS else "")
