"""What a forecast over so many prefixes takes: the candidate's replies, the judge's grades, and
what a panel, repeats and sentinels add to them."""

from itertools import islice
from typing import NamedTuple

import orjson

from deploysim_assets.grading.sentinels import most_items
from deploysim_assets.project import Project, Release
from deploysim_assets.storage.journal import lines
from deploysim_assets.storage.journals import journal_files

UNSEEN_TOKENS = (600.0, 400.0)
"""Prompt and completion tokens of a request before the project has asked for one."""
UNSEEN_STEPS = 5.0
"""Requests of a turn with tools before the project has rolled one out."""
_LOOKED_AT = 2_000


class Cost(NamedTuple):
    """One part of a forecast: how many requests, their tokens, and the money; None where a model
    has no price. `measured`: the tokens are those of requests that were answered."""

    what: str
    requests: float
    tokens: float
    money: float | None
    measured: bool


def tokens_per_request(project: Project, *assets: str) -> tuple[float, float]:
    """Prompt and completion tokens of a request of some assets, as servers reported them of the
    first few thousand answers in each journal."""
    prompt = completion = count = 0
    for asset in assets:
        for path in journal_files(project.home, asset):
            for body in islice(lines(path), _LOOKED_AT):
                row = orjson.loads(body)
                if row.get("prompt_tokens"):
                    prompt += row["prompt_tokens"]
                    completion += row["completion_tokens"]
                    count += 1
    return (prompt / count, completion / count) if count else UNSEEN_TOKENS


class Turns(NamedTuple):
    """What a turn takes where agents are replayed: requests to its model and to the simulator's,
    on average over all prefixes."""

    steps: float
    results: float


def turns_of(project: Project) -> Turns:
    """Requests per prefix, as the journals of candidates have them."""
    simulator = project.agents.simulator if project.agents is not None else None
    steps = results = 0
    prefixes: set[str] = set()
    for path in journal_files(project.home, "candidate_completions"):
        for body in islice(lines(path), _LOOKED_AT):
            row = orjson.loads(body)
            if not row.get("prompt_tokens") or not row.get("about"):
                continue
            simulated = simulator is not None and row.get("model") == simulator.model
            steps, results = steps + (not simulated), results + simulated
            prefixes.add(row["about"])
    if not prefixes:
        return Turns(UNSEEN_STEPS, UNSEEN_STEPS if simulator is not None else 0.0)
    return Turns(steps / len(prefixes), results / len(prefixes))


def _replies(
    project: Project, who: str, model: str, prefixes: int, asked: tuple[float, float]
) -> list[Cost]:
    """The requests for replies to so many prefixes; where agents are replayed, those for the steps
    of turns, and for what the simulator's model writes in them."""
    if project.agents is None:
        return [_cost(project, f"replies of {who}", [model], prefixes, asked)]
    turns, simulator = turns_of(project), project.agents.simulator
    said = f"turns of {who} ({turns.steps:.1f} steps each)"
    parts = [_cost(project, said, [model], prefixes * turns.steps, asked)]
    if simulator is not None:
        what = f"simulated results in turns of {who} ({turns.results:.1f} each)"
        parts.append(_cost(project, what, [simulator.model], prefixes * turns.results, asked))
    return parts


def _fidelity(project: Project, live: str, replayed: int, asked: tuple[float, float]) -> list[Cost]:
    """What simulation_fidelity asks beside the self-replay, at most: the turns of the ablation,
    and who tells real from simulated turns about each pair, once."""
    from deploysim_assets.assets.fidelity_rows import ablations

    assert project.agents is not None
    settings, judge = project.agents.discriminator, project.judge
    pairs = min(settings.sample, replayed)
    again = min(settings.ablation, pairs) * len(ablations(project.agents))
    parts = _replies(project, "the ablation", live, again, asked) if again else []
    if model := settings.model or (judge.members[0] if judge else None):
        tokens, by_judge = tokens_per_request(project, "simulation_fidelity"), judge is not None
        parts.append(
            _cost(project, "discriminator", [model], pairs + again, tokens, judging=by_judge)
        )
    return parts


def sentinel_items(project: Project, prefixes: int) -> int:
    """How many sentinels are graded again beside so many prefixes, at most."""
    judged = sum(b.grader == "judge" for b in project.behaviors)
    # one clean reply serves for all behaviors, a flagged one mostly for its own
    return min(most_items(prefixes), prefixes, project.sentinels * (judged + 1) if judged else 0)


def costs_of(project: Project, candidate: Release | None, prefixes: int) -> list[Cost]:
    """The parts of a forecast over so many prefixes, its live side included."""
    asked = tokens_per_request(project, "candidate_completions")
    model = candidate.asked_as.model if candidate else ""
    parts = _replies(project, "the candidate", model, prefixes, asked)
    replayed = 0
    if project.self_replay and candidate and candidate.predecessor:
        replayed = min(project.self_replay.max_prefixes, prefixes)
        live = project.release(candidate.predecessor).asked_as.model
        parts += _replies(project, "self-replay", live, replayed, asked)
        if project.agents is not None:
            parts += _fidelity(project, live, replayed, asked)
    judge = project.judge
    if judge is None or not any(b.grader == "judge" for b in project.behaviors):
        return parts
    graded = tokens_per_request(project, "grades", "production_grades")
    first, *more = judge.members

    def judged(what: str, members: list[str], items: float) -> Cost:
        return _cost(project, what, members, items, graded, judging=True)

    both = 2 * prefixes
    parts.append(judged("grades of both sides", [first], both))
    if replayed:
        parts.append(judged("grades of self-replay", [first], replayed))
        both += replayed
    if more:
        parts.append(judged(f"{len(more)} more judges of the panel", more, both))
    if judge.repeat_share:
        share = f"{judge.repeat_share:.3g}"
        repeats = judged(f"repeats ({share})", [first, *more], both * judge.repeat_share)
        parts.append(repeats)
    if project.sentinels:
        items = sentinel_items(project, prefixes)
        name = f"sentinels (up to {items:,}, per grading)"
        parts.append(judged(name, [first, *more], 2 * items))
    return parts


def _cost(
    project: Project,
    what: str,
    models: list[str],
    items: float,
    tokens: tuple[float, float],
    *,
    judging: bool = False,
) -> Cost:
    endpoint = project.judge_endpoint() if judging else project.endpoint
    prices = [project.prices.get(model) for model in models]
    money = 0.0
    for price in prices:
        if price is not None:
            batched = endpoint.mode == "batch"
            money += price.of(round(items * tokens[0]), round(items * tokens[1]), batched=batched)
    known = all(price is not None for price in prices)
    requests = items * len(models)
    counted = tokens != UNSEEN_TOKENS
    return Cost(what, requests, requests * sum(tokens), money if known else None, counted)
