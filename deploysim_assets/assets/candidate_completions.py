"""candidate_completions: the one reply that the candidate writes to each registered prefix."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import dagster as dg

from deploysim_assets.assets.preregistration import Registration
from deploysim_assets.automation import ONCE
from deploysim_assets.endpoint.ask import ask
from deploysim_assets.endpoint.batches import BatchesPendingError
from deploysim_assets.endpoint.budget import costs, open_account
from deploysim_assets.endpoint.completions import completion_request, completion_row
from deploysim_assets.endpoint.journal import journal_file, open_journal
from deploysim_assets.lake import Lake, table_result
from deploysim_assets.project import Project
from deploysim_assets.releases import CANDIDATES, FROM_PREDECESSOR
from deploysim_assets.schema import COMPLETIONS


@dg.asset(
    partitions_def=CANDIDATES,
    deps=["preregistration", dg.AssetDep("deidentified_prefixes", partition_mapping=FROM_PREDECESSOR)],
    automation_condition=ONCE,
    group_name="forecast",
    kinds={"openai"},
    tags={"paid": "true"},
    output_required=False,  # while batches are with the provider a run ends well and makes nothing
)
def candidate_completions(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], project: dg.ResourceParam[Project]
) -> Iterator[dg.MaterializeResult[None]]:
    """Ask the candidate for its reply to every prefix of the registered version. Answers are journalled: a rerun asks for what is missing."""
    candidate = context.partition_key
    registered = Registration.load(lake, candidate)

    def prefixes() -> Iterator[dict[str, Any]]:
        return lake.rows("deidentified_prefixes", registered.predecessor, registered.prefixes_version, ["prefix_id", "messages"])

    def requests() -> Iterator[dict[str, Any]]:
        return (completion_request(p, registered.candidate, registered.seed) for p in prefixes())

    file = journal_file(project.home, "candidate_completions", candidate)
    with open_journal(file) as journal:
        try:
            outcome = ask(requests, project.endpoint, journal, file, account=open_account(project), log=context.log.info)
        except BatchesPendingError as pending:
            context.log.info(str(pending))
            return
        statuses: Counter[str] = Counter()
        with lake.new_version("candidate_completions", candidate, COMPLETIONS, context.run.run_id) as version:
            for prefix in prefixes():
                body = completion_request(prefix, registered.candidate, registered.seed)
                row = completion_row(prefix["prefix_id"], candidate, body, journal, outcome.failures)
                statuses[row["status"]] += 1
                version.add(row)
            version.stats |= {
                "registration": registered.record_hash,
                "prefixes": statuses.total(),
                **{status: statuses[status] for status in ("completed", "refused", "filtered", "failed")},
                "asked": outcome.asked,
                "from_journal": outcome.reused,
                "retries": outcome.retries,
                **costs(outcome, file, project.prices),
            }
    yield table_result(lake, "candidate_completions", candidate, version.stats)
