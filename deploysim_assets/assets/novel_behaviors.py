"""novel_behaviors: what the candidate does and the live model did not, on the same prefixes, and
the taxonomy does not name."""

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import dagster as dg
import polars as pl

from deploysim_assets.assets.registration import Registration
from deploysim_assets.automation import ONCE
from deploysim_assets.grading.features import features, rule_of
from deploysim_assets.grading.form import in_words, rank
from deploysim_assets.io_manager import finding, making, written
from deploysim_assets.project import Project
from deploysim_assets.releases import CANDIDATES, FROM_PREDECESSOR
from deploysim_assets.schema import NOVEL_BEHAVIORS, reply_state, separated
from deploysim_assets.storage.tables import Lake

if TYPE_CHECKING:
    from deploysim_assets.forecast.novelty import Finding

_EXAMPLES, _FEATURES = 10, 12
_WRITTEN = ("phrase: ", "opening: ", "ending: ", "tag: ", "latex: ", "code: ")
_LEAST_USERS = 5
"""What holds words of a reply is shown only where so many users got it: what one user got may be
about that user."""


BOTH_REPLIES = [
    "grades",
    "candidate_completions",
    *(
        dg.AssetDep(asset, partition_mapping=FROM_PREDECESSOR)
        for asset in ("production_grades", "deidentified_prefixes")
    ),
]
"""What `unexplained_pairs` reads."""


class _Pair(NamedTuple):
    """The two replies to a prefix, and what the user had asked."""

    prefix_id: str
    user_key: str
    last_user: str
    candidate: dict[str, Any]
    live: dict[str, Any]


def unexplained_pairs(lake: Lake, registered: Registration) -> Iterator[_Pair]:
    """Prefixes that both answered and on which no registered behavior was flagged for either."""
    candidate, live, grading = (
        registered.model_version,
        registered.predecessor,
        registered.panel.grading_id,
    )

    def flagged(asset: str, key: str) -> set[str]:
        grades = lake.scan(asset, key).filter(
            (pl.col("grading_id") == grading) & (pl.col("evidence").list.len() > 0)
        )
        return set(grades.select("prefix_id").collect()["prefix_id"])

    known = flagged("grades", candidate) | flagged("production_grades", live)
    # where grading had stopped, nobody knows whether a registered behavior explains the difference
    if registered.early_stopping:
        skipped = (
            lake.scan("grades", candidate)
            .filter(pl.col("skipped").list.len() > 0)
            .select("prefix_id")
        )
        known |= set(skipped.collect()["prefix_id"])
    columns = ["prefix_id", "user_key", "messages", "production_completion"]
    prefixes = lake.rows("deidentified_prefixes", live, registered.prefixes_version, columns)
    completions = lake.rows(
        "candidate_completions", candidate, columns=["prefix_id", "message", "status"]
    )
    for prefix, completion in zip(prefixes, completions, strict=True):
        live_reply = separated(prefix["production_completion"])
        whole = completion["status"] == reply_state(live_reply) == "completed"
        if whole and prefix["prefix_id"] not in known:
            yield _Pair(
                prefix["prefix_id"],
                prefix["user_key"],
                prefix["messages"][-1]["content"] or "",
                completion["message"],
                live_reply,
            )


def novel_rows(
    lake: Lake, registered: Registration, rate: float
) -> tuple[list[dict[str, Any]], int]:
    """The findings at a false-discovery rate, and the prefixes that were compared."""
    from deploysim_assets.forecast.novelty import as_row, findings

    candidate_only: dict[str, list[str]] = defaultdict(list)
    live_only: dict[str, list[str]] = defaultdict(list)
    users: dict[str, set[str]] = defaultdict(set)
    compared = 0
    for pair in unexplained_pairs(lake, registered):
        compared += 1
        new, old = features(pair.candidate, pair.last_user), features(pair.live, pair.last_user)
        for feature in new ^ old:
            (candidate_only if feature in new else live_only)[feature].append(pair.prefix_id)
            if len(users[feature]) < _LEAST_USERS:
                users[feature].add(pair.user_key)
    private = {
        feature
        for feature, who in users.items()
        if feature.startswith(_WRITTEN) and len(who) < _LEAST_USERS
    }
    for feature in private:
        candidate_only.pop(feature, None)
        live_only.pop(feature, None)
    rows: list[dict[str, Any]] = []
    for number, found in enumerate(
        findings(candidate_only, live_only, compared, rate, rank=rank), 1
    ):
        shown, examples = (
            list(found.features[:_FEATURES]),
            list(found.candidate_only[:_EXAMPLES]),
        )
        row = {
            "model_version": registered.model_version,
            "finding": number,
            **as_row(found, compared),
        }
        rows.append(
            row
            | {"says": says(found, compared), "features": shown, "examples": examples}
            | {"proposal": proposal(found.features)}
        )
    return rows, compared


def says(found: "Finding", compared: int) -> str:
    """What a finding is, in words."""
    kinds = dict.fromkeys(in_words(feature) for feature in found.features)
    what, *others = list(kinds)[:3]
    more = f" (with it: {'; '.join(others)})" if others else ""
    often = "more often" if found.more else "less often"
    return (
        f"{what}, {often}: {len(found.candidate_only)} replies of the candidate alone, "
        f"{found.live_only} of the live model alone, of {compared}{more}"
    )


def proposal(found: tuple[str, ...]) -> str | None:
    """A rule, as JSON, that tells replies of a finding: the strongest tool feature and the
    strongest phrase together."""
    tools = [rule for f in found if f.startswith("tool ") and (rule := rule_of(f))]
    others = [rule for f in found if not f.startswith("tool ") and (rule := rule_of(f))]
    parts = [*sorted(tools, key=lambda rule: "regex" not in rule)[:1], *others[:1]]
    return json.dumps(parts[0] if len(parts) == 1 else {"all": parts}) if parts else None


@dg.asset(
    partitions_def=CANDIDATES,
    deps=BOTH_REPLIES,
    automation_condition=ONCE,
    group_name="exploration",
)
def novel_behaviors(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    project: dg.ResourceParam[Project],
) -> dg.MaterializeResult[None]:
    """Paired differences over interpretable features, by exact tests under false-discovery control;
    a person adopts what is a behavior.

    Prefixes on which a registered behavior was flagged are left out: they are explained.  A
    difference is no verdict: newer models also write differently.  `deploysim behaviors adopt`
    makes a finding a behavior and registers it.
    """
    from deploysim_assets.forecast.novelty import detection_threshold

    lake = making(context, lake, project.part("novelty_rate"))
    registered = Registration.load(lake, context.partition_key)
    rows, compared = novel_rows(lake, registered, project.novelty_rate)
    metadata: dict[str, Any] = {
        "compared": compared,
        "findings": len(rows),
        "more_often": sum(r["difference"] > 0 for r in rows),
    }
    if compared:
        metadata["misses_above_per_100k"] = detection_threshold(compared) * 1e5
    frame = pl.DataFrame(rows, schema=NOVEL_BEHAVIORS)
    return written(context, lake, frame, metadata, finding(context, lake))
