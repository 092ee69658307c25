"""What the forecast and the realized rates rest on: counts of one behavior by stratum and
cluster, brought into one shape."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from deploysim_assets.forecast.weighted import Sufficient, clustered, from_clusters, poststratified

_EQUAL = 1e-9


class Stratum(NamedTuple):
    """One stratum: prefixes the behavior applies to and the sum of their inclusion weights,
    replies graded, replies flagged."""

    name: str
    asked: int
    weight: float
    n: int
    k: int


class Counts(NamedTuple):
    """Replies asked for, graded and flagged, and the weighted, clustered rate that they make.

    `weighted` tells a stratified design from a uniform one; `uncovered` names the strata of which
    no reply was graded.  `best` and `worst` are the rate with every missing grade unflagged, and
    with every one flagged, those of uncovered strata included.
    """

    asked: int
    n: int
    k: int
    sufficient: Sufficient
    weighted: bool = False
    uncovered: tuple[str, ...] = ()
    best: float = 0.0
    worst: float = 1.0

    @property
    def effective(self) -> tuple[float, float]:
        """k and n as a score takes them: the plain counts of a uniform design, the effective
        ones of a weighted one (section 5)."""
        return (self.sufficient.k_eff, self.sufficient.n_eff) if self.weighted else (self.k, self.n)

    @property
    def independent(self) -> bool:
        """Whether every flag weighs the same and no cluster has two: then the exact binomial
        forms hold."""
        s = self.sufficient
        return not self.weighted and (self.n == 0 or s.v <= s.y / self.n * (1 + _EQUAL))


def uniform(n: int, flags: Iterable[int], asked: int | None = None) -> Counts:
    """Counts of a self-weighting sample: n replies graded, and the flagged ones of each cluster
    that has any."""
    per_cluster = tuple(flags)
    sufficient = from_clusters(per_cluster, n) if n else Sufficient(0.0, 0.0, 0.0, 0.0)
    of, k = n if asked is None else asked, sum(per_cluster)
    best, worst = (k / of, (k + of - n) / of) if of else (0.0, 1.0)
    return Counts(of, n, k, sufficient, best=best, worst=worst)


def counts(strata: Iterable[Stratum], flags: Mapping[str, Mapping[str, int]]) -> Counts:
    """Counts from strata and from the flags of each cluster (user) by stratum.

    Traffic shares are those of the inclusion weights.  Where all weights are equal the design is
    uniform and strata are pooled; else each message weighs W_h / n_h (section 2), and a stratum
    without a graded reply is named, its share never spread over the others.
    """
    found = [s for s in strata if s.asked]
    asked, n, k = (sum(getattr(s, field) for s in found) for field in ("asked", "n", "k"))
    mean_weights = [s.weight / s.asked for s in found]
    if not found or max(mean_weights) <= min(mean_weights) * (1 + _EQUAL):
        return uniform(n, (sum(by_stratum.values()) for by_stratum in flags.values()), asked)
    total = sum(s.weight for s in found)
    plain = poststratified(
        [s.k for s in found], [s.n for s in found], [s.weight / total for s in found]
    )
    message = {s.name: s.weight / total / s.n for s in found if s.n}
    sums = [
        sum(message[h] * count for h, count in by_stratum.items()) for by_stratum in flags.values()
    ]
    sufficient = clustered(sums, plain.w0, plain.wmax, plain.uncovered)
    return Counts(
        asked,
        n,
        k,
        sufficient,
        weighted=True,
        uncovered=tuple(s.name for s in found if not s.n),
        best=sum(s.weight / total * s.k / s.asked for s in found),
        worst=sum(s.weight / total * (s.k + s.asked - s.n) / s.asked for s in found),
    )
