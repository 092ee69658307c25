"""Items -> the grades table: asks the judge for what its journal does not hold, then writes one
row per item."""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Protocol

from deploysim_assets.grading.item import Item
from deploysim_assets.grading.panel import Panel
from deploysim_assets.grading.run import GradingRun
from deploysim_assets.grading.screening import Screening
from deploysim_assets.grading.steps import turn_row
from deploysim_assets.grading.stopping import Decide, Look, Stopping
from deploysim_assets.project import EarlyStopping
from deploysim_assets.schema import GRADE_STATES
from deploysim_assets.storage.journal import Journal
from deploysim_assets.storage.tables import ANSWERS, SEEN_TURNS


class TableWriter(Protocol):
    """Where the rows go: a version of grades or production_grades."""

    def add(self, row: dict[str, Any], table: str = "") -> None: ...


def _stretch(stream: Stopping, look: Look, items: Callable[[], Iterator[Item]]) -> Iterator[Item]:
    return stream.between(look, items())


def _write(graded: dict[str, Any], journal: Journal, out: TableWriter) -> None:
    """The row, and beside it the answers that it was made from."""
    out.add(graded)
    for taken in journal.taken():
        out.add({"prefix_id": graded["prefix_id"], **taken}, ANSWERS)


def _admitted(panel: Panel, found: Callable[[], Iterator[Item]]) -> Iterator[Item]:
    return map(panel.admitted, found())


def grade_table(
    run: GradingRun,
    found: Callable[[], Iterator[Item]],
    out: TableWriter,
    stopping: tuple[EarlyStopping, Decide] | None = None,
    *,
    turns: bool = False,
) -> dict[str, Any]:
    """Grade all items and return the counts by state and of judge calls. `found` is called again
    for every pass over them.

    With `stopping` the judge is asked in looks, and no more about what is decided; the counts then
    say what that saved. With `turns` the side table of turns is written, too.
    """
    panel, items = run.panel, partial(_admitted, run.panel, found)
    stream: Stopping | None = None
    screening: Screening | None = None
    if stopping is not None:
        stream = Stopping(panel, *stopping, sum(1 for _ in items()))
        while (look := stream.following()) is not None:
            _ask_stretch(run, stream, look, items)
    elif any(b.grader == "judge" for b in panel.behaviors):
        if panel.judge and panel.judge.screen:
            run.ask(lambda: run.screen_requests(items()))
            screening = Screening(run, items())
            suspects = screening.judged
            run.ask(lambda: run.requests(suspects(items())))
        else:
            run.ask(lambda: run.requests(items()))
    statuses: Counter[str] = Counter()
    run.begin_rows()
    for item in items():
        if stream is not None:
            graded = stream.released(item, run.row(item, stream.look_of(item).skip))
        elif screening is not None:
            run.suspicious(item)  # the screen's answer is among those that the row is made from
            graded = screening.weighted(item, run.row(item, screening.skip(item)))
        else:
            graded = run.row(item)
        statuses[graded["status"]] += 1
        _write(graded, run.journal, out)
        if turns and (seen := turn_row(panel, item)) is not None:
            out.add(seen, SEEN_TURNS)
    counts: dict[str, Any] = {
        "prefixes": statuses.total(),
        **{status: statuses[status] for status in GRADE_STATES},
        "judge_calls": run.outcome.asked,
        "judge_calls_from_journal": run.outcome.reused,
        "retries": run.outcome.retries,
        **run.facts(),
    }
    if screening is not None:
        counts |= screening.counts()
    if stream is not None:
        counts |= stream.saved(items())
        counts["stopped"] = {name: decided._asdict() for name, decided in stream.decided.items()}
        counts["skipped"] = sorted({tuple(sorted(look.skip)) for look in stream.looks})
    return counts


def _ask_stretch(
    run: GradingRun, stream: Stopping, look: Look, items: Callable[[], Iterator[Item]]
) -> None:
    """One look: ask about its stretch of the stream, and count what came of it."""
    stretch = partial(_stretch, stream, look, items)
    run.ask(lambda: run.requests(stretch(), look.skip))
    stream.take(look, (run.row(item, look.skip) for item in stretch()))
