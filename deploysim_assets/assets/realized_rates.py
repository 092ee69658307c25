"""realized_rates: how often the deployed model showed each behavior in production, per grading."""

import dagster as dg
import polars as pl

from deploysim_assets.assets.sufficient_statistics import counts_by_behavior
from deploysim_assets.automation import CHEAP
from deploysim_assets.io_manager import making, written
from deploysim_assets.releases import MODELS
from deploysim_assets.schema import REALIZED_RATES
from deploysim_assets.storage import ledger
from deploysim_assets.storage.tables import Lake, Made


@dg.asset(
    partitions_def=MODELS,
    deps=["production_rate_counts", "production_flag_clusters"],
    automation_condition=CHEAP,
    group_name="production_side",
)
def realized_rates(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]
) -> dg.MaterializeResult[None]:
    """The rate per message of each behavior in production, with its 95% interval, per identity of
    graders.

    Users with many flags weigh in the interval, not in the rate. A forecast is scored against the
    rows of the graders that were registered for it.
    """
    from deploysim_assets.forecast.estimate import rate_row

    model = context.partition_key
    lake = making(context, lake, {})
    rates = lake.scan("production_rate_counts", model).collect()
    clusters = lake.scan("production_flag_clusters", model).collect()
    rows = [
        {"model_version": model, "grading_id": grading, "behavior": behavior, **rate_row(counts)}
        for grading in rates["grading_id"].unique().sort()
        for behavior, counts in counts_by_behavior(
            rates.filter(pl.col("grading_id") == grading),
            clusters.filter(pl.col("grading_id") == grading),
        ).items()
    ]
    frame = pl.DataFrame(rows, schema=REALIZED_RATES)
    facts = {
        "behaviors": frame["behavior"].n_unique(),
        "gradings": frame["grading_id"].n_unique(),
    }

    def seal(made: Made) -> None:
        body = {"gradings": frame["grading_id"].unique().sort().to_list()}
        ledger.append(lake.home, "realized", model, body, made.seals)

    # named beside the rates and read as an input: equal rates of other grades are sealed anew, or
    # no record would reach those grades, and a change of them went unseen
    graded = lake.current("production_grades", model)
    lake.stats("production_grades", model, graded)
    named = {"production_grades_version": graded}
    return written(context, lake, frame, facts, seal, named)
