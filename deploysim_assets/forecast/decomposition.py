"""Where a forecast's error came from (statistics.md, section 6): mix shift, prefix shift, environment, grader drift, sub-sampling.

Shares are quoted only where enough pairs allow it (`PAIRS_NEEDED`): with 20 pairs the largest share ranges over half its value.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

PAIRS_NEEDED = 40
LEAST_EVENTS = 4
"""Pairs with fewer effective events at any node are left out."""

STEPS = ("mix shift", "prefix shift", "environment fidelity", "grader drift", "sub-sampling")


class Decomposition(NamedTuple):
    """Covariance of the steps without noise, and each step's share of the total; shares sum to 1."""

    covariance: NDArray[np.float64]
    shares: NDArray[np.float64]
    pairs: int

    @property
    def quotable(self) -> bool:
        return self.pairs >= PAIRS_NEEDED


def steps(rates: ArrayLike) -> NDArray[np.float64]:
    """log ratios between neighboring nodes of the chain, pairs by steps: forecast, re-weighted, fresh prefixes, production, ..."""
    return np.diff(np.log(np.asarray(rates, dtype=float)), axis=1)


def step_noise(rates: ArrayLike, covariance: ArrayLike) -> NDArray[np.float64]:
    """S = T diag(1/y) V diag(1/y) T' of one pair: the noise of its steps, which share data; V is the covariance of the node rates."""
    y, v = np.asarray(rates, dtype=float), np.asarray(covariance, dtype=float)
    relative = v / np.outer(y, y)
    t = np.diff(np.eye(len(y)), axis=0)
    return t @ relative @ t.T


def decompose(differences: ArrayLike, noise: Sequence[ArrayLike] | ArrayLike) -> Decomposition:
    """C = mean(d d') - mean(S) over pairs; the share of step j is the sum of C's row j over the sum of C.

    `differences` is pairs by steps (log ratios), `noise` one steps-by-steps covariance per pair.
    """
    d, s = np.asarray(differences, dtype=float), np.asarray(noise, dtype=float)
    covariance = np.einsum("pi,pj->ij", d, d) / len(d) - s.mean(axis=0)
    return Decomposition(covariance, covariance.sum(axis=1) / covariance.sum(), len(d))


def share_intervals(differences: ArrayLike, noise: ArrayLike, level: float = 0.9, draws: int = 2_000, seed: int = 0) -> NDArray[np.float64]:
    """Bootstrap limits of the shares over pairs, steps by (low, high)."""
    d, s = np.asarray(differences, dtype=float), np.asarray(noise, dtype=float)
    rng = np.random.default_rng(seed)
    found = np.array([decompose(d[i], s[i]).shares for i in rng.integers(0, len(d), (draws, len(d)))])
    return np.quantile(found, [(1 - level) / 2, (1 + level) / 2], axis=0).T
