"""Items -> the grades table: asks the judge for what its journal does not hold, then writes one row per item."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from deploysim_assets.endpoint.ask import ask
from deploysim_assets.endpoint.budget import costs, open_account
from deploysim_assets.endpoint.client import Outcome
from deploysim_assets.endpoint.journal import open_journal
from deploysim_assets.grading.item import Item
from deploysim_assets.grading.judge import repair
from deploysim_assets.grading.panel import Panel
from deploysim_assets.project import Project


class TableWriter(Protocol):
    """Where the rows go: a version of grades or production_grades."""

    def add(self, row: dict[str, Any], table: str = "") -> None: ...


def grade_table(
    panel: Panel,
    items: Callable[[], Iterator[Item]],
    project: Project,
    journal_file: Path,
    model_version: str,
    out: TableWriter,
    log: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Grade all items and return the counts by state, of judge calls and of tokens. `items` is called twice: to ask, and to write."""
    with open_journal(journal_file) as journal:
        outcome = Outcome()
        if any(b.grader == "judge" for b in panel.behaviors):
            outcome = ask(lambda: panel.requests(items()), project.judge_endpoint(), journal, journal_file, repair, account=open_account(project), log=log)
        statuses: Counter[str] = Counter()
        for item in items():
            row = panel.row(item, model_version, journal, outcome.failures)
            statuses[row["status"]] += 1
            out.add(row)
    return {
        "prefixes": statuses.total(),
        **{status: statuses[status] for status in ("graded", "refused", "filtered", "failed")},
        "judge_calls": outcome.asked,
        "judge_calls_from_journal": outcome.reused,
        "retries": outcome.retries,
        **costs(outcome, journal_file, project.prices),
    }
