"""Forecasts of synthetic agents against their true rates: coverage of the 95% intervals over worlds
whose simulation errs as the method supposes, error beside persistence, and what simulated results
of tools cost. Turns are rolled out over HTTP by the code that the assets call. Seeds are fixed.

python -m deploysim_assets.benchmarks.agent_coverage [--seeds 3] [--turns 400]
python -m deploysim_assets.benchmarks.agent_coverage --seeds 20 --turns 1500    # the full count
"""

import argparse
import io
import math
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
from scipy import stats

from deploysim_assets.agents.functions import Functions, load_functions
from deploysim_assets.agents.moment import Affordance
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
from deploysim_assets.forecast.predictive import Array, forecast
from deploysim_assets.forecast.summary import summarize
from deploysim_assets.forecast.weighted import Gamma
from deploysim_assets.grading.rules import holds
from deploysim_assets.logs.conversation import Conversation
from deploysim_assets.logs.openai_chat import read
from deploysim_assets.project import Agents, Candidate, Endpoint
from deploysim_assets.report.tables import console, rich_table, summary_lines
from deploysim_assets.storage.journal import open_journal
from deploysim_assets.synthetic.agent_server import agent_message, judge_agents, simulate
from deploysim_assets.synthetic.agent_traffic import conversations
from deploysim_assets.synthetic.agent_world import BEHAVIORS, RELEASES, Errors, true_rate
from deploysim_assets.synthetic.desk import FUNCTIONS
from deploysim_assets.synthetic.server import SIMULATOR, application

LEVEL = 0.95
_ENDLESS = 1e9
_START = datetime(2026, 1, 1, tzinfo=UTC)
_RULES = {b.name: Rule.model_validate(b.rule) for b in BEHAVIORS if b.rule}
_JUDGED = [b.name for b in BEHAVIORS if not b.rule]


def supposed_errors(seed: int) -> Errors:
    """Errors as the method's prior supposes them: a bias of each behavior (sd 0.15) and a t4 error
    of scale 0.47 of each release."""
    rng = np.random.default_rng(seed)
    bias = {b.name: rng.normal(0, 0.15) for b in BEHAVIORS}
    drawn = {
        (b.name, r): bias[b.name] + 0.47 * rng.standard_t(4) for b in BEHAVIORS for r in RELEASES
    }
    return lambda behavior, release: drawn[behavior, release]


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
        return (Rollout(prefix, candidate, 7, simulator, lambda *_: 0.0) for prefix in found)

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


def _affordances(settings: Agents) -> list[Affordance]:
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
                report.append(
                    {"model_version": candidate, "behavior": b.name, "prospective": True}
                    | score(estimated, rate_row(after), told[b.name])
                    | {"truth": truth, "truth_in_95": low <= truth <= high, "seed": seed}
                )
            rows += report
            history += [{"scored": scored(row), "change": changed(row)} for row in report]
    return rows


class Coverage(NamedTuple):
    """How many of some intervals hold, how many should at the least and at the most where 95% do,
    and what a seed's intervals being alike divides their number by."""

    held: int
    intervals: int
    low: int
    high: int
    design_effect: float

    @property
    def as_it_should_be(self) -> bool:
        return self.low <= self.held <= self.high


def coverage(rows: Sequence[Mapping[str, Any]], name: str) -> Coverage:
    """Intervals that hold against the exact binomial band (95%), for as many independent intervals
    as those of one seed, which are alike, come to."""
    by_seed: dict[int, list[bool]] = {}
    for row in rows:
        by_seed.setdefault(row["seed"], []).append(bool(row[name]))
    sums = np.array([sum(held) for held in by_seed.values()], float)
    each, n = len(rows) / len(by_seed), len(rows)
    binomial = each * LEVEL * (1 - LEVEL)
    # intervals of one seed share its errors and its history
    effect = max(1.0, float(np.mean((sums - each * LEVEL) ** 2)) / binomial)
    low, high = (stats.binom.ppf(q, int(n / effect), LEVEL) for q in (0.025, 0.975))
    return Coverage(int(sums.sum()), n, math.ceil(low * effect), math.floor(high * effect), effect)


def main() -> None:
    """Print coverage and errors."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--turns", type=int, default=400, help="of each release")
    asked = parser.parse_args()
    rows = [
        row
        for seed in range(1, asked.seeds + 1)
        for row in sequence(seed, asked.turns, supposed_errors(seed))
    ]
    out = console()
    header = ("95% forecast of", "held", "share", "band", "design effect", "as it should be")
    cells: list[list[str]] = []
    for what, name in (("the true rate", "truth_in_95"), ("the realized rate", "in_95")):
        c = coverage(rows, name)
        cells.append(
            [
                what,
                f"{c.held} of {c.intervals}",
                f"{c.held / c.intervals:.3f}",
                f"{c.low} to {c.high}",
                f"{c.design_effect:.2f}",
                "yes" if c.as_it_should_be else "no",
            ]
        )
    title = f"Coverage: {asked.seeds} worlds, {asked.turns:,} turns of each release"
    out.print(rich_table(title, header, cells))
    for line in summary_lines(summarize(rows)):
        out.print(line)


if __name__ == "__main__":
    main()
