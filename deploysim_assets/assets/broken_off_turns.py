"""What is known of a candidate's turns where some were broken off, as the room `forecast` takes
it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from deploysim_assets.assets.registration import Registration
from deploysim_assets.behaviors import Behavior
from deploysim_assets.grading.steps import told_of_broken
from deploysim_assets.schema import AS_OTHERS, BROKEN_OFF, BROKEN_OFF_RATES, WHOLE_TURNS
from deploysim_assets.storage.tables import SEEN_TURNS, Lake

if TYPE_CHECKING:
    from deploysim_assets.forecast.bounded import Bounds
    from deploysim_assets.forecast.counts import Counts

BROKEN_OFF_TABLE = "broken_off"
"""The side table of what a forecast supposes of turns that were broken off."""


class BrokenOff(NamedTuple):
    """The counts that a behavior's rate is told by, and those that bound it."""

    counts: "Counts"
    bounds: "Bounds"


def broken_off(
    lake: Lake, registered: Registration, rates: pl.DataFrame, whole: "dict[str, Counts]"
) -> dict[str, BrokenOff]:
    """Counts and bounds of each behavior of which turns were broken off; none where the
    registration promises nothing of such turns. `rates` is rate_counts, `whole` the counts of the
    turns that came to their end."""
    from deploysim_assets.forecast.bounded import Bounds
    from deploysim_assets.forecast.counts import Stratum
    from deploysim_assets.forecast.unfinished import supposed

    model = registered.model_version
    if registered.broken_off is None:
        return {}
    grades = lake.scan("grades", model)
    ends = grades.select(pl.col("status").cast(pl.String).is_in(BROKEN_OFF).any())
    if not ends.collect().item():
        return {}
    turns = grades.join(
        lake.scan("grades", model, table=SEEN_TURNS), on=["prefix_id", "grading_id"], how="left"
    )
    found: dict[str, BrokenOff] = {}
    for behavior in registered.panel.behaviors:
        seen = list(_seen(turns, behavior))
        cut = sum(turn.turns for turn in seen if turn.end == "cut")
        shown = sum(turn.turns for turn in seen if turn.end == "shown")
        known = whole[behavior.name].k if behavior.name in whole else 0
        if not cut and shown == known:
            continue
        strata = [
            Stratum(row["stratum"], row["asked"], row["weight"], row["n"], row["k"])
            for row in rates.filter(pl.col("behavior") == behavior.name)
            .sort("stratum")
            .iter_rows(named=True)
        ]
        by = supposed(seen, strata)
        told = by.as_others if told_of_broken(behavior) else None
        estimator = AS_OTHERS if told is not None else WHOLE_TURNS
        bounds = Bounds(by.none, by.every, estimator, cut, shown - known)
        found[behavior.name] = BrokenOff(told or whole[behavior.name], bounds)
    return found


def _seen(turns: pl.LazyFrame, behavior: Behavior) -> Iterator[Any]:
    """The turns of a behavior: graded, or broken off. Where a rule tells it of these, with the step
    at which it was shown, or the last at which it was not."""
    from deploysim_assets.forecast.unfinished import Seen

    flagged = pl.col(behavior.name)
    broken = pl.col("status").cast(pl.String).is_in(BROKEN_OFF)
    asked = pl.col("missing").list.contains(behavior.name)
    if told_of_broken(behavior):
        assert behavior.rule is not None
        mine = pl.element().struct.field("behavior") == behavior.name
        at = pl.col("shown").list.filter(mine).list.first().struct.field("shown_at")
        # what a rule that looks at results says of a step is open until its calls are answered
        last = "answered" if behavior.rule.looks_at_results else "steps"
        cut_at = pl.when(at.is_null()).then(pl.col(last)).fill_null(0)
        shown = pl.when(broken).then((at > 0).fill_null(value=False)).otherwise(flagged)
        step = pl.when(shown).then(at).when(broken).then(cut_at).otherwise(pl.col("steps"))
    else:
        shown, step = flagged.fill_null(value=False), pl.lit(1)
    end = pl.when(shown).then(pl.lit("shown")).when(broken).then(pl.lit("cut"))
    groups = (
        turns.filter(flagged.is_not_null() | (broken & asked))
        .select("stratum", "user_key", end.otherwise(pl.lit("clean")).alias("end"), step=step)
        .group_by("stratum", "user_key", "end", "step")
        .len()
        .sort("user_key", "stratum", "end", "step")
        .collect()
    )
    return (Seen(s, u, e, at, n) for s, u, e, at, n in groups.iter_rows())


def broken_off_rows(rows: list[dict[str, Any]]) -> pl.DataFrame | None:
    """The side table of a forecast's rows; None where no turn was broken off."""
    said = [
        {"behavior": row["behavior"], **row["broken_off"]} for row in rows if row.get("broken_off")
    ]
    return pl.DataFrame(said, schema=BROKEN_OFF_RATES) if said else None


def with_broken_off(lake: Lake, model: str, version: str) -> list[dict[str, Any]]:
    """The rows of a version of rate_estimates, with what it says of turns that were broken off
    under `broken_off`."""
    manifest = lake.manifest("rate_estimates", model, version)
    said: dict[str, dict[str, Any]] = {}
    if manifest is not None and BROKEN_OFF_TABLE in manifest.predicate["schema"]:
        for row in lake.rows("rate_estimates", model, version, table=BROKEN_OFF_TABLE):
            said[row.pop("behavior")] = row
    return [
        row | ({"broken_off": said[row["behavior"]]} if row["behavior"] in said else {})
        for row in lake.rows("rate_estimates", model, version)
    ]
