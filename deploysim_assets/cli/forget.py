"""`deploysim forget`: takes users and conversations out of every table, journal and log file of
the project, and shows that none is left."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
import polars as pl

from deploysim_assets.assets.preregistration import Registration
from deploysim_assets.assets.production_grades import needed_panels
from deploysim_assets.deidentify.keys import Keys, load_keys
from deploysim_assets.grading.item import Item
from deploysim_assets.grading.labels import drop_labels
from deploysim_assets.grading.panel import Panel
from deploysim_assets.logs import reader
from deploysim_assets.logs.conversation import Conversation
from deploysim_assets.logs.conversations import items
from deploysim_assets.logs.files import log_files
from deploysim_assets.project import Project
from deploysim_assets.storage import ledger
from deploysim_assets.storage.journal import drop_answers, journal_file, open_journal, put_aside
from deploysim_assets.storage.tables import Lake
from deploysim_assets.storage.withdrawals import Withdrawals


class Forgotten(NamedTuple):
    """What was taken out: rows by "asset[partition]", answers by journal, lines by log file; and
    log files that still hold some."""

    rows: dict[str, int]
    answers: dict[str, int]
    lines: dict[str, int]
    remaining_files: list[str]


def _prefix() -> pl.Expr:
    """The prefix that a row is about: its id may have a population before it, or the number of a
    repeat behind it."""
    return pl.col("prefix_id").str.extract(r"([0-9a-f]{16,})")


class _Doomed(NamedTuple):
    """The ids to forget, as they stand in raw tables and as keyed hashes."""

    users: set[str]
    conversations: set[str]
    user_keys: set[str]
    conversation_keys: set[str]
    prefixes: set[str]

    def rows(self, columns: list[str]) -> pl.Expr | None:
        """True for the rows of a table that belong to the doomed; None for a table without a
        column that tells."""
        tell = {
            "user_id": self.users,
            "conversation_id": self.conversations,
            "user_key": self.user_keys,
            "conversation_key": self.conversation_keys,
            "prefix_id": self.prefixes,
        }
        told = [
            (_prefix() if name == "prefix_id" else pl.col(name)).is_in(list(values))
            for name, values in tell.items()
            if name in columns
        ]
        return pl.any_horizontal(told) if told else None


def _read(folder: Path) -> pl.LazyFrame:
    return pl.scan_parquet(folder / "part-*.parquet", hive_partitioning=False)


def _doomed(lake: Lake, keys: Keys, users: set[str], conversations: set[str]) -> _Doomed:
    found = set(conversations)
    for asset, _, folder in lake.tables():
        if asset == "raw_logs" and folder.name != "rejects":
            mine = (
                _read(folder)
                .filter(pl.col("user_id").is_in(list(users)))
                .select("conversation_id")
                .collect()
            )
            found |= set(mine["conversation_id"])
    doomed = _Doomed(
        users,
        found,
        {keys.identify("user", u) for u in users},
        {keys.identify("conversation", c) for c in found},
        set(),
    )
    for asset, _, folder in lake.tables():
        if asset == "deidentified_prefixes":
            frame = _read(folder)
            telling = doomed.rows(frame.collect_schema().names())
            if telling is not None:
                doomed.prefixes.update(
                    frame.filter(telling).select("prefix_id").collect()["prefix_id"]
                )
    return doomed


def _doomed_prefixes(lake: Lake, doomed: _Doomed, model: str) -> dict[str, dict[str, Any]]:
    """The prefixes of a model, in whichever version, that are to be forgotten."""
    rows: dict[str, dict[str, Any]] = {}
    for asset, key, folder in lake.tables():
        if (asset, key) == ("deidentified_prefixes", model) and folder.name != "quarantine":
            frame = _read(folder).filter(pl.col("prefix_id").is_in(list(doomed.prefixes))).collect()
            rows |= {row["prefix_id"]: row for row in frame.iter_rows(named=True)}
    return rows


def _completions(lake: Lake, doomed: _Doomed, model: str, table: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for asset, key, folder in lake.tables():
        if (asset, key) == (table, model):
            rows += (
                _read(folder)
                .filter(_prefix().is_in(list(doomed.prefixes)))
                .collect()
                .iter_rows(named=True)
            )
    return rows


def _answer_keys(project: Project, lake: Lake, doomed: _Doomed) -> Iterator[tuple[Path, set[str]]]:
    """Each journal, and the requests in it whose answers are about the doomed."""
    for release in project.releases:
        model = release.model_version
        prefixes = _doomed_prefixes(lake, doomed, model)
        panels = needed_panels(project, lake, model)
        yield from _judged(
            journal_file(project.home, "production_grades", model),
            panels,
            [Item.of_production(row) for row in prefixes.values()],
        )
        yield from _replies(
            project, lake, doomed, model, ("self_completions", "self_grades"), prefixes, panels
        )
        if release.predecessor and lake.current("preregistration", model):
            registered = Registration.load(lake, model)
            asked = _doomed_prefixes(lake, doomed, registered.predecessor)
            skipped = _skipped(lake, model)
            yield from _replies(
                project,
                lake,
                doomed,
                model,
                ("candidate_completions", "grades"),
                asked,
                [registered.panel],
                skipped,
            )
            yield from _replies(
                project,
                lake,
                doomed,
                model,
                ("elicitation_completions", "elicitation_grades"),
                asked,
                [registered.panel],
            )


def _replies(
    project: Project,
    lake: Lake,
    doomed: _Doomed,
    model: str,
    assets: tuple[str, str],
    prefixes: dict[str, dict[str, Any]],
    panels: list[Panel],
    skipped: Sequence[frozenset[str]] = (),
) -> Iterator[tuple[Path, set[str]]]:
    """The journals of a table of completions and of its grades."""
    completions = _completions(lake, doomed, model, assets[0])
    yield journal_file(project.home, assets[0], model), {c["request_key"] for c in completions}
    of_prefix = ((c["prefix_id"].partition("/")[0], c) for c in completions)
    items = [
        Item.of_completion(prefixes[prefix_id], c)
        for prefix_id, c in of_prefix
        if prefix_id in prefixes
    ]
    yield from _judged(journal_file(project.home, assets[1], model), panels, items, skipped)


def _skipped(lake: Lake, candidate: str) -> list[frozenset[str]]:
    """The sets of behaviors that early stopping left out of judge requests, over all versions of
    the grades."""
    versions = [folder.name for folder in lake.folder("grades", candidate).glob("run=*")]
    return [
        frozenset(names)
        for version in versions
        for names in lake.stats("grades", candidate, version).get("skipped", [])
    ]


def _judged(
    path: Path, panels: list[Panel], items: list[Item], skipped: Sequence[frozenset[str]] = ()
) -> Iterator[tuple[Path, set[str]]]:
    if path.exists():
        with open_journal(path) as journal:
            skips = {frozenset[str](), *skipped}
            keys = {
                key
                for panel in panels
                for item in items
                for skip in skips
                for key in panel.asked_for(item, journal, skip)
            }
        yield path, keys


def _clean_logs(project: Project, doomed: _Doomed) -> tuple[dict[str, int], list[str]]:
    """Lines taken out of the project's own openai_chat files, and the other log files that hold
    some of the doomed."""
    lines: dict[str, int] = {}
    remaining: list[str] = []
    for release in project.releases:
        read = reader(release.logs.format)
        for file in log_files(project.home, release.logs.path):
            mine = {
                item.line
                for _, item in items([file], read)
                if isinstance(item, Conversation)
                and (item.user_id in doomed.users or item.conversation_id in doomed.conversations)
            }
            path = Path(file.path)
            ours = (
                release.logs.format == "openai_chat"
                and path.suffix == ".jsonl"
                and path.is_relative_to(project.home)
            )
            if mine and ours:
                partial = path.with_suffix(".partial")
                with path.open("rb") as old, partial.open("wb") as new:
                    new.writelines(line for number, line in enumerate(old, 1) if number not in mine)
                partial.replace(path)
                lines[file.path] = len(mine)
            elif mine:
                remaining.append(file.path)
    return lines, remaining


def forget(
    project: Project,
    lake: Lake,
    instance: dg.DagsterInstance,
    users: set[str],
    conversations: set[str],
) -> Forgotten:
    """Remove the rows, journalled answers and log lines of users and conversations; record hashes
    and counts in the ledger.

    Later imports drop the same rows again.  Tables that lost rows, and what rests on them, get an
    observation in Dagster that says so.
    """
    keys = load_keys(project.home, may_create=False)
    doomed = _doomed(lake, keys, users, conversations)
    before = Withdrawals.load(project.home)
    # first of all, so that an interrupted run cannot be undone by the next import
    Withdrawals(
        before.users | doomed.user_keys, before.conversations | doomed.conversation_keys
    ).save(project.home)
    wanted = [
        (file, found)
        for path, found in _answer_keys(project, lake, doomed)
        if found
        for file in (path, *put_aside(path))
    ]
    answers = {
        str(file.relative_to(project.home)): drop_answers(file, found) for file, found in wanted
    }
    rows: Counter[str] = Counter()
    for asset, key, folder in lake.tables():
        telling = doomed.rows(_read(folder).collect_schema().names())
        if telling is not None:
            rows[f"{asset}[{key}]"] += lake.drop_rows(folder, telling)
    rows["labels"] += drop_labels(project.home, doomed.prefixes)
    lines, remaining = _clean_logs(project, doomed)
    taken = {name: count for name, count in rows.items() if count}
    hashes = {"users": sorted(doomed.user_keys), "conversations": sorted(doomed.conversation_keys)}
    ledger.append(
        project.home,
        "withdrawal",
        "",
        {**hashes, "rows": taken, "answers": answers, "log_lines": sum(lines.values())},
    )
    _mark_stale(project, instance, taken)
    return Forgotten(taken, answers, lines, remaining)


def _mark_stale(project: Project, instance: dg.DagsterInstance, taken: dict[str, int]) -> None:
    """An observation on every partition that lost rows, and on the forecasts and scores that
    rest on one."""
    taken = {name: count for name, count in taken.items() if "[" in name}
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


def still_there(
    project: Project, lake: Lake, users: set[str], conversations: set[str]
) -> dict[str, int]:
    """Where something of the users and conversations is left: tables by their columns, files by
    the ids themselves."""
    doomed = _doomed(lake, load_keys(project.home, may_create=False), users, conversations)
    found: dict[str, int] = {}
    for asset, key, folder in lake.tables():
        frame = _read(folder)
        telling = doomed.rows(frame.collect_schema().names())
        left = (
            int(frame.filter(telling).select(pl.len()).collect().item())
            if telling is not None
            else 0
        )
        if left:
            found[f"{asset}[{key}]"] = left
    needles = [json.dumps(name)[1:-1].encode() for name in (*users, *conversations)]
    for path in sorted(
        p
        for p in project.home.rglob("*")
        if p.is_file() and p.suffix in (".jsonl", ".json", ".yaml", ".parquet", ".db", ".log")
    ):
        content = path.read_bytes()
        hits = sum(content.count(b'"' + needle + b'"') for needle in needles)
        if hits:
            found[str(path.relative_to(project.home))] = hits
    return found
