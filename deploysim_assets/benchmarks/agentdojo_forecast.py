"""Candidates rolled out from the recorded runs of the version before, and what that forecasts of
injections followed."""

import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from deploysim_assets.agents.recorded import Recorded
from deploysim_assets.agents.rollout import Rollout, follow_up, rolled_out
from deploysim_assets.agents.simulator import ToolSimulator
from deploysim_assets.behaviors import Rule
from deploysim_assets.benchmarks.agentdojo_recordings import (
    CHAINS,
    LEFT,
    RecordedAgents,
    Run,
    Runs,
    Scenario,
    prefix_of,
    tools_of,
)
from deploysim_assets.benchmarks.agentdojo_rules import RULES
from deploysim_assets.benchmarks.served import served
from deploysim_assets.endpoint.client import ask_all
from deploysim_assets.forecast.bounded import Bounds, bounded_estimate
from deploysim_assets.forecast.counts import Counts, Stratum, uniform
from deploysim_assets.forecast.estimate import (
    Baselines,
    Errors,
    changed,
    errors_of,
    estimate,
    rate_row,
    score,
    scored,
)
from deploysim_assets.forecast.unfinished import Seen, supposed
from deploysim_assets.grading.rules import first_met, holds
from deploysim_assets.project import Agents, Candidate, Endpoint
from deploysim_assets.schema import AS_OTHERS, WHOLE_TURNS
from deploysim_assets.storage.journal import Journal, open_journal

_LEAST = 8

ESTIMATES = (AS_OTHERS, WHOLE_TURNS)
Asked = tuple[Errors, float, Baselines, None, None, float]


def _free(*_: object) -> float:
    return 0.0


class Replayed(NamedTuple):
    """A candidate's rollout from a prefix of the live model, and what it came to."""

    scenario: Scenario
    state: str
    why: str
    seen: Seen


class Pair(NamedTuple):
    """A live model and its candidate: the rollouts, and by scenario what both really did."""

    live: str
    candidate: str
    rollouts: list[Replayed]
    before: dict[Scenario, bool]
    after: dict[Scenario, bool]


def followed(run: Run) -> bool:
    """Whether a recorded turn does what its injection demands, by rule."""
    turn = run.turn | {"steps": _without_asides(run.turn["steps"])}
    return holds(rule_of(run.scenario), [], turn)


def _without_asides(messages: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Messages of a turn without what is said beside calls: an instruction to tell the user
    something is followed by the last one."""
    return [m | {"content": None} if m["tool_calls"] else m for m in messages]


def rule_of(scenario: Scenario) -> Rule:
    """The rule that tells whether a turn does what the scenario's injection demands."""
    return RULES[scenario.suite, scenario.injection]


def seen_of(scenario: Scenario, row: Mapping[str, Any]) -> Seen:
    """What a rollout's row tells of the turn, as grading sees it: the step at which it does what
    the injection demands, its end, or that it was broken off."""
    last: dict[str, Any] = {"role": "assistant"} | row["message"]
    left = any(call["name"] == LEFT for call in last["tool_calls"])
    ended = row["status"] == "completed"
    turn: list[dict[str, Any]] = [*row["message"]["steps"]]
    if ended or (not left and (last["content"] or last["tool_calls"])):
        turn.append(last)
    at = first_met(rule_of(scenario), [], _without_asides(turn), ended=ended)
    steps = sum(message["role"] == "assistant" for message in turn)
    end = "shown" if at else "clean" if ended else "cut"
    return Seen("", scenario.cluster, end, at or steps)


def _hashed(what: str, seed: int) -> float:
    digest = hashlib.blake2b(f"{seed}\x1f{what}".encode(), digest_size=6).digest()
    return int.from_bytes(digest) / 2**48


def replay(
    runs: Runs, live: str, candidate: str, scenarios: Iterable[Scenario], url: str, journal: Journal
) -> Pair:
    """Roll the candidate out from the live model's prefixes, with affordance a alone."""
    settings = Agents(affordances=("recorded",))
    simulator = ToolSimulator(settings, [Recorded(settings)])
    shared = [s for s in scenarios if (live, s) in runs and (candidate, s) in runs]
    tools = {
        suite: tools_of([run for (_, s), run in runs.items() if s.suite == suite])
        for suite in {s.suite for s in shared}
    }

    def rollout(scenario: Scenario) -> Rollout:
        prefix = prefix_of(runs[live, scenario], tools[scenario.suite])
        asked = Candidate(model=candidate)
        return Rollout(prefix, asked, 0, simulator, _free)

    endpoint = Endpoint(base_url=url, api_key_env="", max_concurrency=16)
    outcome = ask_all(lambda: (rollout(s).first() for s in shared), endpoint, journal, follow_up)
    found: list[Replayed] = []
    for scenario in shared:
        row = rolled_out(rollout(scenario), journal, outcome.failures)
        if row["message"] is None:
            raise RuntimeError(f"{candidate}, {scenario}: {row['error']}")
        why = (row["error"] or "").removeprefix("nothing answers ")
        found.append(Replayed(scenario, row["status"], why, seen_of(scenario, row)))
    sides = ({s: followed(run) for (m, s), run in runs.items() if m == model}
             for model in (live, candidate))  # fmt: skip
    return Pair(live, candidate, found, *sides)


def _flags(labels: Mapping[Scenario, bool]) -> Counts:
    by_cluster: Counter[str] = Counter()
    for scenario, flagged in labels.items():
        by_cluster[scenario.cluster] += flagged
    return uniform(len(labels), [n for n in by_cluster.values() if n])


def _whole_turns(rollouts: Sequence[Replayed]) -> Counts:
    """Counts of the turns that came to their end alone: what a grader sees that takes a turn which
    nothing could answer for missing."""
    ended = {r.scenario: r.seen.end == "shown" for r in rollouts if r.state == "completed"}
    return _flags(ended)


def _estimated(rollouts: Sequence[Replayed], how: str, asked: Asked) -> dict[str, Any]:
    """The forecast of a behavior, as rate_estimates makes it where turns were broken off."""
    whole = _whole_turns(rollouts)
    if how == WHOLE_TURNS:
        return estimate(whole, *asked)
    n = len(rollouts)
    seen = [r.seen for r in rollouts]
    by = supposed(seen, [Stratum("", n, float(n), 0, 0)])
    cut, shown = (sum(turn.end == end for turn in seen) for end in ("cut", "shown"))
    bounds = Bounds(by.none, by.every, AS_OTHERS, cut, shown - whole.k)
    return bounded_estimate(by.as_others or whole, bounds, *asked)


def forecasts(pairs: Sequence[Pair], seed: int, how: str) -> list[dict[str, Any]]:
    """Forecast every candidate from half of the user tasks and score it on the other half, by
    suite, each with the history of those before it; returns the reports' rows."""
    history: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for pair in pairs:
        suites = sorted({s.suite for s in pair.after})
        names = {suite: f"injection_followed_{suite}" for suite in suites}
        errors = errors_of(history, names.values())
        report: list[dict[str, Any]] = []
        for suite in suites:

            def here(scenario: Scenario, earlier: bool, suite: str = suite) -> bool:
                half = _hashed(f"half {scenario.cluster}", seed) < 0.5
                return scenario.suite == suite and half == earlier

            rollouts = [r for r in pair.rollouts if here(r.scenario, True)]
            before = _flags({s: f for s, f in pair.before.items() if here(s, True)})
            after = _flags({s: f for s, f in pair.after.items() if here(s, False)})
            if after.n < _LEAST or not before.n:
                continue
            effect = max(1.0, rate_row(before)["design_effect"] or 1.0)
            baselines = Baselines((before.k, before.n))
            asked = errors[names[suite]], after.n, baselines, None, None, effect
            estimated = _estimated(rollouts, how, asked)
            if estimated["n"] < _LEAST:
                continue
            report.append(
                {"model_version": pair.candidate, "behavior": names[suite], "prospective": False}
                | score(estimated, rate_row(after), errors[names[suite]])
            )
        rows += report
        history += [{"scored": scored(row), "change": changed(row)} for row in report]
    return rows


def chosen(runs: Runs, share: float, seed: int) -> list[Scenario]:
    """The scenarios of a share of the user tasks."""
    every = sorted({scenario for _, scenario in runs})
    return [s for s in every if _hashed(f"sample {s.cluster}", seed) < share]


def replayed_pairs(runs: Runs, scenarios: Sequence[Scenario]) -> Iterator[Pair]:
    """Every candidate rolled out over HTTP, in the order of the chains."""
    wanted = set(scenarios)
    known = {key: run for key, run in runs.items() if key[1] in wanted}
    with tempfile.TemporaryDirectory() as folder, served(RecordedAgents(runs).app()) as port:
        for number, (live, candidate) in enumerate(p for chain in CHAINS for p in pairwise(chain)):
            with open_journal(Path(folder) / f"{number}") as journal:
                url = f"http://127.0.0.1:{port}/v1"
                yield replay(known, live, candidate, scenarios, url, journal)
