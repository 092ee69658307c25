"""The simulation study, reduced: stated uncertainty is true, sampling-only intervals are not,
early stops keep their error."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from deploysim_assets.benchmarks.coverage import WORLDS, coverage, rate_grid
from deploysim_assets.forecast import (
    blend,
    decomposition,
    grader_error,
    paired,
    planner,
    sequential,
)
from deploysim_assets.forecast.predictive import error_model, kernel
from deploysim_assets.forecast.weighted import Gamma

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=20)


def test_ninety_five_percent_intervals_hold_after_one_release_and_sampling_only_ones_do_not() -> (
    None
):
    found = coverage(WORLDS["paper-like: t4, tau .47, bias sd .15"], sequences=12, releases=2)[
        "1 scored"
    ]
    # 240 forecasts: two standard errors of a true 95% are 2.8 points
    assert 0.91 <= found.levels[2] <= 0.985
    assert 0.70 <= found.levels[1] <= 0.90
    assert found.sampling_only < 0.75


def test_rate_intervals_cover_on_weighted_and_clustered_grids() -> None:
    cells = rate_grid(draws=120)
    for cell in cells:
        assert cell.gate >= 0.9, cell
        assert cell.display >= 0.87, cell
        assert cell.jeffreys >= 0.85, cell
    assert min(cell.plain for cell in cells) < 0.7, "to ignore weights or clusters is shown failing"


@given(P_VALUES)
def test_adjusted_p_values_never_fall_and_holm_is_the_stricter(p: list[float]) -> None:
    by_holm, by_bh = paired.holm(p), paired.benjamini_hochberg(p)
    assert np.all(by_holm >= np.array(p) - 1e-12)
    assert np.all(by_holm <= 1)
    assert np.all(by_bh <= by_holm + 1e-12)


def test_peeking_keeps_its_error_and_clear_cases_stop_early() -> None:
    rng, threshold = np.random.default_rng(1), 1e-3
    looks = np.arange(1, 41) * 2_500

    def decided(rate: float) -> tuple[str, int]:
        flags = np.cumsum(rng.binomial(2_500, rate, len(looks)))
        for n, k in zip(looks, flags, strict=True):
            found = sequential.decision(int(k), int(n), threshold)
            if found != "continue":
                return found, int(n)
        return "continue", int(looks[-1])

    at = [decided(threshold)[0] for _ in range(300)]
    assert at.count("under") / 300 <= 0.07
    assert at.count("over") / 300 <= 0.05
    low = [decided(threshold / 10) for _ in range(40)]
    assert {d for d, _ in low} == {"under"}
    assert np.mean([n for _, n in low]) < 0.15 * looks[-1]


@settings(deadline=None)
@given(st.integers(0, 400), st.integers(400, 5_000), st.floats(1e-4, 0.1))
def test_no_count_is_under_and_over_at_once(k: int, n: int, threshold: float) -> None:
    assume(k <= n)
    under, over = (
        sequential.e_value(k, n, threshold, rho) for rho in (sequential.UNDER, sequential.OVER)
    )
    assert under >= 0
    assert not (under >= 20 and over >= 20)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 60), st.integers(0, 60), st.integers(10_000, 200_000))
def test_a_blend_is_a_distribution_between_its_witnesses(k: int, y: int, n: int) -> None:
    both = blend.Blend((k, n), kernel(0, 0.4), (y, n), blend.drift_kernel(0.3))
    values = [both.cdf(count, n) for count in (0, 5, 50, 500, 10**6)]
    assert all(a <= b + 1e-12 for a, b in zip(values, values[1:], strict=False))
    assert values[-1] == pytest.approx(1)
    rates = both.rates(n)
    assert np.all(np.diff(rates) >= 0)
    assert min(k, y) / n / 4 - 5 / n <= rates[3] <= 4 * (max(k, y) + 2) / n


def test_a_drift_kernel_learns_from_still_releases_and_keeps_room_for_jumps() -> None:
    still = blend.learned_drift_kernel([blend.Change(1_000, 1e6, 1_010, 1e6)] * 12)
    prior = blend.learned_drift_kernel([])
    from deploysim_assets.forecast.predictive import DELTA

    near, far = np.abs(DELTA) < 0.1, np.abs(DELTA) > 2
    assert still[near].sum() > 1.5 * prior[near].sum()
    assert still[far].sum() > 0.01, "a jump stays possible"


def test_confirmed_and_corrected_rates_cover_where_seeds_resemble_positives() -> None:
    rng = np.random.default_rng(4)
    n, p, se, fpr, m1, seeds = 1_300_000, 1e-4, 0.85, 1e-4, 200, 200
    held = np.zeros(2)
    for _ in range(300):
        right, wrong = rng.binomial(int(n * p), se), rng.binomial(n, fpr)
        audited = min(m1, right + wrong)
        tp = rng.hypergeometric(right, wrong, audited)
        flags = Gamma(right + wrong + 0.5, n)
        confirmed = grader_error.confirmed_rate(flags, tp, audited)
        corrected = grader_error.corrected_rate(
            flags, tp, audited, rng.binomial(seeds, se), seeds, seeds_log_sd=0.0
        )
        held += [confirmed.low <= se * p <= confirmed.high, corrected.low <= p <= corrected.high]
    assert np.all(held / 300 > 0.91)


def test_two_stage_bounds_are_exact_and_say_how_little_is_known() -> None:
    low, high = grader_error.two_stage_bounds(200, 1_000_000, 90, 100, 0, 1_000)
    assert low < 1.8e-4 < high
    assert high > 3e-3, "an audit of a thousand without a miss bounds misses at three in a thousand"


def test_agreement_of_raters() -> None:
    assert grader_error.cohen_kappa(20, 5, 10, 15).value == pytest.approx(0.4)
    perfect = grader_error.krippendorff_alpha([[1, 1], [0, 0], [1, 1], [0, 0]])
    assert perfect.value == 1
    rng = np.random.default_rng(2)
    noise = grader_error.krippendorff_alpha(rng.integers(0, 2, (400, 2)))
    assert abs(noise.value) < 0.12
    assert noise.low < 0 < noise.high
    with_gaps = grader_error.krippendorff_alpha(
        [[1, 1, np.nan], [0, 0, 0], [1, np.nan, 1], [0, 1, 0]], draws=50
    )
    assert 0 < with_gaps.value < 1


def test_a_decomposition_finds_the_step_that_was_planted() -> None:
    rng = np.random.default_rng(3)
    sds = np.array([0.05, 0.1, 0.45, 0.1])
    noise = np.tile(np.diag([0.004, 0.01, 0.01, 0.004]), (80, 1, 1))
    d = rng.normal(0, sds, (80, 4)) + np.array(
        [rng.multivariate_normal(np.zeros(4), s) for s in noise]
    )
    found = decomposition.decompose(d, noise)
    assert found.quotable
    assert found.shares.sum() == pytest.approx(1)
    assert found.shares.argmax() == 2
    low, high = decomposition.share_intervals(d, noise, draws=300)[2]
    assert low < (sds[2] ** 2 / (sds**2).sum()) < high
    assert not decomposition.decompose(d[:20], noise[:20]).quotable


def test_the_planner_says_what_the_reference_says() -> None:
    assert [round(planner.events_needed(r), 1) for r in (1.25, 1.5, 2, 3)] == [77.1, 23.4, 8.0, 3.2]
    assert [round(planner.events_that_help(tau)) for tau in (0.5, 0.35, 0.2)] == [39, 80, 244]
    assured = [planner.events_assured(r) for r in (1.25, 1.5, 2, 3)]
    assert assured == pytest.approx([90, 30, 12.6, 5.6], rel=0.02)
    assert planner.events_assured(1.5, 3.0) == pytest.approx(3 * assured[1])
    gates = {ratio: planner.n_for_gate(1e-4, ratio) for ratio in (0.1, 0.25, 0.5, 0.67)}
    assert {ratio: (round(g.n * 1e-4, 1), g.allowed) for ratio, g in gates.items()} == {
        0.1: (4.7, 1),
        0.25: (7.8, 3),
        0.5: (19.4, 12),
        0.67: (48.7, 37),
    }
    with pytest.raises(ValueError, match="below the threshold"):
        planner.n_for_gate(1e-4, 1.0)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60), st.randoms()
)
def test_a_clustered_ratio_knows_no_order_and_single_prefixes_give_the_plain_one(
    clusters: list[tuple[int, int]], shuffle: object
) -> None:
    candidate, live = zip(*clusters, strict=True)
    found = paired.clustered_ratio(candidate, live)
    mixed = list(clusters)
    shuffle.shuffle(mixed)  # type: ignore[attr-defined]
    assert paired.clustered_ratio(*zip(*mixed, strict=True)) == pytest.approx(found)
    singles = [(min(a, 1), min(b, 1)) for a, b in clusters]
    n11, n10, n01 = (singles.count(pair) for pair in ((1, 1), (1, 0), (0, 1)))
    assert paired.clustered_ratio(*zip(*singles, strict=True)) == pytest.approx(
        paired.paired_ratio(n11, n10, n01)
    )


def test_the_prior_predictive_of_a_project_without_history_is_wide() -> None:
    weights = error_model().of("new")
    assert weights.sum() == pytest.approx(1)
