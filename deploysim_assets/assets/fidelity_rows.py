"""The rows of simulation_fidelity, from pairs of real and simulated turns."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from deploysim_assets.agents.agreement import Agreed, answered, compared
from deploysim_assets.agents.statistical_discriminator import Turn, features, told_apart
from deploysim_assets.project import Affordance, Agents
from deploysim_assets.project.agents import AFFORDANCES

Row = dict[str, Any]


class Replayed(NamedTuple):
    """A prefix with the live model's real turn, and its simulated one in its state."""

    prefix_id: str
    conversation_key: str
    messages: Sequence[Mapping[str, Any]]
    real: Mapping[str, Any]
    simulated: Mapping[str, Any] | None
    state: str

    @property
    def whole(self) -> bool:
        """Whether there are two whole turns to be told apart, of which the simulated one holds
        the result of a call."""
        return self.state == "completed" and bool(answered(self.simulated or {}))


class Verdict(NamedTuple):
    """What the discriminator said of a pair; null where it said nothing that is a pick."""

    tools: frozenset[str]
    taken: bool | None
    first: bool | None


def in_use(agents: Agents) -> tuple[Affordance, ...]:
    """The affordances that a project has, in the order in which they are asked."""
    there = {
        "repository": agents.repository is not None,
        "connector": bool(agents.connectors),
        "function": bool(agents.functions),
        "model": agents.simulator is not None,
    }
    return tuple(a for a in AFFORDANCES if a in agents.affordances and there.get(a, True))


def ablations(agents: Agents) -> list[Agents]:
    """The settings with fewer affordances: the simulator's model alone, or nothing, and then one
    more at a time; without the last, which is the project itself."""
    used = in_use(agents)
    model = tuple(a for a in used if a == "model")
    others = [a for a in used if a != "model"]
    tools = {
        name: tool.model_copy(update={"affordances": None}) for name, tool in agents.tools.items()
    }
    return [
        agents.model_copy(update={"affordances": (*others[:count], *model), "tools": tools})
        for count in range(0 if model else 1, len(others))
    ]


def name_of(agents: Agents) -> str:
    """A set of affordances as the table names it."""
    return "+".join(in_use(agents)) or "none"


def _share(measure: str, k: int, n: int, **more: Any) -> Row:
    from deploysim_assets.forecast.rates import wilson

    low, high = wilson(k, n) if n else (None, None)
    return {"measure": measure, "n": n, "k": k, "value": k / n if n else None,
            "low": low, "high": high} | more  # fmt: skip


def discriminator_rows(verdicts: Sequence[Verdict]) -> list[Row]:
    """How many simulated turns were taken for real, in all and by tool, and how often the turn
    shown first was picked. Pairs without a pick are in no share."""
    picks = [v for v in verdicts if v.taken is not None]
    if not verdicts:
        return []
    rows = [
        _share("taken_for_real", sum(v.taken is True for v in picks), len(picks)),
        _share("picked_first", sum(v.first is True for v in picks), len(picks)),
    ]
    for tool in sorted({tool for v in picks for tool in v.tools}):
        with_it = [v for v in picks if tool in v.tools]
        taken = sum(v.taken is True for v in with_it)
        rows.append(_share("taken_for_real", taken, len(with_it), tool=tool))
    return rows


def statistics_row(pairs: Iterable[Replayed], seed: int) -> Row:
    """How well statistics tell the turns of whole pairs apart."""
    turns = [
        Turn(pair.conversation_key, simulated, features(turn))
        for pair in pairs
        if pair.whole
        for simulated, turn in ((False, pair.real), (True, pair.simulated or {}))
    ]
    told = told_apart(turns, seed)
    return {"measure": "told_apart", "n": told.turns, "k": None, "value": told.auc,
            "low": told.low, "high": told.high}  # fmt: skip


def result_rows(pairs: Sequence[Replayed]) -> list[Row]:
    """Agreement of simulated with recorded results of the same call, in all, by source and by
    tool; where results came from; and how rollouts ended."""
    agreed: defaultdict[tuple[str | None, str | None], Agreed] = defaultdict(Agreed)
    sources: Counter[str] = Counter()
    for pair in pairs:
        simulated = pair.simulated or {}
        sources.update(one.source or "unknown" for one in answered(simulated))
        for one, found in compared(simulated, pair.real):
            for key in ((None, None), (None, one.source), (one.tool, None)):
                agreed[key] = agreed[key].plus(found)
    rows: list[Row] = []
    for (tool, source), total in sorted(agreed.items(), key=lambda item: str(item[0])):
        where = {"tool": tool, "source": source}
        rows.append(_share("exact", total.exact, total.calls, **where))
        rows.append(_share("json_equal", total.json_equal, total.calls, **where))
        value = total.fields / total.calls
        rows.append({"measure": "fields", "n": total.calls, "value": value} | where)
    every = sources.total()
    rows += [_share("results", k, every, source=name) for name, k in sorted(sources.items())]
    states = Counter(pair.state for pair in pairs)
    return rows + [
        _share("turns", k, len(pairs), source=state) for state, k in sorted(states.items())
    ]
