"""`deploysim forget`: takes users and conversations out of every table, journal, label and log file
of the project by a plan that is replayed until it is done, and shows that none is left."""

import contextlib
import re
import uuid
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
import polars as pl

from deploysim_assets.deidentify.keys import load_keys
from deploysim_assets.grading.labels import sheets, without_prefixes
from deploysim_assets.logs import reader
from deploysim_assets.logs.conversation import Conversation
from deploysim_assets.logs.conversations import items
from deploysim_assets.logs.files import LogFile, log_files
from deploysim_assets.logs.openai_chat import lines_about
from deploysim_assets.project import Project, ProjectError, Release
from deploysim_assets.storage import ledger
from deploysim_assets.storage.forgetting import (
    Doomed,
    Removal,
    clear_partials,
    doomed_by,
    prefix_of,
    refuse_damaged_journals,
)
from deploysim_assets.storage.locks import alone, nobody_asks
from deploysim_assets.storage.pages import pages, without
from deploysim_assets.storage.searching import (
    answers_with,
    compressed,
    decompressed,
    files_with_ids,
)
from deploysim_assets.storage.tables import ANSWERS, SEEN_TURNS, Lake
from deploysim_assets.storage.turns import contents, said_in
from deploysim_assets.storage.versions import scan_folder
from deploysim_assets.storage.withdrawals import Withdrawals, drop_plan, load_plan, save_plan

_NEEDLES = 2_000
_PLAIN = re.compile(r'[^"\\\x00-\x1f]{24,}')
_LOG_ENDINGS = (".jsonl", ".gz", ".zst")


class Forgotten(NamedTuple):
    """What was taken out, by file relative to the home, and log files that still hold some."""

    rows: dict[str, int]
    answers: dict[str, int]
    lines: dict[str, int]
    labels: dict[str, int]
    remaining_files: list[str]


class Search(NamedTuple):
    """What was searched when all was done, and where something was found."""

    tables: int
    files: int
    phrases: int
    found: dict[str, int]


def forget(
    project: Project,
    lake: Lake,
    instance: dg.DagsterInstance,
    users: set[str],
    conversations: set[str],
) -> tuple[Forgotten, Search]:
    """Remove the rows, journalled answers, labels and log lines of users and conversations, and
    record keyed hashes, counts and digests in the ledger; a withdrawal that was begun before is
    finished first.

    Later imports drop the same rows again.  ProjectError where a run is asking a model, another
    command is changing the home, or what was withdrawn could not be recorded: nothing is changed
    then.
    """
    _refuse_unreadable(users | conversations)
    home = project.home
    with _clear_writing(home), alone(home, "forget again"), nobody_asks(home, "forget again"):
        ledger.refuse_append(project.home, "forget")
        refuse_damaged_journals(project.home)
        clear_partials(project.home)
        begun = load_plan(project.home)
        if begun is not None:
            done = _finish(project, lake, instance, begun)
            if not (users or conversations):
                return done
        plan = _plan(project, lake, users, conversations)
        save_plan(project.home, plan)
        return _finish(project, lake, instance, plan)


@contextlib.contextmanager
def _clear_writing(home: Path) -> Generator[None]:
    try:
        yield
    except OSError as wrong:
        raise ProjectError(
            f"{wrong.filename or home}: cannot be written ({wrong.strerror}); what was done is "
            "written down: mend that, and `deploysim forget` goes on"
        ) from wrong


def _refuse_unreadable(ids: set[str]) -> None:
    for name in ids:
        if not name.strip() or any("\ud800" <= sign <= "\udfff" for sign in name):
            raise ProjectError(f"{name!r}: empty, or not UTF-8: no log holds such an id")


def _plan(project: Project, lake: Lake, users: set[str], conversations: set[str]) -> dict[str, Any]:
    keys = load_keys(project.home, may_create=False)
    doomed = doomed_by(lake, users, conversations, keys.identify)
    return {
        "id": uuid.uuid4().hex,
        "begun": datetime.now(UTC).isoformat(),
        **{name: sorted(values) for name, values in doomed._asdict().items()},
        "phrases": _phrases(lake, doomed),
        "log_lines": {
            file.name: sorted(mine)
            for release in project.releases
            for file in log_files(project.home, release.logs.path)
            if _is_ours(project, release, file) and (mine := _lines_of(file, release, doomed))
        },
        "files": {},
    }


def _phrases(lake: Lake, doomed: Doomed) -> list[str]:
    """Words of the doomed, as they stand in de-identified tables: what a search looks for where
    nothing tells whose a text is, as in a judge's quotes."""
    found: set[str] = set()
    for texts in _texts(lake, prefix_of("prefix_id").is_in(list(doomed.prefixes))):
        for run in _PLAIN.findall(texts):
            middle = max(0, len(run) // 2 - 20)
            found.add(run[middle : middle + 40].strip())
    return sorted(phrase for phrase in found if len(phrase) >= 24)[:_NEEDLES]


def _texts(lake: Lake, only: pl.Expr) -> Iterator[str]:
    """What is said in prefixes and completions, whichever version."""
    for asset, _, folder in lake.whole_tables():
        frame = scan_folder(folder)
        columns = frame.collect_schema()
        if "prefix_id" not in columns:
            continue
        mine = frame.filter(only)
        if asset == "deidentified_prefixes" and "messages" in columns:
            said = mine.select(contents("messages"), *said_in("production_completion", columns))
        elif "message" in columns:
            said = mine.select(*said_in("message", columns))
        else:
            continue
        for row in said.collect().iter_rows():
            yield from filter(None, row)


def _finish(
    project: Project, lake: Lake, instance: dg.DagsterInstance, plan: dict[str, Any]
) -> tuple[Forgotten, Search]:
    """Carry a plan out to its end; everything in it may have been done before."""
    removal = Removal(lake, plan)
    doomed = removal.doomed
    before = Withdrawals.load(project.home)
    # first of all, so that no import brings them back whatever happens next
    Withdrawals(
        before.users | doomed.user_keys, before.conversations | doomed.conversation_keys
    ).save(project.home)
    removal.journals()
    removal.tables()
    removal.pages()
    for path in sheets(project.home):
        removal.rewrite(path, lambda old, new: without_prefixes(old, new, doomed.prefixes))
    remaining = _clean_logs(project, removal)
    done = _counted(removal.gone(), remaining)
    if not any(r.body.get("plan") == plan["id"] for r in ledger.read(project.home)):
        hashes = {name: plan[name] for name in ("user_keys", "conversation_keys")}
        body = {
            "plan": plan["id"],
            "users": hashes["user_keys"],
            "conversations": hashes["conversation_keys"],
            "rows": _by_table(done.rows),
            "answers": done.answers,
            "labels": sum(done.labels.values()),
            "log_lines": sum(done.lines.values()),
            "files": removal.changed(),
        }
        ledger.append(project.home, "forget", "", body)
    search = still_there(project, lake, doomed, plan["phrases"])
    _mark_stale(project, instance, _by_table(done.rows))
    drop_plan(project.home)
    return done, search


def _counted(counts: dict[str, int], remaining: list[str]) -> Forgotten:
    kinds: dict[str, dict[str, int]] = {"lake": {}, "journal": {}, "csv": {}, "logs": {}}
    for file, gone in counts.items():
        top = file.partition("/")[0]
        kind = top if top in ("lake", "journal") else "csv" if file.endswith(".csv") else "logs"
        kinds[kind][file] = gone
    return Forgotten(kinds["lake"], kinds["journal"], kinds["logs"], kinds["csv"], remaining)


def _by_table(rows: dict[str, int]) -> dict[str, int]:
    """Rows by "asset[partition]", without side tables of what the rows were made from."""
    found: Counter[str] = Counter()
    for file, gone in rows.items():
        _, asset, *inside = file.split("/")
        if not {ANSWERS, SEEN_TURNS} & set(inside):
            key = inside[0].removeprefix("model_version=") if "=" in inside[0] else None
            key = None if inside[0].startswith("run=") else key
            found[f"{asset}[{key}]"] += gone
    return dict(found)


def _clean_logs(project: Project, removal: Removal) -> list[str]:
    """Take the lines out of the project's own openai_chat files; returns the other log files that
    hold some of the doomed."""
    remaining: list[str] = []
    for release in project.releases:
        for file in log_files(project.home, release.logs.path):
            mine = _lines_of(file, release, removal.doomed)
            if mine and _is_ours(project, release, file):
                removal.rewrite(
                    Path(file.path),
                    lambda old, new, mine=mine: _without_lines(old, new, mine),
                    removal.read_states(file.name),
                )
            elif mine:
                remaining.append(file.path)
    return remaining


def _is_ours(project: Project, release: Release, file: LogFile) -> bool:
    """Whether lines may be taken out of a log: it lies in the home (a link does not) and is
    written line by line."""
    path, home = Path(file.path), project.home
    inside = path.is_relative_to(home) and path.suffix in _LOG_ENDINGS
    inside = inside and path.resolve() == home.resolve() / path.relative_to(home)
    return release.logs.format == "openai_chat" and inside


def _lines_of(file: LogFile, release: Release, doomed: Doomed) -> frozenset[int]:
    if release.logs.format == "openai_chat":
        with file.open() as stream:
            return frozenset(lines_about(stream, doomed.users, doomed.conversations))
    return frozenset(
        item.line
        for _, item in items([file], reader(release.logs.format))
        if isinstance(item, Conversation)
        and (item.user_id in doomed.users or item.conversation_id in doomed.conversations)
    )


def _without_lines(path: Path, partial: Path, mine: frozenset[int]) -> int:
    with decompressed(path) as old, compressed(partial, path.suffix) as new:
        for number, line in enumerate(old, 1):
            if number not in mine:
                new.write(line)
    return len(mine)


def _mark_stale(project: Project, instance: dg.DagsterInstance, taken: dict[str, int]) -> None:
    """An observation on every partition that lost rows, and on the forecasts and scores that rest
    on one."""
    touched = {name.split("[")[1].rstrip("]") for name in taken}
    resting = {
        f"{asset}[{r.model_version}]": 0
        for r in project.releases
        if r.model_version in touched or r.predecessor in touched
        for asset in (
            "realized_rates",
            *(("rate_estimates", "calibration_report") if r.predecessor else ()),
        )
    }
    for name, count in (resting | taken).items():
        asset, _, key = name.rstrip("]").partition("[")
        if key == "None":
            continue
        metadata = {
            "withdrawn_rows": count,
            "stale": True,
            "why": "rows were withdrawn by users; materialize again to leave them out",
        }
        instance.report_runless_asset_event(
            dg.AssetObservation(asset, partition=key, metadata=metadata)
        )


def still_there(project: Project, lake: Lake, doomed: Doomed, phrases: Iterable[str]) -> Search:
    """Search everything that deploysim wrote: tables by their columns, files by the ids, journals
    by the words of the doomed that nobody else said."""
    found: dict[str, int] = {}
    tables = 0
    for asset, key, folder in lake.whole_tables():
        frame = scan_folder(folder)
        schema = frame.collect_schema()
        telling, tables = doomed.rows(schema), tables + 1
        left = (
            int(frame.filter(telling).select(pl.len()).collect().item())
            if telling is not None
            else 0
        )
        if left:
            found[f"{asset}[{key}]"] = left
    for page in pages(lake):
        if named := without(page.read_text(encoding="utf-8"), doomed.keyed)[1]:
            found[page.relative_to(project.home).as_posix()] = named
    for release in project.releases:
        for file in log_files(project.home, release.logs.path):
            if _is_ours(project, release, file) and (mine := _lines_of(file, release, doomed)):
                found[file.name] = len(mine)
    files, saying = files_with_ids(project.home, {*doomed.users, *doomed.conversations})
    own = _said_by_nobody_else(lake, list(phrases))
    found |= saying | (answers_with(project.home, own) if own else {})
    return Search(tables, files, len(own), found)


def _batches(texts: Iterator[str], size: int) -> Iterator[list[str]]:
    while some := list(islice(texts, size)):
        yield some


def _said_by_nobody_else(lake: Lake, phrases: list[str]) -> list[str]:
    if not phrases:
        return []
    shared: set[str] = set()
    for some in _batches(_texts(lake, pl.lit(value=True)), 10_000):
        hit = pl.Series(some).str.extract_many(phrases, overlapping=True).explode()
        shared |= set(hit.drop_nulls())
    return [phrase for phrase in phrases if phrase not in shared]
