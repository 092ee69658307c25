"""calibration_report: the sealed forecast held against what production showed."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from deploysim_assets.assets.current_quality import current_quality
from deploysim_assets.assets.registration import Registration
from deploysim_assets.automation import CHEAP
from deploysim_assets.io_manager import making, markdown, table_result
from deploysim_assets.project import ProjectError
from deploysim_assets.releases import CANDIDATES, SAME_MODEL
from deploysim_assets.report.drawings import noise_of_scores, of_scores
from deploysim_assets.report.figures import inline_image, png
from deploysim_assets.report.inline import (
    CALIBRATION_LEGEND,
    calibration_spans,
    text_plot,
    text_table,
)
from deploysim_assets.report.tables import calibration_markdown, kind_of
from deploysim_assets.schema import CALIBRATION, OTHER_FORECASTS
from deploysim_assets.storage import ledger
from deploysim_assets.storage.tables import Lake, Made


def forecasts_of(lake: Lake, candidate: str) -> list[ledger.Record]:
    """The sealed forecasts of a release, oldest first."""
    records = ledger.read(lake.home)
    return [r for r in records if r.kind == "forecast" and r.model_version == candidate]


def first_message_at(lake: Lake, model: str) -> datetime | None:
    """When production of a release began, or None where its logs carry no times."""
    first = lake.stats("raw_logs", model)["first_message_at"]
    return datetime.fromisoformat(first) if first else None


def scored_forecast(lake: Lake, candidate: str) -> tuple[ledger.Record, bool]:
    """The forecast that is scored, and whether it was sealed before production began: the last one
    that was, else the last one, which is a backtest. ProjectError where the ledger has none."""
    found, records = forecasts_of(lake, candidate), ledger.read(lake.home)
    if not found:
        raise ProjectError(
            f"{lake.home / ledger.LEDGER}: no sealed forecast of {candidate}; restore the ledger "
            f"from a copy, or run `deploysim forecast {candidate}`"
        )
    first = first_message_at(lake, candidate)
    before = [record for record in found if _is_before(first, records, record)]
    return (before or found)[-1], bool(before)


def _is_before(first: datetime | None, records: list[ledger.Record], record: ledger.Record) -> bool:
    """Whether a record was there before the first message of production."""
    return first is not None and ledger.there_since(records, record) < first


def forecast_version(lake: Lake, record: ledger.Record) -> str | None:
    """The version of rate_estimates that a forecast's record seals; None where it is gone."""
    if record.seals:
        return Path(next(iter(record.seals))).name
    for version in lake.versions("rate_estimates", record.model_version):
        at = lake.scan("rate_estimates", record.model_version, version).select("sealed_at")
        if at.head(1).collect().item() == record.at:
            return version
    return None


def _precision(quality: dict[str, Any] | None) -> dict[str, Any]:
    """What people confirmed of the grader, beside the error: errors and changes of flag rates
    are shrunk by the precision."""
    names = ("precision", "precision_low", "precision_high")
    return {name: quality[name] for name in names} if quality else {}


def _registration_of(lake: Lake, record: ledger.Record) -> Registration:
    """The registration that a forecast rests on."""
    for registered in ledger.read(lake.home):
        if registered.hash == record.body["registration"]:
            return Registration.of(registered)
    raise ProjectError(
        f"{record.path}: names no registration of the ledger; restore the ledger from a copy"
    )


def score_forecast(
    lake: Lake, candidate: str, record: ledger.Record, *, prospective: bool
) -> list[dict[str, Any]]:
    """Score every behavior of a sealed forecast that was graded on both sides; ProjectError where
    production was not graded by the graders registered for it."""
    from deploysim_assets.forecast.estimate import errors_of, score

    registered = _registration_of(lake, record)
    versions = {
        "forecast_version": forecast_version(lake, record),
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
    errors = errors_of(record.body["history"], registered.panel.names)
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
        for row in record.body["rows"]
        if row["n"] and row["behavior"] in realized
    ]


def other_forecasts(
    lake: Lake, candidate: str, scored: ledger.Record
) -> Iterator[tuple[ledger.Record, str, list[dict[str, Any]]]]:
    """Every other sealed forecast of the release with the reason of its registration and its score;
    no rows where production was not graded by its graders."""
    first, records = first_message_at(lake, candidate), ledger.read(lake.home)
    for record in forecasts_of(lake, candidate):
        if record.hash == scored.hash:
            continue
        reason = next(
            (r.body.get("reason", "") for r in records if r.hash == record.body["registration"]),
            "",
        )
        before = _is_before(first, records, record)
        try:
            yield record, reason, score_forecast(lake, candidate, record, prospective=before)
        except ProjectError:
            yield record, reason, []


@dg.asset(
    partitions_def=CANDIDATES,
    deps=["rate_estimates", dg.AssetDep("realized_rates", partition_mapping=SAME_MODEL)],
    automation_condition=CHEAP,
    group_name="score",
)
def calibration_report(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]
) -> dg.MaterializeResult[None]:
    """How far the sealed forecast was from production, per behavior: multiplicative error beside
    the noise floor that counting alone would make, coverage, direction, and every baseline.

    A forecast is scored as it was sealed. One that was sealed after production had begun is a
    backtest, and is called so. `deploysim report <release>` prints it for a reader.
    """
    from deploysim_assets.forecast.summary import summarize

    candidate = context.partition_key
    lake = making(context, lake, {})
    record, prospective = scored_forecast(lake, candidate)
    lake.stats("rate_estimates", candidate, forecast_version(lake, record))
    rows = score_forecast(lake, candidate, record, prospective=prospective)
    summary = summarize(rows)
    numbers = {k: v for k, v in summary.items() if v is not None}
    kind = (
        "forecast: sealed before production began"
        if prospective
        else "backtest: sealed after production had begun"
    )

    def seal(made: Made) -> None:
        body = {"forecast": record.hash, "prospective": prospective}
        ledger.append(lake.home, "score", candidate, body, made.seals)

    others = list(other_forecasts(lake, candidate, record))
    with lake.new_version("calibration_report", candidate, CALIBRATION, seal=seal) as version:
        version.side_table("other_forecasts", OTHER_FORECASTS)
        version.extend(pl.DataFrame(rows, schema=CALIBRATION))
        for other, reason, scores in others:
            named = {"record": other.hash, "sealed_at": other.at, "reason": reason}
            for row in scores or [{"model_version": candidate}]:
                version.add(dict.fromkeys(OTHER_FORECASTS) | row | named, "other_forecasts")
        version.stats |= {"scored": record.hash, "other_forecasts": len(others)}
        version.stats["summary"] = summary
    word = kind_of(rows)
    facts = {
        "scored": kind,
        **markdown("plot", text_plot(calibration_spans(rows), CALIBRATION_LEGEND[word])),
        **markdown("report", text_table(calibration_markdown(rows))),
        "plot as an image": dg.MetadataValue.md(inline_image(png(of_scores(candidate, rows)))),
        "error and noise floor": dg.MetadataValue.md(
            inline_image(png(noise_of_scores(candidate, rows)))
        ),
        "sealed_at": record.at.isoformat(),
        "other_forecasts": len(others),
        **numbers,
    }
    return table_result(lake, "calibration_report", candidate, facts)
