"""scorecard: every scored release in one table, and all of them together."""

from typing import Any

import dagster as dg
import polars as pl

from deploysim_assets.assets.judged_sides import drifted_behaviors
from deploysim_assets.automation import SUMMARY
from deploysim_assets.io_manager import making, markdown, written
from deploysim_assets.project import Project
from deploysim_assets.releases import PROJECT
from deploysim_assets.report.drawings import coverage_drawing, of_scores
from deploysim_assets.report.figures import inline_image, png
from deploysim_assets.report.inline import text_table
from deploysim_assets.report.plots import pit_plot
from deploysim_assets.report.tables import summary_markdown
from deploysim_assets.schema import SCORECARD
from deploysim_assets.storage import ledger
from deploysim_assets.storage.tables import Lake, Made

ALL = "(all)"
_PROMISES = {"registration": "registered", "forecast": "forecast"}


def scorecard_rows(project: Project, lake: Lake) -> tuple[list[dict[str, Any]], list[Any]]:
    """One row per release that was promised something, scored or not, the row over all of them, and
    the pairs that it is over: those of true forecasts, or of backtests where there is no other."""
    from deploysim_assets.forecast.summary import summarize

    rows: list[dict[str, Any]] = []
    pairs: dict[str, list[dict[str, Any]]] = {"scored": [], "backtest": []}
    reports: dict[str, str | None] = {}
    promised = {r.model_version: r.kind for r in ledger.read(lake.home) if r.kind in _PROMISES}
    for model in dict.fromkeys([*(r.model_version for r in project.releases), *promised]):
        version = reports[model] = lake.current("calibration_report", model)
        if version is not None:
            report = list(lake.rows("calibration_report", model, version))
            state = "scored" if all(row["prospective"] for row in report) else "backtest"
            known = {"model_version": model, "state": state, "report_version": version}
            drifted = drifted_behaviors(lake, model)
            rows.append(known | summarize(report) | {"drifted": drifted})
            pairs[state] += report
        elif model in promised:
            rows.append({"model_version": model, "state": _PROMISES[promised[model]]})
    everything = pairs["scored"] or pairs["backtest"]
    if everything:
        drifts = [f"{r['model_version']} {b}" for r in rows for b in r.get("drifted") or ()]
        summary = summarize(everything) | {"drifted": drifts}
        rows.append({"model_version": ALL, "state": "all", **summary})
    return rows, everything


@dg.asset(
    deps=["calibration_report", *(["grader_drift"] if PROJECT and PROJECT.sentinels else [])],
    automation_condition=SUMMARY,
    group_name="score",
)
def scorecard(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    project: dg.ResourceParam[Project],
) -> dg.MaterializeResult[None]:
    """Every scored release in a row, and all of them together: errors with noise floor and
    intrinsic error, coverage, direction with its ceiling, skill against every baseline.

    A release that was registered or forecast and never scored stands there too, so that no
    forecast is forgotten.
    """
    lake = making(context, lake, {})
    rows, everything = scorecard_rows(project, lake)
    metadata: dict[str, Any] = {
        "releases": sum(row["state"] in ("scored", "backtest") for row in rows),
        "not_scored": [r["model_version"] for r in rows if r["state"] in _PROMISES.values()],
        "pairs": len(everything),
    }
    if everything:
        metadata |= markdown("report", text_table(summary_markdown(rows[-1])))
        metadata["plot as an image"] = dg.MetadataValue.md(
            inline_image(png(of_scores("all releases", everything)))
        )
        scored = [row for row in rows if row["state"] in ("scored", "backtest")]
        metadata["coverage over releases"] = dg.MetadataValue.md(
            inline_image(png(coverage_drawing(scored)))
        )
        metadata["probability integral transform"] = dg.MetadataValue.md(
            inline_image(pit_plot([(r["pit_low"], r["pit_high"]) for r in everything]))
        )

    def seal(made: Made) -> None:
        ledger.append(lake.home, "scorecard", "", {"releases": metadata["releases"]}, made.seals)

    return written(context, lake, pl.DataFrame(rows, schema=SCORECARD), metadata, seal)
