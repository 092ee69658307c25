"""Checks on replies: how many of them are no answers, on both sides."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from deploysim_assets.assets.registration import Registration
from deploysim_assets.checks.specs import partitioned_check
from deploysim_assets.project import Grading, Project
from deploysim_assets.releases import CANDIDATES, MODELS
from deploysim_assets.schema import BROKEN_OFF, NOT_TOLD, UNANSWERED
from deploysim_assets.storage.tables import Lake

WHOLE = "replies_are_whole"


def whole_replies(
    counts: Mapping[str, Any], limits: Grading, *, bounded: bool = False, **more: int
) -> dg.AssetCheckResult:
    """Red as a warning above `warn_share` of replies that are no answers (empty, cut, unanswerable,
    capped), as an error above `error_share`; cut ones that are graded only warn, and turns that
    were broken off where limits and gates are `bounded` by what these may have come to."""
    prefixes = counts["prefixes"]
    found = {state: counts.get(state, 0) for state in UNANSWERED}
    share = sum(found.values()) / prefixes if prefixes else 0.0
    counted_in = found["truncated"] if limits.truncated == "grade" else 0
    if bounded:
        counted_in += sum(found[state] for state in BROKEN_OFF)
    grave = sum(found.values()) - counted_in > limits.error_share * prefixes
    return dg.AssetCheckResult(
        check_name=WHOLE,
        passed=share <= limits.warn_share and not grave,
        severity=dg.AssetCheckSeverity.ERROR if grave else dg.AssetCheckSeverity.WARN,
        metadata={
            "prefixes": prefixes,
            **found,
            "share": share,
            "warns_above": limits.warn_share,
            "blocks_gates_above": limits.error_share,
            **more,
        },
    )


@dg.multi_asset_check(
    name="candidate_replies",
    specs=[partitioned_check(WHOLE, "candidate_completions", CANDIDATES, blocking=False)],
)
def candidate_replies(
    context: dg.AssetCheckExecutionContext,
    lake: dg.ResourceParam[Lake],
    project: dg.ResourceParam[Project],
) -> Iterator[dg.AssetCheckResult]:
    """Few of the candidate's replies are empty or cut. Above the error limit the forecast is made
    all the same, and all its gates are blocked."""
    counts = lake.stats("candidate_completions", context.partition_key)
    registered = Registration.load(lake, context.partition_key)
    yield whole_replies(counts, project.grading, bounded=registered.broken_off is not None)


@dg.multi_asset_check(
    name="production_replies",
    specs=[partitioned_check(WHOLE, "production_grades", MODELS, blocking=False)],
)
def production_replies(
    context: dg.AssetCheckExecutionContext,
    lake: dg.ResourceParam[Lake],
    project: dg.ResourceParam[Project],
) -> Iterator[dg.AssetCheckResult]:
    """Few of the deployed model's replies are empty or cut, as far as its logs tell."""
    stats = lake.stats("production_grades", context.partition_key)
    worst = max(
        stats["gradings"].values(), key=lambda counts: sum(counts.get(s, 0) for s in UNANSWERED)
    )
    finishes: Mapping[str, int] = stats.get("finish_reasons", {})
    yield whole_replies(worst, project.grading, end_not_told=finishes.get(NOT_TOLD, 0))


REPLY_CHECKS = [candidate_replies, production_replies]
