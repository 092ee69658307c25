"""What a candidate does that the live model did not, on the same prefixes: exact paired tests
with false-discovery control."""

from collections.abc import Mapping, Sequence
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
    """Features that go together, the strongest first; prefixes that show one of them for the
    candidate alone, and for the live model alone."""

    features: tuple[str, ...]
    candidate_only: tuple[str, ...]
    live_only: int
    p_value: float
    q_value: float

    @property
    def more(self) -> bool:
        return len(self.candidate_only) > self.live_only


def findings(
    candidate_only: Mapping[str, Sequence[str]],
    live_only: Mapping[str, int],
    rate: float = 0.05,
    least: int = 6,
) -> list[Finding]:
    """Findings at a false-discovery rate, most telling first.

    For each feature `candidate_only` lists the prefixes that show it for the candidate alone,
    `live_only` counts those for the live model alone.  Features with fewer than `least` discordant
    prefixes cannot reach significance and are not tested.  Features that show on much the same
    prefixes are one finding.
    """
    names = [
        name
        for name in {*candidate_only, *live_only}
        if len(candidate_only.get(name, ())) + live_only.get(name, 0) >= least
    ]
    if not names:
        return []
    names.sort()
    n10: NDArray[np.int64] = np.array([len(candidate_only.get(name, ())) for name in names])
    n01: NDArray[np.int64] = np.array([live_only.get(name, 0) for name in names])
    p = np.minimum(1.0, 2 * stats.binom.cdf(np.minimum(n10, n01), n10 + n01, 0.5))
    q = benjamini_hochberg(p)
    order = np.lexsort((-(n10 - n01), p))
    found: list[Finding] = []
    taken: list[set[str]] = []
    for i in map(int, order):
        if q[i] > rate:
            continue
        mine = set(candidate_only.get(names[i], ()))
        home = next(
            (
                j
                for j, others in enumerate(taken)
                if found[j].more == bool(n10[i] > n01[i]) and _together(mine, others)
            ),
            None,
        )
        if home is None:
            found.append(
                Finding((names[i],), tuple(sorted(mine)), int(n01[i]), float(p[i]), float(q[i]))
            )
            taken.append(mine)
        else:
            found[home] = found[home]._replace(features=(*found[home].features, names[i]))
    return found


def _together(one: set[str], other: set[str]) -> bool:
    """Whether two features show on much the same prefixes."""
    if not one or not other:
        return False
    return len(one & other) >= 0.5 * min(len(one), len(other))


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
