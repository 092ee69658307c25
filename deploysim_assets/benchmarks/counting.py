"""From a table of grades to every rate, interval, forecast and score: the counts by SQL, then the
closed forms. Seeds are fixed.

python -m deploysim_assets.benchmarks.counting [--completions 1300000] [--behaviors 20] [--strata
200]
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from deploysim_assets.assets.sufficient_statistics import counts_by_behavior, pairs_by_behavior
from deploysim_assets.forecast.estimate import (
    Baselines,
    errors_of,
    estimate,
    rate_row,
    score,
    with_multiplicity,
)
from deploysim_assets.forecast.summary import summarize
from deploysim_assets.report.tables import console, rich_table
from deploysim_assets.schema import grades
from deploysim_assets.sql import run_model

_CHUNK = 100_000


def write_grades(
    folder: Path, completions: int, behaviors: list[str], strata: int, seed: int
) -> None:
    """A table of grades as the lake holds it, in files of 100,000 rows; rates are log-uniform
    from 5e-6 to 5e-3."""
    folder.mkdir(parents=True)
    rates = np.exp(np.random.default_rng(0).uniform(np.log(5e-6), np.log(5e-3), len(behaviors)))
    for start in range(0, completions, _CHUNK):
        rng = np.random.default_rng([seed, start])
        n = min(_CHUNK, completions - start)
        ids = np.arange(start, start + n)
        stratum = (ids * 7_919) % strata
        frame = pl.DataFrame(
            {
                "prefix_id": pl.Series(ids).cast(pl.String).str.zfill(32),
                "model_version": pl.repeat("m", n, eager=True),
                "grading_id": pl.repeat("g", n, eager=True),
                "stratum": pl.Series(stratum).cast(pl.String),
                "weight": 1.0 + (stratum % 5) / 2,
                "user_key": pl.Series(rng.integers(0, completions // 4, n))
                .cast(pl.String)
                .str.zfill(32),
                "missing": pl.Series([list[str]()] * n, dtype=pl.List(pl.String)),
                "skipped": pl.Series([list[str]()] * n, dtype=pl.List(pl.String)),
                "cut": pl.repeat(0, n, eager=True, dtype=pl.Int64),
                "status": pl.repeat("graded", n, eager=True),
                "error": pl.repeat(None, n, eager=True, dtype=pl.String),
                "evidence": pl.Series([list[str]()] * n),
                **{name: rng.random(n) < rate for name, rate in zip(behaviors, rates, strict=True)},
            },
            schema_overrides=grades(behaviors),
        )
        frame.write_parquet(folder / f"part-{start // _CHUNK:05}.parquet", compression="zstd")


def count_and_score(folder: Path, behaviors: list[str]) -> dict[str, float]:
    """Run the SQL models on both tables, then all closed forms; seconds of each part and the
    peak resident memory of this process."""
    seconds: dict[str, float] = {}

    def timed(name: str, start: float) -> None:
        seconds[name] = time.perf_counter() - start

    tables = {
        name: str(folder / name / "part-*.parquet") for name in ("grades", "production_grades")
    }
    start = time.perf_counter()
    rate_counts, flag_clusters = (
        run_model(name, tables) for name in ("rate_counts", "flag_clusters")
    )
    timed("rate_counts, flag_clusters (SQL)", start)
    start = time.perf_counter()
    production = [
        run_model(name, tables) for name in ("production_rate_counts", "production_flag_clusters")
    ]
    timed("the same of production (SQL)", start)
    start = time.perf_counter()
    paired = [run_model(name, tables) for name in ("paired_counts", "paired_clusters")]
    timed("paired_counts, paired_clusters (SQL)", start)
    start = time.perf_counter()
    simulated, realized, pairs = (
        counts_by_behavior(rate_counts, flag_clusters),
        counts_by_behavior(*production),
        pairs_by_behavior(*paired),
    )
    errors = errors_of([], behaviors)
    estimated = [
        {"behavior": name}
        | estimate(
            simulated[name],
            errors[name],
            realized[name].n,
            Baselines((realized[name].k, realized[name].n)),
            pairs[name],
            1e-3,
        )
        for name in behaviors
    ]
    estimated = with_multiplicity(estimated)
    timed("rates, intervals, forecasts, pairs", start)
    start = time.perf_counter()
    scored = [
        {"behavior": row["behavior"], "model_version": "m", "prospective": True}
        | score(row, rate_row(realized[row["behavior"]]), errors[row["behavior"]])
        for row in estimated
    ]
    summarize(scored)
    timed("scores", start)
    return seconds | {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def main() -> None:
    """Write two tables of grades, then count and score them in a process of its own, whose peak
    memory is measured."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--completions", type=int, default=1_300_000)
    parser.add_argument("--behaviors", type=int, default=20)
    parser.add_argument("--strata", type=int, default=200)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    behaviors = [f"behavior_{i}" for i in range(asked.behaviors)]
    if asked.measure:
        found = count_and_score(asked.measure, behaviors)
        rows = [[name, f"{value:.2f} s"] for name, value in found.items() if name != "peak_mb"]
        rows += [
            ["all of it", f"{sum(v for n, v in found.items() if n != 'peak_mb'):.2f} s"],
            ["peak resident memory", f"{found['peak_mb']:.0f} MB"],
        ]
        title = (
            f"{asked.completions:,} completions and as many production replies, "
            f"{asked.behaviors} behaviors, {asked.strata} strata"
        )
        console().print(rich_table(title, ("step", ""), rows))
        return
    with tempfile.TemporaryDirectory() as folder:
        for seed, name in enumerate(("grades", "production_grades")):
            write_grades(Path(folder) / name, asked.completions, behaviors, asked.strata, seed)
        command = [
            sys.executable,
            "-m",
            "deploysim_assets.benchmarks.counting",
            *sys.argv[1:],
            "--measure",
            folder,
        ]
        subprocess.run(command, check=True)  # noqa: S603


if __name__ == "__main__":
    main()
