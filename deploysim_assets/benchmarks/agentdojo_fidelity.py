"""How far simulated results of recorded calls are the recorded ones."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from deploysim_assets.agents.agreement import Agreed, Answered, agreement, answered
from deploysim_assets.agents.library import Library
from deploysim_assets.agents.moment import Affordance, Call, Moment, Result
from deploysim_assets.agents.recorded import Recorded
from deploysim_assets.agents.simulator import ToolSimulator
from deploysim_assets.agents.statistical_discriminator import Turn, features
from deploysim_assets.benchmarks.agentdojo_recordings import Run, Runs, prefix_of, tools_of
from deploysim_assets.project import Agents

SETS = {"recorded": "a alone", "recorded+library": "a+c", "library": "c alone"}


class Fidelity(NamedTuple):
    """Simulated against recorded results: calls, how far those that were answered agree, and the
    turns with either kind of result."""

    calls: int
    agreed: Agreed
    turns: list[Turn]


def fidelity(runs: Runs, live: str, candidates: Sequence[Run], affordances: str) -> Fidelity:
    """Put each call of recorded turns to a simulator that knows the live model's recordings, and
    hold what it answers against what the call really got.

    Whoever is asked what the live model did on a scenario never knows that from its library: that
    holds the other scenarios.
    """
    names = affordances.split("+")
    settings = Agents.model_validate({"affordances": names})
    prefixes = {
        scenario: prefix_of(
            run, tools_of([run, *(c for c in candidates if c.scenario == scenario)])
        )
        for (model, scenario), run in runs.items()
        if model == live
    }
    made: dict[str, Affordance] = {"recorded": Recorded(settings)}
    if "library" in names:
        made["library"] = Library(lambda: iter(prefixes.values()), settings)
    simulator = ToolSimulator(settings, [made[name] for name in names])
    agreed, calls, turns = Agreed(), 0, list[Turn]()
    for run in candidates:
        kept: list[tuple[Answered, str]] = []
        for one, content in _simulated(run, prefixes[run.scenario], simulator):
            calls += 1
            if content is not None:
                kept.append((one, content))
                agreed = agreed.plus(agreement(content, one.content))
        if kept:
            for simulated in (False, True):
                results = [(one, c if simulated else one.content) for one, c in kept]
                turn = _with_results(run, results)
                turns.append(Turn(run.scenario.cluster, simulated, features(turn)))
    return Fidelity(calls, agreed, turns)


def _simulated(
    run: Run, prefix: Mapping[str, Any], simulator: ToolSimulator
) -> Iterator[tuple[Answered, str | None]]:
    """Each answered call of a recorded turn, with what a simulator says to it there."""
    memory: dict[str, Any] = {}
    steps = run.turn["steps"]
    at = [i for i, step in enumerate(steps) if step["role"] == "tool"]
    for i, one in zip(at, answered(run.turn), strict=False):
        call = Call(steps[i]["tool_call_id"], one.tool, one.arguments)
        moment = Moment(prefix, steps[:i], call, json.loads(one.arguments), memory)
        found = simulator.answer(moment)
        yield one, found.content if isinstance(found, Result) else None


def _with_results(run: Run, results: Sequence[tuple[Answered, str]]) -> dict[str, Any]:
    """The turn with these calls and results alone, so that two differ in nothing but results."""
    steps: list[dict[str, Any]] = []
    nothing: list[Any] = []
    for place, (one, content) in enumerate(results):
        call = {"id": f"{place}", "name": one.tool, "arguments": one.arguments}
        said = {"role": "assistant", "content": None, "tool_calls": [call]}
        got = {"role": "tool", "content": content, "tool_call_id": f"{place}"}
        steps += [said | {"source": None}, got | {"tool_calls": nothing, "source": None}]
    return {"content": run.turn["content"], "tool_calls": [], "steps": steps}
