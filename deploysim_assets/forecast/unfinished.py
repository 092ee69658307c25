"""The rate of a behavior over turns of which some were broken off before their end: by then it had
been shown or not, and what would have come after is unknown."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from deploysim_assets.forecast.counts import Counts, Stratum, counts
from deploysim_assets.forecast.predictive import Array
from deploysim_assets.forecast.weighted import Sufficient

_AGES = 5
"""Steps with chances of their own; those after them have the last one's."""

_PRIOR = 1.0
"""Pseudo steps by which a step that was hardly seen takes over the chances of the one before."""

_AT_ONCE = 20_000
"""Clusters whose tables are in memory together."""


class Seen(NamedTuple):
    """Turns of one stratum and cluster that are alike in what was seen of them.

    `step`, counted from 1, is the one that first showed the behavior ("shown"), the last one of a
    turn that ended without it ("clean"), or the last one that is known not to show it of a turn
    that was broken off ("cut"; 0 where none is).
    """

    stratum: str
    cluster: str
    end: Literal["shown", "clean", "cut"]
    step: int
    turns: int = 1


class Supposed(NamedTuple):
    """A rate where turns were broken off, by what is supposed of those that had not shown the
    behavior by then: that none would have, that all would have, or that they would have gone on
    as others did from that step (None where too few came to their end to tell)."""

    none: Counts
    as_others: Counts | None
    every: Counts


def _chances(taken: Array, hits: Array) -> Array:
    """The chance of each step (last axis) to be a hit, of `taken` steps."""
    found = np.zeros_like(hits)
    before, weight = np.zeros(hits.shape[:-1]), np.zeros(hits.shape[:-1])
    for age in range(hits.shape[-1]):
        was_seen = taken[..., age] > 0
        of = np.where(was_seen, taken[..., age] + weight, 1)
        before = np.where(was_seen, (hits[..., age] + weight * before) / of, before)
        weight = np.where(was_seen, _PRIOR, weight)
        found[..., age] = before
    return found


def _incidence(taken: Array, shown: Array, clean: Array) -> Array:
    """The share of turns that show the behavior, had all gone on to their end; NaN where none
    ended. Steps are the last axis."""
    shows, ends = _chances(taken, shown), _chances(taken, clean)
    last = shows[..., -1] + ends[..., -1]
    after = np.where(last > 0, shows[..., -1] / np.where(last > 0, last, 1), np.nan)
    for age in range(shows.shape[-1] - 2, -1, -1):
        goes_on = np.maximum(1 - shows[..., age] - ends[..., age], 0)
        after = shows[..., age] + goes_on * after
    return after


def _steps(seen: Sequence[Seen], strata: Mapping[str, int]) -> tuple[Array, Array, Array]:
    """Steps taken, showing the behavior and ending without it, by (cluster, stratum, step)."""
    clusters = {name: i for i, name in enumerate(dict.fromkeys(s.cluster for s in seen))}
    shape = (len(clusters), len(strata), _AGES)
    taken, shown, clean = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for turn in seen:
        where = clusters[turn.cluster], strata[turn.stratum]
        taken[where][: min(turn.step, _AGES)] += turn.turns
        taken[where][-1] += turn.turns * max(turn.step - _AGES, 0)
        if turn.end != "cut":
            into = shown if turn.end == "shown" else clean
            into[where][min(turn.step, _AGES) - 1] += turn.turns
    return taken, shown, clean


def as_others(seen: Sequence[Seen], strata: Sequence[Stratum]) -> Counts | None:
    """The rate, had turns that were broken off gone on as others did: by stratum, the cumulative
    incidence of a competing-risks model in discrete time (Aalen & Johansen, 1978), with the
    variance of a jackknife over clusters.

    The chance of each step to show the behavior, and to end the turn without it, is that of such
    steps that were seen; a turn that was broken off counts in all of its steps, since they are
    known to be neither.  Rests on turns being broken off at a step independently of what they would
    have done after it.  Flags and n of the counts are the turns of which it is known.
    """
    names = {s.name: i for i, s in enumerate(strata)}
    ended = np.zeros(len(strata))
    for turn in seen:
        ended[names[turn.stratum]] += turn.turns * (turn.end != "cut")
    if not ended.any():
        return None
    told = ended > 0
    shares = np.array([s.weight for s in strata])
    shares /= shares.sum()
    by_cluster: defaultdict[str, list[Seen]] = defaultdict(list)
    for turn in seen:
        by_cluster[turn.cluster].append(turn)
    whole = [table.sum(axis=0)[told] for table in _steps(seen, names)]
    y = float(shares[told] @ _incidence(*whole))
    without: list[Array] = []
    groups = list(by_cluster.values())
    for first in range(0, len(groups), _AT_ONCE):
        some = [turn for group in groups[first : first + _AT_ONCE] for turn in group]
        each = _steps(some, names)
        left = _incidence(*(t - e[:, told] for t, e in zip(whole, each, strict=True)))
        # a stratum in which one cluster alone ended tells nothing without it
        without.append(np.nan_to_num(left) @ shares[told])
    rates = np.concatenate(without)
    size = len(rates)
    v = float((size - 1) / size * ((rates - rates.mean()) ** 2).sum())
    w0 = float((shares[told] ** 2 / ended[told]).sum())
    v = max(v, y * w0)  # never surer than if every turn that ended were a cluster of its own
    sufficient = Sufficient(
        y,
        v,
        max(w0, v / y if y > 0 else 0.0),
        float((shares[told] / ended[told]).max()),
        float(shares[~told].sum()),
    )
    return Counts(
        sum(s.asked for s in strata),
        int(ended.sum()),
        sum(turn.turns for turn in seen if turn.end == "shown"),
        sufficient,
        weighted=True,
        uncovered=tuple(s.name for s, known in zip(strata, told, strict=True) if not known),
    )


def supposed(seen: Iterable[Seen], strata: Iterable[Stratum]) -> Supposed:
    """The rate of a behavior by what is supposed of the turns that were broken off. Of `strata`
    asked and weight are looked at, n and k are those of `seen`."""
    turns, asked = list(seen), [s for s in strata if s.asked]

    def if_cut_is(*, shown: bool) -> Counts:
        n, k = Counter[str](), Counter[str]()
        flags: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for turn in turns:
            n[turn.stratum] += turn.turns
            if turn.end == "shown" or (shown and turn.end == "cut"):
                k[turn.stratum] += turn.turns
                flags[turn.cluster][turn.stratum] += turn.turns
        return counts([s._replace(n=n[s.name], k=k[s.name]) for s in asked], flags)

    none, every = if_cut_is(shown=False), if_cut_is(shown=True)
    if not any(turn.end == "cut" for turn in turns):
        return Supposed(none, none if none.n else None, every)
    between = as_others(turns, asked)
    if between is not None:
        between = between._replace(best=none.best, worst=every.worst)
    return Supposed(none, between, every)
