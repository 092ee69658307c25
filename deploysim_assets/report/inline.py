"""Plots and tables as Markdown that Dagster's UI shows at once: longer than 1,000 characters it
hides a text behind "Show Markdown", and an image is always longer."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

_LIMIT = 990
_WIDTH = 44
_LEAST = 0.01
_LONGEST_LABEL = 34


class Span(NamedTuple):
    """A line of a text plot: an interval, and marks (a letter and where it stands), all per
    100,000."""

    label: str
    low: float
    high: float
    marks: Sequence[tuple[str, float]]


def _labels(spans: Sequence[Span]) -> list[str]:
    return [
        s.label if len(s.label) <= _LONGEST_LABEL else f"{s.label[: _LONGEST_LABEL - 1]}…"
        for s in spans
    ]


def _ticks(first: int, last: int) -> str:
    """The powers of ten below their places on the axis."""
    line = [" "] * (_WIDTH + 8)
    step = max(1, math.ceil((last - first) / 4))
    for power in range(first, last + 1, step):
        at = round((power - first) / (last - first) * (_WIDTH - 1))
        text = f"|{10**power:,}" if power >= 0 else f"|{10.0**power:g}"
        line[at : at + len(text)] = text
    return "".join(line).rstrip()


def text_plot(spans: Sequence[Span], legend: str) -> list[str]:
    """The spans on one logarithmic axis, as code blocks of less than 1,000 characters each; a mark
    at 0 stands at the left edge, and marks on one place show as `*`."""
    if not spans:
        return []
    values = [v for s in spans for v in (s.low, s.high, *(at for _, at in s.marks)) if v > 0]
    first = math.floor(math.log10(max(min(values, default=1), _LEAST)))
    last = max(math.ceil(math.log10(max(values, default=10))), first + 1)

    def place(value: float) -> int:
        share = (math.log10(max(value, 10.0**first)) - first) / (last - first)
        return min(_WIDTH - 1, max(0, round(share * (_WIDTH - 1))))

    labels = _labels(spans)
    widest = max(map(len, labels))
    lines: list[str] = []
    for label, span in zip(labels, spans, strict=True):
        line = ["·"] * _WIDTH
        line[place(span.low) : place(span.high) + 1] = "═" * (
            place(span.high) - place(span.low) + 1
        )
        taken: set[int] = set()
        for letter, value in span.marks:
            at = place(value)
            line[at] = "*" if at in taken else letter
            taken.add(at)
        lines.append(f"{label:<{widest}} {''.join(line)}")
    head = f"{'':<{widest}} {_ticks(first, last)}"
    return [
        f"```\n{head}\n{body}\n```\n{legend}"
        for body in _chunks(lines, _LIMIT - len(head) - len(legend) - 10)
    ]


def text_table(markdown: str) -> list[str]:
    """A Markdown table, or any lines, in parts of less than 1,000 characters; a table's parts all
    have its header."""
    lines = markdown.split("\n")
    ruler = next((i for i, line in enumerate(lines) if line.startswith("| ---")), None)
    if ruler is None:
        return list(_chunks(lines, _LIMIT))
    head = "\n".join(lines[: ruler + 1])
    return [f"{head}\n{body}" for body in _chunks(lines[ruler + 1 :], _LIMIT - len(head) - 1)]


def _chunks(lines: Sequence[str], limit: int) -> Iterator[str]:
    """Lines put together as long as they stay below a length."""
    pending: list[str] = []
    for line in lines:
        if pending and len("\n".join([*pending, line])) > limit:
            yield "\n".join(pending)
            pending = []
        pending.append(line)
    if pending:
        yield "\n".join(pending)


FORECAST_LEGEND = (
    "Per 100,000 messages, 0 at the left edge. ═ 95% forecast, F its median, P production of the "
    "release before, * both."
)
CALIBRATION_LEGEND = {
    "forecast": "Per 100,000 messages, 0 at the left edge. F forecast, R realized with its 95% "
    "interval ═, * both.",
    "backtest": "Backtest, per 100,000 messages, 0 at the left edge. B backtest, R realized with "
    "its 95% interval ═, * both.",
}


def forecast_spans(rows: Sequence[Mapping[str, Any]]) -> list[Span]:
    """Lines of a forecast's text plot, from rows of rate_estimates that were graded."""
    return [
        Span(
            row["behavior"],
            row["p95_low"] * 1e5,
            row["p95_high"] * 1e5,
            [
                *(
                    [("P", row["persistence_k"] / row["persistence_n"] * 1e5)]
                    if row["persistence_n"]
                    else []
                ),
                ("F", row["forecast_median"] * 1e5),
            ],
        )
        for row in rows
        if row.get("forecast_median") is not None
    ]


def calibration_spans(rows: Sequence[Mapping[str, Any]]) -> list[Span]:
    """Lines of a score's text plot, from rows of calibration_report."""
    return [
        Span(
            row["behavior"],
            (row["realized_low"] or 0.0) * 1e5,
            (row["realized_high"] or 0.0) * 1e5,
            [
                ("R", (row["realized"] or 0.0) * 1e5),
                ("F" if row["prospective"] else "B", (row["forecast"] or 0.0) * 1e5),
            ],
        )
        for row in rows
    ]
