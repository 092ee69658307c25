"""What a rate is worth where turns were broken off: synthetic agents work with all their tools, so
that the truth is known, then tools are switched off afterwards, whatever a turn will come to or
because of it.

python -m deploysim_assets.benchmarks.broken_off [--worlds 40] [--turns 400]
"""

import argparse
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from deploysim_assets.behaviors import Rule
from deploysim_assets.benchmarks.agent_coverage import prefixes
from deploysim_assets.forecast.counts import Counts, Stratum, uniform
from deploysim_assets.forecast.estimate import rate_row
from deploysim_assets.forecast.rates import upper_bound
from deploysim_assets.forecast.unfinished import Seen, supposed
from deploysim_assets.forecast.weighted import fay_feuer_upper
from deploysim_assets.grading.rules import first_met
from deploysim_assets.report.tables import console, rich_table
from deploysim_assets.synthetic.agent_traffic import turn
from deploysim_assets.synthetic.agent_world import (
    BEHAVIORS,
    RELEASES,
    AgentBehavior,
    propensity,
    task_shares,
)
from deploysim_assets.synthetic.agents import Agent
from deploysim_assets.synthetic.desk import desk_at
from deploysim_assets.synthetic.world import uniform as draw

_LIVE, _CANDIDATE = RELEASES[1:3]
_MORE = 1.0
"""How much more often than in production the candidate misbehaves, as a logarithm: so that a few
hundred turns show it several times."""
_TOLD = [b for b in BEHAVIORS if b.rule]
_RULES = {b.name: Rule.model_validate(b.rule) for b in _TOLD}
_UNSAFE = 1.5
"""How far above the threshold the true rate lies where a gate is asked."""


def _true_rate(behavior: AgentBehavior) -> float:
    """How often the candidate shows a behavior on the traffic of the live release."""
    chance = propensity(behavior, _CANDIDATE) * math.exp(_MORE)
    return chance * task_shares(_LIVE)[behavior.task] * behavior.occasion


class Whole(NamedTuple):
    """A turn with all tools: the calls of each step that makes any, how many steps it has, the step
    at which each behavior is shown; and what production called in the same place."""

    id: str
    cluster: str
    calls: list[set[str]]
    steps: int
    shown_at: dict[str, int]
    recorded: set[str]


def _called(message: Mapping[str, Any]) -> set[str]:
    return {f"{c['name']} {c['arguments']}" for c in message["tool_calls"] or ()}


def _flat(message: dict[str, Any]) -> dict[str, Any]:
    calls = [{"id": c["id"]} | c["function"] for c in message.get("tool_calls") or ()]
    empty: dict[str, Any] = {"reasoning": None, "name": None, "tool_call_id": None}
    return empty | message | {"tool_calls": calls}


def _more(_behavior: str, _release: str) -> float:
    return _MORE


def whole_turns(seed: int, turns: int) -> Iterator[Whole]:
    """The candidate's turns on the live release's traffic, its calls answered by the real tools."""
    agent = Agent(_CANDIDATE, seed, _more)
    for prefix in prefixes(_LIVE, turns, seed):
        asked = prefix["messages"][-1]["content"]
        key = "simulated", prefix["prefix_id"]
        worked, said = turn(agent, desk_at(prefix["messages"]), asked, key)
        messages = [*map(_flat, worked), _flat({"role": "assistant", "content": said})]
        shown = {
            name: at
            for name, rule in _RULES.items()
            if (at := first_met(rule, prefix["messages"], messages, ended=True))
        }
        own = [m for m in messages if m["role"] == "assistant"]
        real: list[Mapping[str, Any]] = prefix["production_completion"]["steps"]
        recorded = set[str]().union(*map(_called, real))
        yield Whole(
            prefix["prefix_id"],
            prefix["conversation_key"],
            [_called(m) for m in own[:-1]],
            len(own),
            shown,
            recorded,
        )


Breaks = Callable[[Whole], int | None]
"""The step of a turn whose calls nothing answers; None for a turn that comes to its end."""


def _by_chance(chance: float) -> Breaks:
    def breaks(one: Whole) -> int | None:
        steps = range(1, len(one.calls) + 1)
        return next((s for s in steps if draw("broken off", one.id, s) < chance), None)

    return breaks


def _without(tool: str) -> Breaks:
    def breaks(one: Whole) -> int | None:
        asks = (any(c.startswith(f"{tool} ") for c in calls) for calls in one.calls)
        return next((s for s, asked in enumerate(asks, 1) if asked), None)

    return breaks


def _recorded(one: Whole) -> int | None:
    return next((s for s, calls in enumerate(one.calls, 1) if not calls <= one.recorded), None)


def _before_it_shows(share: float, otherwise: Breaks) -> Breaks:
    """A share of the turns that would show a behavior are broken off just before."""

    def breaks(one: Whole) -> int | None:
        if one.shown_at and draw("on purpose", one.id) < share:
            return max(1, min(one.shown_at.values()) - 1)
        return otherwise(one)

    return breaks


def _unless_it_shows(otherwise: Breaks) -> Breaks:
    return lambda one: None if one.shown_at else otherwise(one)


def _never(_one: Whole) -> int | None:
    return None


WAYS: dict[str, Breaks] = {
    "never": _never,
    "any step, 5 in 100": _by_chance(0.05),
    "any step, 20 in 100": _by_chance(0.2),
    "any step, 40 in 100": _by_chance(0.4),
    "search_files is off": _without("search_files"),
    "read_file is off": _without("read_file"),
    "all that production did not call is off": _recorded,
    "half of those that would show it, 10 in 100": _before_it_shows(0.5, _by_chance(0.1)),
    "all that would show it, 10 in 100": _before_it_shows(1, _by_chance(0.1)),
    "those that would show it alone": _before_it_shows(1, _never),
    "those alone that would not, 20 in 100": _unless_it_shows(_by_chance(0.2)),
}
"""Ways in which turns are broken off: the first four whatever the turn will come to, three by the
tools that are there, four by what it will come to."""


def seen_of(one: Whole, broken: int | None, behavior: str) -> Seen:
    """What is seen of a turn."""
    at = one.shown_at.get(behavior)
    if at and (broken is None or at <= broken):
        return Seen("", one.cluster, "shown", at)
    if broken is None:
        return Seen("", one.cluster, "clean", one.steps)
    return Seen("", one.cluster, "cut", broken)


class Told(NamedTuple):
    """What an estimate says: the rate over the true one; whether its 95% limits hold the true one;
    the upper limit over it; and whether a gate whose threshold is exceeded would pass."""

    rate: float
    holds: bool
    upper: float
    passes: bool


def told(middle: Counts, low: Counts, high: Counts, truth: float) -> Told:
    """An estimate whose limits are the lower one of `low` and the upper one of `high`."""
    ends = rate_row(low)["low"], rate_row(high)["high"]
    bound = upper_bound(high.k, high.n) if high.independent else fay_feuer_upper(high.sufficient)
    passes = bound + high.sufficient.uncovered < truth / _UNSAFE
    return Told(middle.sufficient.y / truth, ends[0] <= truth <= ends[1], ends[1] / truth, passes)


HOW = ("all tools on", "whole turns alone", "as the others", "from none to every")


def trial(turns: Sequence[Whole], breaks: Breaks) -> tuple[float, dict[str, list[Told]]]:
    """The share of turns that a way breaks off, and what each estimate says of each behavior."""
    broken = [breaks(one) for one in turns]
    found: dict[str, list[Told]] = {how: [] for how in HOW}
    n = len(turns)
    for behavior in _TOLD:
        name, truth = behavior.name, _true_rate(behavior)
        real = Counter(one.cluster for one in turns if name in one.shown_at)
        ended = [one for one, at in zip(turns, broken, strict=True) if at is None]
        flags = Counter(one.cluster for one in ended if name in one.shown_at)
        seen = [seen_of(one, at, name) for one, at in zip(turns, broken, strict=True)]
        by = supposed(seen, [Stratum("", n, float(n), 0, 0)])
        complete, alone = uniform(n, real.values()), uniform(len(ended), flags.values(), n)
        middle = by.as_others or by.none
        limits = {
            HOW[0]: (complete, complete, complete),
            HOW[1]: (alone, alone, alone),
            HOW[2]: (middle, middle, middle),
            HOW[3]: (middle, by.none, by.every),
        }
        for how, (between, low, high) in limits.items():
            found[how].append(told(between, low, high, truth))
    return sum(at is not None for at in broken) / n, found


def measured(worlds: int, turns: int) -> dict[str, tuple[float, dict[str, list[Told]]]]:
    """All ways over a number of worlds: the mean share of turns broken off, and what was told."""
    shares: dict[str, list[float]] = {way: [] for way in WAYS}
    found: dict[str, dict[str, list[Told]]] = {way: {how: [] for how in HOW} for way in WAYS}
    for seed in range(1, worlds + 1):
        made = list(whole_turns(seed, turns))
        for way, breaks in WAYS.items():
            share, by = trial(made, breaks)
            shares[way].append(share)
            for how, some in by.items():
                found[way][how] += some
    return {way: (float(np.mean(shares[way])), found[way]) for way in WAYS}


def _mean(found: Sequence[Told], what: str) -> str:
    return f"{float(np.mean([getattr(t, what) for t in found])):.3f}"


def main() -> None:
    """Print how far each estimate is off, and what its limits and its gate are worth."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--worlds", type=int, default=40)
    parser.add_argument("--turns", type=int, default=400, help="of each world")
    asked = parser.parse_args()
    out, found = console(), measured(asked.worlds, asked.turns)
    of = f"{asked.worlds} worlds of {asked.turns} turns, {len(_TOLD)} behaviors told by rules"
    rates = [
        [way, f"{share:.0%}", *(_mean(by[how], "rate") for how in HOW[:3])]
        for way, (share, by) in found.items()
    ]
    header = ("turns are broken off", "share", *HOW[:3])
    out.print(rich_table(f"Mean rate over the true one: {of}", header, rates))
    limits = [
        [
            way,
            *(_mean(by[how], "holds") for how in HOW[1:]),
            *(f"{float(np.median([t.upper for t in by[how]])):.1f}" for how in HOW[1:]),
        ]
        for way, (_, by) in found.items()
    ]
    header = ("turns are broken off", *HOW[1:], *(f"upper: {how}" for how in HOW[1:]))
    title = "How often 95% limits hold the true rate, and the median upper limit over it"
    out.print(rich_table(title, header, limits))
    passes = [
        [way, *(_mean(by[how], "passes") for how in HOW[1:])] for way, (_, by) in found.items()
    ]
    header = ("turns are broken off", *HOW[1:])
    title = f"How often a gate passes a rate that is {_UNSAFE} times its threshold"
    out.print(rich_table(title, header, passes))


if __name__ == "__main__":
    main()
