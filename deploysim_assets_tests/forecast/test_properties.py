"""What must hold of the statistics whatever the numbers."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from deploysim_assets.forecast import blend, rates, scores, weighted
from deploysim_assets.forecast.counts import Stratum, counts, uniform
from deploysim_assets.forecast.estimate import Baselines, Errors, estimate, rate_row, score
from deploysim_assets.forecast.paired import Pairs
from deploysim_assets.forecast.predictive import (
    Scored,
    error_model,
    predictive_cdf,
    predictive_quantile,
)
from deploysim_assets.forecast.summary import summarize
from deploysim_assets.forecast.weighted import Gamma

COUNTS = st.integers(1, 200_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
INTERVALS = [rates.clopper_pearson, rates.midp_interval, rates.jeffreys_interval, rates.garwood]
PRIOR = error_model().of("")
ERRORS = Errors(PRIOR, blend.drift_kernel(), blend.DRIFT_SCALE)


@given(COUNTS, st.sampled_from(INTERVALS))
def test_an_interval_holds_the_rate_and_grows_with_the_level(
    kn: tuple[int, int], interval: object
) -> None:
    k, n = kn
    inner, outer = interval(k, n, 0.8), interval(k, n, 0.95)  # type: ignore[operator]
    slack = 1e-9 * (1 + k / n)
    assert outer[0] <= inner[0] + slack <= k / n + 2 * slack
    assert k / n - 2 * slack <= inner[1] <= outer[1] + slack


@given(COUNTS, st.sampled_from(INTERVALS))
def test_limits_rise_with_the_count(kn: tuple[int, int], interval: object) -> None:
    k, n = kn
    assume(k < n)
    low, high = interval(k, n)  # type: ignore[operator]
    next_low, next_high = interval(k + 1, n)  # type: ignore[operator]
    assert low <= next_low + 1e-12
    assert high <= next_high + 1e-12


@given(st.lists(st.integers(1, 4), max_size=40), st.integers(200, 100_000))
def test_equal_weights_without_clusters_are_the_plain_formulas(flags: list[int], n: int) -> None:
    k = len(flags)
    s = weighted.from_clusters([1] * k, n)
    gamma = weighted.weighted_jeffreys(s.y, s.v, s.wmax)
    assert gamma == pytest.approx(Gamma(k + 0.5, n))
    assert weighted.fay_feuer(s.y, s.v, s.wmax) == pytest.approx(rates.garwood(k, n))
    row = rate_row(uniform(n, [1] * k))
    assert (row["low"], row["high"]) == rates.midp_interval(k, n)


@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=30), st.integers(1_000, 100_000), st.randoms()
)
def test_clusters_know_no_order_and_only_widen(flags: list[int], n: int, shuffle: object) -> None:
    row = rate_row(uniform(n, tuple(flags)))
    shuffled = list(flags)
    shuffle.shuffle(shuffled)  # type: ignore[attr-defined]
    again = rate_row(uniform(n, tuple(shuffled)))
    assert {k: v for k, v in again.items() if k != "uncovered"} == pytest.approx(
        {k: v for k, v in row.items() if k != "uncovered"}
    )
    independent = rate_row(uniform(n, (1,) * sum(flags)))
    assert row["high"] >= independent["high"] * 0.98  # a gamma beside an exact binomial
    assert row["rate"] == independent["rate"]


@given(
    st.lists(
        st.tuples(st.integers(0, 20), st.integers(0, 500), st.floats(0.01, 1)),
        min_size=1,
        max_size=8,
    ),
)
def test_splitting_a_stratum_without_new_data_changes_nothing(
    strata: list[tuple[int, int, float]],
) -> None:
    assume(all(k <= n for k, n, _ in strata))
    k, n, w = (np.array(x, dtype=float) for x in zip(*strata, strict=True))
    w /= w.sum()
    whole = weighted.poststratified(k, n, w)
    # a stratum cut in two equal halves, each with its share of messages, flags and traffic
    halves = weighted.poststratified(np.repeat(k / 2, 2), np.repeat(n / 2, 2), np.repeat(w / 2, 2))
    assert halves.y == pytest.approx(whole.y)
    assert halves.v == pytest.approx(whole.v)
    assert halves.uncovered == pytest.approx(whole.uncovered)


def test_an_uncovered_stratum_is_named_and_its_share_is_not_spread() -> None:
    s = weighted.poststratified([2, 0], [100, 0], [0.6, 0.4])
    assert s.uncovered == pytest.approx(0.4)
    assert s.y == pytest.approx(0.6 * 0.02)


@settings(deadline=None)
@given(st.integers(0, 300), st.integers(1_000, 500_000), st.integers(1_000, 500_000))
def test_the_predictive_is_a_distribution_and_its_quantiles_invert_it(
    k: int, n: int, messages: int
) -> None:
    gamma = Gamma(k + 0.5, n)
    values = [predictive_cdf(y, gamma, messages, PRIOR) for y in (-1, 0, 1, 5, 50, 10**4, 10**9)]
    assert values[0] == 0
    assert all(a <= b + 1e-12 for a, b in zip(values, values[1:], strict=False))
    assert values[-1] == pytest.approx(1, abs=1e-3)
    for q in (0.025, 0.5, 0.975):
        y = predictive_quantile(q, gamma, messages, PRIOR)
        assert predictive_cdf(y, gamma, messages, PRIOR) >= q
        assert y == 0 or predictive_cdf(y - 1, gamma, messages, PRIOR) < q


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 60), st.integers(0, 60)), max_size=6),
    st.randoms(),
)
def test_the_error_model_knows_no_order_of_its_history(
    history: list[tuple[str, int, int]], shuffle: object
) -> None:
    pairs = [Scored(c, k + 0.5, 10_000, y, 10_000) for c, k, y in history]
    first = error_model(pairs)
    shuffle.shuffle(pairs)  # type: ignore[attr-defined]
    again = error_model(pairs)
    for category in ("a", "b", "c"):
        assert again.of(category) == pytest.approx(first.of(category), abs=1e-12)
        assert first.of(category).sum() == pytest.approx(1)


def test_the_prior_reproduces_the_published_error() -> None:
    """statistics.md, section 4: e^|delta| has median 1.55x, 80% 2.6x, 95% 6.3x; beyond 10x 2.7%."""
    from deploysim_assets.forecast.predictive import DELTA

    size = np.exp(np.abs(DELTA))
    order = size.argsort()
    cumulative = np.cumsum(PRIOR[order])
    median, q80, q95 = (size[order][np.searchsorted(cumulative, q)] for q in (0.5, 0.8, 0.95))
    assert (median, q80, q95) == pytest.approx((1.55, 2.6, 6.3), rel=0.03)
    assert PRIOR[size > 10].sum() == pytest.approx(0.027, abs=0.003)


@given(COUNTS, COUNTS)
def test_the_multiplicative_error_is_symmetric_and_at_least_one(
    a: tuple[int, int], b: tuple[int, int]
) -> None:
    error = scores.multiplicative_error(*a, *b)
    assert error >= 1
    assert error == pytest.approx(scores.multiplicative_error(*b, *a))


def test_a_behavior_without_a_graded_message_has_no_rate_and_no_gate() -> None:
    row = estimate(uniform(0, ()), ERRORS, 1000, Baselines(), None, 0.01)
    assert (row["rate"], row["gate"]) == (None, "not graded")
    assert "forecast_median" not in row


def test_a_gate_needs_both_the_bound_and_the_future_rate() -> None:
    def gate(k: int, n: int, threshold: float) -> str:
        return estimate(uniform(n, (1,) * k), ERRORS, n, Baselines((k, n)), None, threshold)["gate"]

    assert gate(2, 100_000, 1e-3) == "pass"
    assert gate(200, 100_000, 1e-3) == "fail"
    assert gate(0, 1_000, 1e-3) == "fail", (
        "nothing seen in a thousand messages excludes no rate of 1e-3"
    )
    assert gate(50_000, 100_000_000, 1e-3) == "fail", (
        "the rate is half the threshold, but production may be twice the simulation"
    )


def test_a_score_takes_the_intervals_at_the_messages_that_production_had() -> None:
    estimated = estimate(
        uniform(10_000, (1,) * 40),
        ERRORS,
        10_000,
        Baselines((10, 10_000)),
        Pairs(10_000, 5, 35, 5, (1.0,) * 40 + (0.0,) * 5, (1.0,) * 5 + (0.0,) * 35 + (1.0,) * 5),
        None,
    )
    hit = score(estimated, rate_row(uniform(2_000, (1,) * 9)), ERRORS)
    assert hit["in_50"]
    assert hit["in_95"]
    assert hit["moved"]
    assert hit["direction_right"] is True
    assert hit["persistence_error"] > hit["multiplicative_error"]
    miss = score(estimated, rate_row(uniform(2_000, (1,) * 500)), ERRORS)
    assert not miss["in_95"]
    assert miss["log_score"] < hit["log_score"]
    whole = summarize(
        [
            r | {"prospective": True, "model_version": "m", "behavior": b}
            for b, r in (("x", hit), ("y", miss))
        ]
    )
    assert (whole["behaviors"], whole["in_95"], whole["moved"]) == (2, 1, 2)


STRATA = st.lists(
    st.tuples(st.integers(0, 40), st.integers(1, 2_000), st.floats(0.05, 20)),
    min_size=2,
    max_size=6,
)


@given(STRATA, st.randoms())
def test_a_weighted_rate_is_of_the_traffic_and_knows_no_order(
    strata: list[tuple[int, int, float]], shuffle: object
) -> None:
    assume(all(k <= n for k, n, _ in strata))
    made = [Stratum(f"s{i}", n, n * w, n, k) for i, (k, n, w) in enumerate(strata)]
    flags = {f"u{i}-{j}": {s.name: 1} for i, s in enumerate(made) for j in range(s.k)}
    found = counts(made, flags)
    weights = [w for _, _, w in strata]
    assert found.sufficient.y == pytest.approx(
        sum(k * w for k, _, w in strata) / sum(n * w for _, n, w in strata)
    )
    shuffle.shuffle(made)  # type: ignore[attr-defined]
    again = counts(made, flags)
    assert again.sufficient == pytest.approx(found.sufficient)
    scaled = counts([s._replace(weight=s.weight * 7) for s in made], flags)
    assert scaled.sufficient == pytest.approx(found.sufficient), (
        "the unit of the weights changes nothing"
    )
    assert found.weighted == (max(weights) > min(weights) * (1 + 1e-9))
    low, high = (rate_row(found)[end] for end in ("low", "high"))
    assert low <= found.sufficient.y * (1 + 1e-9) + 1e-12
    assert high >= found.sufficient.y * (1 - 1e-9)


@given(STRATA)
def test_equal_weights_are_the_uniform_design_whatever_the_strata(
    strata: list[tuple[int, int, float]],
) -> None:
    assume(all(k <= n for k, n, _ in strata))
    made = [Stratum(f"s{i}", n, 3.0 * n, n, k) for i, (k, n, _) in enumerate(strata)]
    flags = {f"u{i}-{j}": {s.name: 1} for i, s in enumerate(made) for j in range(s.k)}
    n, k = sum(s.n for s in made), sum(s.k for s in made)
    row, plain = rate_row(counts(made, flags)), rate_row(uniform(n, [1] * k))
    assert (row["rate"], row["low"], row["high"]) == (plain["rate"], plain["low"], plain["high"])


def test_a_stratum_without_a_grade_is_named_and_the_gate_takes_its_worst() -> None:
    found = counts(
        [Stratum("web", 9_000, 9_000.0, 9_000, 0), Stratum("api", 100, 1_000.0, 0, 0)], {}
    )
    assert found.uncovered == ("api",)
    row = estimate(found, ERRORS, 10_000, Baselines(), None, 0.05)
    assert row["gate"] == "fail"
    assert row["gate_upper"] > 0.1
    assert row["rate"] == 0
    assert row["rate_worst"] == pytest.approx(0.1), "a tenth of the traffic, of which none is known"
    assert row["rate_best"] == 0


@given(
    st.lists(
        st.tuples(st.integers(1, 50), st.floats(0, 1), st.floats(0, 1), st.floats(0.5, 20)),
        min_size=1,
        max_size=5,
    ),
    st.floats(0, 1),
)
def test_whatever_the_missing_grades_were_the_rate_lies_between_best_and_worst(
    strata: list[tuple[int, float, float, float]], share: float
) -> None:
    made: list[Stratum] = []
    for i, (asked, graded, flagged, weight) in enumerate(strata):
        n = round(asked * graded)
        made.append(Stratum(f"s{i}", asked, weight * asked, n, round(n * flagged)))
    flags = {f"u{s.name}{j}": {s.name: 1} for s in made for j in range(s.k)}
    row = rate_row(counts(made, flags))
    total = sum(s.weight for s in made)
    truth = sum(s.weight / total * (s.k + round(share * (s.asked - s.n))) / s.asked for s in made)
    assert row["rate_best"] - 1e-9 <= truth <= row["rate_worst"] + 1e-9
