"""`deploysim guide`: the guides that are shipped with the wheel."""

import sys
from pathlib import Path
from typing import NamedTuple

import click

from deploysim_assets.cli.running import clear_errors

FOLDER = Path(__file__).parent.parent / "guides"


class Guide(NamedTuple):
    """A guide by the name that it is asked for with."""

    name: str
    title: str
    path: Path


def guides() -> list[Guide]:
    """Every guide, in the order in which they are best read (their files are numbered)."""
    found: list[Guide] = []
    for path in sorted(FOLDER.glob("*.md"), key=lambda path: int(path.stem.partition("-")[0])):
        with path.open(encoding="utf-8") as lines:
            title = next(lines).removeprefix("# ").strip()
        found.append(Guide(path.stem.partition("-")[2], title, path))
    return found


@click.command()
@click.argument("name", required=False)
@clear_errors
def guide(name: str | None) -> None:
    """Read the guide NAME; without a name, list them.

    Example: deploysim guide first-hour
    """
    known = guides()
    if name is None:
        for one in known:
            click.echo(f"deploysim guide {one.name:<12}  {one.title}")
        return
    found = next((one for one in known if one.name == name), None)
    if found is None:
        from difflib import get_close_matches

        from deploysim_assets.project import ProjectError

        names = [one.name for one in known]
        near = get_close_matches(name, names, 1)
        meant = f"did you mean {near[0]}? " if near else ""
        raise ProjectError(f"{name}: no such guide; {meant}there are: {', '.join(names)}")
    text = found.path.read_text(encoding="utf-8")
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.markdown import Markdown

        console = Console()
        with console.pager(styles=True):
            console.print(Markdown(text))
        return
    click.echo(text, nl=False)
