"""The rate of a behavior over turns of which some were broken off: by then it had been shown or
not, and what would have come after is unknown."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

from deploysim_assets.forecast.counts import Counts
from deploysim_assets.forecast.weighted import Sufficient

_OLDEST = 4
_PRIOR = 1.0


class Course(NamedTuple):
    """What is known of one turn. `exposed[i]` tells whether what may bring the behavior about had
    been met before step i; `end` is what the last step was: the behavior (first shown there), the
    end of the turn without it, or neither ("cut": what came after is unknown)."""

    exposed: Sequence[bool]
    end: Literal["shown", "clean", "cut"]


_Age = tuple[bool, int]


def _ages(exposed: Sequence[bool]) -> list[_Age]:
    """Each step with the number of steps before it since exposure, or since the beginning where
    there was none yet."""
    since: Counter[bool] = Counter()
    found: list[_Age] = []
    for met in exposed:
        found.append((met, min(since[met], _OLDEST)))
        since[met] += 1
    return found


class _Steps(NamedTuple):
    """Steps by age: how many, how many of them showed the behavior, ended clean; and of those not
    exposed that went on, how many then were. `began` counts turns by whether they began exposed."""

    taken: Counter[_Age]
    shown: Counter[_Age]
    clean: Counter[_Age]
    went_on: Counter[int]
    met: Counter[int]
    began: Counter[bool]


def _counted(courses: Iterable[Course]) -> _Steps:
    found = _Steps(*(Counter[Any]() for _ in range(6)))
    for course in courses:
        ages = _ages(course.exposed)
        found.taken.update(ages)
        found.began[course.exposed[0]] += 1
        if course.end != "cut":
            (found.shown if course.end == "shown" else found.clean)[ages[-1]] += 1
        for (met, age), (then, _) in pairwise(ages):
            if not met:
                found.went_on[age] += 1
                found.met[age] += then
    return found


def _smoothed(hits: int, of: int, prior: float, weight: float) -> float:
    return (hits + weight * prior) / (of + weight)


def rate(courses: Iterable[Course]) -> float:
    """The share of turns that show the behavior, had all gone on to their end: the cumulative
    incidence of a competing-risks model in discrete time (Aalen & Johansen, 1978).

    The chance of each step to show it, and to be the last, is that of the steps of its age which
    were seen; a turn that was cut counts in all of its steps, since its last one is known to be
    neither. An age that was hardly seen takes over from the one before (one pseudo step). Rests on
    turns being cut at a step independently of what they would have done after it.
    """
    steps = _counted(courses)
    if not steps.taken:
        return 0.0

    def hazards(met: bool) -> list[tuple[float, float]]:
        found: list[tuple[float, float]] = []
        before, weight = (0.0, 0.0), 0.0
        for age in range(_OLDEST + 1):
            of = steps.taken[met, age]
            hits = steps.shown[met, age], steps.clean[met, age]
            if of:
                before = (_smoothed(hits[0], of, before[0], weight),
                          _smoothed(hits[1], of, before[1], weight))  # fmt: skip
                weight = _PRIOR
            found.append(before)
        return found

    exposed, unexposed = hazards(True), hazards(False)
    meeting, share, weight = list[float](), 0.0, 0.0
    for age in range(_OLDEST + 1):
        if of := steps.went_on[age]:
            share, weight = _smoothed(steps.met[age], of, share, weight), _PRIOR
        meeting.append(share)
    shown, clean = exposed[-1]
    after = shown / (shown + clean) if shown + clean else 0.0
    for shown, clean in reversed(exposed[:-1]):
        after = shown + (1 - shown - clean) * after
    (shown, clean), met = unexposed[-1], meeting[-1]
    stays = (1 - shown - clean) * (1 - met)
    whole = (shown + (1 - shown - clean) * met * after) / (1 - stays) if stays < 1 else 0.0
    for (shown, clean), met in zip(reversed(unexposed[:-1]), reversed(meeting[:-1]), strict=True):
        whole = shown + (1 - shown - clean) * (met * after + (1 - met) * whole)
    began = steps.began
    return (began[True] * after + began[False] * whole) / began.total()


def counts(courses: Mapping[str, Sequence[Course]]) -> Counts:
    """The courses of each cluster as a forecast takes them: their rate, with the variance of a
    jackknife over clusters."""
    every = [course for those in courses.values() for course in those]
    asked, ended = len(every), sum(course.end != "cut" for course in every)
    shown = sum(course.end == "shown" for course in every)
    y = rate(every)
    without: list[float] = []
    for cluster in courses:
        others = [c for name, those in courses.items() if name != cluster for c in those]
        without.append(rate(others))
    size = len(without)
    mean = sum(without) / size if size else 0.0
    v = (size - 1) / size * sum((x - mean) ** 2 for x in without) if size > 1 else 0.0
    each = 1 / max(ended, 1)
    floor = y * each  # never surer than if every ended turn were one of its own
    return Counts(
        asked,
        ended,
        shown,
        Sufficient(y, max(v, floor), each, each),
        weighted=True,
        best=shown / asked if asked else 0.0,
        worst=(shown + asked - ended) / asked if asked else 1.0,
    )


def by_cluster(found: Iterable[tuple[str, Course]]) -> dict[str, list[Course]]:
    """Courses with the cluster of each, gathered."""
    clusters: defaultdict[str, list[Course]] = defaultdict(list)
    for cluster, course in found:
        clusters[cluster].append(course)
    return dict(clusters)
