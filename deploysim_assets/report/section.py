"""What a section of the report is made of: cells, tables, figures and sentences, not yet HTML."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from itertools import zip_longest
from typing import NamedTuple

from deploysim_assets.report.facts import Behavior, ReleaseReport
from deploysim_assets.report.figures import Drawing
from deploysim_assets.report.tables import observed

YES = {True: "yes", False: "no", None: "-"}


class Cell(NamedTuple):
    """A cell of a table: text, what it is (a verdict's word, `code`), and an anchor that it leads
    to."""

    text: str
    kind: str = ""
    anchor: str = ""


class Table(NamedTuple):
    """A table with its caption; the `figures` are those columns that hold numbers."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    figures: AbstractSet[int] = frozenset()
    anchor: str = ""


class Section(NamedTuple):
    """A part of the report under a heading; the first tables hold the figures' figures, in their
    order."""

    anchor: str
    title: str
    said: Sequence[str]
    figures: Sequence[Drawing] = ()
    tables: Sequence[Table] = ()

    @property
    def pairs(self) -> list[tuple[Drawing | None, Table | None]]:
        """Each figure with the table that has its figures, then the other tables."""
        return list(zip_longest(self.figures, [table for table in self.tables if table.rows]))


def table_of(
    caption: str,
    header: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    words: str = "",
    **more: str,
) -> Table:
    """A table without the columns that say nothing in any row; `words` names those that hold
    words, by their header."""
    worded = {*words.split(", "), header[0]}
    shown = [
        i for i in range(len(header))
        if not i or any(row[i].text != "-" for row in rows)
    ]  # fmt: skip
    figures = frozenset(n for n, i in enumerate(shown) if header[i] not in worded)
    kept = [[row[i] for i in shown] for row in rows]
    return Table(caption, [header[i] for i in shown], kept, figures, **more)


def cells(*texts: str | Cell) -> list[Cell]:
    """A row of cells, from texts and cells."""
    return [text if isinstance(text, Cell) else Cell(text) for text in texts]


def anchor_of(report: ReleaseReport, behavior: str) -> str:
    """The anchor of what a behavior's figures rest on, "" where nothing of it was flagged."""
    names = [b.behavior for b in report.behaviors]
    traced = any(t.behavior == behavior for t in report.trace)
    return f"trace-{names.index(behavior)}" if traced and behavior in names else ""


def named(report: ReleaseReport, behavior: Behavior) -> Cell:
    """A behavior's name, leading to what its figures rest on."""
    return Cell(behavior.behavior, "name", anchor_of(report, behavior.behavior))


def realized_rate(b: Behavior) -> str:
    """What production showed of a behavior, "-" before it was counted."""
    if b.realized is None:
        return "-"
    return observed(b.realized.k, b.realized.n, b.realized.high, b.realized.rate)
