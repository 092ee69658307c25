"""Plots as PNG that are no part of a release's report: PIT, recall, planning."""

import io
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK, _SOFT = "#1b3a5c", "#9db8d3"


def _figure(height: float, title: str) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure(
        figsize=(8, height), dpi=80, layout="constrained"
    )  # no pyplot: it keeps global state and looks for a screen
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _png(figure: "Figure") -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def pit_plot(values: Sequence[tuple[float, float]]) -> bytes:
    """Non-randomized PIT histogram of count forecasts (Czado, Gneiting & Held 2009): flat where the
    stated uncertainty is true.

    `values` are F(y - 1) and F(y) of each forecast; its unit mass is spread evenly between them.
    """
    figure, axes = _figure(3, "Probability integral transform of the forecasts")
    edges = [i / 10 for i in range(11)]

    def mass(low: float, high: float, below: float, at: float) -> float:
        width = max(at - below, 1e-12)
        return max(0.0, min(high, below + width) - max(low, below)) / width

    heights = [
        10 * sum(mass(a, b, *v) for v in values) / max(len(values), 1) for a, b in pairwise(edges)
    ]
    axes.bar(edges[:-1], heights, 0.1, align="edge", color=_SOFT, edgecolor="white")
    axes.axhline(1, color=_INK, linewidth=0.8)
    axes.set(
        xlim=(0, 1),
        xlabel=(
            f"{len(values)} forecasts; left: production below the forecast, right: above; U-shape: "
            "intervals too narrow"
        ),
    )
    return _png(figure)


def recall_plot(cells: list[dict[str, Any]], title: str) -> bytes:
    """Lower 95% bound of canary recall: types down, script and container across, red where it
    falls below 0.99."""
    types = list(dict.fromkeys(c["type"] for c in cells))
    columns = list(dict.fromkeys((c["script"], c["container"]) for c in cells))
    bounds = {(c["type"], c["script"], c["container"]): c["lower"] for c in cells}
    figure, axes = _figure(3 + 0.32 * len(types), title)
    image = [[bounds[kind, *column] for column in columns] for kind in types]
    axes.imshow(image, cmap="RdYlBu", vmin=0.98, vmax=1.0, aspect="auto")
    axes.set_yticks(range(len(types)), types, fontsize=10)
    axes.set_xticks(
        range(len(columns)),
        [f"{script} {container}" for script, container in columns],
        rotation=90,
        fontsize=10,
    )
    return _png(figure)


def plan_plot(
    sizes: Sequence[float], widths: Mapping[str, Sequence[float]], least: float, prefixes_now: int
) -> bytes:
    """Factor up and down of the forecast's 95% interval against prefixes, per behavior; the gray
    line is the size in use."""
    figure, axes = _figure(4, "How far more prefixes narrow a forecast")
    for behavior, width in widths.items():
        axes.plot(sizes, width, label=behavior, linewidth=1.2)
    axes.axvline(prefixes_now, color="#888888", linewidth=0.8)
    axes.axhline(least, color="#888888", linewidth=0.8, linestyle=":")
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="prefixes; dotted: what the simulation's own error leaves",
        ylabel="95% interval: factor up and down",
    )
    axes.set_ylim(1, 100)
    axes.legend(fontsize=10, ncols=2, frameon=False)
    return _png(figure)
