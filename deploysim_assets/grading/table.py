"""Items -> the grades table: asks the judge for what its journal does not hold, then writes one
row per item."""

from collections import Counter
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from deploysim_assets.endpoint.ask import ask
from deploysim_assets.endpoint.budget import costs, open_account
from deploysim_assets.endpoint.client import Outcome
from deploysim_assets.grading.item import Item
from deploysim_assets.grading.judge import repair
from deploysim_assets.grading.panel import Panel
from deploysim_assets.grading.screening import Screening
from deploysim_assets.grading.stopping import Decide, Look, Stopping
from deploysim_assets.project import EarlyStopping, Project
from deploysim_assets.schema import GRADE_STATES
from deploysim_assets.storage.journal import Journal, open_journal
from deploysim_assets.storage.tables import ANSWERS


class TableWriter(Protocol):
    """Where the rows go: a version of grades or production_grades."""

    def add(self, row: dict[str, Any], table: str = "") -> None: ...


def _stretch(stream: Stopping, look: Look, items: Callable[[], Iterator[Item]]) -> Iterator[Item]:
    return stream.between(look, items())


def _admitted(panel: Panel, found: Callable[[], Iterator[Item]]) -> Iterator[Item]:
    return map(panel.admitted, found())


def _write(graded: dict[str, Any], journal: Journal, out: TableWriter) -> None:
    """The row, and beside it the answers that it was made from."""
    out.add(graded)
    for taken in journal.taken():
        out.add({"prefix_id": graded["prefix_id"], **taken}, ANSWERS)


def grade_table(
    panel: Panel,
    found: Callable[[], Iterator[Item]],
    project: Project,
    journal_file: Path,
    model_version: str,
    out: TableWriter,
    log: Callable[[str], None] | None = None,
    stopping: tuple[EarlyStopping, Decide] | None = None,
) -> dict[str, Any]:
    """Grade all items and return the counts by state, of judge calls and of tokens. `found` is
    called again for every pass over them.

    With `stopping` the judge is asked in looks, and no more about what is decided; the counts then
    say what that saved.
    """
    items = partial(_admitted, panel, found)
    with open_journal(journal_file) as journal:
        asked = Outcome()

        def put(requests: Callable[[], Iterator[dict[str, Any]]]) -> Outcome:
            return ask(
                requests,
                project.judge_endpoint(),
                journal,
                journal_file,
                repair,
                account=open_account(project),
                log=log,
            )

        def judge(
            some: Callable[[], Iterator[Item]], skip: AbstractSet[str] = frozenset()
        ) -> Outcome:
            return put(lambda: panel.requests(some(), skip))

        def row(item: Item, skip: AbstractSet[str] = frozenset()) -> dict[str, Any]:
            return panel.row(item, model_version, journal, asked.failures, skip)

        stream: Stopping | None = None
        screening: Screening | None = None
        if stopping is not None:
            stream = Stopping(panel, *stopping, sum(1 for _ in items()))
            while (look := stream.following()) is not None:
                stretch = partial(_stretch, stream, look, items)
                asked = asked.plus(judge(stretch, look.skip))
                stream.take(look, (row(item, look.skip) for item in stretch()))
        elif any(b.grader == "judge" for b in panel.behaviors):
            if panel.judge and panel.judge.screen:
                asked = put(lambda: panel.screen_requests(items()))
                screening = Screening(panel, journal, items())
                asked = asked.plus(judge(lambda: screening.judged(items())))
            else:
                asked = judge(items)
        statuses: Counter[str] = Counter()
        journal.taken()
        for item in items():
            if stream is not None:
                graded = stream.released(item, row(item, stream.look_of(item).skip))
            else:
                graded = (
                    screening.weighted(item, row(item, screening.skip(item)))
                    if screening
                    else row(item)
                )
            statuses[graded["status"]] += 1
            _write(graded, journal, out)
    counts: dict[str, Any] = {
        "prefixes": statuses.total(),
        **{status: statuses[status] for status in GRADE_STATES},
        "judge_calls": asked.asked,
        "judge_calls_from_journal": asked.reused,
        "retries": asked.retries,
        **costs(asked, journal_file, project.prices),
    }
    if screening is not None:
        counts |= screening.counts()
    if stream is not None:
        counts |= stream.saved(items())
        counts["stopped"] = {name: decided._asdict() for name, decided in stream.decided.items()}
        counts["skipped"] = sorted({tuple(sorted(look.skip)) for look in stream.looks})
    return counts
