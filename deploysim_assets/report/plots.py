"""Plots as PNG: forecasts with their intervals, and forecasts against production."""

import base64
import io
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from deploysim_assets.report.tables import kind_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK, _SOFT, _REALIZED = "#1b3a5c", "#9db8d3", "#c8502d"


def inline_image(png: bytes) -> str:
    """Markdown that shows a PNG in Dagster's UI, behind a click. It is kept in the event log, so
    it must stay at some tens of KB."""
    return f"![plot](data:image/png;base64,{base64.b64encode(png).decode()})"


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


def _rate_axis(axes: "Axes", lowest: float, highest: float, label: str) -> None:
    axes.set_xscale("log")
    axes.set_xlim(left=lowest, right=highest)
    axes.set_xlabel(label)
    axes.grid(axis="x", color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)


def forecast_plot(rows: list[dict[str, Any]], title: str) -> bytes:
    """Median and 50/80/95% limits of the forecast per behavior, with the predecessor's
    production rate as a tick."""
    shown = [r for r in rows if r.get("forecast_median") is not None]
    figure, axes = _figure(1.4 + 0.36 * len(shown), title)
    floor = min((0.5e5 / r["n"] for r in shown), default=0.1)
    for y, row in enumerate(reversed(shown)):
        for level, width in ((95, 2), (80, 5), (50, 9)):
            ends = [max(row[f"p{level}_{end}"] * 1e5, floor) for end in ("low", "high")]
            axes.plot(
                ends,
                [y, y],
                color=_SOFT if level > 50 else _INK,
                linewidth=width,
                solid_capstyle="butt",
                alpha=0.9,
            )
        axes.plot(max(row["forecast_median"] * 1e5, floor), y, "o", color="white", markersize=4)
        if row["persistence_n"]:
            axes.plot(
                max(row["persistence_k"] / row["persistence_n"] * 1e5, floor),
                y,
                "|",
                color=_REALIZED,
                markersize=14,
            )
    axes.set_yticks(range(len(shown)), [r["behavior"] for r in reversed(shown)])
    highest = max(
        (max(r["p95_high"], r["persistence_k"] / max(r["persistence_n"], 1)) * 1e5 for r in shown),
        default=1e5,
    )
    note = (
        "per 100,000 messages (log scale)\nbars: 50, 80, 95% forecast; red: rate of the release "
        "before;\na count of 0 sits at the left edge"
    )
    _rate_axis(axes, floor / 2, highest * 2, note)
    return _png(figure)


def calibration_plot(rows: list[dict[str, Any]], title: str) -> bytes:
    """Forecast rate against realized rate, both smoothed by half a count, with the diagonal and
    the 1.5x band. The behaviors of one release are named at the right, each with a line to its
    point."""
    kind = kind_of(rows)
    several = len({r["model_version"] for r in rows}) > 1
    named = [] if several else rows
    figure, axes = _figure(max(6, 1.6 + 0.24 * len(named)), title)
    floor = min((0.5e5 / max(r["forecast_n"], r["realized_n"]) for r in rows), default=0.1) / 2
    axes.fill_between(
        [floor, 1e5], [floor / 1.5, 1e5 / 1.5], [floor * 1.5, 1e5 * 1.5], color="#eef3f8", zorder=0
    )
    axes.plot([floor, 1e5], [floor, 1e5], color="#888888", linewidth=0.8)
    points = [
        (
            row["gamma_shape"] / row["gamma_rate"] * 1e5,
            (row["effective_count"] + 0.5) / row["effective_messages"] * 1e5,
            row,
        )
        for row in rows
    ]
    for x, y, row in points:
        axes.plot(
            x,
            y,
            "o",
            color=_INK if row["resolved"] else "white",
            markeredgecolor=_INK,
            markersize=6,
        )
    # labels at their points lie on top of each other wherever rates are alike
    for i, (_, (x, y, row)) in enumerate(
        sorted(enumerate(points), key=lambda p: (p[1][1], -p[1][0]))
    ):
        if not several:
            axes.annotate(
                row["behavior"],
                (x, y),
                xytext=(1.03, (i + 0.5) / len(points)),
                textcoords="axes fraction",
                fontsize=10,
                va="center",
                arrowprops={
                    "arrowstyle": "-",
                    "color": "#b5bcc4",
                    "linewidth": 0.6,
                    "relpos": (0, 0.5),
                },
                annotation_clip=False,
            )
    highest = max((max(x, y) for x, y, _ in points), default=1e5) * 3
    note = "hollow: fewer than 5 events on a side, unresolved; band: within 1.5x"
    _rate_axis(axes, floor, highest, f"{kind} per 100,000 messages\n{note}")
    axes.set_yscale("log")
    axes.set_ylim(floor, highest)
    axes.set_ylabel("realized per 100,000 messages")
    return _png(figure)


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
