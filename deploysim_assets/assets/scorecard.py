"""scorecard: every scored release in one table, and all of them together."""

from typing import Any

import dagster as dg
import polars as pl

from deploysim_assets.automation import SUMMARY
from deploysim_assets.project import Project
from deploysim_assets.report.plots import calibration_plot, inline_image, pit_plot
from deploysim_assets.report.tables import summary_markdown
from deploysim_assets.schema import SCORECARD
from deploysim_assets.storage.tables import Lake

ALL = "(all)"


@dg.asset(deps=["calibration_report"], automation_condition=SUMMARY, group_name="score")
def scorecard(
    lake: dg.ResourceParam[Lake], project: dg.ResourceParam[Project]
) -> dg.MaterializeResult[pl.DataFrame]:
    """Errors with noise floor and intrinsic error, coverage, direction with its ceiling, and
    skill against every baseline, per scored release."""
    from deploysim_assets.forecast.summary import summarize

    rows: list[dict[str, Any]] = []
    everything: list[dict[str, Any]] = []
    for release in project.releases:
        model = release.model_version
        version = lake.current("calibration_report", model)
        if version is None:
            continue
        report = list(lake.rows("calibration_report", model, version))
        rows.append({"model_version": model, "report_version": version, **summarize(report)})
        everything += report
    metadata: dict[str, Any] = {"releases": len(rows), "pairs": len(everything)}
    if everything:
        rows.append({"model_version": ALL, "report_version": None, **summarize(everything)})
        metadata["report"] = dg.MetadataValue.md(summary_markdown(rows[-1]))
        metadata["plot"] = dg.MetadataValue.md(
            inline_image(calibration_plot(everything, "Forecast and production: all releases"))
        )
        metadata["pit"] = dg.MetadataValue.md(
            inline_image(pit_plot([(r["pit_low"], r["pit_high"]) for r in everything]))
        )
    return dg.MaterializeResult(value=pl.DataFrame(rows, schema=SCORECARD), metadata=metadata)
