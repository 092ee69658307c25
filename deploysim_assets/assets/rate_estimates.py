"""rate_estimates: the forecast of a release, sealed in the ledger when it is made."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl

from deploysim_assets.assets.broken_off_turns import (
    BROKEN_OFF_TABLE,
    broken_off,
    broken_off_rows,
)
from deploysim_assets.assets.current_quality import current_quality
from deploysim_assets.assets.registration import Registration
from deploysim_assets.assets.reply_funnel import unanswered_share
from deploysim_assets.assets.sufficient_statistics import counts_by_behavior, pairs_by_behavior
from deploysim_assets.automation import ONCE
from deploysim_assets.io_manager import making, markdown, written
from deploysim_assets.project import Project, ProjectError
from deploysim_assets.releases import CANDIDATES, FROM_PREDECESSOR, PROJECT
from deploysim_assets.report.drawings import of_estimates
from deploysim_assets.report.figures import inline_image, png
from deploysim_assets.report.inline import FORECAST_LEGEND, forecast_spans, text_plot
from deploysim_assets.schema import GRADE_STATES, RATE_ESTIMATES
from deploysim_assets.storage import ledger
from deploysim_assets.storage.tables import Lake, Made

if TYPE_CHECKING:
    from deploysim_assets.forecast.paired import Pairs


def scored_history(project: Project, lake: Lake, candidate: str) -> list[dict[str, Any]]:
    """What is known of errors before the candidate ships: one entry per behavior of each earlier
    report, with the report's version.

    A deployed model without a report, as the first one is, teaches by the replay of its own
    traffic, where there is one.
    """
    from deploysim_assets.forecast.estimate import changed, scored

    names = [r.model_version for r in project.releases]
    history: list[dict[str, Any]] = []
    for model in names[: names.index(candidate)]:
        if version := lake.current("calibration_report", model):
            report, rows = f"{model}/{version}", lake.rows("calibration_report", model, version)
            history += [
                {
                    "report": report,
                    "scored": list(scored(row)),
                    "change": list(changed(row) or ()) or None,
                }
                for row in rows
            ]
        elif version := lake.current("self_paired_counts", model):
            grading = Registration.load(lake, candidate).panel.grading_id
            replayed = self_replay_pairs(lake, model, grading)
            history += [
                {
                    "report": f"{model}/self replay/{version}",
                    "scored": replay_scored(b, p),
                    "change": None,
                }
                for b, p in replayed.items()
            ]
    return history


def self_replay_pairs(lake: Lake, model: str, grading_id: str) -> "dict[str, Pairs]":
    """Simulated against real replies of a deployed model to its own prefixes, per behavior,
    under one grading."""
    counts, clusters = (
        lake.scan(f"self_paired_{table}", model)
        .filter(pl.col("grading_id") == grading_id)
        .collect()
        for table in ("counts", "clusters")
    )
    return pairs_by_behavior(counts, clusters)


def replay_scored(behavior: str, replayed: "Pairs") -> list[Any]:
    """A self replay as a scored forecast: the gamma of the simulated rate, and the real flags,
    both with their clusters."""
    from deploysim_assets.forecast.weighted import clustered, weighted_jeffreys

    n, scale = replayed.n, replayed.largest / replayed.n
    simulated, live = (
        clustered([z / n for z in sums], 1 / n, scale)
        for sums in (replayed.candidate, replayed.live)
    )
    return [
        behavior,
        *weighted_jeffreys(simulated.y, simulated.v, simulated.wmax),
        live.k_eff,
        live.n_eff,
    ]


def design_effects(realized: list[dict[str, Any]]) -> dict[str, float]:
    """The design effect of production per behavior, from the live model's rows: pooled over
    behaviors where few flags tell nothing.

    A stratified design's counts are effective ones already, and need none.
    """
    few = 20
    known = [r for r in realized if r["design_effect"] is not None and r["effective_k"] == r["k"]]
    flags = sum(r["k"] for r in known)
    pooled = sum(r["k"] * r["design_effect"] for r in known) / flags if flags else 1.0
    return {r["behavior"]: max(1.0, r["design_effect"] if r["k"] >= few else pooled) for r in known}


def nothing_graded(candidate: str, graded: Mapping[str, Any]) -> str:
    """Why there is no forecast, and what to look at."""
    states = {s: graded.get(s, 0) for s in GRADE_STATES if s != "graded" and graded.get(s, 0)}
    mends = {
        "empty": "raise candidate.params.max_tokens, or look at what the endpoint answers",
        "truncated": "raise candidate.params.max_tokens, or set grading.truncated: grade",
        "failed": "mend the endpoint",
    }
    most = max(states, key=lambda s: states[s], default="")
    what = ", ".join(f"{count:,} {state}" for state, count in states.items())
    return (
        f"{candidate}: no reply was graded, so there is no forecast: of {graded['prefixes']:,} "
        f"prefixes {what or 'none has a behavior that applies'}; "
        f"{mends.get(most, 'look at the replies in candidate_completions')} and run "
        f"`deploysim forecast {candidate} --fresh`"
    )


def estimates(
    lake: Lake, registered: Registration, history: list[dict[str, Any]], min_precision: float
) -> list[dict[str, Any]]:
    """The forecast's rows, one per registered behavior, also for one that nothing was graded
    for."""
    from deploysim_assets.forecast.bounded import bounded_estimate
    from deploysim_assets.forecast.counts import uniform
    from deploysim_assets.forecast.estimate import (
        Baselines,
        errors_of,
        estimate,
        with_multiplicity,
    )
    from deploysim_assets.forecast.gate import blocked

    candidate, live = registered.model_version, registered.predecessor
    rates = lake.scan("rate_counts", candidate).collect()
    counts = counts_by_behavior(rates, lake.scan("flag_clusters", candidate).collect())
    broken = broken_off(lake, registered, rates, counts)
    pairs = pairs_by_behavior(
        lake.scan("paired_counts", candidate).collect(),
        lake.scan("paired_clusters", candidate).collect(),
    )
    same_graders = lake.scan("realized_rates", live).filter(
        pl.col("grading_id") == registered.panel.grading_id
    )
    production = list(same_graders.collect().iter_rows(named=True))
    before = {
        row["behavior"]: (row["effective_k"] or 0.0, row["effective_n"] or 0.0)
        for row in production
    }
    simulated = {
        r["behavior"]: (r["effective_k"] or 0.0, r["effective_n"] or 0.0)
        for r in _earlier_forecast(lake, live)
    }
    effects = design_effects(production)
    graded = lake.stats("grades", candidate)
    stopped = graded.get("stopped", {})
    share = unanswered_share(graded, bounded=registered.broken_off is not None)
    unanswered = share > registered.grading.error_share
    errors = errors_of(history, registered.panel.names)
    quality = current_quality(lake, registered.panel.grader_ids(), candidate, live)
    rows: list[dict[str, Any]] = []
    for behavior in registered.panel.behaviors:
        name = behavior.name
        challenge = registered.challenging_prompts.get(name, {"live": (0, 0), "candidate": (0, 0)})
        baselines = Baselines(
            before.get(name, (0, 0)),
            simulated.get(name, (0, 0)),
            tuple(challenge["live"]),
            tuple(challenge["candidate"]),
        )
        threshold = behavior.threshold_per_100k / 1e5 if behavior.threshold_per_100k else None
        found, planned = counts.get(name, uniform(0, ())), baselines.persistence[1]
        decided = stopped.get(name, {}).get("decision")
        asked = (
            errors[name],
            planned,
            baselines,
            pairs.get(name),
            threshold,
            effects.get(name, 1.0),
            decided,
        )
        row = bounded_estimate(*broken[name], *asked) if name in broken else estimate(found, *asked)
        row["gate"] = blocked(row["gate"], quality.get(name), min_precision, unanswered=unanswered)
        rows.append(
            {
                "model_version": candidate,
                "behavior": name,
                "grading_id": registered.panel.grading_id,
                **row,
            }
        )
    return with_multiplicity(rows)


def sealed_before(
    lake: Lake, registered: Registration, rows: list[dict[str, Any]]
) -> datetime | None:
    """When the current forecast was sealed, if it says the same under the same registration: then
    it stays the forecast, and nothing is sealed anew."""
    candidate = registered.model_version
    sealed = ledger.latest(lake.home, "forecast", candidate)
    if not lake.current("rate_estimates", candidate) or sealed is None:
        return None
    if sealed.body["registration"] != registered.record_hash:
        return None
    current = lake.scan("rate_estimates", candidate).collect()
    if [r.get("broken_off") for r in sealed.body["rows"]] != [r.get("broken_off") for r in rows]:
        return None
    now = pl.DataFrame(rows, schema=RATE_ESTIMATES).drop("sealed_at")
    return (
        current["sealed_at"][0]
        if current.height and current.drop("sealed_at").equals(now)
        else None
    )


def _earlier_forecast(lake: Lake, model: str) -> list[dict[str, Any]]:
    return list(lake.rows("rate_estimates", model)) if lake.current("rate_estimates", model) else []


class ForecastConfig(dg.Config):
    """Whether a new seal is wanted even where the forecast says the same as before."""

    fresh: bool = False


@dg.asset(
    partitions_def=CANDIDATES,
    deps=[
        "preregistration",
        "rate_counts",
        "flag_clusters",
        "paired_counts",
        "paired_clusters",
        dg.AssetDep("realized_rates", partition_mapping=FROM_PREDECESSOR),
        *(
            dg.AssetDep(f"self_paired_{t}", partition_mapping=FROM_PREDECESSOR)
            for t in ("counts", "clusters")
            if PROJECT and PROJECT.self_replay
        ),
    ],
    automation_condition=ONCE,
    group_name="candidate_side",
)
def rate_estimates(
    context: dg.AssetExecutionContext,
    config: ForecastConfig,
    lake: dg.ResourceParam[Lake],
    project: dg.ResourceParam[Project],
) -> dg.MaterializeResult[None]:
    """The forecast of how often each behavior will be seen in production, sealed in the ledger when
    it is made.

    `rate`, `low`, `high` are the simulated rate with its sampling interval; `forecast_median` and
    `p50/80/95` predict the rate that production will show in as many messages as the predecessor's
    had. They know the errors of earlier forecasts, which the seal names. `blend_*` and
    `drift_prior_*` are the second forecasts, which know the predecessor's rate; gates and direction
    never use them. `gate` says whether a behavior stays below its threshold. Where turns were
    broken off, the side table `broken_off` says how many, how the rate was told, and what the
    limits would be if that is right; those of the table hold whatever these turns would have come
    to.
    """
    candidate = context.partition_key
    lake = making(context, lake, project.part("min_precision"))
    registered = Registration.load(lake, candidate)
    history = scored_history(project, lake, candidate)
    rows = estimates(lake, registered, history, project.min_precision)
    graded = lake.stats("grades", candidate)
    if not any(row["n"] for row in rows):
        raise ProjectError(nothing_graded(candidate, graded))
    stays = None if config.fresh else sealed_before(lake, registered, rows)
    sealed_at = stays or datetime.now(UTC)
    body = {
        "registration": registered.record_hash,
        "history": history,
        "rows": rows,
        "funnel": graded,
    }
    frame = pl.DataFrame([row | {"sealed_at": sealed_at} for row in rows], schema=RATE_ESTIMATES)
    facts = {
        **markdown("plot", text_plot(forecast_spans(rows), FORECAST_LEGEND)),
        "sealed_at": sealed_at.isoformat(),
        "history_pairs": len(history),
        "history_reports": sorted({entry["report"] for entry in history}),
        "regressions": [row["behavior"] for row in rows if row.get("regression")],
        "gates_failed": [row["behavior"] for row in rows if row["gate"] in ("fail", "blocked")],
        "plot as an image": dg.MetadataValue.md(inline_image(png(of_estimates(candidate, rows)))),
    }

    def seal(made: Made) -> None:
        record = ledger.append(lake.home, "forecast", candidate, body, made.seals, sealed_at)
        facts["seal"] = record.hash

    beside = broken_off_rows(rows)
    if beside is not None:
        facts["broken_off"] = {row["behavior"]: row["broken_off"] for row in beside.to_dicts()}
    return written(
        context,
        lake,
        frame,
        facts,
        seal,
        beside=None if beside is None else {BROKEN_OFF_TABLE: beside},
    )
