"""scorecard: every scored release in one table, and all of them together."""

from typing import Any

import dagster as dg
import polars as pl

from deploysim_assets.automation import SUMMARY
from deploysim_assets.lake import Lake
from deploysim_assets.project import Project
from deploysim_assets.report.plots import calibration_plot, inline_image
from deploysim_assets.schema import SCORECARD

ALL = "(all)"


@dg.asset(deps=["calibration_report"], automation_condition=SUMMARY, group_name="score")
def scorecard(lake: dg.ResourceParam[Lake], project: dg.ResourceParam[Project]) -> dg.MaterializeResult[pl.DataFrame]:
    """Median error, noise floor, baseline, coverage and direction per scored release; the intrinsic error over all in the metadata."""
    from deploysim_assets.forecast.estimate import scored, summarize
    from deploysim_assets.forecast.predictive import tau_profile

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
        pairs = [scored(row) for row in everything]
        names = ("intrinsic_tau", "intrinsic_tau_low", "intrinsic_tau_high")
        metadata |= dict(zip(names, tau_profile(pairs), strict=True))
        metadata["plot"] = dg.MetadataValue.md(inline_image(calibration_plot(everything, "Forecast and production: all releases")))
    return dg.MaterializeResult(value=pl.DataFrame(rows, schema=SCORECARD), metadata=metadata)
