"""Sentinels: a sealed set of items that are graded again at every later grading, so that a judge
that changed under its name is seen."""

import hashlib
import heapq
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import orjson

from deploysim_assets.grading.item import Item

ALPHA = 0.01
"""The family-wise level, over the behaviors of a grading, at which the judge has drifted."""

_MOST_SHARE, _LEAST = 0.05, 40


def most_items(replies: int) -> int:
    """How many items a set has at most, drawn from so many replies: a twentieth, so that it stays
    cheap, and 40 where there are as many, since a handful would show no change ever."""
    return max(math.ceil(_MOST_SHARE * replies), _LEAST)


Graded = Mapping[str, Mapping[str, bool | None]]
"""Verdicts by item and behavior; None where there was none."""


class Sentinel(NamedTuple):
    """One item of the set and the behaviors that it was drawn for, with what each was graded then;
    `digest` is of all that a judge reads of it."""

    prefix_id: str
    side: str
    digest: str
    drawn_for: tuple[tuple[str, bool], ...]


class Drift(NamedTuple):
    """One behavior on one occasion, over the items that were graded then and twice at the draw: how
    many verdicts became flagged or clean since the first of those, how many differed between the
    two, and the p value of the exact test, with Holm's over all behaviors."""

    behavior: str
    n: int
    to_flagged: int
    to_clean: int
    changed_at_draw: int
    p_value: float
    p_holm: float

    @property
    def drifted(self) -> bool:
        return self.p_holm < ALPHA


def digest(item: Item) -> str:
    """What tells an item from any other: a hash of its conversation and its reply."""
    reply = item.reply
    if reply is not None and not reply.get("steps"):
        # sealed before replies had steps: one without any is the reply that it was then
        reply = {name: value for name, value in reply.items() if name != "steps"}
    seen = {"messages": item.prefix["messages"], "reply": reply}
    body = orjson.dumps(seen, option=orjson.OPT_SORT_KEYS, default=str)
    return hashlib.sha256(body).hexdigest()


def _place(seed: str, prefix_id: str) -> int:
    return int.from_bytes(hashlib.sha256(f"sentinel\x1f{seed}\x1f{prefix_id}".encode()).digest())


class Lots:
    """The draw: out of graded rows, put in one by one, up to `each` flagged and `each` clean
    replies per behavior.

    It goes by a hash of the seed and the prefix, so that it is the same in whatever order the rows
    come, and nobody chose it.  One reply serves for several behaviors.
    """

    def __init__(self, behaviors: Iterable[str], seed: str, each: int) -> None:
        self.graded = 0
        self._names, self._seed, self._each = list(behaviors), seed, each
        self._lots: dict[tuple[str, bool], list[tuple[int, str]]] = {}
        self._verdicts: dict[str, dict[str, bool | None]] = {}

    def add(self, row: Mapping[str, Any]) -> None:
        """One row of a grades table."""
        if row["status"] != "graded":
            return
        self.graded += 1
        prefix_id = str(row["prefix_id"])
        ticket = -_place(self._seed, prefix_id), prefix_id  # the heap keeps the lowest places
        for name in self._names:
            if row[name] is None:
                continue
            lot = self._lots.setdefault((name, bool(row[name])), [])
            if len(lot) < self._each:
                heapq.heappush(lot, ticket)
            elif ticket > lot[0]:
                heapq.heapreplace(lot, ticket)
            else:
                continue
            self._verdicts[prefix_id] = {n: row[n] for n in self._names}
        if len(self._verdicts) > 4 * (self._each * len(self._lots) + 1):
            held = {prefix_id for lot in self._lots.values() for _, prefix_id in lot}
            self._verdicts = {p: v for p, v in self._verdicts.items() if p in held}

    def drawn(self, most: int) -> dict[str, tuple[tuple[str, bool], ...]]:
        """The chosen prefixes, `most` of them at most, and what each was drawn for: every lot has
        its turn before any has its next."""
        ordered = {
            key: [prefix_id for _, prefix_id in sorted(lot, reverse=True)]
            for key, lot in sorted(self._lots.items())
        }
        chosen: dict[str, list[tuple[str, bool]]] = {}
        for turn in range(self._each):
            for key, lot in ordered.items():
                if turn < len(lot) and (lot[turn] in chosen or len(chosen) < most):
                    chosen.setdefault(lot[turn], []).append(key)
        return {prefix_id: tuple(sorted(keys)) for prefix_id, keys in sorted(chosen.items())}

    def verdicts(self, prefix_id: str) -> dict[str, bool | None]:
        """What a drawn reply was graded."""
        return self._verdicts[prefix_id]


def sealed(
    grading_id: str,
    source: Mapping[str, Any],
    sentinels: Iterable[Sentinel],
    first: Graded,
    second: Graded,
    served_by: Mapping[str, int],
) -> dict[str, Any]:
    """The set as a record to be sealed: which items, by digest, of which tables (`source`), under
    which grading, what both gradings at the draw said, and which models answered then. It holds no
    text."""
    items = sorted(sentinels)
    body = {
        "grading_id": grading_id,
        "source": dict(source),
        "served_by": dict(served_by),
        "items": [one._asdict() for one in items],
        "first": {one.prefix_id: dict(first.get(one.prefix_id, {})) for one in items},
        "second": {one.prefix_id: dict(second.get(one.prefix_id, {})) for one in items},
    }
    identity = hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return body | {"sha256": identity}


def unseal(record: Mapping[str, Any]) -> list[Sentinel]:
    """The set of a record; ValueError where the record is not what was sealed."""
    body = {name: value for name, value in record.items() if name != "sha256"}
    found = hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()
    if found != record["sha256"]:
        raise ValueError("the set of sentinels is not the one that was sealed")
    return [
        Sentinel(
            one["prefix_id"],
            one["side"],
            one["digest"],
            tuple((name, flagged) for name, flagged in one["drawn_for"]),
        )
        for one in body["items"]
    ]


def still_there(
    sentinels: Iterable[Sentinel], item_of: Callable[[Sentinel], Item | None]
) -> list[tuple[Sentinel, Item]]:
    """The sentinels that can be graded again: those withdrawn since, and those whose text is no
    longer what was sealed, leave the set; the rest stays comparable."""
    found = ((one, item_of(one)) for one in sentinels)
    return [(one, item) for one, item in found if item is not None and digest(item) == one.digest]


def occasion(grading_id: str, asset: str, partition: str, version: str) -> str:
    """The name of one grading of the set. It is part of every request then, so that no answer of
    another occasion is taken for it."""
    return f"sentinels {grading_id} {asset} {partition} {version}"


def drift(record: Mapping[str, Any], now: Graded) -> list[Drift]:
    """What changed since the draw, per behavior.

    A judge is not always of one mind: its two gradings at the draw show how often a verdict changes
    with nothing between.  Had nothing changed since, the second grading and that of now would be
    exchangeable given the first, so that an item on which just one of the two left the first
    verdict is as likely to have left it then as now: an exact binomial test, one-sided.
    Holm's step-down over the behaviors holds the family-wise error.  That items were drawn by their
    first verdict is no matter, since the test is given it.
    """
    from scipy import stats

    first: Graded = record["first"]
    second: Graded = record["second"]
    names = sorted({name for one in record["items"] for name, _ in one["drawn_for"]})
    found: list[Drift] = []
    for name in names:
        all_three = [
            tuple(graded.get(i, {}).get(name) for graded in (first, second, now)) for i in first
        ]
        votes = [v for v in all_three if None not in v]
        now_alone = sum(c != a == b for a, b, c in votes)
        then_alone = sum(b != a == c for a, b, c in votes)
        one_of_both = now_alone + then_alone
        p = 1.0
        if one_of_both:
            p = float(stats.binomtest(now_alone, one_of_both, alternative="greater").pvalue)
        up = sum(bool(c and not a) for a, _, c in votes)
        down = sum(bool(a and not c) for a, _, c in votes)
        changed = sum(a != b for a, b, _ in votes)
        found.append(Drift(name, len(votes), up, down, changed, p, 1.0))
    return _holm(found)


def _holm(found: list[Drift]) -> list[Drift]:
    """Holm's step-down adjustment of the p values (Holm 1979)."""
    order = sorted(range(len(found)), key=lambda i: found[i].p_value)
    highest, adjusted = 0.0, dict[int, float]()
    for step, i in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - step) * found[i].p_value))
        adjusted[i] = highest
    return [one._replace(p_holm=adjusted[i]) for i, one in enumerate(found)]


def served_differently(
    before: Mapping[str, int], now: Mapping[str, int]
) -> tuple[list[str], list[str]]:
    """Which models (as the server named them, with their fingerprints) answer now and did not at
    the draw, and which did and do not."""
    return sorted(set(now) - set(before)), sorted(set(before) - set(now))
