"""Taking rows, answers and lines out of the files of a home for good: each change is written down
with the file's digest before and after, and only then carried out, so that a crash at any moment
leaves a plan that can be replayed, and an audit can tell a withdrawal from a forgery."""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import polars as pl

from deploysim_assets.project import ProjectError
from deploysim_assets.storage import disk, ledger
from deploysim_assets.storage.journal import framed, lines, torn
from deploysim_assets.storage.journals import batch_files, journal_files
from deploysim_assets.storage.occasions import occasion_files, without_prefixes
from deploysim_assets.storage.pages import pages, without
from deploysim_assets.storage.tables import ANSWER_TABLES, Lake
from deploysim_assets.storage.turns import borrowers
from deploysim_assets.storage.versions import clear_left_behind, scan_folder, write_part
from deploysim_assets.storage.withdrawals import save_plan

_PARTIAL = ".withdrawing"
"""Ends the name of what stays of a file while it is written; the same for each try, so that a kill
leaves no more than one."""

Write = Callable[[Path, Path], int | None]
"""Writes what stays of the first file to the second, and returns how many rows or lines do not;
None where nothing changes."""


class Doomed(NamedTuple):
    """Whom to forget: ids as they stand in raw tables, and as keyed hashes; the request keys of
    the answers that are about them alone."""

    users: frozenset[str]
    conversations: frozenset[str]
    user_keys: frozenset[str]
    conversation_keys: frozenset[str]
    prefixes: frozenset[str] = frozenset()
    answers: frozenset[str] = frozenset()

    @property
    def keyed(self) -> frozenset[str]:
        """The ids by which a page may name an item of theirs."""
        return self.prefixes | self.conversation_keys | self.answers

    def rows(self, schema: pl.Schema) -> pl.Expr | None:
        """True for the rows of a table that belong to the doomed; None for a table without a
        column that tells."""
        tell = {
            "user_id": pl.col("user_id").is_in(list(self.users)),
            "conversation_id": pl.col("conversation_id").is_in(list(self.conversations)),
            "user_key": pl.col("user_key").is_in(list(self.user_keys)),
            "conversation_key": pl.col("conversation_key").is_in(list(self.conversation_keys)),
            "prefix_id": prefix_of("prefix_id").is_in(list(self.prefixes)),
            "key": pl.col("key").is_in(list(self.answers)),
        }
        told = [expression for name, expression in tell.items() if name in schema]
        return pl.any_horizontal(told).fill_null(value=False) if told else None

    def lists(self, schema: pl.Schema) -> list[pl.Expr]:
        """The columns that list prefixes, such as examples of a finding, without the doomed."""
        listed = [name for name, dtype in schema.items() if dtype == pl.List(pl.String)]
        doomed = pl.element().str.extract(PREFIX_ID).is_in(list(self.prefixes))
        kept = ~doomed.fill_null(value=False)
        return [pl.col(name).list.filter(kept) for name in listed]


_LINES = (("log_file", "log_line"), ("file", "line"))
PREFIX_ID = r"([0-9a-f]{16,})"


def prefix_of(column: str) -> pl.Expr:
    """The prefix that a row is about: its id may have a population before it, or the number of a
    repeat behind it."""
    return pl.col(column).str.extract(PREFIX_ID)


def doomed_by(
    lake: Lake, users: Iterable[str], conversations: Iterable[str], identify: Callable[..., str]
) -> Doomed:
    """Everything of some users and conversations, from all versions of all tables and all journals.
    `identify` makes the keyed hash of an id."""
    named, found = frozenset(users), set(conversations)
    for asset, _, folder in lake.whole_tables():
        frame = scan_folder(folder)
        if asset == "raw_logs" and "user_id" in frame.collect_schema():
            mine = frame.filter(pl.col("user_id").is_in(list(named))).select("conversation_id")
            found |= set(mine.collect()["conversation_id"])
    doomed = Doomed(
        named,
        frozenset(found),
        frozenset(identify("user", one) for one in named),
        frozenset(identify("conversation", one) for one in found),
    )
    prefixes: set[str] = set()
    for _, _, folder in lake.whole_tables():
        frame = scan_folder(folder)
        columns = frame.collect_schema()
        if "prefix_id" in columns and {"user_key", "conversation_key"} & set(columns):
            telling = doomed.rows(columns)
            assert telling is not None
            mine = frame.filter(telling).select(prefix_of("prefix_id")).drop_nulls().collect()
            prefixes |= set(mine["prefix_id"])
    doomed = doomed._replace(prefixes=frozenset(prefixes))
    doomed = doomed._replace(prefixes=doomed.prefixes | borrowers(lake, doomed.prefixes))
    return doomed._replace(answers=frozenset(_answers_about(lake, doomed)))


def _answers_about(lake: Lake, doomed: Doomed) -> Iterator[str]:
    """The answers that a journal says are about a doomed prefix, those that only rows of doomed
    prefixes were made from, and those that nothing tells of whom they are. What a row of somebody
    else was made from stays: they asked the very same."""
    theirs, others = set[str](), set[str]()
    for _, _, folder in lake.whole_tables():
        frame = scan_folder(folder)
        columns = frame.collect_schema()
        key = "key" if folder.name in ANSWER_TABLES else "request_key"
        if key in columns and "prefix_id" in columns:
            is_theirs = prefix_of("prefix_id").is_in(list(doomed.prefixes)).fill_null(value=False)
            cited = frame.select(key, theirs=is_theirs).drop_nulls().unique().collect()
            theirs |= set(cited.filter("theirs")[key])
            others |= set(cited.filter(~pl.col("theirs"))[key])
    yield from theirs - others
    for path in journal_files(lake.home):
        for body in lines(path):
            answer = orjson.loads(body)
            about = re.search(PREFIX_ID, answer.get("about") or "")
            is_theirs = about is None or about[1] in doomed.prefixes
            if is_theirs and answer["key"] not in others:
                yield answer["key"]


def clear_partials(home: Path) -> None:
    """Remove what killed withdrawals left beside the files that they were rewriting, and versions
    that killed runs never finished: nothing reads them, and they may hold anybody's rows."""
    for left in home.rglob(f".*{_PARTIAL}"):
        left.unlink()
    for _, _, place in Lake(home / "lake").places():
        clear_left_behind(place)


def refuse_damaged_journals(home: Path) -> None:
    """ProjectError for a journal with whole lines behind a bad one: nobody can tell whose those
    are."""
    for path in (*journal_files(home), *batch_files(home)):
        torn(path)


def _passed(numbers: pl.Series, gone: list[int]) -> pl.Series:
    """How many of the (sorted) lines that go stand before each line."""
    return pl.Series(gone, dtype=pl.Int64).search_sorted(numbers, side="left").cast(pl.Int64)


class Removal:
    """Carries out a plan, which names every file that it changes before it is changed: `files` has,
    for each, SHA-256 before and after, bytes after, and how many rows or lines went, one entry for
    each time that it was changed."""

    def __init__(self, lake: Lake, plan: dict[str, Any]) -> None:
        self.lake, self.home, self.plan = lake, lake.home, plan
        names = ("users", "conversations", "user_keys", "conversation_keys", "prefixes", "answers")
        self.doomed = Doomed(*(frozenset(plan[name]) for name in names))
        self._log_lines: dict[str, list[int]] = plan["log_lines"]

    def rewrite(self, path: Path, write: Write, earlier: Iterable[tuple[str, int]] = ()) -> None:
        """Put what stays of a file in its place, whole, under the permissions that it had. A file
        that this plan has changed already is left alone.

        `earlier` are states (SHA-256 and bytes) that the file may have grown from: of those that it
        still begins with, the plan says too what became of them.
        """
        file = path.relative_to(self.home).as_posix()
        before = disk.sha256(path)
        changes: list[list[Any]] = self.plan["files"].setdefault(file, [])
        if changes and before == changes[-1][1]:
            disk.rewritten(path)  # a kill may have come before
            return
        kept = path.with_name(f".{path.name}{_PARTIAL}")
        kept.touch(0o600)
        try:
            gone = write(path, kept)
            if gone is None:
                return
            kept.chmod(path.stat().st_mode & 0o777)
            disk.force([kept])
            became = [disk.sha256(kept), kept.stat().st_size]
            undone = {change[1] for change in changes if change[0] == before}  # killed before that
            changes[:] = [change for change in changes if change[1] not in undone]
            size = path.stat().st_size
            for sha256, length in earlier:
                if length < size and disk.sha256_of_start(path, length) == sha256:
                    changes.append([sha256, *became, 0])
            changes.append([before, *became, gone])
            save_plan(self.home, self.plan)
            kept.replace(path)
            disk.force([path])
            disk.rewritten(path)
        except (OSError, pl.exceptions.PolarsError) as wrong:
            raise ProjectError(
                f"{path}: cannot be written anew ({getattr(wrong, 'strerror', None) or wrong}); "
                "the plan of the withdrawal is kept: mend that, and `deploysim forget` goes on"
            ) from wrong
        finally:
            kept.unlink(missing_ok=True)

    def changed(self) -> dict[str, list[list[Any]]]:
        """What the ledger says of each file that was changed: SHA-256 before and after, and the
        bytes after."""
        return {
            file: [change[:3] for change in changes]
            for file, changes in self.plan["files"].items()
            if changes
        }

    def gone(self) -> dict[str, int]:
        """How many rows, answers or lines went from each file."""
        return {
            file: sum(change[3] for change in changes)
            for file, changes in sorted(self.plan["files"].items())
            if changes
        }

    def read_states(self, file: str) -> set[tuple[str, int]]:
        """The states (SHA-256 and bytes) in which a log file was read, or left by a withdrawal."""
        versions = (
            self.lake.manifest(asset, key, version)
            for asset, key, _ in self.lake.places()
            if asset == "raw_logs"
            for version in self.lake.versions(asset, key)
        )
        logs = (log for manifest in versions if manifest for log in manifest.predicate["log_files"])
        read = {(log["sha256"], log["bytes"]) for log in logs if log["file"] == file}
        for record in ledger.read(self.home):
            for _, after, size in record.body.get("files", {}).get(file, []):
                read.add((after, size))
        return read

    def tables(self) -> None:
        """Take the rows out of every version of every table, side tables included. What is just
        being written is thrown away by its own run, which began before."""
        for _, _, folder in self.lake.whole_tables():
            for part in sorted(folder.glob("part-*.parquet")):
                self.rewrite(part, self._without_rows)

    def pages(self) -> None:
        """Take the lines that name items of theirs out of every page."""
        for page in pages(self.lake):
            self.rewrite(page, self._without_items)

    def _without_items(self, page: Path, target: Path) -> int | None:
        kept, gone = without(page.read_text(encoding="utf-8"), self.doomed.keyed)
        target.write_text(kept, encoding="utf-8")
        return gone or None

    def _without_rows(self, part: Path, target: Path) -> int | None:
        schema = pl.Schema(pl.read_parquet_schema(part))
        lists, moved = self.doomed.lists(schema), self._moved_lines(schema)
        told = [self.doomed.rows(schema), *self._on_gone_lines(schema)]
        known = [expression for expression in told if expression is not None]
        telling = pl.any_horizontal(known).fill_null(value=False) if known else None
        if telling is None and not lists and not moved:
            return None
        frame = pl.read_parquet(part, hive_partitioning=False)
        kept = frame.filter(~telling) if telling is not None else frame
        kept = kept.with_columns(*lists, *moved)
        if kept.equals(frame):
            return None
        write_part(kept, target)
        return frame.height - kept.height

    def _on_gone_lines(self, schema: pl.Schema) -> list[pl.Expr]:
        """True for what is told of a line that goes, as of one that could not be read."""
        return [
            (pl.col("file") == name) & pl.col("line").is_in(gone)
            for name, gone in self._log_lines.items()
            if {"file", "line"} <= set(schema)
        ]

    def _moved_lines(self, schema: pl.Schema) -> list[pl.Expr]:
        """Line numbers in logs as they are once the lines of the doomed are gone, so that a trace
        still ends at the right one."""
        expressions: list[pl.Expr] = []
        for file, line in _LINES:
            if file in schema and line in schema and self._log_lines:
                gone_before = pl.lit(0, pl.Int64)
                for name, gone in self._log_lines.items():
                    passed = pl.col(line).map_batches(
                        partial(_passed, gone=gone), return_dtype=pl.Int64
                    )
                    here = pl.col(file) == name
                    gone_before += pl.when(here).then(passed).otherwise(0)
                expressions.append((pl.col(line) - gone_before).alias(line))
        return expressions

    def journals(self) -> None:
        """Take the answers out of every journal, those set aside included, their requests out of
        the lists of batches, so that none comes back from the provider, and their prefixes out of
        the draws of sentinels."""
        for path in journal_files(self.home):
            self.rewrite(path, self._without_answers)
        for path in batch_files(self.home):
            self.rewrite(path, self._without_requests)
        for path in occasion_files(self.home):
            self.rewrite(path, self._without_drawn)

    def _without_drawn(self, path: Path, target: Path) -> int | None:
        content, gone = without_prefixes(path, self.doomed.prefixes)
        target.write_bytes(content)
        return gone or None

    def _without_answers(self, path: Path, target: Path) -> int | None:
        gone = int(bool(torn(path)))  # of a line that a crash cut nobody can tell whose it is
        with target.open("wb") as out:
            for body in lines(path):
                if orjson.loads(body)["key"] in self.doomed.answers:
                    gone += 1
                else:
                    out.write(framed(body))
        return gone or None

    def _without_requests(self, path: Path, target: Path) -> int | None:
        gone = int(bool(torn(path)))
        with target.open("wb") as out:
            for body in lines(path):
                row = orjson.loads(body)
                asked: list[str] = row.get("requests", [])
                kept = [key for key in asked if key not in self.doomed.answers]
                gone += len(asked) - len(kept)
                left = row | {"requests": kept} if len(kept) < len(asked) else row
                out.write(framed(orjson.dumps(left)))
        return gone or None
