"""The figures of a release, one idea each: rows labelled at their marks, in 11 pt, on light and
dark ground. As SVG for the page, whose style sheet colors them, and as PNG for Dagster."""

import base64
import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from deploysim_assets.report.tables import per_100k, times

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import Locator

INK, SOFT, MID, REALIZED, LIMIT, GRID, PAPER = (
    "#1b3a5c", "#a9c3dd", "#6d96bf", "#b3401c", "#8a1f5c", "#d9dee3", "#ffffff",
)  # fmt: skip
_NAMES = {
    INK: "ink", SOFT: "soft", MID: "mid", REALIZED: "realized", LIMIT: "limit", GRID: "grid",
    PAPER: "paper",
}  # fmt: skip
"""How the page's style sheet names the colors, so that it can change them in the dark."""

_SIZE, _WIDTH = 11, 6.2
_LONGEST, _LONGEST_BESIDE = 44, 25
_FACTORS = (1, 1.2, 1.5, 2, 3, 5, 10, 30, 100, 300, 1_000, 10_000)
_PROMISED = 0.95
"""The share of forecasts that a 95% interval promises."""


class Drawing(NamedTuple):
    """A figure before it is drawn: what kind, its title, what it shows in words, and its rows."""

    kind: str
    title: str
    alt: str
    rows: Sequence[Any]


class Line(NamedTuple):
    """A row of a figure: its label at the left, what it says in figures at the right."""

    label: str
    said: str = ""


def _cut(label: str, longest: int) -> str:
    return label if len(label) <= longest else f"{label[: longest - 1]}…"


def _text(axes: "Axes", x: float, y: float, text: str, side: Literal["left", "right"]) -> None:
    across = axes.get_yaxis_transform()
    # parse_math: a name with dollar signs is a name
    axes.text(
        x, y, text, fontsize=_SIZE, parse_math=False, color=INK, transform=across, va="center",
        ha=side,
    )  # fmt: skip


def _ticked(value: float, _: int) -> str:
    return f"{value:,.6g}"


def _ground(
    inner: float, title: str, key: str, left: float = 0.12, right: float = 0.12, below: float = 0.62
) -> "tuple[Figure, Axes]":
    """A figure whose axes are `inner` inches high; what is beside them is in inches, too (to find
    it out by drawing took half of the time)."""
    from matplotlib.figure import Figure

    above = 0.35 + (0.24 if key else 0)
    height = inner + above + below
    figure = Figure(figsize=(_WIDTH, height), dpi=80, facecolor=PAPER)
    place = (left / _WIDTH, below / height, 1 - (left + right) / _WIDTH, inner / height)
    axes = figure.add_axes(place, facecolor="none")
    for line, y in ((title, 0.24 * bool(key)), (key, 0.0)):
        axes.text(
            0, 1 + (y + 0.08) / inner, line, fontsize=_SIZE, color=INK, parse_math=False,
            transform=axes.transAxes,
        )  # fmt: skip
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["bottom", "left"]].set_color(GRID)
    axes.tick_params(colors=INK, labelsize=_SIZE, length=3, color=GRID)
    return figure, axes


def _rows(
    lines: Sequence[Line], title: str, key: str = "", below: float = 0.62
) -> "tuple[Figure, Axes]":
    """A figure with a row per line, from the top: its label above, room for marks below it."""
    figure, axes = _ground(0.3 + 0.48 * max(len(lines), 1), title, key, below=below)
    axes.spines["left"].set_visible(False)
    axes.set_yticks([])
    axes.set_ylim(len(lines) - 0.5, -0.85)
    for y, line in enumerate(lines):
        _text(axes, 0, y - 0.3, _cut(line.label, _LONGEST), "left")
        _text(axes, 1, y - 0.3, line.said, "right")
        axes.axhline(y + 0.12, color=GRID, linewidth=0.6, zorder=0)
    return figure, axes


def _locator(left: float, right: float) -> "Locator":
    from matplotlib.ticker import LogLocator

    return LogLocator(subs=(1.0,) if right > 100 * left else (1.0, 2.0, 5.0))


def _log_axis(axes: "Axes", values: Sequence[float], label: str) -> float:
    """A logarithmic axis over some values; gives the left edge, where zeros stand."""
    from matplotlib.ticker import FuncFormatter, NullLocator

    held = [v for v in values if v > 0 and math.isfinite(v)] or [1.0]
    left, right = min(held) / 1.6, max(held) * 1.6
    if right / left < 10:
        middle = math.sqrt(left * right)
        left, right = middle / math.sqrt(10), middle * math.sqrt(10)
    axes.set_xscale("log")
    axes.set_xlim(left, right)
    axes.xaxis.set_major_locator(_locator(left, right))
    axes.xaxis.set_major_formatter(FuncFormatter(_ticked))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(label, fontsize=_SIZE, color=INK)
    axes.grid(axis="x", color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    return left


def _forecast(rows: Sequence[Mapping[str, Any]], title: str) -> "Figure":
    """Rows: behavior, forecast (median, p50, p80, p95), threshold, live; rates per message."""

    def said(row: Mapping[str, Any]) -> str:
        low, high = row["forecast"]["p95"]
        limit = f", limit {per_100k(row['threshold'])}" if row["threshold"] else ""
        return f"{per_100k(low)} to {per_100k(high)}{limit}"

    lines = [Line(row["behavior"], said(row)) for row in rows]
    key = "bars: 50, 80, 95% forecast\u2003● median\u2003◇ live model\u2003▼ limit"
    figure, axes = _rows(lines, title, key)
    values = [
        v * 1e5
        for row in rows
        for v in (*row["forecast"]["p95"], row["forecast"]["median"], row["threshold"], row["live"])
        if v
    ]
    left = _log_axis(axes, values, "per 100,000 messages; 0 stands at the left edge")

    def at(rate: float | None) -> float:
        return max((rate or 0.0) * 1e5, left)

    for y, row in enumerate(rows):
        for level, width, color in ((95, 3, SOFT), (80, 7, SOFT), (50, 7, MID)):
            ends = [at(end) for end in row["forecast"][f"p{level}"]]
            axes.plot(ends, [y + 0.12] * 2, color=color, linewidth=width, solid_capstyle="butt")
        axes.plot(at(row["forecast"]["median"]), y + 0.12, "o", color=INK, markersize=6)
        if row["live"] is not None:
            axes.plot(
                at(row["live"]), y + 0.12, "D", color=REALIZED, markersize=6,
                markerfacecolor="none", markeredgewidth=1.6, clip_on=False,
            )  # fmt: skip
        if row["threshold"]:
            axes.plot(at(row["threshold"]), y - 0.06, "v", color=LIMIT, markersize=8)
            axes.plot([at(row["threshold"])] * 2, [y - 0.04, y + 0.32], color=LIMIT, linewidth=1.6)
    return figure


def _calibration(rows: Sequence[Mapping[str, Any]], title: str) -> "Figure":
    """Rows: behavior, forecast, realized (per message, smoothed by half a count), resolved; names
    stand at the right, each with a line to its point."""

    named = sorted(rows, key=lambda row: (row["realized"], -row["forecast"]))
    several = any(row["behavior"] is None for row in rows)
    key = "band: within 1.5x\u2003○ fewer than 5 events on a side: unresolved"
    inner = max(3.3, 0 if several else 0.26 * len(named))
    figure, axes = _ground(inner, title, key, left=0.8, right=0.4 if several else 2.3)
    values = [v * 1e5 for row in rows for v in (row["forecast"], row["realized"])]
    left = _log_axis(axes, values, "forecast per 100,000 messages")
    axes.set_yscale("log")
    ends = axes.get_xlim()
    axes.set_ylim(ends)
    axes.yaxis.set_major_locator(_locator(*ends))
    axes.yaxis.set_major_formatter(axes.xaxis.get_major_formatter())
    axes.yaxis.set_minor_locator(axes.xaxis.get_minor_locator())
    axes.set_ylabel("realized per 100,000 messages", fontsize=_SIZE, color=INK)
    low, high = (end / 1.5 for end in ends), (end * 1.5 for end in ends)
    axes.fill_between(ends, list(low), list(high), color=SOFT, alpha=0.45, linewidth=0, zorder=0)
    axes.plot(ends, ends, color=MID, linewidth=0.9)
    for i, row in enumerate(named):
        point = max(row["forecast"] * 1e5, left), max(row["realized"] * 1e5, left)
        full = INK if row["resolved"] else PAPER
        axes.plot(*point, "o", color=full, markeredgecolor=INK, markersize=6.5)
        if not several:
            # labels at their points lie on top of each other wherever rates are alike
            axes.annotate(
                _cut(str(row["behavior"]), _LONGEST_BESIDE), point,
                xytext=(1.04, (i + 0.5) / len(named)), textcoords="axes fraction",
                fontsize=_SIZE, color=INK, va="center", annotation_clip=False, parse_math=False,
                arrowprops={
                    "arrowstyle": "-", "color": MID, "linewidth": 0.6, "relpos": (0, 0.5),
                },
            )  # fmt: skip
    return figure


def _noise_floor(rows: Sequence[Mapping[str, Any]], title: str) -> "Figure":
    """Rows: behavior, error, floor (factors), resolved."""
    lines = [
        Line(
            row["behavior"],
            f"{times(row['error'])}, floor {times(row['floor'])}"
            + ("" if row["resolved"] else ", unresolved"),
        )
        for row in rows
    ]
    key = "● error of the forecast\u2003| what counting alone would show (median)"
    figure, axes = _rows(lines, title, key)
    values = [v for row in rows for v in (row["error"], row["floor"])]
    _log_axis(axes, values, "times too high or too low; 1 is exact")
    right = max([*values, 2.0]) * 1.25
    axes.set_xlim(0.97, right)
    axes.set_xticks([tick for tick in _FACTORS if tick < right])
    axes.set_xticks([], minor=True)
    for y, row in enumerate(rows):
        axes.plot([1, row["error"]], [y + 0.12] * 2, color=SOFT, linewidth=3)
        axes.plot([row["floor"]] * 2, [y - 0.02, y + 0.27], color=REALIZED, linewidth=2.4)
        full = INK if row["resolved"] else PAPER
        axes.plot(row["error"], y + 0.12, "o", color=full, markeredgecolor=INK, markersize=7)
    return figure


def _coverage(rows: Sequence[Mapping[str, Any]], title: str) -> "Figure":
    """Rows: model_version, behaviors, in_95 and the limits of its share."""
    lines = [
        Line(row["model_version"], f"{row['in_95']} of {row['behaviors']} inside") for row in rows
    ]
    figure, axes = _rows(lines, title, "● share inside the 95% forecast, with its 95% interval")
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("line: 95%, what the intervals promise", fontsize=_SIZE, color=INK)
    axes.xaxis.set_major_formatter(lambda v, _: f"{v:.0%}")
    for y, row in enumerate(rows):
        axes.plot([_PROMISED] * 2, [y - 0.04, y + 0.28], color=REALIZED, linewidth=2)
        axes.plot([row["in_95_low"], row["in_95_high"]], [y + 0.12] * 2, color=MID, linewidth=4)
        axes.plot(row["in_95"] / row["behaviors"], y + 0.12, "o", color=INK, markersize=7)
    return figure


def _funnel(rows: Sequence[Mapping[str, Any]], title: str) -> "Figure":
    """Rows: what, unit, stays, lost (a sum); bars are shares of the first row of their unit."""
    lines = [
        Line(row["what"], f"{row['stays']:,}" + (f", {row['lost']:,} lost" if row["lost"] else ""))
        for row in rows
    ]
    figure, axes = _rows(lines, title, below=0.1)
    axes.set_xlim(0, 1)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    first: dict[str, int] = {}
    for y, row in enumerate(rows):
        whole = first.setdefault(row["unit"], row["stays"] + row["lost"]) or 1
        axes.barh(y + 0.12, row["stays"] / whole, 0.3, color=MID)
        axes.barh(y + 0.12, row["lost"] / whole, 0.3, left=row["stays"] / whole, color=REALIZED)
    return figure


def _narrowing(rows: Sequence[Mapping[str, Any]], title: str) -> "Figure":
    """Rows: releases, factor, expected."""
    lines = [
        Line(
            "before any score" if not row["releases"] else
            f"after {row['releases']} scored release{'' if row['releases'] == 1 else 's'}"
            + (" (expected)" if row["expected"] else ""),
            f"{row['factor']:.1f}x up or down",
        )
        for row in rows
    ]  # fmt: skip
    figure, axes = _rows(lines, title)
    _log_axis(axes, [1.0, *(v for r in rows for v in (r["factor"], 1 / r["factor"]))], "factor")
    for y, row in enumerate(rows):
        ends = [1 / row["factor"], row["factor"]]
        axes.plot(ends, [y + 0.12] * 2, color=SOFT if row["expected"] else MID, linewidth=7,
                  solid_capstyle="butt")  # fmt: skip
    return figure


_KINDS: dict[str, Callable[[Sequence[Any], str], "Figure"]] = {
    "forecast": _forecast,
    "calibration": _calibration,
    "noise_floor": _noise_floor,
    "coverage": _coverage,
    "funnel": _funnel,
    "narrowing": _narrowing,
}


def png(drawing: Drawing) -> bytes:
    """A figure as PNG on white ground, which reads in both modes of Dagster's UI."""
    buffer = io.BytesIO()
    _KINDS[drawing.kind](drawing.rows, drawing.title).savefig(buffer, format="png")
    return buffer.getvalue()


def inline_image(image: bytes, alt: str = "plot") -> str:
    """Markdown that shows a PNG in Dagster's UI, behind a click. It is kept in the event log, so
    it must stay at some tens of KB."""
    return f"![{alt}](data:image/png;base64,{base64.b64encode(image).decode()})"


def svg(drawing: Drawing) -> str:
    """A figure as an `svg` element: texts are texts, colors are the page's, and equal rows give
    equal bytes."""
    from matplotlib import rc_context  # pyright: ignore[reportUnknownVariableType]

    buffer = io.StringIO()
    # a salt for each kind: the ids of two figures in one page must differ
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": drawing.kind}):
        _KINDS[drawing.kind](drawing.rows, drawing.title).savefig(
            buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True
        )
    element = buffer.getvalue()
    element = element[element.index("<svg") :]
    element = re.sub(r"<(metadata|style).*?</\1>", "", element, flags=re.DOTALL)
    element = re.sub(r' id="[a-zA-Z0-9.]+_\d+"', "", element)  # the same in every figure
    element = re.sub(r"font-family: [^;\"]*;? ?", "", element)  # the page's
    for color, name in _NAMES.items():
        element = element.replace(color, f"var(--{name})")
    said = f'class="figure {drawing.kind}" role="img" aria-label="{escape(drawing.alt)}"'
    return element.replace("<svg", f"<svg {said}", 1)
