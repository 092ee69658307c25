"""Backtest on recorded releases: every candidate is forecast from one part of the prompts and
scored on the other.

python -m deploysim_assets.benchmarks.backtest [--data ../shared/data] [--plot backtest.png]
"""

import argparse
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from deploysim_assets.forecast.counts import Counts, uniform
from deploysim_assets.forecast.estimate import (
    Baselines,
    changed,
    errors_of,
    estimate,
    rate_row,
    score,
    scored,
)
from deploysim_assets.forecast.paired import Pairs
from deploysim_assets.forecast.summary import summarize
from deploysim_assets.report.drawings import of_scores
from deploysim_assets.report.figures import png
from deploysim_assets.report.tables import console, per_100k, rich_table, summary_lines, times

LLMDRIFT = (("gpt-3.5-turbo-0301", "gpt-3.5-turbo-0613"), ("gpt-4-0314", "gpt-4-0613"))
AGENTDOJO = (
    (
        "claude-3-sonnet-20240229",
        "claude-3-5-sonnet-20240620",
        "claude-3-5-sonnet-20241022",
        "claude-3-7-sonnet-20250219",
    ),
    ("gpt-4-0125-preview", "gpt-4-turbo-2024-04-09", "gpt-4o-2024-05-13"),
    ("gemini-1.5-flash-001", "gemini-1.5-flash-002"),
    ("gemini-1.5-pro-001", "gemini-1.5-pro-002"),
    ("gemini-2.0-flash-exp", "gemini-2.0-flash-001"),
)
"""Releases in order; each one after the first is a candidate on the traffic of the one before."""


_LLMDRIFT = ["declines_to_answer", "code_does_not_run", "wrong_prime_answer", "no_survey_option"]


class Labels(NamedTuple):
    """Recorded labels: model, behavior, item (what was asked), cluster (what is not
    independent), flagged."""

    frame: pl.DataFrame
    chains: Sequence[Sequence[str]]


def llmdrift(data: Path) -> Labels:
    """The four labelled behaviors of LLMDrift; every prompt is a cluster of its own."""
    raw = pl.read_parquet(data / "llmdrift" / "recorded.parquet").with_columns(
        pl.col("labels").str.json_decode(pl.Struct(dict.fromkeys(_LLMDRIFT, pl.Boolean)))
    )
    long = (
        raw.unnest("labels")
        .unpivot(
            _LLMDRIFT, index=["model", "prompt"], variable_name="behavior", value_name="flagged"
        )
        .drop_nulls("flagged")
    )
    return Labels(
        long.select(
            "model",
            "behavior",
            pl.col("prompt").alias("item"),
            pl.col("prompt").alias("cluster"),
            "flagged",
        ),
        LLMDRIFT,
    )


def agentdojo(data: Path) -> Labels:
    """Injections carried out, and tasks not done, per suite; runs on one user task are a
    cluster."""
    runs = pl.read_parquet(
        data / "agentdojo" / "runs.parquet",
        columns=["model", "suite", "user_task", "injection_task", "utility", "injection_succeeded"],
    )
    where = pl.concat_str("suite", "user_task", separator=" ")
    item = pl.concat_str(
        "suite", "user_task", pl.col("injection_task").fill_null("none"), separator=" "
    )
    attacked, plain = (
        runs.filter(pl.col("injection_succeeded").is_not_null()),
        runs.filter(pl.col("injection_succeeded").is_null()),
    )

    def labels(frame: pl.DataFrame, name: str, flagged: pl.Expr) -> pl.DataFrame:
        behavior = pl.concat_str(pl.lit(name), "suite", separator="_")
        return frame.select(
            "model",
            behavior.alias("behavior"),
            item.alias("item"),
            where.alias("cluster"),
            flagged.alias("flagged"),
        )

    both = [
        labels(attacked, "injection_done", pl.col("injection_succeeded")),
        labels(plain, "task_not_done", ~pl.col("utility")),
    ]
    return Labels(pl.concat(both), AGENTDOJO)


def _counts(rows: pl.DataFrame) -> Counts:
    flags = rows.filter("flagged").group_by("cluster").len().sort("cluster")
    return uniform(rows.height, flags["len"].to_list())


def _pairs(candidate: pl.DataFrame, live: pl.DataFrame) -> Pairs:
    both = candidate.join(live.select("item", pl.col("flagged").alias("before")), on="item")
    new, old = pl.col("flagged"), pl.col("before")
    n, n11, n10, n01 = both.select(
        pl.len(), n11=(new & old).sum(), n10=(new & ~old).sum(), n01=(~new & old).sum()
    ).row(0)
    sums = (
        both.group_by("cluster")
        .agg(new.sum().cast(pl.Float64), old.sum().cast(pl.Float64))
        .sort("cluster")
    )
    return Pairs(n, n11, n10, n01, tuple(sums["flagged"]), tuple(sums["before"]))


def backtest(labels: Labels) -> list[dict[str, Any]]:
    """Forecast and score every candidate in release order, each with the history of those before
    it; returns the reports' rows.

    Half of the clusters, by a hash, is the traffic before a release, the other half the traffic
    after it.
    """
    frame = labels.frame.with_columns((pl.col("cluster").hash(1) % 2 == 0).alias("earlier"))
    history: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for chain in labels.chains:
        for live, candidate in pairwise(chain):
            behaviors = sorted(frame.filter(pl.col("model") == candidate)["behavior"].unique())
            errors = errors_of(history, behaviors)
            report: list[dict[str, Any]] = []
            for behavior in behaviors:
                of = frame.filter(pl.col("behavior") == behavior)
                replayed = of.filter((pl.col("model") == candidate) & pl.col("earlier"))
                before = of.filter((pl.col("model") == live) & pl.col("earlier"))
                after = of.filter((pl.col("model") == candidate) & ~pl.col("earlier"))
                known = _counts(before)
                effect = max(1.0, rate_row(known)["design_effect"] or 1.0)
                estimated = estimate(
                    _counts(replayed),
                    errors[behavior],
                    before.height,
                    Baselines((known.k, known.n)),
                    _pairs(replayed, before),
                    None,
                    effect,
                )
                report.append(
                    {"model_version": candidate, "behavior": behavior, "prospective": False}
                    | score(estimated, rate_row(_counts(after)), errors[behavior])
                )
            rows += report
            history += [{"scored": scored(row), "change": changed(row)} for row in report]
    return rows


SCORE = ("before", "forecast", "realized", "error", "noise floor", "persistence", "in 95%")


def score_cells(row: Mapping[str, Any], what: str) -> list[str]:
    """The scored forecast of a release's behavior as a row of a table: release and `what`, then
    the columns of `SCORE`."""
    return [
        f"{row['model_version']} {what}",
        per_100k(row["persistence_k"] / row["persistence_n"]),
        per_100k(row["forecast"]),
        per_100k(row["realized"]),
        times(row["multiplicative_error"]) + ("" if row["resolved"] else "*"),
        times(row["noise_floor"]),
        times(row["persistence_error"]),
        "yes" if row["in_95"] else "no",
    ]


def main() -> None:
    """Print the backtest of every recording that is there, and draw forecast against realized
    rates."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--plot", type=Path, default=None)
    asked = parser.parse_args()
    out, everything = console(), list[dict[str, Any]]()
    for name, read in (("llmdrift", llmdrift), ("agentdojo", agentdojo)):
        if not (asked.data / name).is_dir():
            out.print(f"{name}: {asked.data / name} is absent")
            continue
        rows = backtest(read(asked.data))
        everything += rows
        cells = [score_cells(row, row["behavior"]) for row in rows]
        header = ("release and behavior", *SCORE)
        out.print(rich_table(f"{name}: rates per 100,000", header, cells))
        for line in summary_lines(summarize(rows)):
            out.print(line)
        out.print()
    if asked.plot and everything:
        asked.plot.write_bytes(png(of_scores("recorded releases", everything)))
        out.print(f"plot: {asked.plot}")


if __name__ == "__main__":
    main()
