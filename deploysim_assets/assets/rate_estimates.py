"""rate_estimates: the forecast of a release, sealed in the ledger when it is made."""

from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl

from deploysim_assets import ledger
from deploysim_assets.assets.preregistration import Registration
from deploysim_assets.assets.realized_rates import counts_by_behavior
from deploysim_assets.automation import ONCE
from deploysim_assets.lake import Lake
from deploysim_assets.project import Project
from deploysim_assets.releases import CANDIDATES, FROM_PREDECESSOR
from deploysim_assets.report.plots import forecast_plot, inline_image
from deploysim_assets.schema import RATE_ESTIMATES

if TYPE_CHECKING:
    from deploysim_assets.forecast.predictive import ErrorModel


def scored_history(project: Project, lake: Lake, candidate: str) -> list[dict[str, Any]]:
    """What earlier releases' reports teach of the simulator: one entry per scored behavior, with the report's version."""
    from deploysim_assets.forecast.estimate import scored

    earlier = [r.model_version for r in project.releases]
    history: list[dict[str, Any]] = []
    for model in earlier[: earlier.index(candidate)]:
        version = lake.current("calibration_report", model)
        if version is None:
            continue
        history += [{"report": f"{model}/{version}", "scored": list(scored(row))} for row in lake.rows("calibration_report", model, version)]
    return history


def sealed_error_model(body: dict[str, Any]) -> "ErrorModel":
    """The error model of a sealed forecast, computed again from the history that its seal names."""
    from deploysim_assets.forecast.predictive import Scored, error_model

    return error_model(Scored(*entry["scored"]) for entry in body["history"])


def estimates(lake: Lake, registered: Registration, history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The forecast's rows, one per registered behavior, also for one that nothing was graded for."""
    from deploysim_assets.forecast.counts import uniform
    from deploysim_assets.forecast.estimate import Pairs, estimate

    candidate, live = registered.model_version, registered.predecessor
    counts = counts_by_behavior(lake.scan("rate_counts", candidate).collect(), lake.scan("flag_clusters", candidate).collect())
    pairs = {row["behavior"]: Pairs(*(row[n] for n in Pairs._fields)) for row in lake.rows("paired_counts", candidate)}
    same_graders = lake.scan("realized_rates", live).filter(pl.col("grading_id") == registered.panel.grading_id)
    before = {row["behavior"]: (row["n"], row["k"]) for row in same_graders.collect().iter_rows(named=True)}
    model = sealed_error_model({"history": history})
    rows: list[dict[str, Any]] = []
    for behavior in registered.panel.behaviors:
        persistence = before.get(behavior.name, (0, 0))
        threshold = behavior.threshold_per_100k / 1e5 if behavior.threshold_per_100k else None
        found = counts.get(behavior.name, uniform(0, ()))
        row = estimate(found, model.of(behavior.name), persistence[0], persistence, pairs.get(behavior.name), threshold)
        rows.append({"model_version": candidate, "behavior": behavior.name, "grading_id": registered.panel.grading_id, **row})
    return rows


@dg.asset(
    partitions_def=CANDIDATES,
    deps=[
        "preregistration",
        "rate_counts",
        "flag_clusters",
        "paired_counts",
        dg.AssetDep("realized_rates", partition_mapping=FROM_PREDECESSOR),
    ],
    automation_condition=ONCE,
    group_name="forecast",
)
def rate_estimates(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], project: dg.ResourceParam[Project]) -> dg.MaterializeResult[pl.DataFrame]:
    """The forecast per behavior and its seal.

    `rate`, `low`, `high` are the simulated rate with its sampling interval; `forecast_median` and `p50/80/95` predict the realized
    rate in as many messages as the predecessor's production had (statistics.md, section 4), with the history that the seal names.
    """
    candidate = context.partition_key
    registered = Registration.load(lake, candidate)
    history = scored_history(project, lake, candidate)
    rows = estimates(lake, registered, history)
    body = {"registration": registered.record_hash, "history": history, "rows": rows, "funnel": lake.stats("grades", candidate)}
    seal = ledger.append(project.home, "forecast", candidate, body)
    frame = pl.DataFrame([row | {"sealed_at": seal.at} for row in rows], schema=RATE_ESTIMATES)
    return dg.MaterializeResult(
        value=frame,
        metadata={
            "sealed_at": seal.at.isoformat(),
            "seal": seal.hash,
            "history_pairs": len(history),
            "forecast": dg.MetadataValue.md(inline_image(forecast_plot(rows, f"Forecast for {candidate}"))),
        },
    )
