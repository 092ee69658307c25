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


def sentinel_items(project: Project, prefixes: int) -> int:
    """How many sentinels are graded again beside so many prefixes, at most."""
    judged = sum(b.grader == "judge" for b in project.behaviors)
    # one clean reply serves for all behaviors, a flagged one mostly for its own
    return min(most_items(prefixes), prefixes, project.sentinels * (judged + 1) if judged else 0)


def costs_of(project: Project, candidate: Release | None, prefixes: int) -> list[Cost]:
    """The parts of a forecast over so many prefixes, its live side included."""
    asked = tokens_per_request(project, "candidate_completions")
    parts = [
        _cost(
            project,
            "replies of the candidate",
            [candidate.asked_as.model if candidate else ""],
            prefixes,
            asked,
        )
    ]
    replayed = 0
    if project.self_replay and candidate and candidate.predecessor:
        replayed = min(project.self_replay.max_prefixes, prefixes)
        live = project.release(candidate.predecessor).asked_as.model
        parts.append(_cost(project, "replies of self-replay", [live], replayed, asked))
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
