"""calibration_report: the sealed forecast held against what production showed."""

from datetime import datetime
from typing import Any

import dagster as dg
import polars as pl

from deploysim_assets.assets.grader_quality import current_quality
from deploysim_assets.assets.preregistration import Registration
from deploysim_assets.automation import CHEAP
from deploysim_assets.project import Project, ProjectError
from deploysim_assets.releases import CANDIDATES, SAME_MODEL
from deploysim_assets.report.plots import calibration_plot, inline_image
from deploysim_assets.report.tables import calibration_markdown
from deploysim_assets.schema import CALIBRATION
from deploysim_assets.storage import ledger
from deploysim_assets.storage.tables import Lake


def seal_of(project: Project, lake: Lake, candidate: str) -> ledger.Record:
    """The ledger's record of the current forecast; ProjectError where the ledger has none for
    it."""
    sealed_at = lake.scan("rate_estimates", candidate).select("sealed_at").collect()["sealed_at"][0]
    for record in ledger.read(project.home):
        if (
            record.kind == "forecast"
            and record.model_version == candidate
            and record.at == sealed_at
        ):
            return record
    raise ProjectError(
        f"{project.home / ledger.LEDGER_FILE}: no seal of the forecast for {candidate} made at "
        f"{sealed_at}; restore the ledger"
    )


def _precision(quality: dict[str, Any] | None) -> dict[str, Any]:
    """What people confirmed of the grader, beside the error: errors and changes of flag rates
    are shrunk by the precision."""
    names = ("precision", "precision_low", "precision_high")
    return {name: quality[name] for name in names} if quality else {}


def score_forecast(project: Project, lake: Lake, candidate: str) -> list[dict[str, Any]]:
    """Score every behavior that was graded on both sides; ProjectError where production was not
    graded by the registered graders."""
    from deploysim_assets.forecast.estimate import errors_of, score

    registered, seal = Registration.load(lake, candidate), seal_of(project, lake, candidate)
    versions = {
        "forecast_version": lake.current("rate_estimates", candidate),
        "realized_version": lake.current("realized_rates", candidate),
    }
    same_graders = (
        lake.scan("realized_rates", candidate)
        .filter(pl.col("grading_id") == registered.panel.grading_id)
        .collect()
    )
    if same_graders.is_empty():
        raise ProjectError(
            f"production of {candidate} was not graded by the graders registered for it "
            f"({registered.panel.grading_id}); "
            f"run `deploysim backfill {candidate}`, which grades what is missing"
        )
    realized = {row["behavior"]: row for row in same_graders.iter_rows(named=True)}
    first = lake.stats("raw_logs", candidate)["first_message_at"]
    prospective = first is not None and seal.at < datetime.fromisoformat(first)
    errors = errors_of(seal.body["history"], registered.panel.names)
    quality = current_quality(
        lake, registered.panel.grader_ids(), candidate, registered.predecessor
    )
    return [
        {
            "model_version": candidate,
            "behavior": row["behavior"],
            "prospective": prospective,
            **versions,
        }
        | _precision(quality.get(row["behavior"]))
        | score(row, realized[row["behavior"]], errors[row["behavior"]])
        for row in seal.body["rows"]
        if row["n"] and row["behavior"] in realized
    ]


@dg.asset(
    partitions_def=CANDIDATES,
    deps=["rate_estimates", dg.AssetDep("realized_rates", partition_mapping=SAME_MODEL)],
    automation_condition=CHEAP,
    group_name="score",
)
def calibration_report(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    project: dg.ResourceParam[Project],
) -> dg.MaterializeResult[pl.DataFrame]:
    """Multiplicative error with its noise floor, coverage, direction and the persistence
    baseline, per behavior (statistics.md, section 5)."""
    from deploysim_assets.forecast.summary import summarize

    candidate = context.partition_key
    rows = score_forecast(project, lake, candidate)
    summary = summarize(rows)
    numbers = {k: v for k, v in summary.items() if v is not None}
    return dg.MaterializeResult(
        value=pl.DataFrame(rows, schema=CALIBRATION),
        metadata={
            "plot": dg.MetadataValue.md(
                inline_image(calibration_plot(rows, f"Forecast and production: {candidate}"))
            ),
            "report": dg.MetadataValue.md(calibration_markdown(rows)),
            **numbers,
        },
    )
