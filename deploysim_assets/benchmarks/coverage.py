"""Coverage of forecast intervals over simulated worlds, and of rate intervals on weighted and
clustered grids. Seeds are fixed.

python -m deploysim_assets.benchmarks.coverage [--sequences 40] [--plot coverage.png]
"""

# pyright: reportUnknownArgumentType=false, reportUnknownVariableType=false

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from scipy import stats

from deploysim_assets.forecast.counts import Stratum, counts
from deploysim_assets.forecast.predictive import Array, Scored, error_model, predictive_cdf
from deploysim_assets.forecast.rates import clopper_pearson
from deploysim_assets.forecast.weighted import (
    Gamma,
    fay_feuer,
    from_clusters,
    midp_gamma,
    weighted_jeffreys,
)
from deploysim_assets.report.tables import console, rich_table

LEVELS = (0.5, 0.8, 0.95)
SCORED = ("0 scored", "1 scored", "4-8 scored")
_CATEGORIES, _RELEASES = 20, 9


class World(NamedTuple):
    """How far simulation is from production: a draw of delta per category and release, given the
    category's bias and the release's shock."""

    bias_sd: float
    error: Callable[[Generator, int], Array]
    shock_sd: float = 0.0
    bias_mean: float = 0.0


def _t4(scale: float) -> Callable[[Generator, int], Array]:
    def draw(rng: Generator, size: int) -> Array:
        return scale * rng.standard_t(4, size)

    return draw


def _normal(rng: Generator, size: int) -> Array:
    return rng.normal(0, 0.5, size)


def _with_outliers(rng: Generator, size: int) -> Array:
    return np.where(rng.random(size) < 0.1, rng.normal(0, 1.2, size), rng.normal(0, 0.3, size))


WORLDS = {
    "paper-like: t4, tau .47, bias sd .15": World(0.15, _t4(0.47)),
    "normal tau .5, category bias sd .3": World(0.3, _normal),
    "t4 tau .45, bias .25, release shock .25": World(0.25, _t4(0.45), shock_sd=0.25),
    "10% outliers (sd 1.2), global bias -.2": World(0.0, _with_outliers, bias_mean=-0.2),
    "excellent simulator, tau .15": World(0.0, _t4(0.15)),
    "poor simulator, tau 1.0": World(0.0, _t4(1.0)),
}


class Tried(NamedTuple):
    """One forecast and its outcome: releases scored before, F(y - 1) and F(y), and whether the
    sampling-only 95% interval held."""

    scored: int
    below: float
    at: float
    sampling_held: bool


def _rates(rng: Generator) -> Array:
    return np.exp(rng.uniform(np.log(5e-6), np.log(5e-3), _CATEGORIES))


def sequence(world: World, seed: int, releases: int = _RELEASES) -> list[Tried]:
    """Forecast and score a project's releases in turn: each one's reports teach the next one's
    error model."""
    rng = np.random.default_rng(seed)
    bias = rng.normal(world.bias_mean, world.bias_sd, _CATEGORIES)
    history: list[Scored] = []
    tried: list[Tried] = []
    for release in range(releases):
        n, m = int(np.exp(rng.uniform(np.log(3e4), np.log(1.3e6)))), int(rng.uniform(2e5, 1e6))
        truth = _rates(rng)
        delta = bias + world.error(rng, _CATEGORIES) + rng.normal(0, world.shock_sd)
        k, y = rng.poisson(n * truth), rng.poisson(np.minimum(m * truth * np.exp(delta), m))
        model = error_model(history)
        for c in range(_CATEGORIES):
            gamma, weights = Gamma(k[c] + 0.5, float(n)), model.of(str(c))
            at, below = (predictive_cdf(v, gamma, m, weights) for v in (y[c], y[c] - 1))
            alone = stats.nbinom(gamma.shape, gamma.rate / (gamma.rate + m))
            held = bool(alone.cdf(y[c]) >= 0.025 and alone.cdf(y[c] - 1) < 0.975)
            tried.append(Tried(release, below, at, held))
        history += [
            Scored(str(c), k[c] + 0.5, float(n), float(y[c]), float(m)) for c in range(_CATEGORIES)
        ]
    return tried


def _group(scored: int) -> str | None:
    return (
        SCORED[0]
        if scored == 0
        else SCORED[1]
        if scored == 1
        else SCORED[2]
        if 4 <= scored <= 8
        else None
    )


class Coverage(NamedTuple):
    """Coverage of the 50, 80 and 95% intervals by the randomized PIT, of the sampling-only 95%
    interval, and the PIT values."""

    forecasts: int
    levels: tuple[float, ...]
    sampling_only: float
    pit: Array


def coverage(world: World, sequences: int, releases: int = _RELEASES) -> dict[str, Coverage]:
    """Coverage by the number of releases scored before."""
    tried = [t for seed in range(sequences) for t in sequence(world, seed, releases)]
    found: dict[str, Coverage] = {}
    for name in SCORED:
        mine = [t for t in tried if _group(t.scored) == name]
        if not mine:
            continue
        below, at = (np.array([getattr(t, field) for t in mine]) for field in ("below", "at"))
        pit = below + np.random.default_rng(99).random(len(mine)) * (at - below)
        inside = tuple(float(np.mean(np.abs(pit - 0.5) <= level / 2)) for level in LEVELS)
        found[name] = Coverage(
            len(mine), inside, float(np.mean([t.sampling_held for t in mine])), pit
        )
    return found


class Cell(NamedTuple):
    """One cell of a grid of rate intervals: its name, the expected events, and the coverage of 95%
    intervals.

    `display` is mid-P gamma, `gate` Fay-Feuer, `jeffreys` what enters a forecast; `plain` ignores
    weights and clusters, for contrast.
    """

    name: str
    events: float
    display: float
    gate: float
    jeffreys: float
    plain: float


def rate_grid(draws: int = 2_000) -> list[Cell]:
    """Coverage of the display (mid-P gamma) and gate (Fay-Feuer) intervals on weighted strata
    and on clusters."""
    cells: list[Cell] = []
    designs = {
        "proportional": (0.5, 0.3, 0.2),
        "moderate": (0.3, 0.3, 0.4),
        "risk oversampled": (0.34, 0.33, 0.33),
        "adverse": (0.15, 0.35, 0.5),
    }
    share = np.array([0.7, 0.25, 0.05])
    for name, drawn in designs.items():
        allotted = share if name == "proportional" else 0.3 * share + 0.7 * np.array(drawn)
        for n, base in ((10_000, 1e-3), (100_000, 1e-4), (100_000, 1e-3)):
            rates = base * np.array([0.6, 1.0, 6.0])
            cells.append(
                _weighted_cell(f"weighted, {name}, n {n:,}", share, allotted, n, rates, draws)
            )
    for size in (1, 3, 10):
        for n, rate in ((20_000, 5e-4), (100_000, 1e-3)):
            cells.append(
                _clustered_cell(f"clustered, {size} flags a user, n {n:,}", size, n, rate, draws)
            )
    return cells


def _intervals(y: float, v: float, wmax: float) -> tuple[tuple[float, float], ...]:
    gamma = weighted_jeffreys(y, v, wmax)
    low, high = (
        float(stats.gamma.ppf(q, gamma.shape, scale=1 / gamma.rate)) for q in (0.025, 0.975)
    )
    return midp_gamma(y, v, wmax), fay_feuer(y, v, wmax), (low, high)


def _weighted_cell(
    name: str, share: Array, allotted: Array, n: int, rates: Array, draws: int
) -> Cell:
    rng = np.random.default_rng(7)
    sizes = np.maximum(1, (n * allotted).astype(int))
    truth = float(share @ rates)
    flags = rng.binomial(sizes, rates, (draws, len(sizes)))
    held = np.zeros(4)
    for k in flags:
        strata = [
            Stratum(str(h), int(sizes[h]), float(share[h]), int(sizes[h]), int(k[h]))
            for h in range(len(sizes))
        ]
        users = {f"{h}-{i}": {str(h): 1} for h in range(len(sizes)) for i in range(k[h])}
        s = counts(strata, users).sufficient
        plain = clopper_pearson(int(k.sum()), int(sizes.sum()))
        held += [low <= truth <= high for low, high in (*_intervals(s.y, s.v, s.wmax), plain)]
    return Cell(name, float(sizes @ rates), *(held / draws))


def _clustered_cell(name: str, size: int, n: int, rate: float, draws: int) -> Cell:
    rng = np.random.default_rng(8)
    clusters = rng.poisson(n * rate / size, draws)
    held = np.zeros(4)
    for number in clusters:
        flags = 1 + rng.poisson(size - 1, number)
        s = from_clusters(flags, n)
        wmax = max(s.wmax, size / n)  # a planner knows the usual cluster, also where none was seen
        plain = clopper_pearson(int(flags.sum()), n)
        held += [low <= rate <= high for low, high in (*_intervals(s.y, s.v, wmax), plain)]
    return Cell(name, n * rate, *(held / draws))


def _plot(found: dict[str, dict[str, Coverage]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7), layout="constrained")
    for i, (name, by_scored) in enumerate(found.items()):
        axes = figure.add_subplot(2, 3, i + 1)
        for scored, c in by_scored.items():
            axes.hist(
                c.pit,
                bins=10,
                range=(0, 1),
                density=True,
                histtype="step",
                label=f"{scored}: {c.levels[2]:.2f}",
            )
        axes.axhline(1, color="#888888", linewidth=0.6)
        axes.set_ylim(0, 2)
        axes.set_title(name, fontsize=9)
        axes.legend(fontsize=7, title="PIT; coverage of 95%", title_fontsize=7)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Print the tables and draw the PIT histograms."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sequences", type=int, default=40)
    parser.add_argument("--plot", type=Path, default=Path("coverage.png"))
    asked = parser.parse_args()
    found = {name: coverage(world, asked.sequences) for name, world in WORLDS.items()}
    rows: list[list[str]] = []
    for name, by_scored in found.items():
        for scored, c in by_scored.items():
            rows.append(
                [
                    name,
                    scored,
                    *(f"{level:.3f}" for level in c.levels),
                    f"{c.sampling_only:.2f}",
                    f"{c.forecasts:,}",
                ]
            )
    console().print(
        rich_table(
            "Coverage of forecast intervals",
            ("world", "", "50%", "80%", "95%", "95%, sampling only", "forecasts"),
            rows,
        )
    )
    header = (
        "cell",
        "expected events",
        "mid-P gamma (display)",
        "Fay-Feuer (gate)",
        "Jeffreys gamma (forecast)",
        "unweighted",
    )
    grid = [
        [c.name, f"{c.events:.1f}", *(f"{x:.3f}" for x in (c.display, c.gate, c.jeffreys, c.plain))]
        for c in rate_grid()
    ]
    console().print(rich_table("Coverage of 95% rate intervals", header, grid))
    _plot(found, asked.plot)
    console().print(f"plot: {asked.plot}")


if __name__ == "__main__":
    main()
