"""elicitation_*: flagged prefixes asked again and again, to see whether a flag was chance or comes
every time.

Opt-in: `elicitation` in deploysim.yaml.  What it finds describes the prefixes that were flagged; it
never enters a rate, a forecast or a gate.
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import polars as pl

from deploysim_assets.assets.endpoint_run import EndpointRun
from deploysim_assets.assets.registration import Registration
from deploysim_assets.assets.rolling_out import Turns
from deploysim_assets.automation import CHEAP, ONCE
from deploysim_assets.grading.item import Item
from deploysim_assets.io_manager import finding, making, written
from deploysim_assets.project import Project, ProjectError
from deploysim_assets.releases import CANDIDATES, FROM_PREDECESSOR
from deploysim_assets.runs import ENDPOINT, JUDGE
from deploysim_assets.schema import ELICITATION
from deploysim_assets.storage.tables import Lake


def flagged_prefixes(
    lake: Lake, candidate: str, behaviors: list[str], limit: int
) -> frozenset[str]:
    """Up to `limit` prefixes flagged for each behavior, those of lowest id: a random choice, as
    ids are keyed hashes."""
    grades = lake.scan("grades", candidate)
    found = (
        grades.filter(name).select("prefix_id").sort("prefix_id").head(limit).collect()["prefix_id"]
        for name in behaviors
    )
    return frozenset(prefix_id for ids in found for prefix_id in ids)


def _repeated(
    lake: Lake, registered: Registration, chosen: frozenset[str], repeats: int
) -> Iterator[dict[str, Any]]:
    """Each chosen prefix `repeats` times, numbered behind its id: the number gives each repeat a
    seed of its own."""
    for row in lake.rows(
        "deidentified_prefixes", registered.predecessor, registered.prefixes_version
    ):
        if row["prefix_id"] in chosen:
            yield from (row | {"prefix_id": f"{row['prefix_id']}/{i}"} for i in range(repeats))


@dg.asset(
    partitions_def=CANDIDATES,
    deps=["grades", dg.AssetDep("deidentified_prefixes", partition_mapping=FROM_PREDECESSOR)],
    automation_condition=ONCE,
    group_name="elicitation",
    kinds={"openai"},
    tags={"paid": "true"},
    output_required=False,  # while batches are with the provider a run ends well and makes nothing
    pool=ENDPOINT,
)
def elicitation_completions(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    project: dg.ResourceParam[Project],
) -> Iterator[dg.MaterializeResult[None]]:
    """Ask the candidate again for the prefixes on which it was flagged."""
    assert project.elicitation is not None
    lake = making(context, lake, project.part("endpoint", "elicitation"))
    registered, policy = Registration.load(lake, context.partition_key), project.elicitation
    if registered.candidate.params.get("seed", 0) is None:
        raise ProjectError(
            f"releases: {context.partition_key}: candidate.params.seed is null, so all repeats "
            "are one request; drop it, or drop elicitation"
        )
    chosen = flagged_prefixes(lake, context.partition_key, registered.panel.names, policy.prefixes)
    facts = {
        "repeats": policy.repeats,
        "grades_version": lake.current("grades", context.partition_key),
    }
    library = registered.predecessor, registered.prefixes_version
    turns = Turns(project, lake, registered.agents, registered.candidate, registered.seed, library)
    yield from EndpointRun(context, lake, project).complete(
        lambda: _repeated(lake, registered, chosen, policy.repeats),
        turns,
        facts,
    )


@dg.asset(
    partitions_def=CANDIDATES,
    deps=[
        "elicitation_completions",
        dg.AssetDep("deidentified_prefixes", partition_mapping=FROM_PREDECESSOR),
    ],
    automation_condition=ONCE,
    group_name="elicitation",
    kinds={"openai"},
    tags={"paid": "true"},
    output_required=False,
    pool=JUDGE,
)
def elicitation_grades(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    project: dg.ResourceParam[Project],
) -> Iterator[dg.MaterializeResult[None]]:
    """Grade every repeat by the registered graders."""
    lake = making(context, lake, project.part("endpoint", "judge"))
    registered = Registration.load(lake, context.partition_key)

    def items() -> Iterator[Item]:
        repeats = lake.stats("elicitation_completions", context.partition_key)["repeats"]
        replies = lake.rows("elicitation_completions", context.partition_key)
        chosen = frozenset(
            row["prefix_id"].partition("/")[0]
            for row in lake.rows(
                "elicitation_completions", context.partition_key, columns=["prefix_id"]
            )
        )
        for prefix, reply in zip(
            _repeated(lake, registered, chosen, repeats), replies, strict=True
        ):
            yield Item.of_completion(prefix, reply)

    yield from EndpointRun(context, lake, project).grade([registered.panel], items, {})


@dg.asset(
    partitions_def=CANDIDATES,
    deps=["elicitation_grades"],
    automation_condition=CHEAP,
    group_name="elicitation",
)
def elicitation_profile(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]
) -> dg.MaterializeResult[None]:
    """How often each flagged prefix brings the behavior up again, with its 95% interval; the answer
    that was flagged first is left out.

    The metadata holds a model-based extrapolation to the worst of ten times as many prefixes, which
    assumes no unseen failure mode.
    """
    from deploysim_assets.forecast.rates import jeffreys_interval

    lake = making(context, lake, {})
    from deploysim_assets.forecast.tail import extrapolated_worst, intraclass_correlation

    candidate = context.partition_key
    registered = Registration.load(lake, candidate)
    first = lake.scan("grades", candidate)
    again = lake.scan("elicitation_grades", candidate).with_columns(
        pl.col("prefix_id").str.split("/").list.first()
    )
    rows: list[dict[str, Any]] = []
    metadata: dict[str, Any] = {}
    for name in registered.panel.names:
        mine = (
            again.join(first.filter(name).select("prefix_id"), on="prefix_id")
            .group_by("prefix_id")
            .agg(n=pl.col(name).count(), k=pl.col(name).sum())
        )
        found = mine.filter(pl.col("n") > 0).sort("prefix_id").collect()
        for prefix_id, n, k in found.iter_rows():
            low, high = jeffreys_interval(k, n)
            rows.append(
                {
                    "model_version": candidate,
                    "behavior": name,
                    "prefix_id": prefix_id,
                    "n": n,
                    "k": k,
                    "propensity": (k + 0.5) / (n + 1),
                    "low": low,
                    "high": high,
                }
            )
        graded = first.select(pl.col(name).count()).collect().item()
        repeats = found["n"].max() if found.height > 1 else None
        if isinstance(repeats, int) and repeats > 1:
            metadata[f"{name}: intraclass correlation among flagged prefixes"] = (
                intraclass_correlation(found.filter(pl.col("n") == repeats)["k"], repeats)
            )
        worst = extrapolated_worst(
            [(k + 0.5) / (n + 1) for _, n, k in found.iter_rows()], graded, 10 * graded
        )
        if worst:
            label = (
                f"{name}: worst of {10 * graded:,} prefixes (model-based extrapolation, assumes "
                "no unseen failure mode)"
            )
            metadata[label] = worst.worst
    frame = pl.DataFrame(rows, schema=ELICITATION)
    return written(context, lake, frame, metadata, finding(context, lake))
