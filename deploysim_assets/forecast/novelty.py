"""What a candidate does that the live model did not, on the same prefixes: exact paired tests
with false-discovery control."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from deploysim_assets.forecast.paired import benjamini_hochberg

MOST_TYPES, LEAST_SEEN, FAMILY_ALPHA = 10, 10, 0.05
"""The published registration: at most ten novel types, each found if it occurs ten times, at a
family-wise 5%."""


def detection_threshold(prefixes: int) -> float:
    """The rate per message above which a novel type is missed with at most `FAMILY_ALPHA` over
    `MOST_TYPES` (method, section 7).

    20.0 / prefixes: P(Poisson(20.0) <= 9) = .005; 700,000 prefixes give the published 0.00286%.
    """
    return float(special.gammainccinv(LEAST_SEEN, FAMILY_ALPHA / MOST_TYPES)) / prefixes


class Finding(NamedTuple):
    """Features that are one thing, the strongest first; prefixes that show one of them for the
    candidate alone, and for the live model alone."""

    features: tuple[str, ...]
    candidate_only: tuple[str, ...]
    live_only: int
    p_value: float
    q_value: float

    @property
    def more(self) -> bool:
        return len(self.candidate_only) > self.live_only


class _Feature(NamedTuple):
    name: str
    candidate: frozenset[str]
    live: frozenset[str]

    @property
    def more(self) -> bool:
        return len(self.candidate) > len(self.live)

    @property
    def moved(self) -> frozenset[str]:
        return self.candidate if self.more else self.live


_EXCLUSIVE = ("length: ", "tools: ", "opening: ", "ending: ")
"""Kinds of which a reply has one: more of one is less of another."""
_WORDS = ("phrase: ", "opening: ", "ending: ")
_LIFT = 2.0
_SHARED_WORDS = 3


def findings(
    candidate_only: Mapping[str, Sequence[str]],
    live_only: Mapping[str, Sequence[str]],
    prefixes: int,
    rate: float = 0.05,
    least: int = 6,
    rank: Callable[[str], int] = lambda feature: 0,
) -> list[Finding]:
    """Findings at a false-discovery rate: what the candidate does more first, by `rank` of the
    strongest feature, then most telling first.

    For each feature `candidate_only` and `live_only` list the prefixes, of `prefixes` compared,
    that show it for the candidate alone and for the live model alone.  Features with fewer than
    `least` discordant prefixes cannot reach significance and are not tested.  Features that are one
    thing are one finding: those that come together on the same prefixes more often than chance
    would have it, the parts of one sentence, and a length with its complement.
    """
    every = [
        _Feature(name, frozenset(candidate_only.get(name, ())), frozenset(live_only.get(name, ())))
        for name in sorted({*candidate_only, *live_only})
    ]
    tested = [f for f in every if len(f.candidate) + len(f.live) >= least]
    if not tested:
        return []
    n10: NDArray[np.int64] = np.array([len(f.candidate) for f in tested])
    n01: NDArray[np.int64] = np.array([len(f.live) for f in tested])
    p = np.minimum(1.0, 2 * stats.binom.cdf(np.minimum(n10, n01), n10 + n01, 0.5))
    q = benjamini_hochberg(p)
    groups: list[tuple[int, list[_Feature]]] = []
    ranks = [rank(f.name) for f in tested]
    for i in sorted(range(len(tested)), key=lambda i: (ranks[i], p[i], -(n10[i] - n01[i]))):
        if q[i] > rate:
            continue
        homes = [k for k, (_, group) in enumerate(groups) if _one_thing(tested[i], group, prefixes)]
        if not homes:
            groups.append((i, [tested[i]]))
            continue
        first, *others = homes  # a part of a sentence may join what seemed to be two
        groups[first][1].append(tested[i])
        for k in reversed(others):
            groups[first][1].extend(groups.pop(k)[1])
    found = [
        Finding(
            tuple(f.name for f in group),
            tuple(sorted(group[0].candidate)),
            len(group[0].live),
            float(p[i]),
            float(q[i]),
        )
        for i, group in groups
    ]
    return sorted(found, key=lambda f: not f.more)  # stable: by rank and p within


def _one_thing(new: _Feature, group: list[_Feature], prefixes: int) -> bool:
    first = group[0]
    exclusive = next((kind for kind in _EXCLUSIVE if new.name.startswith(kind)), None)
    same = [f for f in group if exclusive and f.name.startswith(exclusive)]
    if any(_overlap(new.candidate | new.live, f.candidate | f.live) for f in same):
        return True
    if new.more != first.more or not _overlap(new.moved, first.moved):
        return False
    by_chance = len(new.moved) * len(first.moved) / max(prefixes, 1)
    if len(new.moved & first.moved) >= _LIFT * by_chance:
        return True
    return any(_one_sentence(new.name, other.name) for other in group)


def _overlap(one: frozenset[str], other: frozenset[str]) -> bool:
    """Whether two sets of prefixes are much the same."""
    return bool(one and other) and len(one & other) >= 0.5 * min(len(one), len(other))


def _one_sentence(one: str, other: str) -> bool:
    """Whether two features of wording share words in a row, as the parts of a sentence do."""
    if not (one.startswith(_WORDS) and other.startswith(_WORDS)):
        return False
    words = [name.partition(": ")[2].split() for name in (one, other)]
    runs = [
        {tuple(some[i : i + _SHARED_WORDS]) for i in range(len(some) - _SHARED_WORDS + 1)}
        for some in words
    ]
    return bool(runs[0] & runs[1])


def as_row(finding: Finding, prefixes: int) -> dict[str, Any]:
    """A finding with its rates per message."""
    return {
        "features": list(finding.features),
        "candidate_only": len(finding.candidate_only),
        "live_only": finding.live_only,
        "difference": (len(finding.candidate_only) - finding.live_only) / prefixes,
        "p_value": finding.p_value,
        "q_value": finding.q_value,
    }
