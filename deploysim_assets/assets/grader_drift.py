"""grader_drift: whether the judge is still the one that it was, by sealed items that it graded
twice at the draw and again beside every later grading."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
import polars as pl

from deploysim_assets.assets.sentinel_watch import KIND
from deploysim_assets.automation import SUMMARY
from deploysim_assets.grading.sentinels import drift, served_differently
from deploysim_assets.io_manager import finding, making, written
from deploysim_assets.releases import AS_CANDIDATE, MODELS
from deploysim_assets.schema import GRADER_DRIFT
from deploysim_assets.storage import ledger
from deploysim_assets.storage.tables import Lake

SIDES = ("grades", "production_grades")


def watched(lake: Lake, asset: str, model: str) -> dict[str, dict[str, Any]]:
    """Per grading of a table what became of the sentinels beside it; empty where they were not
    graded."""
    if not lake.current(asset, model):
        return {}
    gradings: dict[str, Any] = lake.stats(asset, model).get("gradings", {})
    return {g: facts[KIND] for g, facts in gradings.items() if facts.get(KIND)}


def _verdicts(lake: Lake, asset: str, model: str, grading_id: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    again = lake.scan(asset, model, table=KIND).filter(pl.col("grading_id") == grading_id)
    for row in again.collect().iter_rows(named=True):
        found.setdefault(row["prefix_id"], {})[row["behavior"]] = row["flagged"]
    return found


def drift_rows(lake: Lake, model: str) -> Iterator[dict[str, Any]]:
    """One row per table, grading and behavior that sentinels were drawn or graded for."""
    records = {r.hash: r for r in ledger.read(lake.home) if r.kind == KIND}
    for asset in SIDES:
        for grading_id, facts in watched(lake, asset, model).items():
            record = records.get(facts["record"])
            if record is None:
                continue  # the ledger was set back: the audit says so
            yield from _rows(lake, asset, model, grading_id, facts, record.body)


def _rows(
    lake: Lake,
    asset: str,
    model: str,
    grading_id: str,
    facts: Mapping[str, Any],
    body: Mapping[str, Any],
) -> Iterator[dict[str, Any]]:
    drawn = "drawn" in facts
    now = body["second"] if drawn else _verdicts(lake, asset, model, grading_id)
    served = body["served_by"] if drawn else facts["served_by"]
    new, gone = served_differently(body["served_by"], served)
    known = {
        "model_version": model,
        "source": asset,
        "grading_id": grading_id,
        "occasion": facts["occasion"],
        "sealed": len(body["items"]),
        "new_servers": new,
        "gone_servers": gone,
        "record": facts["record"],
    }
    for one in drift(body, now):
        tested = {
            "to_flagged": one.to_flagged,
            "to_clean": one.to_clean,
            "p_value": one.p_value,
            "p_holm": one.p_holm,
            "drifted": one.drifted,
        }
        counted = {"n": one.n, "changed_at_draw": one.changed_at_draw}
        yield (
            known
            | {"behavior": one.behavior}
            | counted
            | (dict.fromkeys(tested) if drawn else tested)
        )


@dg.asset(
    partitions_def=MODELS,
    deps=["production_grades", dg.AssetDep("grades", partition_mapping=AS_CANDIDATE)],
    automation_condition=SUMMARY,
    group_name="graders",
)
def grader_drift(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]
) -> dg.MaterializeResult[None]:
    """Whether the judge is still the one that it was: of sealed items, flagged and clean ones of
    each behavior, how many verdicts changed since the draw, against how many changed between two
    gradings at the draw.

    A drifted judge makes no figure wrong by itself, but what was graded before and after is not
    comparable: the report says so beside every score it touches. Where servers named another model
    or fingerprint than at the draw, it is told; that alone is no drift.
    """
    lake = making(context, lake, {})
    frame = pl.DataFrame(list(drift_rows(lake, context.partition_key)), schema=GRADER_DRIFT)
    tested = frame.drop_nulls("p_holm")
    facts = {
        "tested": tested.height,
        "drifted": tested.filter("drifted")["behavior"].unique().sort().to_list(),
        "smallest_p_holm": tested["p_holm"].min() if tested.height else None,
        "sealed": frame["sealed"].max() if frame.height else 0,
    }
    shown = {name: value for name, value in facts.items() if value is not None}
    return written(context, lake, frame, shown, finding(context, lake))
