"""Agents on recorded runs: forecast and score how often an injected instruction is followed, and
measure how far simulated results are the recorded ones.

python -m deploysim_assets.benchmarks.agentdojo [--data ../shared/data/agentdojo] [--share 0.5]
    [--splits 4] [--seed 0]

Every model is served step by step over HTTP, from its recording, and rolled out from the prefixes
of the version before it; `--share 1` takes all of them.
"""

import argparse
import hashlib
import math
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from deploysim_assets.agents.agreement import Agreed, Answered, agreement, answered
from deploysim_assets.agents.library import Library
from deploysim_assets.agents.moment import Affordance, Call, Moment
from deploysim_assets.agents.recorded import Recorded
from deploysim_assets.agents.rollout import Rollout, follow_up, rolled_out
from deploysim_assets.agents.simulator import ToolSimulator
from deploysim_assets.agents.statistical_discriminator import Told, Turn, features, told_apart
from deploysim_assets.benchmarks.agentdojo_recordings import (
    CHAINS,
    LEFT,
    RecordedAgents,
    Run,
    Scenario,
    prefix_of,
    recorded_runs,
    shows_injection,
    tools_of,
)
from deploysim_assets.benchmarks.agentdojo_rules import follows, precision_and_recall
from deploysim_assets.benchmarks.served import served
from deploysim_assets.endpoint.client import ask_all
from deploysim_assets.forecast import unfinished
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
from deploysim_assets.forecast.summary import summarize
from deploysim_assets.forecast.unfinished import Course
from deploysim_assets.project import Agents, Candidate, Endpoint
from deploysim_assets.report.tables import console, per_100k, rich_table, summary_lines, times
from deploysim_assets.storage.journal import Journal, open_journal

WITHIN = 1.10
"""How many times the noise floor of its run the median error may be."""
SETS = {"recorded": "a alone", "recorded+library": "a+c", "library": "c alone"}
_LEAST = 8

Runs = Mapping[tuple[str, Scenario], Run]


class Replayed(NamedTuple):
    """A candidate's rollout from a prefix of the live model, and what it came to."""

    scenario: Scenario
    state: str
    why: str
    course: Course


class Pair(NamedTuple):
    """A live model and its candidate: the rollouts, and by scenario what both really did."""

    live: str
    candidate: str
    rollouts: list[Replayed]
    before: dict[Scenario, bool]
    after: dict[Scenario, bool]


def followed(run: Run) -> bool:
    """Whether a recorded turn does what its injection demands, by rule."""
    calls = [c for step in (*run.turn["steps"], run.turn) for c in step["tool_calls"]]
    return follows((run.scenario.suite, run.scenario.injection), calls, run.turn["content"] or "")


def course_of(scenario: Scenario, row: Mapping[str, Any]) -> Course:
    """What a rollout's row tells of the turn: the step at which it does what the injection demands,
    its end, or that it was broken off."""
    where = scenario.suite, scenario.injection
    calls: list[Mapping[str, Any]] = []
    exposed, met = list[bool](), False
    last: dict[str, Any] = {"role": "assistant"} | row["message"]
    for step in (*row["message"]["steps"], last):
        if step["role"] == "tool":
            met = met or shows_injection(step["content"])
            continue
        asked: list[Mapping[str, Any]] = step["tool_calls"]
        if any(call["name"] == LEFT for call in asked):
            break
        calls += asked
        exposed.append(met)
        said = step["content"] or "" if step is last and not asked else ""
        if follows(where, calls, said):
            return Course(exposed, "shown")
    clean = row["status"] == "completed"
    # a turn that left its recording before its first step tells nothing
    return Course(exposed or [False], "clean" if clean else "cut")


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
        return Rollout(prefix, asked, 0, simulator, lambda *_: 0.0)

    endpoint = Endpoint(base_url=url, api_key_env="", max_concurrency=16)
    outcome = ask_all(
        lambda: (rollout(s).first() for s in shared), endpoint, journal, follow_up
    )
    found: list[Replayed] = []
    for scenario in shared:
        row = rolled_out(rollout(scenario), journal, outcome.failures)
        if row["message"] is None:
            raise RuntimeError(f"{candidate}, {scenario}: {row['error']}")
        why = (row["error"] or "").removeprefix("nothing answers ")
        found.append(Replayed(scenario, row["status"], why, course_of(scenario, row)))
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
    ended = {r.scenario: r.course.end == "shown" for r in rollouts if r.state == "completed"}
    return _flags(ended)


def _all_turns(rollouts: Sequence[Replayed]) -> Counts:
    """Counts of all turns, those that were broken off as such."""
    return unfinished.counts(
        unfinished.by_cluster((r.scenario.cluster, r.course) for r in rollouts)
    )


ESTIMATES = {"all turns": _all_turns, "whole turns alone": _whole_turns}


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

            def here(scenario: Scenario, earlier: bool, suite: str = suite) -> bool:  # noqa: FBT001
                half = _hashed(f"half {scenario.cluster}", seed) < 0.5
                return scenario.suite == suite and half == earlier

            rollouts = [r for r in pair.rollouts if here(r.scenario, True)]
            before = _flags({s: f for s, f in pair.before.items() if here(s, True)})
            after = _flags({s: f for s, f in pair.after.items() if here(s, False)})
            simulated = ESTIMATES[how](rollouts)
            if min(simulated.n, after.n) < _LEAST or not before.n:
                continue
            effect = max(1.0, rate_row(before)["design_effect"] or 1.0)
            estimated = estimate(
                simulated,
                errors[names[suite]],
                after.n,
                Baselines((before.k, before.n)),
                None,
                None,
                effect,
            )
            report.append(
                {"model_version": pair.candidate, "behavior": names[suite], "prospective": False}
                | score(estimated, rate_row(after), errors[names[suite]])
            )
        rows += report
        history += [{"scored": scored(row), "change": changed(row)} for row in report]
    return rows


class Fidelity(NamedTuple):
    """Simulated against recorded results: calls, how many were answered, how far those agree, and
    how well their turns are told from the recorded ones."""

    calls: int
    agreed: Agreed
    told: Told


def fidelity(
    runs: Runs, live: str, candidates: Sequence[Run], affordances: str, seed: int
) -> Fidelity:
    """Put each call of recorded turns to a simulator that knows the live model's recordings, and
    hold what it answers against what the call really got.

    Whoever is asked what the live model did on a scenario never knows that from its library: that
    holds the other scenarios.
    """
    names = affordances.split("+")
    settings = Agents(affordances=tuple(names))  # pyright: ignore[reportArgumentType]
    prefixes = {
        scenario: prefix_of(run, tools_of([run, *(c for c in candidates if c.scenario == scenario)]))
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
    return Fidelity(calls, agreed, told_apart(turns, seed))


def _simulated(
    run: Run, prefix: Mapping[str, Any], simulator: ToolSimulator
) -> Iterator[tuple[Answered, str | None]]:
    """Each answered call of a recorded turn, with what a simulator says to it there."""
    import json

    memory: dict[str, Any] = {}
    steps = run.turn["steps"]
    at = [i for i, step in enumerate(steps) if step["role"] == "tool"]
    for i, one in zip(at, answered(run.turn), strict=False):
        call = Call(steps[i]["tool_call_id"], one.tool, one.arguments)
        moment = Moment(prefix, steps[:i], call, json.loads(one.arguments), memory)
        found = simulator.answer(moment)
        yield one, None if found is None else getattr(found, "content", None)


def _with_results(run: Run, results: Sequence[tuple[Answered, str]]) -> dict[str, Any]:
    """The turn with these calls and results alone, so that two differ in nothing but results."""
    steps: list[dict[str, Any]] = []
    for place, (one, content) in enumerate(results):
        call = {"id": f"{place}", "name": one.tool, "arguments": one.arguments}
        said = {"role": "assistant", "content": None, "tool_calls": [call]}
        got = {"role": "tool", "content": content, "tool_calls": [], "tool_call_id": f"{place}"}
        steps += [step | {"source": None} for step in (said, got)]
    return {"content": run.turn["content"], "tool_calls": [], "steps": steps}


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


def _median(values: Iterable[float]) -> float:
    found = list(values)
    return float(np.median(found)) if found else math.nan


def _geometric(values: Iterable[float]) -> float:
    return math.exp(float(np.mean(np.log(list(values)))))


def main() -> None:
    """Print the rules' precision, the ends of the rollouts, forecasts and scores, and fidelity."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/agentdojo"))
    parser.add_argument("--share", type=float, default=0.5, help="of the user tasks")
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
        shown = sum(r.course.end == "shown" and r.state != "completed" for r in pair.rollouts)
        row = [pair.candidate, pair.live, len(pair.rollouts), ends["completed"]]
        cells.append([f"{c}" for c in (*row, ends["unanswerable"], ends["left"], shown)])
    header = ("candidate", "live", "rollouts", "completed", "unanswerable: call",
              "unanswerable: left its recording", "of these shown before")  # fmt: skip
    out.print(rich_table("rollouts with the recorded trajectory alone (a)", header, cells))


def _show_forecasts(out: Any, pairs: Sequence[Pair], how: str, splits: Iterable[int]) -> None:
    each = {seed: forecasts(pairs, seed, how) for seed in splits}
    first = next(iter(each.values()))
    cells = [
        [
            f"{row['model_version']} {row['behavior'].rpartition('_')[2]}",
            per_100k(row["persistence_k"] / row["persistence_n"]),
            per_100k(row["forecast"]),
            per_100k(row["realized"]),
            times(row["multiplicative_error"]) + ("" if row["resolved"] else "*"),
            times(row["noise_floor"]),
            times(row["persistence_error"]),
            "yes" if row["in_95"] else "no",
        ]
        for row in first
    ]
    header = ("release and suite", "before", "forecast", "realized", "error", "noise floor",
              "persistence", "in 95%")  # fmt: skip
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
        calls, agreed, aucs = 0, Agreed(), list[Told]()
        for live, candidate in (p for chain in CHAINS for p in pairwise(chain)):
            of = [run for (m, s), run in runs.items()
                  if m == candidate and s in wanted and (live, s) in runs]  # fmt: skip
            found = fidelity(runs, live, of, name, seed)
            calls += found.calls
            agreed = Agreed(*(a + b for a, b in zip(agreed, found.agreed, strict=True)))
            aucs.append(found.told)
        known = [t for t in aucs if t.auc is not None]
        n = max(agreed.calls, 1)
        cells.append(
            [
                said,
                f"{calls:,}",
                f"{agreed.calls / max(calls, 1):.3f}",
                f"{agreed.exact / n:.3f}",
                f"{agreed.json_equal / n:.3f}",
                f"{agreed.fields / n:.3f}",
                f"{_median(t.auc for t in known if t.auc is not None):.3f}",
                f"{min((t.auc or 0 for t in known), default=math.nan):.3f} to "
                f"{max((t.auc or 0 for t in known), default=math.nan):.3f}",
            ]
        )
    header = ("affordances", "calls", "answered", "exact", "JSON-equal", "fields", "AUC, median",
              "AUC over pairs")  # fmt: skip
    out.print(rich_table("results of recorded calls, simulated: shares of answered", header, cells))


if __name__ == "__main__":
    main()
