"""What every asset that pays for answers does: ask what the journal does not hold, write the
table, and let go of open batches."""

import functools
import heapq
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg

from deploysim_assets.agents.rollout import follow_up
from deploysim_assets.assets.rolling_out import Turns
from deploysim_assets.assets.sentinel_watch import CONTEXT, KIND, Source, watch_of
from deploysim_assets.deidentify.keys import load_keys
from deploysim_assets.endpoint.ask import ask
from deploysim_assets.endpoint.batches import BatchesPendingError
from deploysim_assets.endpoint.budget import costs, open_account
from deploysim_assets.endpoint.client import Outcome
from deploysim_assets.grading.item import Item
from deploysim_assets.grading.panel import Panel
from deploysim_assets.grading.run import GradingRun
from deploysim_assets.grading.table import grade_table
from deploysim_assets.io_manager import table_result
from deploysim_assets.project import EarlyStopping, Project
from deploysim_assets.schema import COMPLETIONS, REPLY_STATES, TAKEN_ANSWERS, TURNS
from deploysim_assets.schema import grades as grades_schema
from deploysim_assets.storage.journal import journal_file, open_journal
from deploysim_assets.storage.tables import ANSWERS, SEEN_TURNS, Lake
from deploysim_assets.storage.versions import Version


def lowest_prefixes(lake: Lake, model: str, version: str | None, limit: int) -> frozenset[str]:
    """Up to `limit` prefixes of a model, those of lowest id: it is a keyed hash, so the choice
    is random, and stable as logs grow."""
    ids = (
        row["prefix_id"]
        for row in lake.rows("deidentified_prefixes", model, version, ["prefix_id"])
    )
    return frozenset(heapq.nsmallest(limit, ids))


def _decide(k: int, n: int, threshold: float, alpha: float) -> str:
    from deploysim_assets.forecast.sequential import decision

    return decision(k, n, threshold, alpha)


class EndpointRun:
    """One run of a paid asset for one partition."""

    def __init__(self, context: dg.AssetExecutionContext, lake: Lake, project: Project) -> None:
        self.context, self.lake, self.project = context, lake, project
        self.asset, self.key = context.asset_key.to_user_string(), context.partition_key
        self.journal = journal_file(project.home, self.asset, self.key)

    @functools.cached_property
    def secret(self) -> bytes:
        """The project's key of ids, of which the codes around judged documents are HMACs."""
        return load_keys(self.project.home, may_create=False).ids

    def complete(
        self,
        prefixes: Callable[[], Iterator[dict[str, Any]]],
        turns: Turns,
        facts: dict[str, Any],
    ) -> Iterator[dg.MaterializeResult[None]]:
        """Ask a model for its turn at every prefix and write one row per prefix. Yields nothing
        while batches are open."""
        with self.lake.asking(), open_journal(self.journal) as journal:
            try:
                outcome = ask(
                    lambda: map(turns.first_request, prefixes()),
                    self.project.endpoint,
                    journal,
                    self.journal,
                    follow_up,
                    account=open_account(self.project),
                    log=self.context.log.info,
                )
            except BatchesPendingError as pending:
                self.context.log.info(str(pending))
                return
            statuses: Counter[str] = Counter()
            finishes: Counter[str] = Counter()
            served: Counter[str] = Counter()
            journal.taken()
            with self.lake.new_version(self.asset, self.key, COMPLETIONS) as version:
                version.side_table(ANSWERS, TAKEN_ANSWERS)
                for prefix in prefixes():
                    row = turns.row(prefix, self.key, journal, outcome.failures)
                    statuses[row["status"]] += 1
                    finishes[row.get("finish_reason") or "no answer"] += 1
                    version.add(row)
                    for taken in journal.taken():
                        version.add({"prefix_id": row["prefix_id"], **taken}, ANSWERS)
                        answer = journal.get(taken["key"])
                        if answer.get("model") == turns.asked_of:
                            served[answer.get("reported_model") or turns.asked_of] += 1
                    journal.taken()  # looked at again, and of no row
                version.stats |= facts | {
                    "prefixes": statuses.total(),
                    **{status: statuses[status] for status in REPLY_STATES},
                    "finish_reasons": dict(sorted(finishes.items())),
                    "served_by": dict(sorted(served.items())),
                    "asked": outcome.asked,
                    "from_journal": outcome.reused,
                    "retries": outcome.retries,
                    **turns.stats(),
                    **costs(outcome, self.journal, self.project.prices),
                }
        yield table_result(self.lake, self.asset, self.key, version.stats)

    def grade(
        self,
        panels: list[Panel],
        items: Callable[[], Iterator[Item]],
        facts: dict[str, Any],
        stopping: EarlyStopping | None = None,
        source: Source | None = None,
        *,
        turns: bool = False,
    ) -> Iterator[dg.MaterializeResult[None]]:
        """Grade all items under each panel, one row per item and panel; beside those of a
        `source`, grade the sentinels; with `turns`, note what was seen of each turn. Yields nothing
        while batches are open."""
        gradings: dict[str, Any] = {}
        schema = grades_schema(sorted({name for panel in panels for name in panel.names}))
        try:
            with (
                self.lake.asking(),
                self.lake.new_version(self.asset, self.key, schema) as version,
            ):
                version.side_table(ANSWERS, TAKEN_ANSWERS)
                if turns:
                    version.side_table(SEEN_TURNS, TURNS)
                for panel in panels:
                    gradings[panel.grading_id] = self._graded(
                        panel, items, version, stopping, source, turns=turns
                    )
                version.stats |= facts | {"gradings": gradings}
                if len(panels) == 1:
                    version.stats |= {
                        "grading_id": panels[0].grading_id,
                        **gradings[panels[0].grading_id],
                    }
        except BatchesPendingError as pending:
            self.context.log.info(str(pending))
            return
        yield table_result(self.lake, self.asset, self.key, version.stats)

    def _graded(
        self,
        panel: Panel,
        items: Callable[[], Iterator[Item]],
        version: Version,
        stopping: EarlyStopping | None,
        source: Source | None,
        *,
        turns: bool,
    ) -> dict[str, Any]:
        """Grade under one panel; returns its identities, counts, costs, and how far the judge
        agrees with itself."""
        from deploysim_assets.forecast.grader_error import cohen_kappa

        told = self.context.log.info
        with GradingRun.of(panel, self.project, self.journal, self.secret, self.key, told) as run:
            watch = watch_of(self.project, self.asset, self.key, source, run, told)
            run.beside, paid = watch, Outcome()
            out = watch.noting(version) if watch else version
            counts = grade_table(run, items, out, stopping and (stopping, _decide), turns=turns)
            if watch is not None:
                watched = watch.finish(version, counts["served_by"])
                counts |= {KIND: watched} if watched else {}
                paid = watch.outcome
            counts |= costs(run.outcome.plus(paid), self.journal, self.project.prices)
        agreement = {
            name: {"replies": sum(table), **cohen_kappa(*table)._asdict()}
            for name, table in counts["repeats"].items()
        }
        return {"grader_ids": panel.grader_ids(), **counts, "self_agreement": agreement}

    def completed_items(
        self, prefixes_of: str, version: str | None, completions: str
    ) -> Iterator[Item]:
        """What is to be graded of a table of completions: each with its prefix, of the named
        version of a model's prefixes."""
        replies = self.lake.rows(
            completions, self.key, columns=["prefix_id", "message", "status", "error"]
        )
        completion = next(replies, None)
        for prefix in self.lake.rows("deidentified_prefixes", prefixes_of, version, CONTEXT):
            if completion is not None and prefix["prefix_id"] == completion["prefix_id"]:
                yield Item.of_completion(prefix, completion)
                completion = next(replies, None)
        assert completion is None, (
            "completions are written in the order of the prefixes that they rest on"
        )

    def production_items(self, version: str | None) -> Iterator[Item]:
        """What the deployed model really answered to its sampled prefixes."""
        return map(
            Item.of_production,
            self.lake.rows(
                "deidentified_prefixes", self.key, version, [*CONTEXT, "production_completion"]
            ),
        )
