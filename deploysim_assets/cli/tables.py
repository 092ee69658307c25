"""Tables on the terminal: side by side where they fit, else one behavior after the other."""

from collections.abc import Sequence

from rich.console import Console
from rich.measure import Measurement
from rich.text import Text

_ENDLESS = 10_000


def print_table(
    title: str, header: Sequence[str], rows: Sequence[Sequence[str]], out: Console | None = None
) -> None:
    """Print a table in the width that there is: where a cell would be broken over lines, each row
    becomes a block of `column  value` lines."""
    from deploysim_assets.report.tables import console, rich_table

    out = out or console()
    table = rich_table(Text(title).markup, header, [[Text(c).markup for c in row] for row in rows])
    needed = Measurement.get(out, out.options.update(width=_ENDLESS), table).maximum
    if not rows or needed <= out.width:
        out.print(table)
        return
    out.print(Text(title, style="bold"))
    wide = max(len(name) for name in header[1:])
    for first, *others in rows:
        out.print(Text(f"\n{header[0]} {first}" if header[0] else f"\n{first}", style="bold"))
        for name, cell in zip(header[1:], others, strict=True):
            out.print(Text(f"  {name:<{wide}}  {cell}"))
