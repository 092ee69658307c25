"""Forecasts of synthetic agents against their true rates: coverage of the 95% intervals, error
beside persistence, and what simulated results of tools cost. Turns are rolled out over HTTP by the
code that the assets call. Seeds are fixed; 20 of them are the full count.

python -m deploysim_assets.benchmarks.agent_coverage [--seeds 20] [--turns 400] [--world both]
"""

import argparse
import io
import math
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
from rich.console import Console
from scipy import stats

from deploysim_assets.agents.calls import parsed
from deploysim_assets.agents.functions import Functions, load_functions
from deploysim_assets.agents.recorded import Recorded
from deploysim_assets.agents.rollout import Rollout, follow_up, rolled_out
from deploysim_assets.agents.simulator import ToolSimulator
from deploysim_assets.behaviors import Rule
from deploysim_assets.benchmarks.served import served
from deploysim_assets.deidentify.turns import turn_end, whole_turn
from deploysim_assets.endpoint.ask import ask
from deploysim_assets.endpoint.budget import Account
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
from deploysim_assets.forecast.predictive import (
    Array,
    forecast,
    predictive_cdf,
    predictive_quantile,
)
from deploysim_assets.forecast.summary import summarize
from deploysim_assets.forecast.weighted import Gamma
from deploysim_assets.grading.rules import holds
from deploysim_assets.logs.conversation import Conversation
from deploysim_assets.logs.openai_chat import read
from deploysim_assets.project import Affordance, Agents, Candidate, Endpoint, Simulator
from deploysim_assets.report.tables import console, rich_table, summary_lines
from deploysim_assets.storage.journal import open_journal
from deploysim_assets.synthetic.agent_server import agent_message, judge_agents
from deploysim_assets.synthetic.agent_traffic import conversations
from deploysim_assets.synthetic.agent_world import (
    BEHAVIORS,
    RELEASES,
    SIMULATOR,
    Errors,
    normal_errors,
    true_rate,
)
from deploysim_assets.synthetic.desk import FUNCTIONS, desk_at, run
from deploysim_assets.synthetic.server import answer, application

LEVEL = 0.95
_ENDLESS = 1e9
_START = datetime(2026, 1, 1, tzinfo=UTC)
_RULES = {b.name: Rule.model_validate(b.rule) for b in BEHAVIORS if b.rule}
_JUDGED = [b.name for b in BEHAVIORS if not b.rule]


def supposed_errors(seed: int) -> Errors:
    """Errors drawn as the prior of `forecast.predictive.error_model` supposes them: a scale of
    the world's own, a bias of each behavior, and a t4 error of each release."""
    rng = np.random.default_rng(seed)
    tau, spread = math.exp(rng.normal(math.log(0.5), 0.5)), abs(rng.normal(0, 0.25))
    center = rng.normal(0, 0.2)
    bias = {b.name: rng.normal(center, spread) for b in BEHAVIORS}
    drawn = {
        (b.name, release): -(bias[b.name] + tau * rng.standard_t(4))
        for b in BEHAVIORS
        for release in RELEASES
    }
    return lambda behavior, release: drawn[behavior, release]


WORLDS: dict[str, Callable[[int], Errors]] = {
    "supposed": supposed_errors,
    "small": normal_errors,
}
"""Errors that the prior supposes, for which 95% intervals should hold 95 times in 100, and those of
the demo (normal, sd 0.2), for which they may hold more often."""


def prefixes(release: str, turns: int, seed: int) -> list[dict[str, Any]]:
    """The first turns of a release's traffic as prefixes with their real turns; nothing in them
    needs to be de-identified."""
    found: list[dict[str, Any]] = []
    lines = conversations(release, turns, seed, _START, timedelta(minutes=1))
    for line in lines:
        if len(found) >= turns:
            break
        [conversation] = read(io.BytesIO(orjson.dumps(line)))
        assert isinstance(conversation, Conversation)
        found += _cut(conversation)
    return found[:turns]


def _cut(conversation: Conversation) -> Iterator[dict[str, Any]]:
    whole = conversation.model_dump()
    messages: list[dict[str, Any]] = whole["messages"]
    for turn, message in enumerate(messages):
        if message["role"] == "user":
            yield {
                "prefix_id": f"{conversation.conversation_id}-{turn}",
                "conversation_key": conversation.conversation_id,
                "user_key": conversation.user_id,
                "language": "en",
                "messages": messages[: turn + 1],
                "production_completion": whole_turn(messages[turn + 1 : turn_end(messages, turn)]),
                "tools": whole["tools"],
                "commit": None,
                "clock": whole["started_at"],
            }


def shown(prefix: Mapping[str, Any], turn: dict[str, Any]) -> set[str]:
    """The behaviors that rules and judge find in a turn."""
    found = {name for name, rule in _RULES.items() if holds(rule, prefix["messages"], turn)}
    verdicts = judge_agents({"reply": turn}, _JUDGED)
    return found | {name for name, verdict in verdicts.items() if verdict["flagged"]}


class Graded(NamedTuple):
    """Turns by conversation, and the behaviors that each showed."""

    turns: int
    flags: dict[str, Counter[str]]

    def counts(self, behavior: str) -> Counts:
        """Of one behavior; the turns of a conversation are a cluster."""
        return uniform(self.turns, self.flags[behavior].values())


def graded(pairs: Iterator[tuple[Mapping[str, Any], dict[str, Any]]]) -> Graded:
    """Prefixes and turns, real or simulated, as counts."""
    flags: dict[str, Counter[str]] = {b.name: Counter() for b in BEHAVIORS}
    turns = 0
    for prefix, turn in pairs:
        turns += 1
        for name in shown(prefix, turn):
            flags[name][prefix["conversation_key"]] += 1
    return Graded(turns, flags)


def rolled(
    found: Sequence[Mapping[str, Any]], model: str, settings: Agents, base_url: str
) -> Iterator[tuple[Mapping[str, Any], dict[str, Any]]]:
    """Prefixes and the rows of a model's turns on them, asked of a server over HTTP."""
    simulator = ToolSimulator(settings, _affordances(settings))

    def rollouts() -> Iterator[Rollout]:
        candidate = Candidate(model=model)
        return (Rollout(prefix, candidate, 7, simulator, _free) for prefix in found)

    with tempfile.TemporaryDirectory() as folder, open_journal(Path(folder) / "a.jsonl") as journal:
        outcome = ask(
            lambda: (rollout.first() for rollout in rollouts()),
            Endpoint(base_url=base_url, max_concurrency=16),
            journal,
            Path(folder) / "a.jsonl",
            follow_up,
            account=Account({}),
        )
        for prefix, rollout in zip(found, rollouts(), strict=True):
            yield prefix, rolled_out(rollout, journal, outcome.failures)


def _free(model: str, prompt: int, completion: int, batched: bool) -> float:  # noqa: ARG001
    return 0.0


def _affordances(settings: Agents) -> list[Functions | Recorded]:
    return [Functions(load_functions(settings.functions)), Recorded(settings)]


def sequence(seed: int, turns: int, errors: Errors) -> list[dict[str, Any]]:
    """Every release after the first forecast from the traffic of the one before it and scored on
    its own, each with the history of those before: rows of calibration reports, with the true rate
    and the 95% limits of the forecast of it."""
    rows: list[dict[str, Any]] = []
    history: list[dict[str, Any]] = []
    settings = Agents(functions=FUNCTIONS)
    traffic = {release: prefixes(release, turns, seed) for release in RELEASES}
    real = {
        release: graded((p, p["production_completion"]) for p in found)
        for release, found in traffic.items()
    }
    answering = application(lambda body: agent_message(body, seed, errors))
    with served(answering) as port:
        for live, candidate in pairwise(RELEASES):
            told = errors_of(history, [b.name for b in BEHAVIORS])
            url = f"http://127.0.0.1:{port}/v1"
            made = list(rolled(traffic[live], candidate, settings, url))
            assert all(row["status"] == "completed" for _, row in made)
            simulated = graded((prefix, row["message"]) for prefix, row in made)
            report: list[dict[str, Any]] = []
            for b in BEHAVIORS:
                before = real[live].counts(b.name)
                after = real[candidate].counts(b.name)
                effect = max(1.0, rate_row(before)["design_effect"] or 1.0)
                estimated = estimate(
                    simulated.counts(b.name),
                    told[b.name],
                    before.n,
                    Baselines((before.k, before.n)),
                    None,
                    None,
                    effect,
                )
                gamma = Gamma(estimated["gamma_shape"], estimated["gamma_rate"])
                low, high = forecast(gamma, _ENDLESS, told[b.name].simulation).p95
                truth = true_rate(b, candidate)
                should = nominal(gamma, after.n / effect, told[b.name].simulation)
                report.append(
                    {"model_version": candidate, "behavior": b.name, "prospective": True}
                    | score(estimated, rate_row(after), told[b.name])
                    | {
                        "truth": truth,
                        "truth_in_95": low <= truth <= high,
                        "seed": seed,
                        "nominal": should,
                    }
                )
            rows += report
            history += [{"scored": scored(row), "change": changed(row)} for row in report]
    return rows


def nominal(gamma: Gamma, messages: float, weights: Array) -> float:
    """How often a 95% forecast of a realized rate should hold: of few events more often, since
    counts are whole."""
    tail = (1 - LEVEL) / 2
    low, high = (predictive_quantile(q, gamma, messages, weights) for q in (tail, 1 - tail))
    at, below = (predictive_cdf(y, gamma, messages, weights) for y in (high, low - 1))
    return at - below


class Coverage(NamedTuple):
    """How many of some intervals hold, how many should at the least and at the most by their level,
    and what a seed's intervals being alike divides their number by."""

    held: int
    intervals: int
    low: int
    high: int
    design_effect: float

    @property
    def as_it_should_be(self) -> bool:
        return self.low <= self.held <= self.high


def coverage(rows: Sequence[Mapping[str, Any]], name: str, level: float = LEVEL) -> Coverage:
    """Intervals that hold against the exact binomial band (95%), for as many independent intervals
    as those of one seed, which are alike, come to."""
    by_seed: dict[int, list[bool]] = {}
    for row in rows:
        by_seed.setdefault(row["seed"], []).append(bool(row[name]))
    sums = np.array([sum(held) for held in by_seed.values()], float)
    each, n = len(rows) / len(by_seed), len(rows)
    binomial = each * level * (1 - level)
    # intervals of one seed share its errors and its history
    effect = max(1.0, float(sums.var(ddof=1)) / binomial) if len(sums) > 1 else 1.0
    alone = max(1, round(n / effect))
    low, high = (stats.binom.ppf(q, alone, level) / alone * n for q in (0.025, 0.975))
    return Coverage(int(sums.sum()), n, math.ceil(low), math.floor(high), effect)


AFFORDANCES: dict[str, tuple[Affordance, ...]] = {
    "functions of the project": ("function",),
    "recorded, then a model": ("recorded", "model"),
    "a model alone": ("model",),
    "recorded alone": ("recorded",),
}
"""What answers calls, from what production's own tools would say to what there may only be."""


class Cost(NamedTuple):
    """What some affordances made of the same turns: shares of turns without an answer, of results
    that are those of the real tools and that each source gave, and of the flags with the real
    tools' results those found again, and how many others."""

    unanswerable: float
    exact: float
    sources: dict[str, float]
    flags_kept: float
    flags_more: int


def costs(seed: int, turns: int) -> dict[str, Cost]:
    """What simulated results cost: a release on the traffic of the one before, its calls answered
    in turn by each of AFFORDANCES; all else, its draws included, stays the same."""
    live, candidate = RELEASES[1:3]
    found = prefixes(live, turns, seed)
    told: dict[str, Cost] = {}
    truth: set[tuple[str, str]] = set()
    with served(application(lambda body: answer(body, seed))) as port:
        for name, affordances in AFFORDANCES.items():
            settings = Agents(
                functions=FUNCTIONS, affordances=affordances, simulator=Simulator(model=SIMULATOR)
            )
            made = list(rolled(found, candidate, settings, f"http://127.0.0.1:{port}/v1"))
            flags = {
                (prefix["prefix_id"], behavior)
                for prefix, row in made
                if row["status"] == "completed"
                for behavior in shown(prefix, row["message"])
            }
            truth = truth or flags
            results = [result for prefix, row in made for result in _compared(prefix, row)]
            sources = Counter(source for source, _ in results)
            told[name] = Cost(
                sum(row["status"] == "unanswerable" for _, row in made) / len(made),
                sum(exact for _, exact in results) / len(results),
                {source: n / len(results) for source, n in sources.most_common()},
                len(flags & truth) / len(truth),
                len(flags - truth),
            )
    return told


def _compared(prefix: Mapping[str, Any], row: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """Source of each result of a turn, and whether it is what the real tools say."""
    steps: list[Mapping[str, Any]] = row["message"]["steps"]
    asked: dict[str, Mapping[str, Any]] = {}
    for place, step in enumerate(steps):
        asked |= {call["id"]: call for call in step["tool_calls"]}
        if step["role"] == "tool":
            call = asked[step["tool_call_id"]]
            desk = desk_at([*prefix["messages"], *steps[:place]])
            told = run(desk, call["name"], parsed(call["arguments"]))
            yield step["source"], told == step["content"]


def _print_coverage(out: Console, rows: list[dict[str, Any]], title: str) -> None:
    header = ("95% forecast of", "held", "share", "should", "band", "design effect",
              "as it should be")  # fmt: skip
    cells: list[list[str]] = []
    counted = float(np.mean([row["nominal"] for row in rows]))
    for what, name, level in (
        ("the true rate", "truth_in_95", LEVEL),
        ("the realized rate", "in_95", counted),
    ):
        c = coverage(rows, name, level)
        held, band = f"{c.held} of {c.intervals}", f"{c.low} to {c.high}"
        share, effect = f"{c.held / c.intervals:.3f}", f"{c.design_effect:.2f}"
        said = "yes" if c.as_it_should_be else "no"
        cells.append([what, held, share, f"{level:.3f}", band, effect, said])
    out.print(rich_table(title, header, cells))
    for line in summary_lines(summarize(rows)):
        if not line.startswith("Unresolved"):
            out.print(line)
    out.print()


def _print_costs(out: Console, told: Mapping[str, Cost], turns: int) -> None:
    header = ("calls answered by", "sources", "as the real tools", "turns unanswerable",
              "flags found again", "others")  # fmt: skip
    cells = [
        [
            name,
            ", ".join(f"{source} {share:.0%}" for source, share in c.sources.items()),
            f"{c.exact:.1%}",
            f"{c.unanswerable:.1%}",
            f"{c.flags_kept:.0%}",
            str(c.flags_more),
        ]
        for name, c in told.items()
    ]
    out.print(rich_table(f"What simulated results cost: {turns:,} turns", header, cells))


def main() -> None:
    """Print coverage and errors in two worlds, and what simulated results cost."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--turns", type=int, default=400, help="of each release")
    parser.add_argument("--world", choices=[*WORLDS, "both", "none"], default="both")
    asked = parser.parse_args()
    out = console()
    for name, errors in WORLDS.items():
        if asked.world in (name, "both"):
            seeds = range(1, asked.seeds + 1)
            rows = [row for seed in seeds for row in sequence(seed, asked.turns, errors(seed))]
            title = f"Errors as {name}: {asked.seeds} worlds, {asked.turns:,} turns of each release"
            _print_coverage(out, rows, title)
    _print_costs(out, costs(1, 2 * asked.turns), 2 * asked.turns)


if __name__ == "__main__":
    main()
