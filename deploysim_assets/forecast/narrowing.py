"""How the 95% interval of a forecast narrows with each scored release."""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from deploysim_assets.forecast.predictive import DELTA, Array, Scored, error_model

_AHEAD = 3


class Width(NamedTuple):
    """After so many scored releases and pairs: the factor up and down of the 95% interval of the
    simulation's error, averaged over behaviors on the log scale. `expected` ones are to come."""

    releases: int
    pairs: int
    factor: float
    expected: bool


def half_width(weights: Array) -> float:
    """Half the width of the central 95% of delta, on the log scale."""
    cumulative = np.cumsum(weights)
    low, high = (float(np.interp(q, cumulative, DELTA)) for q in (0.025, 0.975))
    return (high - low) / 2


def _coming(
    behaviors: Sequence[str], shape: float, messages: float, tau: float, turn: int
) -> list[Scored]:
    """A release whose errors are spread as the model now expects: t4 quantiles of scale tau, dealt
    to other behaviors at each turn."""
    count = len(behaviors)
    spread = [float(stats.t.ppf((i + 0.5) / count, 4)) for i in range(count)]
    return [
        Scored(name, shape, messages, shape * math.exp(tau * spread[(i + turn) % count]), messages)
        for i, name in enumerate(behaviors)
    ]


def narrowing(history: Iterable[Mapping[str, Any]], behaviors: Sequence[str]) -> list[Width]:
    """The width before anything was scored, after each report of a sealed history, and after each
    of three releases to come whose errors are as large as the model then expects, with the events
    of a usual pair of the history (50 where there is none)."""
    entries = list(history)
    pairs: list[Scored] = []
    found: list[Width] = []

    def measure(releases: int, *, expected: bool) -> float:
        model = error_model(pairs)
        widths = [half_width(model.of(behavior)) for behavior in behaviors]
        factor = math.exp(sum(widths) / len(widths))
        found.append(Width(releases, len(pairs), factor, expected))
        return model.tau_mean

    if not behaviors:
        return []
    tau, releases = measure(0, expected=False), 0
    for _, report in groupby(entries, key=lambda entry: str(entry["report"])):
        pairs += [Scored(*entry["scored"]) for entry in report]
        releases += 1
        tau = measure(releases, expected=False)
    events = float(np.median([pair.flags for pair in pairs])) if pairs else 50.0
    shape, messages = max(events, 5.0), 10_000.0
    for turn in range(_AHEAD):
        pairs += _coming(behaviors, shape, messages, tau, turn)
        tau = measure(releases + turn + 1, expected=True)
    return found
