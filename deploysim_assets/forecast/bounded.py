"""A forecast where turns were broken off: its limits hold whatever those would have come to, and a
gate that this decides says nothing."""

from typing import Any, NamedTuple

from deploysim_assets.forecast.counts import Counts
from deploysim_assets.forecast.estimate import Baselines, Errors, estimate
from deploysim_assets.forecast.paired import Pairs

_NOT_OURS = ("paired_low", "paired_high")
"""Limits of a comparison on turns that came to their end, on both sides."""


class Bounds(NamedTuple):
    """The counts of a behavior if none of the turns that were broken off had shown it any more, and
    if every one had; `estimator` says what the counts between them are told by.

    `broken_off` is how many turns were, before they showed it; `shown` how many had by then.
    """

    none: Counts
    every: Counts
    estimator: str
    broken_off: int
    shown: int


def bounded_estimate(
    counts: Counts,
    bounds: Bounds,
    errors: Errors,
    planned_n: float,
    baselines: Baselines,
    pairs: Pairs | None,
    threshold: float | None,
    production_design_effect: float = 1.0,
    stopped: str | None = None,
) -> dict[str, Any]:
    """As `estimate`, with every limit as wide as from `bounds.none` to `bounds.every`, and the gate
    "blocked" where its verdict is not the same for both. Besides, `broken_off` says how many turns
    were, and how much rests on what is supposed of them: the limits and the gate if that is right,
    and whether they decide the gate.
    """

    def of(found: Counts, pairs: Pairs | None, decided: str | None) -> dict[str, Any]:
        planned = planned_n or counts.n
        return estimate(
            found, errors, planned, baselines, pairs, threshold, production_design_effect, decided
        )

    row = of(counts, pairs, stopped)
    said: dict[str, Any] = {
        "estimator": bounds.estimator,
        "broken_off": bounds.broken_off,
        "shown": bounds.shown,
    }
    if counts.n == 0:
        row |= {"rate_best": bounds.none.best, "rate_worst": bounds.every.worst}
        return row | {"broken_off": said}
    # a decision for the turns that came to their end does not hold for the others
    over = "over" if stopped == "over" else None
    none, every = of(bounds.none, None, over), of(bounds.every, None, over)
    said |= {f"if_so_{name}": row[name] for name in ("low", "high", "p95_low", "p95_high", "gate")}
    for name, one in (("none", none), ("every", every)):
        said |= {f"{name}_{key}": one[key] for key in ("rate", "gamma_shape", "gamma_rate")}
    gates = {one["gate"] for one in (row, none, every)}
    said["decides_gate"] = len(gates) > 1
    gate = "blocked" if said["decides_gate"] else row["gate"]
    return _widened(row, none, every) | {"gate": gate, "broken_off": said}


def _widened(row: dict[str, Any], none: dict[str, Any], every: dict[str, Any]) -> dict[str, Any]:
    all_three = row, none, every
    wide = dict(row)
    for name in row.keys() - set(_NOT_OURS):
        if name == "low" or name.endswith("_low"):
            wide[name] = min(one[name] for one in all_three)
        elif name in ("high", "gate_upper", "prob_above_threshold") or name.endswith("_high"):
            wide[name] = max(one[name] for one in all_three)
    return wide | {"rate_best": none["rate_best"], "rate_worst": every["rate_worst"]}
