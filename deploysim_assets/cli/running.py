"""What every command does around its own work: open the project and its Dagster instance, and
say errors in one clear line."""

import contextlib
import gc
import os
from collections.abc import Callable, Generator
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

import click

from deploysim_assets.cli.lazy import Refused

if TYPE_CHECKING:
    from deploysim_assets.cli.home import Home
    from deploysim_assets.cli.operations import Operations

P = ParamSpec("P")


def tell(message: str) -> None:
    click.echo(f"  {message}", err=True)


def clear_errors(command: Callable[P, None]) -> Callable[P, None]:
    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        from deploysim_assets.project.errors import ProjectError

        try:
            command(*args, **kwargs)
        except ProjectError as wrong:
            raise Refused(str(wrong), wrong.exit_code) from None

    return run


def with_home(command: "Callable[Concatenate[Home, P], None]") -> Callable[P, None]:
    """Open the project and its tables, as DEPLOYSIM_HOME says, and hand them to a command that
    only reads: Dagster is not loaded."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        from deploysim_assets.cli.home import open_home

        command(open_home(), *args, **kwargs)

    return clear_errors(run)


def plain(text: str) -> str:
    """A text of others on one line, without what a terminal would obey."""
    return "".join(c if c.isprintable() else " " for c in text)


def show_json(document: Any) -> None:
    """Print a document as JSON."""
    import orjson

    click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())


@contextlib.contextmanager
def operations() -> "Generator[Operations]":
    """The project's jobs on its Dagster instance, as DEPLOYSIM_HOME and DAGSTER_HOME say;
    ProjectError where the instance needs a package that is not there."""
    from deploysim_assets.project import ProjectError
    from deploysim_assets.project.file import load_project
    from deploysim_assets.storage.homes import home_folder

    home = home_folder()
    project = load_project(home)
    import dagster as dg
    from dagster._check import CheckError

    from deploysim_assets.cli.instance import dagster_home
    from deploysim_assets.cli.operations import Operations

    folder = dagster_home(home)
    os.environ["DAGSTER_HOME"] = str(folder)
    try:
        opened = dg.DagsterInstance.get()
    except (ModuleNotFoundError, CheckError) as missing:
        # Dagster says so of a storage's own module by a check
        none = [
            name for name in ("dagster_postgres", "psycopg2", "psycopg") if name in str(missing)
        ]
        if not none:
            raise
        raise ProjectError(
            f"{folder / 'dagster.yaml'}: storage: PostgreSQL needs `pip install "
            "'deploysim[postgres]'`, and a URL that starts with postgresql+psycopg2:// (with "
            f"postgres_db: `scheme: postgresql+psycopg2`); there is no module {none[0]}"
        ) from None
    with opened as instance:
        yield Operations(project, instance, tell)


def with_operations(command: "Callable[Concatenate[Operations, P], None]") -> Callable[P, None]:
    """Open the project and its Dagster instance, and hand its operations to the command."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        # what is loaded here stays: the collector would go through it dozens of times
        gc.set_threshold(100_000, 20, 50)
        with operations() as opened:
            command(opened, *args, **kwargs)

    return clear_errors(run)
