"""Sentinels by simulation: how often a judge that did not change is called another one, and how
often one that did is seen.

python -m deploysim_assets.benchmarks.sentinels [--trials 2000]
"""

import argparse
import random
from typing import Any

from deploysim_assets.grading.sentinels import ALPHA, Lots, Sentinel, drift, most_items, sealed
from deploysim_assets.report.tables import console, rich_table

_EACH = 20
_CASES = [
    *((0.0, noise, replies) for noise in (0.0, 0.01, 0.05, 0.2) for replies in (100, 1_000)),
    *((share, 0.02, replies) for share in (0.1, 0.25, 0.5) for replies in (100, 1_000)),
]


def occasion(
    rng: random.Random, behaviors: int, replies: int, rate: float, noise: float, changed: float
) -> bool:
    """Whether drift is seen, by the set that is drawn from so many replies: a share of all verdicts
    `changed` between the draw and now, and each grading errs by `noise`."""
    names = [f"b{i}" for i in range(behaviors)]
    truth = {f"{i:016x}": {n: rng.random() < rate for n in names} for i in range(replies)}

    def grade(truth: dict[str, bool], changed: float = 0.0) -> dict[str, bool | None]:
        return {
            n: flagged ^ (rng.random() < noise) ^ (rng.random() < changed)
            for n, flagged in truth.items()
        }

    lots = Lots(names, str(rng.random()), _EACH)
    for prefix_id, flags in truth.items():
        lots.add({"prefix_id": prefix_id, "status": "graded", **grade(flags)})
    chosen = lots.drawn(most_items(replies))
    record: dict[str, Any] = sealed(
        "g",
        {},
        [Sentinel(i, "grades", "d", drawn_for) for i, drawn_for in chosen.items()],
        {i: lots.verdicts(i) for i in chosen},
        {i: grade(truth[i]) for i in chosen},
        {},
    )
    return any(one.drifted for one in drift(record, {i: grade(truth[i], changed) for i in chosen}))


def main() -> None:
    """Print the share of occasions on which drift is seen, per case."""
    from deploysim_assets.forecast.rates import clopper_pearson

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--trials", type=int, default=2_000)
    parser.add_argument("--behaviors", type=int, default=5)
    parser.add_argument("--rate", type=float, default=0.03)
    given = parser.parse_args()
    rows: list[list[str]] = []
    for changed, noise, replies in _CASES:
        rng = random.Random(f"{changed} {noise} {replies}")  # noqa: S311 (a seeded trial)
        seen = sum(
            occasion(rng, given.behaviors, replies, given.rate, noise, changed)
            for _ in range(given.trials)
        )
        low, high = clopper_pearson(seen, given.trials)
        what = "false alarms" if not changed else f"{changed:.0%} of verdicts changed"
        share = f"{seen / given.trials:.2%} ({low:.2%} to {high:.2%})"
        rows.append([what, f"{noise:.0%}", f"{replies:,}", share])
    asked = f"{given.trials:,} occasions each, {given.behaviors} behaviors, level {ALPHA:.0%}"
    console().print(rich_table(f"Drift seen: {asked}", ("case", "noise", "replies", "seen"), rows))


if __name__ == "__main__":
    main()
