"""Rates over turns of which some were broken off."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploysim_assets.forecast.unfinished import Course, by_cluster, counts, rate

ENDED = st.builds(
    lambda met, unmet, end: Course([False] * unmet + [True] * met, end),
    st.integers(0, 6), st.integers(1, 4), st.sampled_from(["shown", "clean"]),
)  # fmt: skip


def _turn(coin: random.Random, cut: float) -> tuple[Course, bool]:
    """A turn that meets an instruction at some step, follows it with 0.3 at each of the next two
    steps, and is cut at any step with a chance; and whether it would have followed."""
    exposed: list[bool] = []
    met_at = coin.randint(1, 3)
    follows = next((met_at + i for i in range(2) if coin.random() < 0.3), None)
    length = met_at + coin.randint(2, 5)
    last = follows if follows is not None else length
    end = "clean" if follows is None else "shown"
    for step in range(last + 1):
        exposed.append(step >= met_at)
        if step < last and coin.random() < cut:
            return Course(exposed, "cut"), follows is not None
    return Course(exposed, end), follows is not None


@given(st.lists(ENDED, min_size=1, max_size=40))
def test_where_nothing_was_cut_the_rate_is_a_share(courses: list[Course]) -> None:
    assert 0 <= rate(courses) <= 1
    if all(course.end == "clean" for course in courses):
        assert rate(courses) == 0
    if all(course.end == "shown" for course in courses):
        assert rate(courses) == pytest.approx(1)


@pytest.mark.parametrize("cut", [0.0, 0.15, 0.3])
def test_what_was_cut_does_not_move_the_rate(cut: float) -> None:
    coin = random.Random(5)
    found = [_turn(coin, cut) for _ in range(6_000)]
    truth = sum(would for _, would in found) / len(found)
    courses = [course for course, _ in found]
    assert rate(courses) == pytest.approx(truth, abs=0.025)
    ended = [c for c in courses if c.end != "cut"]
    plain = sum(c.end == "shown" for c in ended) / len(ended)
    if cut == 0.3:
        assert plain > truth + 0.05, "turns that show it early are cut less often"


def test_the_interval_holds_the_truth_as_often_as_it_should() -> None:
    inside = 0
    for seed in range(60):
        coin = random.Random(seed)
        made = counts(by_cluster((str(i % 20), _turn(coin, 0.25)[0]) for i in range(100)))
        spread = 1.96 * made.sufficient.v**0.5
        inside += abs(made.sufficient.y - 0.51) <= spread
    assert inside >= 51  # of 60; the 0.1% quantile at 95% is 51


def test_counts_never_claim_more_than_the_turns_that_ended() -> None:
    cut, clean = Course([False], "cut"), Course([False, False], "clean")
    made = counts({"a": [cut] * 9, "b": [clean]})
    assert (made.asked, made.n, made.k) == (10, 1, 0)
    assert made.sufficient.n_eff == 1
    assert (made.best, made.worst) == (0, 0.9)
    assert rate([]) == 0
    assert counts({}).n == 0
