"""error_decomposition: where a scored forecast's error came from, step by step from the forecast
to full production."""

from typing import Any

import dagster as dg
import polars as pl

from deploysim_assets.assets.production_grades import needed_panels
from deploysim_assets.assets.registration import Registration
from deploysim_assets.automation import CHEAP
from deploysim_assets.io_manager import finding, making, markdown, written
from deploysim_assets.project import Project
from deploysim_assets.releases import CANDIDATES, SAME_MODEL
from deploysim_assets.report.inline import text_table
from deploysim_assets.report.tables import decomposition_markdown
from deploysim_assets.schema import DECOMPOSITION
from deploysim_assets.storage.tables import Lake

_CELL = ["surface", "language"]


def _cells(
    lake: Lake, registered: Registration, behavior: str
) -> list[tuple[int, int, float, float]]:
    """Simulated counts per surface and language, with the cell's share of the predecessor's
    traffic and of the candidate's own."""
    own = lake.scan("deidentified_prefixes", registered.model_version)
    before = lake.scan("deidentified_prefixes", registered.predecessor, registered.prefixes_version)
    graded = (
        lake.scan("grades", registered.model_version)
        .select("prefix_id", pl.col(behavior).alias("flagged"))
        .drop_nulls("flagged")
    )
    counts = (
        before.join(graded, on="prefix_id")
        .group_by(_CELL)
        .agg(n=pl.len(), k=pl.col("flagged").sum(), share=pl.col("weight").sum())
    )
    real = lake.scan("production_grades", registered.model_version).filter(
        pl.col("grading_id") == registered.panel.grading_id
    )
    real = real.filter(pl.col(behavior).is_not_null()).select("prefix_id")
    realized = (
        own.join(real, on="prefix_id")
        .group_by(_CELL)
        .agg(pl.col("weight").sum().alias("realized_share"))
    )
    cells = counts.join(realized, on=_CELL, how="left", nulls_equal=True).fill_null(0).collect()
    return [
        (r["n"], r["k"], r["share"], r["realized_share"])
        for r in cells.sort(_CELL).iter_rows(named=True)
    ]


def _fresh(lake: Lake, model: str, registered: str, now: str, behavior: str) -> tuple[int, ...]:
    """Counts of forecast.decomposition.Replayed on the prefixes that were replayed and graded
    three times."""

    def flags(asset: str, grading: str, name: str) -> pl.LazyFrame:
        mine = lake.scan(asset, model).filter(pl.col("grading_id") == grading)
        return mine.select("prefix_id", pl.col(behavior).alias(name)).drop_nulls(name)

    three = flags("self_grades", registered, "s").join(
        flags("production_grades", registered, "d"), on="prefix_id"
    )
    three = three.join(flags("production_grades", now, "e"), on="prefix_id")
    s, d, e = (pl.col(name) for name in "sde")
    row = (
        three.select(
            pl.len(),
            *(x.sum().alias(f"c{i}") for i, x in enumerate((s, d, e, s & d, s & e, d & e))),
        )
        .collect()
        .row(0)
    )
    return tuple(int(value or 0) for value in row)


def decomposition_rows(project: Project, lake: Lake, candidate: str) -> list[dict[str, Any]]:
    """The six node rates of each behavior, the log steps between them and their noise; a
    behavior with too few events has no steps."""
    from deploysim_assets.forecast.decomposition import (
        STEPS,
        Cell,
        Replayed,
        chain,
        enough,
        step_noise,
        steps,
    )

    registered = Registration.load(lake, candidate)
    panels = needed_panels(project, lake, candidate)
    rows: list[dict[str, Any]] = []
    for name in registered.panel.names:
        now = next((p for p in reversed(panels) if name in p.names), registered.panel).grading_id
        cells = [Cell(*cell) for cell in _cells(lake, registered, name)]
        fresh = Replayed(*_fresh(lake, candidate, registered.panel.grading_id, now, name))
        full = (
            lake.scan("realized_rates", candidate)
            .filter((pl.col("grading_id") == now) & (pl.col("behavior") == name))
            .select("k", "n")
            .collect()
        )
        row: dict[str, Any] = {
            "model_version": candidate,
            "behavior": name,
            "grading_id_now": now,
            "replayed": fresh.n,
        }
        if fresh.n and full.height and full["n"][0] and sum(c.realized_share for c in cells if c.n):
            rates, covariance = chain(cells, fresh, full.row(0))
            row |= {"rates": rates.tolist(), "usable": enough(rates, covariance)}
            if row["usable"]:
                row |= {
                    "steps": steps([rates])[0].tolist(),
                    "noise": step_noise(rates, covariance).ravel().tolist(),
                }
                row |= {
                    step.replace(" ", "_").replace("-", "_"): value
                    for step, value in zip(STEPS, row["steps"], strict=True)
                }
        rows.append(row)
    return rows


@dg.asset(
    partitions_def=CANDIDATES,
    deps=[
        "calibration_report",
        "grades",
        *(
            dg.AssetDep(a, partition_mapping=SAME_MODEL)
            for a in ("self_grades", "production_grades", "realized_rates", "deidentified_prefixes")
        ),
    ],
    automation_condition=CHEAP,
    group_name="self_replay",
)
def error_decomposition(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    project: dg.ResourceParam[Project],
) -> dg.MaterializeResult[None]:
    """Mix shift, prefix shift, environment fidelity, grader drift and sub-sampling per behavior,
    as log steps from the forecast to full production, with their noise.

    Shares over all scored releases are quoted only from 40 usable pairs on; until then the metadata
    says how many there are.
    """
    from deploysim_assets.forecast.decomposition import (
        PAIRS_NEEDED,
        STEPS,
        decompose,
        share_intervals,
    )

    lake = making(context, lake, {})
    candidate = context.partition_key
    rows = decomposition_rows(project, lake, candidate)
    others = [
        r.model_version
        for r in project.releases
        if r.model_version != candidate and lake.current("error_decomposition", r.model_version)
    ]
    usable = [
        row
        for row in [
            *rows,
            *(r for model in others for r in lake.rows("error_decomposition", model)),
        ]
        if row.get("usable")
    ]
    metadata: dict[str, Any] = {
        "usable_pairs": len(usable),
        "pairs_needed_for_shares": PAIRS_NEEDED,
    }
    if len(usable) >= PAIRS_NEEDED:
        size = len(STEPS)
        noise = [[row["noise"][i * size : (i + 1) * size] for i in range(size)] for row in usable]
        shares, limits = (
            decompose([row["steps"] for row in usable], noise).shares,
            share_intervals([row["steps"] for row in usable], noise),
        )
        metadata |= {
            f"share of {step}": f"{s:.2f} ({low:.2f} to {high:.2f})"
            for step, s, (low, high) in zip(STEPS, shares, limits, strict=True)
        }
    metadata |= markdown("report", text_table(decomposition_markdown(rows, STEPS)))
    frame = pl.DataFrame(rows, schema=DECOMPOSITION)
    return written(context, lake, frame, metadata, finding(context, lake))
