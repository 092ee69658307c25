"""Agents on recorded runs: forecast and score how often an injected instruction is followed, and
measure how far simulated results are the recorded ones.

python -m deploysim_assets.benchmarks.agentdojo [--data ../shared/data/agentdojo] [--share 0.3]
    [--splits 4] [--seed 0]

Every model is served step by step over HTTP, from its recording, and rolled out from the prefixes
of the version before it; `--share 1` takes all of them
(about 7 minutes on two busy cores).
"""

import argparse
import math
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from deploysim_assets.agents.agreement import Agreed
from deploysim_assets.agents.statistical_discriminator import Turn, told_apart
from deploysim_assets.benchmarks.agentdojo_fidelity import SETS, fidelity
from deploysim_assets.benchmarks.agentdojo_forecast import (
    ESTIMATES,
    Pair,
    chosen,
    followed,
    forecasts,
    replayed_pairs,
)
from deploysim_assets.benchmarks.agentdojo_recordings import (
    CHAINS,
    LEFT,
    Runs,
    Scenario,
    recorded_runs,
)
from deploysim_assets.benchmarks.agentdojo_rules import precision_and_recall
from deploysim_assets.benchmarks.backtest import SCORE, score_cells
from deploysim_assets.forecast.summary import summarize
from deploysim_assets.report.tables import console, rich_table, summary_lines

WITHIN = 1.10
"""How many times the noise floor of its run the median error may be."""


def _median(values: Iterable[float]) -> float:
    found = list(values)
    return float(np.median(found)) if found else math.nan


def _geometric(values: Sequence[float]) -> float:
    return math.exp(float(np.mean(np.log(values)))) if values else math.nan


def main() -> None:
    """Print the rules' precision, the ends of the rollouts, forecasts and scores, and fidelity."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/agentdojo"))
    parser.add_argument("--share", type=float, default=0.3, help="of the user tasks")
    parser.add_argument("--splits", type=int, default=4, help="halvings of the user tasks")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    out, started = console(), time.monotonic()
    runs = recorded_runs(asked.data, [model for chain in CHAINS for model in chain])
    exact = precision_and_recall([(followed(run), run.carried_out) for run in runs.values()])
    out.print(
        f"{len(runs):,} recorded runs; rules against the state of the environment: precision "
        f"{exact[0]:.3f}, recall {exact[1]:.3f}"
    )
    scenarios = chosen(runs, asked.share, asked.seed)
    pairs = list(replayed_pairs(runs, scenarios))
    _show_rollouts(out, pairs)
    for how in ESTIMATES:
        _show_forecasts(out, pairs, how, range(asked.seed, asked.seed + asked.splits))
    _show_fidelity(out, runs, scenarios, asked.seed)
    out.print(f"{time.monotonic() - started:.0f} s")


def _show_rollouts(out: Any, pairs: Sequence[Pair]) -> None:
    cells: list[list[str]] = []
    for pair in pairs:
        ends = Counter(r.state if r.why != LEFT else "left" for r in pair.rollouts)
        shown = sum(r.seen.end == "shown" and r.state != "completed" for r in pair.rollouts)
        row = [pair.candidate, pair.live, len(pair.rollouts), ends["completed"]]
        cells.append([f"{c}" for c in (*row, ends["unanswerable"], ends["left"], shown)])
    header = ("candidate", "live", "rollouts", "completed", "unanswerable: call",
              "unanswerable: left its recording", "of these shown before")  # fmt: skip
    out.print(rich_table("rollouts with the recorded trajectory alone (a)", header, cells))


def _show_forecasts(out: Any, pairs: Sequence[Pair], how: str, splits: Iterable[int]) -> None:
    each = {seed: forecasts(pairs, seed, how) for seed in splits}
    first = next(iter(each.values()))
    cells = [score_cells(row, row["behavior"].rpartition("_")[2]) for row in first]
    header = ("release and suite", *SCORE)
    out.print(rich_table(f"{how}: injections followed per 100,000 turns", header, cells))
    for line in summary_lines(summarize(first)):
        out.print(line)
    rows = [row for found in each.values() for row in found]
    resolved = [row for row in rows if row["resolved"]]
    for name, of in (("resolved", resolved), ("all", rows)):
        error, floor, same = (
            [row[column] for row in of]
            for column in ("multiplicative_error", "noise_floor", "persistence_error")
        )
        ratio = _median(error) / _median(floor)
        inside = sum(row["in_95"] for row in of)
        out.print(
            f"{how}, {len(each)} splits, {len(of)} {name}: median error {_median(error):.2f}x, "
            f"noise floor {_median(floor):.2f}x (error is {ratio:.2f} of it, goal {WITHIN:.2f}), "
            f"persistence {_median(same):.2f}x; geometric means {_geometric(error):.2f}x, "
            f"{_geometric(same):.2f}x; {inside} inside 95%"
        )
    out.print()


def _show_fidelity(out: Any, runs: Runs, scenarios: Sequence[Scenario], seed: int) -> None:
    wanted = set(scenarios)
    cells: list[list[str]] = []
    for name, said in SETS.items():
        calls, agreed, turns = 0, Agreed(), list[Turn]()
        for live, candidate in (p for chain in CHAINS for p in pairwise(chain)):
            of = [run for (m, s), run in runs.items()
                  if m == candidate and s in wanted and (live, s) in runs]  # fmt: skip
            found = fidelity(runs, live, of, name)
            calls += found.calls
            agreed = agreed.with_all(found.agreed)
            turns += found.turns
        told, n = told_apart(turns, seed), max(agreed.calls, 1)
        cells.append(
            [
                said,
                f"{calls:,}",
                f"{agreed.calls / max(calls, 1):.3f}",
                f"{agreed.exact / n:.3f}",
                f"{agreed.json_equal / n:.3f}",
                f"{agreed.fields / n:.3f}",
                f"{told.auc:.3f} ({told.low:.3f} to {told.high:.3f})" if told.auc else "-",
            ]
        )
    header = ("affordances", "calls", "answered", "exact", "JSON-equal", "fields", "AUC")
    out.print(rich_table("results of recorded calls, simulated: shares of answered", header, cells))


if __name__ == "__main__":
    main()
