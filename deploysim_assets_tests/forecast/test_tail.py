"""Below the floor: what two-phase sampling gains, what repeats cost, and where extrapolation
must refuse."""

import numpy as np
import pytest

from deploysim_assets.forecast import tail
from deploysim_assets.forecast.weighted import poststratified


def test_neyman_allocation_keeps_its_proportional_part_and_estimates_without_bias() -> None:
    shares, rates = np.array([0.9, 0.09, 0.01]), np.array([1e-5, 1e-3, 5e-2])
    allotted = tail.neyman_allocation(shares, rates, 100_000)
    assert allotted.sum() == pytest.approx(100_000)
    assert np.all(allotted >= 0.3 * shares * 100_000)
    assert (shares / allotted).max() * 100_000 <= 1 / 0.3 + 1e-9, "the largest weight is bounded"
    rng = np.random.default_rng(1)
    sizes = allotted.astype(int)
    two_phase = [poststratified(rng.binomial(sizes, rates), sizes, shares).y for _ in range(2_000)]
    plain = rng.binomial(100_000, shares @ rates, 2_000) / 100_000
    assert np.mean(two_phase) == pytest.approx(shares @ rates, rel=0.02)
    assert np.var(plain) / np.var(two_phase) == pytest.approx(
        tail.variance_gain(shares, rates), rel=0.15
    )
    assert tail.variance_gain(shares, rates) > 1.5


def test_repeats_of_a_prefix_tell_less_than_new_prefixes() -> None:
    rng = np.random.default_rng(2)
    propensity = rng.beta(0.5, 4.5, 4_000)
    flags = rng.binomial(10, propensity)
    icc = tail.intraclass_correlation(flags, 10)
    assert icc == pytest.approx(1 / 6, abs=0.02)  # of Beta(a, b): 1 / (a + b + 1)
    means = [rng.binomial(10, rng.beta(0.5, 4.5, 100)).mean() / 10 for _ in range(4_000)]
    assert np.var(means) / (0.1 * 0.9 / 1_000) == pytest.approx(
        tail.repeat_factor(10, icc), rel=0.1
    )


def test_extrapolation_holds_on_a_smooth_tail_and_refuses_where_there_is_none() -> None:
    rng = np.random.default_rng(3)
    psi = rng.gumbel(-2.5, 0.35, 100_000)
    p = np.exp(-np.exp(-psi))
    seen = p[:10_000]
    found = tail.extrapolated_worst(seen, 10_000, 100_000)
    assert found is not None
    assert p.max() / 10 < found.worst < 10 * p.max()
    assert tail.extrapolated_worst(seen[:5], 5, 100) is None
    assert tail.extrapolated_worst([0.5] * 20, 20, 100) is None
