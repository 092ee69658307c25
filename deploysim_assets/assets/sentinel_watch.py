"""What every grading of either side does beside it: grade the sentinels again, or draw and seal
them where there are none under its identity yet."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from deploysim_assets.endpoint.client import Outcome
from deploysim_assets.endpoint.errors import EndpointError
from deploysim_assets.grading.item import Item
from deploysim_assets.grading.run import GradingRun
from deploysim_assets.grading.sentinels import (
    Lots,
    Sentinel,
    digest,
    most_items,
    occasion,
    sealed,
    still_there,
    unseal,
)
from deploysim_assets.grading.table import TableWriter
from deploysim_assets.project import Project, ProjectError
from deploysim_assets.schema import SENTINELS, TAKEN_ANSWERS
from deploysim_assets.storage import ledger, occasions
from deploysim_assets.storage.journal import journal_file
from deploysim_assets.storage.tables import SENTINEL_ANSWERS, Lake
from deploysim_assets.storage.versions import Version

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

KIND = "sentinels"
"""The kind of the record that seals a set."""
CONTEXT = ["prefix_id", "stratum", "weight", "user_key", "surface", "language", "messages"]
"""The columns of a prefix that an item has."""


class Source(NamedTuple):
    """The table versions that the replies of a grading are read from; real replies stand beside
    their prefixes."""

    prefixes_of: str
    prefixes: str | None
    completions: str | None = None


def sealed_set(home: Path, grading_id: str) -> ledger.Record | None:
    """The record of the set of a grading: the first, where two gradings drew at once."""
    records = (r for r in ledger.read(home) if r.kind == KIND)
    return next((r for r in records if r.body["grading_id"] == grading_id), None)


def items_of(
    lake: Lake, partition: str, source: "Mapping[str, Any]", ids: "Collection[str]"
) -> dict[str, Item]:
    """Items by prefix out of the table versions that they were graded from; those that were
    withdrawn are gone."""

    def of(asset: str, key: str, version: str, columns: list[str]) -> Iterator[dict[str, Any]]:
        scan = lake.scan(asset, key, version).filter(pl.col("prefix_id").is_in(list(ids)))
        return scan.select(columns).collect().iter_rows(named=True)

    if not ids:
        return {}
    prefixes = source["prefixes_of"], source["prefixes"]
    if source["completions"] is None:
        columns = [*CONTEXT, "production_completion"]
        rows = of("deidentified_prefixes", *prefixes, columns)
        return {row["prefix_id"]: Item.of_production(row) for row in rows}
    columns = ["prefix_id", "message", "status", "error"]
    replies = {
        row["prefix_id"]: row
        for row in of("candidate_completions", partition, source["completions"], columns)
    }
    return {
        row["prefix_id"]: Item.of_completion(row, replies[row["prefix_id"]])
        for row in of("deidentified_prefixes", *prefixes, CONTEXT)
        if row["prefix_id"] in replies
    }


class Watch:
    """The sentinels of one grading of one table.

    Each grading that asks the judge anything is an occasion with a number; one that finds all in
    the journal stays with the last one.
    """

    def __init__(
        self,
        project: Project,
        asset: str,
        partition: str,
        source: Source,
        run: GradingRun,
        log: "Callable[[str], None]",
    ) -> None:
        self._project, self._run, self._log = project, run, log
        self._asset, self._partition, self._source = asset, partition, source
        self._lake = Lake.of(project.home)  # what it reads is sealed by the record, and no input
        self._journal = journal_file(project.home, asset, partition)
        self._grading_id = run.panel.grading_id
        self._names = [b.name for b in run.panel.behaviors if b.grader == "judge"]
        self._record = sealed_set(project.home, self._grading_id)
        self._number = self._last()
        intent = occasions.intended(self._journal).get(self._grading_id)
        self._due = intent is not None and intent.number == self._number + 1
        self._drawing = intent.drawn if intent and self._due else ()
        self._asked = False
        self._again: list[Item] | None = None
        self._lots = Lots(self._names, self._grading_id, project.sentinels)
        self.outcome = Outcome()

    def _last(self) -> int:
        """The number of the occasion that the current version of the table is of; -1: none."""
        if self._lake.pointer(self._asset, self._partition) is None:
            return -1
        stats = self._lake.stats(self._asset, self._partition)
        mine: dict[str, Any] = stats.get("gradings", {}).get(self._grading_id, {})
        return mine.get(KIND, {}).get("occasion", -1)

    @property
    def is_due(self) -> bool:
        return self._due

    def begin(self) -> None:
        """Note down that this is an occasion, before the judge is asked for anything of it."""
        if not self._due:
            occasions.intend(self._journal, self._grading_id, self._number + 1)
        self._due, self._asked = True, self._record is not None

    def requests(self) -> Iterator[dict[str, Any]]:
        """What the judge is asked on the occasion. Where the set is not sealed, that is what a run
        before this one had drawn, whose batches may be with the provider."""
        if self._again is None:
            if self._record is None:
                of = self._source._asdict()
                found = items_of(self._lake, self._partition, of, self._drawing).values()
                self._again = [self._run.panel.admitted(item) for item in found]
            else:
                self._again = [item for _, item in self._items(self._record)]
        return self._on(self._number + 1).requests(self._again)

    def noting(self, out: TableWriter) -> TableWriter:
        """The table's writer, which draws from what is written where there is no set yet."""
        return _Noting(out, self)

    def note(self, row: dict[str, Any]) -> None:
        """Put a row of the table into the draw."""
        if self._due and self._record is None:
            self._lots.add(row)

    def finish(self, version: Version, served_by: "Mapping[str, int]") -> dict[str, Any] | None:
        """Ask for what is still to be asked, and write the verdicts beside the table; what it came
        to, None where the judge was not watched."""
        if self._due and self._record is None:
            self._draw(served_by)
        if self._record is None:
            return None
        number = self._number + self._due
        if number < 0:
            return None
        facts = {"record": self._record.hash, "occasion": number}
        named = {"asset": self._asset, "partition": self._partition, "occasion": number}
        if named.items() <= self._record.body["source"].items():
            return facts | {"drawn": len(self._record.body["items"])}
        if self._due and not self._asked:  # drawn by another table while this one was graded
            self._ask(self._on(number), [item for _, item in self._items(self._record)])
        return facts | self._write(self._record, number, version)

    def _on(self, number: int) -> GradingRun:
        named = occasion(self._grading_id, self._asset, self._partition, str(number))
        return self._run.on_occasion(named)

    def _ask(self, run: GradingRun, items: list[Item]) -> None:
        run.ask(lambda: run.requests(items))
        self.outcome = self.outcome.plus(run.outcome)

    def _items(self, record: ledger.Record) -> list[tuple[Sentinel, Item]]:
        """The sentinels that are still there."""
        source = record.body["source"]
        chosen = unseal(record.body)
        admitted = self._run.panel.admitted
        try:
            found = items_of(
                self._lake, source["partition"], source, [one.prefix_id for one in chosen]
            )
        except ProjectError as gone:
            self._log(f"no sentinel can be graded again: {gone}")
            return []
        return still_there(
            chosen,
            lambda one: admitted(found[one.prefix_id]) if one.prefix_id in found else None,
        )

    def _draw(self, served_by: "Mapping[str, int]") -> None:
        """Draw the set, have it graded a second time, and seal it."""
        chosen = self._lots.drawn(most_items(self._lots.graded))
        found = items_of(self._lake, self._partition, self._source._asdict(), chosen)
        items = {i: self._run.panel.admitted(found[i]) for i in chosen if i in found}
        if not items:
            return
        run = self._on(self._number + 1)
        occasions.intend(self._journal, self._grading_id, self._number + 1, list(items))
        try:
            self._ask(run, list(items.values()))
        except EndpointError as wrong:
            self._log(f"no sentinels are drawn: {wrong}")
            return
        second = {i: self._verdicts(run, item)[0] for i, item in items.items()}
        if 2 * sum(any(v is not None for v in one.values()) for one in second.values()) < len(
            items
        ):
            self._log("no sentinels are drawn: most of them could not be graded a second time")
            return
        self._record = sealed_set(self._project.home, self._grading_id)
        if self._record is not None:
            return
        body = sealed(
            self._grading_id,
            {
                "asset": self._asset,
                "partition": self._partition,
                "occasion": self._number + 1,
                **self._source._asdict(),
            },
            [Sentinel(i, self._asset, digest(item), chosen[i]) for i, item in items.items()],
            {i: self._lots.verdicts(i) for i in items},
            second,
            dict(sorted({**served_by, **run.served}.items())),
        )
        ledger.append(self._project.home, KIND, self._partition, body, self._seals())
        occasions.intend(self._journal, self._grading_id, self._number + 1)
        self._record = sealed_set(self._project.home, self._grading_id)

    def _seals(self) -> dict[str, str]:
        """The table versions that the texts are in: the record vouches for them and keeps them."""
        of = self._source
        named = [("deidentified_prefixes", of.prefixes_of, of.prefixes)]
        if of.completions is not None:
            named.append(("candidate_completions", self._partition, of.completions))
        found = [self._lake.manifest(*one) for one in named]
        return {
            manifest.path.parent.relative_to(self._lake.home).as_posix(): manifest.digest
            for manifest in found
            if manifest is not None
        }

    def _verdicts(
        self, run: GradingRun, item: Item
    ) -> tuple[dict[str, bool | None], list[dict[str, str]]]:
        """The verdicts of an occasion on an item, and the answers that they were made from."""
        run.journal.taken()
        row = run.row(item)
        return {name: row[name] for name in self._names}, run.journal.taken()

    def _write(self, record: ledger.Record, number: int, version: Version) -> dict[str, Any]:
        version.side_table(KIND, SENTINELS)
        version.side_table(SENTINEL_ANSWERS, TAKEN_ANSWERS)
        run, graded = self._on(number), 0
        items = self._items(record)
        for one, item in items:
            verdicts, taken = self._verdicts(run, item)
            graded += any(flagged is not None for flagged in verdicts.values())
            for name, flagged in verdicts.items():
                row = {"grading_id": self._grading_id, "prefix_id": one.prefix_id}
                version.add(row | {"behavior": name, "flagged": flagged}, KIND)
            for answer in taken:
                version.add({"prefix_id": one.prefix_id, **answer}, SENTINEL_ANSWERS)
        served = dict(sorted(run.served.items()))
        return {"items": len(items), "graded": graded, "served_by": served}


class _Noting:
    def __init__(self, out: TableWriter, watch: Watch) -> None:
        self._out, self._watch = out, watch

    def add(self, row: dict[str, Any], table: str = "") -> None:
        if not table:
            self._watch.note(row)
        self._out.add(row, table)


def watch_of(
    project: Project,
    asset: str,
    partition: str,
    source: Source | None,
    run: GradingRun,
    log: "Callable[[str], None]",
) -> Watch | None:
    """The watch over a grading; None where it is not of either side, or not to be watched."""
    if source is None or not project.sentinels or not run.panel.can_be_watched:
        return None
    return Watch(project, asset, partition, source, run, log)
