"""open_findings: what a judge objects to in the candidate's replies beyond the taxonomy, in its own
words, put together by kind.

Opt-in: `exploration` in deploysim.yaml.
"""

import heapq
from collections.abc import Iterator
from typing import Any

import dagster as dg
import polars as pl

from deploysim_assets.assets.endpoint_run import EndpointRun
from deploysim_assets.assets.novel_behaviors import BOTH_REPLIES, unexplained_pairs
from deploysim_assets.assets.registration import Registration
from deploysim_assets.automation import ONCE
from deploysim_assets.endpoint.ask import ask
from deploysim_assets.endpoint.batches import BatchesPendingError
from deploysim_assets.endpoint.budget import costs, open_account
from deploysim_assets.endpoint.wire import about, request_key
from deploysim_assets.grading.exploring import Found, clusters, explore_request, findings_in
from deploysim_assets.grading.item import Item
from deploysim_assets.io_manager import finding, making, table_result
from deploysim_assets.project import Project
from deploysim_assets.releases import CANDIDATES
from deploysim_assets.runs import JUDGE
from deploysim_assets.schema import OPEN_FINDINGS, TAKEN_ANSWERS
from deploysim_assets.storage.journal import open_journal
from deploysim_assets.storage.tables import ANSWERS, Lake

_EXAMPLES = 10


@dg.asset(
    partitions_def=CANDIDATES,
    deps=BOTH_REPLIES,
    automation_condition=ONCE,
    group_name="exploration",
    kinds={"openai"},
    tags={"paid": "true"},
    output_required=False,  # while batches are with the provider a run ends well and makes nothing
    pool=JUDGE,
)
def open_findings(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    project: dg.ResourceParam[Project],
) -> Iterator[dg.MaterializeResult[None]]:
    """Ask the judge about a random sample of replies on which no registered behavior was
    flagged; `deploysim behaviors adopt` takes one over."""
    assert project.exploration is not None and project.judge is not None
    lake = making(context, lake, project.part("endpoint", "judge", "exploration"))
    judge, paid = project.judge, EndpointRun(context, lake, project)
    registered = Registration.load(lake, context.partition_key)
    chosen = frozenset(
        heapq.nsmallest(
            project.exploration.sample,
            (pair.prefix_id for pair in unexplained_pairs(lake, registered)),
        )
    )

    def items() -> Iterator[Item]:
        completed = paid.completed_items(
            registered.predecessor, registered.prefixes_version, "candidate_completions"
        )
        return (item for item in completed if item.prefix["prefix_id"] in chosen)

    def requests() -> Iterator[dict[str, Any]]:
        behaviors = registered.panel.behaviors
        return (
            about(
                item.prefix["prefix_id"],
                explore_request(item, behaviors, judge, paid.secret),
            )
            for item in items()
        )

    with lake.asking(), open_journal(paid.journal) as journal:
        try:
            outcome = ask(
                requests,
                project.judge_endpoint(),
                journal,
                paid.journal,
                account=open_account(project),
                log=context.log.info,
            )
        except BatchesPendingError as pending:
            context.log.info(str(pending))
            return
        keys = [
            (
                item.prefix["prefix_id"],
                request_key(explore_request(item, registered.panel.behaviors, judge, paid.secret)),
            )
            for item in items()
        ]
        answers: list[tuple[str, list[Found] | None]] = []
        taken: list[dict[str, str]] = []
        journal.taken()
        for prefix_id, key in keys:
            said = findings_in(prefix_id, journal.get(key)) if key in journal else None
            answers.append((prefix_id, said))
            taken += [{"prefix_id": prefix_id, **one} for one in journal.taken()]
    found = clusters(finding for _, some in answers for finding in some or ())
    rows = [
        {
            "model_version": context.partition_key,
            "finding": number,
            "name": cluster.name,
            "definition": cluster.description,
            "prefixes": len(cluster.prefixes),
            "examples": list(cluster.prefixes[:_EXAMPLES]),
        }
        for number, cluster in enumerate(found, 1)
    ]
    facts = {
        "asked_about": len(answers),
        "unusable_answers": sum(some is None for _, some in answers),
        "findings": len(rows),
    }
    facts |= costs(outcome, paid.journal, project.prices)
    seal = finding(context, lake)
    with lake.new_version("open_findings", paid.key, OPEN_FINDINGS, seal=seal) as version:
        version.side_table(ANSWERS, TAKEN_ANSWERS)
        version.extend(pl.DataFrame(rows, schema=OPEN_FINDINGS))
        for one in taken:
            version.add(one, ANSWERS)
        version.stats |= facts
    yield table_result(lake, "open_findings", context.partition_key, facts)
