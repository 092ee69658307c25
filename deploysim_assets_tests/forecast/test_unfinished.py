"""Rates over turns of which some were broken off."""

import random
from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploysim_assets.forecast.counts import Stratum, uniform
from deploysim_assets.forecast.estimate import rate_row
from deploysim_assets.forecast.unfinished import Seen, Supposed, supposed
from deploysim_assets.forecast.weighted import midp_gamma

STEP = st.integers(1, 9)
CLUSTER = st.sampled_from("abcdef")
ONE = st.just(1)
ENDED = st.builds(Seen, st.just(""), CLUSTER, st.sampled_from(["shown", "clean"]), STEP, ONE)
CUT = st.builds(Seen, st.just(""), CLUSTER, st.just("cut"), st.integers(0, 9), ONE)


def _supposed(seen: Iterable[Seen]) -> Supposed:
    found = list(seen)
    n = Counter[str]()
    for turn in found:
        n[turn.stratum] += turn.turns
    return supposed(found, [Stratum(name, asked, float(asked), 0, 0) for name, asked in n.items()])


def _turn(coin: random.Random, cut: float, cluster: str) -> tuple[Seen, bool]:
    """A turn that meets an instruction at some step, follows it with 0.3 at each of the next two
    steps, and is broken off at any step with a chance; and whether it would have followed."""
    met_at = coin.randint(1, 3)
    follows = next((met_at + i for i in range(2) if coin.random() < 0.3), None)
    last = follows or met_at + coin.randint(2, 5)
    for step in range(1, last):
        if coin.random() < cut:
            return Seen("", cluster, "cut", step), follows is not None
    end = "shown" if follows else "clean"
    return Seen("", cluster, end, last), follows is not None


@given(st.lists(ENDED, min_size=1, max_size=40))
def test_where_nothing_was_broken_off_there_is_nothing_to_suppose(seen: list[Seen]) -> None:
    found = _supposed(seen)
    flags = Counter(turn.cluster for turn in seen if turn.end == "shown")
    assert found.none == found.as_others == found.every
    assert found.none == uniform(len(seen), flags.values(), len(seen))


@given(st.lists(ENDED, max_size=30), st.lists(CUT, min_size=1, max_size=30))
def test_the_bounds_are_what_breaking_off_can_hide(ended: list[Seen], cut: list[Seen]) -> None:
    found = _supposed([*ended, *cut])
    shown, n = sum(turn.end == "shown" for turn in ended), len(ended) + len(cut)
    assert (found.none.k, found.every.k, found.none.n) == (shown, shown + len(cut), n)
    assert found.none.sufficient.y <= found.every.sufficient.y
    low, high = rate_row(found.none)["low"], rate_row(found.every)["high"]
    for would_show in (0, len(cut) // 2, len(cut)):
        assert low <= (shown + would_show) / n <= high
    if not ended:
        assert found.as_others is None
        return
    assert found.as_others is not None
    assert (found.as_others.n, found.as_others.k) == (len(ended), shown)
    assert (found.as_others.best, found.as_others.worst) == (shown / n, (shown + len(cut)) / n)
    assert 0 <= found.as_others.sufficient.y <= 1


@pytest.mark.parametrize("cut", [0.0, 0.15, 0.3])
def test_being_broken_off_whatever_comes_does_not_move_the_rate(cut: float) -> None:
    coin = random.Random(5)
    found = [_turn(coin, cut, str(i % 50)) for i in range(6_000)]
    truth = sum(would for _, would in found) / len(found)
    made = _supposed(turn for turn, _ in found)
    assert made.as_others is not None
    assert made.as_others.sufficient.y == pytest.approx(truth, abs=0.025)
    ended = [turn for turn, _ in found if turn.end != "cut"]
    known = sum(turn.end == "shown" for turn in ended) / len(ended)
    if cut == 0.3:
        assert known > truth + 0.05, "turns that show it early are broken off less often"


def test_the_interval_holds_the_truth_as_often_as_it_should() -> None:
    inside = 0
    for seed in range(60):
        coin = random.Random(seed)
        made = _supposed(_turn(coin, 0.25, str(i % 20))[0] for i in range(100)).as_others
        assert made is not None
        low, high = midp_gamma(*made.sufficient[:2], made.sufficient.wmax)
        inside += low <= 0.51 <= high
    assert inside >= 51  # of 60; the 0.1% quantile at 95% is 51


def test_chances_are_those_of_the_stratum() -> None:
    """Broken-off turns of a stratum that always shows it are taken to show it, however many turns
    of the other one are clean; a stratum in which none ended is named, its share never spread."""
    seen = [
        Seen("calls", "a", "shown", 2, 5),
        Seen("calls", "b", "cut", 1, 5),
        Seen("talks", "c", "clean", 1, 80),
    ]
    found = _supposed(seen).as_others
    assert found is not None
    assert found.sufficient.y == pytest.approx(10 / 90)
    found = _supposed([*seen, Seen("new", "d", "cut", 3, 10)]).as_others
    assert found is not None
    assert (found.uncovered, found.sufficient.uncovered) == (("new",), pytest.approx(0.1))
    assert found.sufficient.y == pytest.approx(10 / 100)


def test_counts_never_claim_more_than_the_turns_that_ended() -> None:
    seen = [Seen("", "a", "cut", 1, 9), Seen("", "b", "clean", 2)]
    made = _supposed(seen)
    assert made.as_others is not None
    assert (made.as_others.asked, made.as_others.n, made.as_others.k) == (10, 1, 0)
    assert made.as_others.sufficient.n_eff == 1
    assert (made.as_others.best, made.as_others.worst) == (0, 0.9)
    nothing = supposed([], [])
    assert nothing.as_others is None
    assert nothing.every.n == 0
