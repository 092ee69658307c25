"""Tables for people: rates per 100,000 messages, as text cells, Markdown and rich tables."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table


def per_100k(rate: float | None) -> str:
    """A rate per 100,000 messages with two significant digits."""
    if rate is None:
        return "-"
    value = rate * 1e5
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def observed(k: float, n: float, high: float | None, rate: float | None = None) -> str:
    """An observed rate; a zero count says what it excludes, never a bare 0. Of a weighted design
    `rate` is not k / n."""
    if n == 0:
        return "not graded"
    return f"0 (below {per_100k(high)})" if k == 0 else per_100k(k / n if rate is None else rate)


def times(error: float | None) -> str:
    return "-" if error is None else f"{error:.2f}x"


def limits(low: float | None, high: float | None) -> str:
    return "-" if low is None or high is None else f"{per_100k(low)} - {per_100k(high)}"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as Markdown."""
    return "\n".join(
        "| " + " | ".join(cells) + " |" for cells in (header, ["---"] * len(header), *rows)
    )


def kind_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """What scored rows are: forecasts, where each was sealed before production began."""
    return "forecast" if all(row["prospective"] for row in rows) else "backtest"


def calibration_markdown(rows: list[dict[str, Any]]) -> str:
    """The calibration report as a Markdown table, which says whether it is of a forecast or a
    backtest."""
    kind = kind_of(rows)
    header = [kind, "rate", "realized", "error", "noise floor", "persistence error", "in 95%"]
    cells = [
        [
            row["behavior"],
            observed(row["forecast_k"], row["forecast_n"], row["forecast_high"], row["forecast"]),
            observed(row["realized_k"], row["realized_n"], row["realized_high"], row["realized"]),
            times(row["multiplicative_error"]) + ("" if row["resolved"] else " (unresolved)"),
            times(row["noise_floor"]),
            times(row.get("persistence_error")),
            "yes" if row["in_95"] else "no",
        ]
        for row in rows
    ]
    return f"{kind.capitalize()}, per 100,000 messages.\n\n" + markdown_table(header, cells)


_COMPARED = {
    "persistence": "same rate as the release before",
    "previous_simulation": "the simulation of the release before",
    "challenging_prompts": "persistence moved by challenging prompts",
    "blend": "the blend (second forecast)",
}


_NAMED = 12


def between(low: float | None, high: float | None, form: str = "{:.2f}") -> str:
    return "" if low is None or high is None else f" ({form.format(low)} to {form.format(high)})"


def summary_lines(summary: dict[str, Any]) -> list[str]:
    """The score of many behaviors as sentences: each figure with its interval and what it is to
    be held against."""
    s = summary
    lines = [
        f"{s['resolved']} of {s['behaviors']} behaviors have 5 events on both sides; their "
        f"median error is {times(s['median_error'])}"
        f"{between(s.get('median_error_low'), s.get('median_error_high'))}, a perfect "
        f"simulator's {times(s['noise_floor'])}.",
    ]
    if s.get("intrinsic_error") is not None:
        interval = between(s["intrinsic_error_low"], s["intrinsic_error_high"])
        lines.append(
            "Without counting noise the median error would be "
            f"{times(s['intrinsic_error'])}{interval}."
        )
    lines.append(
        f"{s['in_95']} of {s['behaviors']} lie inside the 95% "
        f"forecast{between(s.get('in_95_low'), s.get('in_95_high'))}."
    )
    if s["moved"]:
        lines.append(
            f"Direction right in {s['direction_right']} of {s['moved']} that moved by "
            f"1.5x{between(s.get('direction_low'), s.get('direction_high'))}; "
            f"forecasts this uncertain can get {s['direction_ceiling']:.2f} of them right."
        )
    if s.get("change_correlation") is not None:
        lines.append(
            f"Correlation of called and realized log changes: {s['change_correlation']:.2f}."
        )
    for name, words in _COMPARED.items():
        if s.get(f"{name}_pairs"):
            gain = s[f"{name}_skill"]
            nearer = "nearer" if gain > 0 else "farther off"
            lines.append(
                f"Against {words} ({times(s[f'{name}_median_error'])}, {s[f'{name}_pairs']} "
                f"pairs): {nearer} by {abs(gain):.2f} log units "
                f"(sign-flip p {s[f'{name}_p']:.3f})."
            )
    if s.get("unresolved"):
        more = len(s["unresolved"]) - _NAMED
        lines.append(
            "Unresolved: "
            f"{', '.join(s['unresolved'][:_NAMED])}{f' and {more} more' if more > 0 else ''}."
        )
    if s.get("drifted"):
        lines.append(
            f"The judge changed under its name on {', '.join(s['drifted'][:_NAMED])}: these "
            "errors may be the judge's."
        )
    lines.append(
        "Sealed before the first production message."
        if s["prospective"]
        else "Made after production had begun: not a forecast, a backtest."
    )
    return lines


def decomposition_markdown(rows: list[dict[str, Any]], steps: Sequence[str]) -> str:
    """Each behavior's error as a product of factors, one per step of the decomposition."""
    cells = [
        [row["behavior"], *(f"{math.exp(step):.2f}x" for step in row["steps"])]
        for row in rows
        if row.get("usable")
    ]
    few = [row["behavior"] for row in rows if not row.get("usable")]
    missing = f"\n\nFewer than 4 events at a step: {', '.join(few)}." if few else ""
    return markdown_table(["behavior", *steps], cells) + missing


def summary_markdown(summary: dict[str, Any]) -> str:
    """`summary_lines` as a Markdown list."""
    return "\n".join(f"- {line}" for line in summary_lines(summary))


def console() -> Console:
    """The terminal; where output goes to a file or a log, wide enough for the tables."""
    terminal = Console()
    return terminal if terminal.is_terminal else Console(width=120)


def rich_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table for the terminal: the first column to the left, the others to the right."""
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        header_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for i, name in enumerate(header):
        table.add_column(
            name, justify="left" if i == 0 else "right", no_wrap=i == 0, overflow="fold"
        )
    for row in rows:
        table.add_row(*row)
    return table
