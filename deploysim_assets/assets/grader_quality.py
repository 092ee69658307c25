"""grader_quality: how far people agree with the graders, per behavior, from the labels that were
imported."""

from collections import defaultdict
from typing import Any

import dagster as dg
import polars as pl

from deploysim_assets.grading.labels import Label, agreed, labels, labels_digest
from deploysim_assets.io_manager import finding, making, written
from deploysim_assets.project import Project
from deploysim_assets.schema import GRADER_QUALITY
from deploysim_assets.storage.tables import Lake


def graded_by(
    lake: Lake, source: str, model: str, behavior: str, grader_id: str
) -> pl.DataFrame | None:
    """prefix_id and flag of a behavior under a grader identity in the current version of a
    table; None where that has no such grader."""
    if not lake.current(source, model):
        return None
    gradings = lake.stats(source, model)["gradings"]
    mine = [
        grading_id
        for grading_id, facts in gradings.items()
        if facts["grader_ids"].get(behavior) == grader_id
    ]
    if not mine:
        return None
    rows = (
        lake.scan(source, model)
        .filter(pl.col("grading_id") == mine[0])
        .select("prefix_id", flagged=pl.col(behavior))
    )
    return rows.drop_nulls("flagged").collect()


def quality_rows(lake: Lake, found: list[Label]) -> list[dict[str, Any]]:
    """One row per table, model and behavior that people labeled; labels of a grader that is no
    longer in use are counted as stale."""
    from deploysim_assets.forecast.grader_error import judge_quality, krippendorff_alpha

    by_grader: dict[tuple[str, str, str, str], dict[str, dict[str, str]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    for label in found:
        by_grader[label.source, label.model_version, label.behavior, label.grader_id][
            label.prefix_id
        ][label.labeler] = label.label
    rows: list[dict[str, Any]] = []
    for (source, model, behavior, grader_id), items in sorted(by_grader.items()):
        row: dict[str, Any] = {
            "source": source,
            "model_version": model,
            "behavior": behavior,
            "grader_id": grader_id,
            "labels": len(items),
        }
        graded = graded_by(lake, source, model, behavior, grader_id)
        if graded is None:
            rows.append(row | {"stale": True})
            continue
        flags = dict(graded.iter_rows())
        held = {
            p: yes
            for p, answers in items.items()
            if p in flags and (yes := agreed(answers.values())) is not None
        }
        counts = {
            (flag, yes): sum(flags[p] == flag and y == yes for p, y in held.items())
            for flag in (True, False)
            for yes in (True, False)
        }
        total, flagged = graded.height, int(graded["flagged"].sum())
        row |= {"stale": False, "graded": total, "flagged": flagged}
        row |= judge_quality(
            flagged,
            total,
            counts[True, True],
            counts[True, False],
            counts[False, True],
            counts[False, False],
        )
        people = sorted({who for answers in items.values() for who in answers})
        if len(people) > 1:
            number = {"yes": 1.0, "no": 0.0}
            matrix = [
                [number.get(answers.get(who, ""), float("nan")) for who in people]
                for answers in items.values()
            ]
            row |= dict(
                zip(("alpha", "alpha_low", "alpha_high"), krippendorff_alpha(matrix), strict=True)
            )
        rows.append(row)
    return rows


@dg.asset(deps=["grades", "production_grades"], group_name="graders")
def grader_quality(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    project: dg.ResourceParam[Project],
) -> dg.MaterializeResult[None]:
    """How far people agree with each grader: precision, recall, agreement beyond chance, and the
    flag rate that people confirm, each with its 95% interval.

    Made from the labels that `deploysim graders import` brought in; run the job `graders` after
    that. A gate whose grader is mostly wrong is blocked, whatever its rate.
    """
    lake = making(context, lake, {})
    rests_on = {"labels": labels_digest(project.home)}
    rows = quality_rows(lake, list(labels(project.home)))
    metadata = {
        "behaviors": sum(not r["stale"] for r in rows),
        "stale": [f"{r['model_version']} {r['behavior']}" for r in rows if r["stale"]],
    }
    frame = pl.DataFrame(rows, schema=GRADER_QUALITY)
    return written(context, lake, frame, metadata, finding(context, lake), rests_on)
