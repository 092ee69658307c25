"""Paired comparisons, the scores of distributions, and the decomposition: checked against brute
force, simulation and each other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from deploysim_assets.forecast import decomposition, scores
from deploysim_assets.forecast.blend import Change, learned_drift_sd, second_forecasts
from deploysim_assets.forecast.estimate import with_multiplicity
from deploysim_assets.forecast.paired import (
    PairStratum,
    clustered_ratio,
    clustered_sign_test,
    mcnemar_midp,
    paired_ratio,
    pairs,
)
from deploysim_assets.forecast.predictive import (
    direction_probability,
    error_model,
    kernel,
    predictive_cdf_at,
    predictive_quantile,
)
from deploysim_assets.forecast.summary import summarize
from deploysim_assets.forecast.weighted import Gamma

PRIOR = error_model().of("")
FOUR = st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30), st.integers(0, 500))


def _flags(
    stratum: str, n11: int, n10: int, n01: int, tag: str = ""
) -> dict[str, dict[str, tuple[int, int]]]:
    """Every flagged prefix a user of its own."""
    kinds = [(1, 1)] * n11 + [(1, 0)] * n10 + [(0, 1)] * n01
    return {f"{stratum}{tag}{i}": {stratum: kind} for i, kind in enumerate(kinds)}


@given(st.lists(FOUR, min_size=1, max_size=4), st.randoms())
def test_equal_weights_and_lone_prefixes_are_the_plain_paired_formulas(
    strata: list[tuple[int, int, int, int]], shuffle: object
) -> None:
    made = [
        PairStratum(f"s{i}", 2.5 * sum(four), *four) for i, four in enumerate(strata) if sum(four)
    ]
    flags = {user: by for s in made for user, by in _flags(s.name, s.n11, s.n10, s.n01).items()}
    found = pairs(made, flags)
    n11, n10, n01 = (sum(four[i] for four in strata) for i in range(3))
    assert (found.n11, found.n10, found.n01) == (n11, n10, n01)
    if made:
        assert found.largest == pytest.approx(1)
    assert clustered_ratio(found.candidate, found.live, largest=found.largest) == pytest.approx(
        paired_ratio(n11, n10, n01)
    )
    assert clustered_sign_test(
        np.round(found.candidate, 9), np.round(found.live, 9)
    ) == pytest.approx(mcnemar_midp(n10, n01))
    users = list(flags.items())
    shuffle.shuffle(users)  # type: ignore[attr-defined]
    again = pairs(made[::-1], dict(users))
    assert clustered_ratio(again.candidate, again.live) == pytest.approx(
        clustered_ratio(found.candidate, found.live)
    )


@given(FOUR, st.floats(0.1, 10))
def test_splitting_a_stratum_and_scaling_its_weights_changes_no_ratio(
    four: tuple[int, int, int, int], scale: float
) -> None:
    n11, n10, n01, n00 = four
    one = [
        PairStratum("a", 4.0 * sum(four) + 4, n11, n10, n01, n00 + 1),
        PairStratum("b", 3.0, 1, 0, 0, 2),
    ]
    flags = _flags("a", n11, n10, n01) | _flags("b", 1, 0, 0)
    whole = pairs(one, flags)
    scaled = pairs([s._replace(weight=s.weight * scale) for s in one], flags)
    assert scaled.candidate == pytest.approx(whole.candidate)
    doubled = [
        PairStratum(s.name + t, s.weight, s.n11, s.n10, s.n01, s.n00) for s in one for t in "xy"
    ]
    twice = pairs(
        doubled,
        {
            f"{user}{t}": {h + t: both for h, both in by.items()}
            for user, by in flags.items()
            for t in "xy"
        },
    )
    assert sum(twice.candidate) / twice.n == pytest.approx(sum(whole.candidate) / whole.n)
    assert twice.largest == pytest.approx(whole.largest)


def test_the_clustered_sign_test_keeps_its_size_where_mcnemar_does_not() -> None:
    rng = np.random.default_rng(5)
    wrong = np.zeros(2)
    for _ in range(400):
        sizes = 1 + rng.poisson(4, 30)  # one user's prefixes all go the same way
        signs = rng.choice([-1, 1], 30)
        up, down = sizes * (signs > 0), sizes * (signs < 0)
        wrong += [
            clustered_sign_test(up, down) < 0.05,
            mcnemar_midp(int(up.sum()), int(down.sum())) < 0.05,
        ]
    assert wrong[0] / 400 < 0.08
    assert wrong[1] / 400 > 0.2


def test_holm_tells_regressions_and_the_false_discovery_rate_lists_them() -> None:
    rows = [
        {"behavior": str(i), "paired_p": p, "paired_ratio": ratio}
        for i, (p, ratio) in enumerate([(0.001, 2.0), (0.02, 3.0), (0.001, 0.4), (0.7, 1.1)])
    ]
    adjusted = with_multiplicity([*rows, {"behavior": "ungraded"}])
    assert [r.get("regression") for r in adjusted] == [True, True, False, False, None]
    assert [round(r["paired_p_holm"], 6) for r in adjusted[:4]] == [0.004, 0.04, 0.004, 0.7]
    assert all(r["paired_q"] <= r["paired_p_holm"] + 1e-12 for r in adjusted[:4])


@settings(deadline=None, max_examples=8)
@given(st.integers(0, 30), st.integers(0, 40))
def test_the_crps_is_the_integral_over_every_count(k: int, y: int) -> None:
    gamma, messages = Gamma(k + 0.5, 1_000), 1_000
    high = predictive_quantile(0.9999, gamma, messages, PRIOR)
    top = max(high, y) + 2
    counts = np.arange(top + 1, dtype=float)
    cdf = predictive_cdf_at(counts, gamma, messages, PRIOR)
    exact = float(np.sum((cdf[:-1] - (counts[:-1] >= y)) ** 2 * np.diff(np.log(counts + 0.5))))
    assert scores.log_count_crps(
        lambda c: predictive_cdf_at(c, gamma, messages, PRIOR), y, high
    ) == pytest.approx(exact, abs=0.03, rel=0.05)


def test_the_direction_probability_is_that_of_the_simulated_world() -> None:
    rng = np.random.default_rng(6)
    gamma, before = Gamma(30.5, 10_000), Gamma(18.5, 10_000)
    weights = kernel(0, 0.4)
    delta = 0.4 * rng.standard_t(4, 200_000)
    rate = rng.gamma(gamma.shape, 1 / gamma.rate, 200_000) * np.exp(delta)
    assert direction_probability(gamma, before, weights) == pytest.approx(
        np.mean(rate > rng.gamma(before.shape, 1 / before.rate, 200_000)), abs=0.01
    )


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 60), st.integers(0, 60))
def test_the_second_forecasts_lie_between_their_witnesses_and_are_ordered(k: int, y: int) -> None:
    gamma, n = Gamma(k + 0.5, 20_000), 20_000
    found = second_forecasts(gamma, PRIOR, (y, n), kernel(0, 0.3, 3), 0.4, n)
    for name in ("blend", "drift_prior"):
        limits = [
            found[f"{name}_{q}"] for q in ("p95_low", "p80_low", "median", "p80_high", "p95_high")
        ]
        assert limits == sorted(limits)
        assert limits[2] <= 2 * (max(k, y) + 2) / n
        assert limits[2] >= min(k, y) / n / 3 - 3 / n


def test_the_drift_is_learned_from_what_production_did() -> None:
    still = learned_drift_sd([Change(400, 1e6, 410, 1e6)] * 10)
    moving = learned_drift_sd([Change(400, 1e6, 1_200, 1e6), Change(400, 1e6, 130, 1e6)] * 5)
    assert still < 0.15 < 0.8 < moving


def test_a_decomposition_finds_the_shares_that_were_put_in() -> None:
    rng = np.random.default_rng(7)
    n, pairs_of, noise = 300_000, [], []
    truth = np.array([0.15, 0.0, 0.5, 0.15])  # mix, prefix, fidelity, grader: log sd
    for _ in range(120):
        rate = np.exp(rng.uniform(np.log(2e-4), np.log(5e-3)))
        mix, fidelity, grader = (rng.normal(0, truth[i]) for i in (0, 2, 3))
        low, high = rate * np.exp(-mix), rate * np.exp(mix)
        cells = [
            decomposition.Cell(n // 2, int(rng.poisson(n / 2 * r)), share, now)
            for r, share, now in ((low, 0.5, 0.2), (high, 0.5, 0.8))
        ]
        fresh = 0.2 * low + 0.8 * high
        real = fresh * np.exp(fidelity)
        now = real * np.exp(grader)
        counts = rng.poisson([n * fresh, n * real])
        same = int(rng.binomial(counts[1], min(1, now / real)))
        extra = int(rng.poisson(n * max(0.0, now - real)))
        replayed = decomposition.Replayed(
            n, int(counts[0]), int(counts[1]), same + extra, 0, 0, same
        )
        full = (same + extra + int(rng.poisson(3 * n * now)), 4 * n)
        rates, covariance = decomposition.chain(cells, replayed, full)
        if decomposition.enough(rates, covariance):
            pairs_of.append(decomposition.steps([rates])[0])
            noise.append(decomposition.step_noise(rates, covariance))
    found = decomposition.decompose(pairs_of, noise)
    assert found.quotable
    assert found.shares.sum() == pytest.approx(1)
    assert found.shares[2] == max(found.shares)
    assert 0.55 < found.shares[2] < 1.1
    assert abs(found.shares[1]) < 0.12
    assert abs(found.shares[4]) < 0.05


def test_a_chain_of_one_cell_starts_from_the_forecast_and_names_what_is_not_enough() -> None:
    replayed = decomposition.Replayed(1_000, 10, 12, 12, 5, 5, 12)
    rates, covariance = decomposition.chain(
        [decomposition.Cell(2_000, 30, 1, 1)], replayed, (25, 2_000)
    )
    assert rates == pytest.approx([0.015, 0.015, 0.01, 0.012, 0.012, 0.0125])
    assert np.all(np.linalg.eigvalsh(covariance) > -1e-12)
    assert decomposition.enough(rates, covariance)
    few = decomposition.Replayed(1_000, 2, 12, 12, 2, 2, 12)
    assert not decomposition.enough(
        *decomposition.chain([decomposition.Cell(2_000, 30, 1, 1)], few, (25, 2_000))
    )


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=8).filter(any))
@settings(max_examples=25)
def test_the_wilcoxon_p_value_of_few_with_ties_is_scipys_to_the_bit(gains: list[int]) -> None:
    better = np.exp(np.array(gains, dtype=float) / 8)
    _, _, p = scores.skill([str(i) for i in range(len(gains))], np.ones(len(gains)), better)
    assert p == stats.wilcoxon(np.log(better)).pvalue


def test_a_summary_says_what_it_cannot_say() -> None:
    row = {
        "behavior": "b", "model_version": "m", "resolved": False, "moved": None,
        "multiplicative_error": 2.0, "noise_floor": 2.0, "in_50": True,
        "in_80": True, "in_95": True, "log_score": -1.0, "crps": 0.2, "regret": 0.1,
        "prospective": True,
    }  # fmt: skip
    found = summarize([row])
    assert (found["median_error"], found["unresolved"], found["change_correlation"]) == (
        None,
        ["m b"],
        None,
    )
    assert "intrinsic_error" not in found
    assert (found["in_95_low"], found["in_95_high"]) == pytest.approx((0.025, 1.0))
    assert found["persistence_pairs"] == 0
