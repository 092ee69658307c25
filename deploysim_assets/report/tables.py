"""Tables for people: rates per 100,000 messages, as text cells, Markdown and rich tables."""

from collections.abc import Sequence
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


def observed(k: int, n: int, high: float | None) -> str:
    """An observed rate; a zero count says what it excludes, never a bare 0."""
    if n == 0:
        return "not graded"
    return f"0 (below {per_100k(high)})" if k == 0 else per_100k(k / n)


def times(error: float | None) -> str:
    return "-" if error is None else f"{error:.2f}x"


def limits(low: float | None, high: float | None) -> str:
    return "-" if low is None or high is None else f"{per_100k(low)} - {per_100k(high)}"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as Markdown."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, ["---"] * len(header), *rows))


def calibration_markdown(rows: list[dict[str, Any]]) -> str:
    """The calibration report as a Markdown table."""
    header = ["behavior", "forecast", "realized", "error", "noise floor", "persistence error", "in 95%"]
    cells = [
        [
            row["behavior"],
            observed(row["forecast_k"], row["forecast_n"], row["forecast_high"]),
            observed(row["realized_k"], row["realized_n"], row["realized_high"]),
            times(row["multiplicative_error"]) + ("" if row["resolved"] else " (unresolved)"),
            times(row["noise_floor"]),
            times(row.get("persistence_error")),
            "yes" if row["in_95"] else "no",
        ]
        for row in rows
    ]
    return "Rates per 100,000 messages.\n\n" + markdown_table(header, cells)


def console() -> Console:
    """The terminal; where output goes to a file or a log, wide enough for the tables."""
    terminal = Console()
    return terminal if terminal.is_terminal else Console(width=120)


def rich_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table for the terminal: the first column to the left, the others to the right."""
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for i, name in enumerate(header):
        table.add_column(name, justify="left" if i == 0 else "right")
    for row in rows:
        table.add_row(*row)
    return table
