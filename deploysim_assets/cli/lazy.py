"""Groups of commands that load a command when it is named, and end with codes that a script can
tell apart."""

import errno
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import click

USAGE, INTERNAL, INTERRUPTED, NOBODY_READS = 64, 70, 130, 141
TRACEBACK = "DEPLOYSIM_TRACEBACK"


class Lazy(NamedTuple):
    """Where a command lies ("module:name", below deploysim_assets.cli), and its line in the list of
    commands, for which nothing is loaded."""

    place: str
    says: str


class LazyGroup(click.Group):
    """A group with `lazy` commands beside its own."""

    def __init__(self, *args: Any, lazy: dict[str, Lazy] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lazy = lazy or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command, by name."""
        return sorted({*super().list_commands(ctx), *self.lazy})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, loaded where it is a lazy one."""
        if cmd_name not in self.lazy:
            return super().get_command(ctx, cmd_name)
        module, _, name = self.lazy[cmd_name].place.partition(":")
        return getattr(import_module(f"deploysim_assets.cli.{module}"), name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands in the help."""
        names = self.list_commands(ctx)
        limit = formatter.width - 6 - max(map(len, names))
        rows: list[tuple[str, str]] = []
        for name in names:
            lazy, own = self.lazy.get(name), self.commands.get(name)
            rows.append((name, lazy.says if lazy else own.get_short_help_str(limit) if own else ""))
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """A command by its name; for an unknown one the nearest that there is is named."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as wrong:
            from difflib import get_close_matches

            near = get_close_matches(args[0], self.list_commands(ctx), 1)
            if not near:
                raise
            raise click.UsageError(f"{wrong.message} Did you mean {near[0]!r}?", ctx) from None


class Main(LazyGroup):
    """The outermost group. 0 to 4 are a verdict's; 64 usage or configuration, 69 the endpoint, 70
    an error of deploysim itself."""

    def main(self, *args: Any, standalone_mode: bool = True, **kwargs: Any) -> Any:
        """Run a command line, and end the process where this is not done for another program."""
        if not standalone_mode:
            return super().main(*args, standalone_mode=False, **kwargs)
        try:
            done = super().main(*args, standalone_mode=False, **kwargs)
        except click.ClickException as wrong:
            wrong.show()
            sys.exit(wrong.code if isinstance(wrong, Refused) else USAGE)
        except click.Abort:
            click.echo("Aborted.", err=True)
            sys.exit(INTERRUPTED)
        except Exception as bug:
            if os.environ.get(TRACEBACK):
                raise
            click.echo(f"Error: {_where(bug)}", err=True)
            sys.exit(INTERNAL)
        sys.exit(done if isinstance(done, int) else 0)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; where what reads its output has gone, end without a word."""
        try:
            return super().invoke(ctx)
        except OSError as wrong:
            if wrong.errno != errno.EPIPE:
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise click.exceptions.Exit(NOBODY_READS) from None


class Refused(click.ClickException):
    """An error of ours in one clear line, with the code that says whose it is."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def _where(bug: BaseException) -> str:
    """What kind of error it was and where, without its message: that may hold a text."""
    last = bug.__traceback__
    ours = ""
    while last is not None:
        frame = last.tb_frame
        if "deploysim_assets" in frame.f_code.co_filename:
            ours = f" at {Path(frame.f_code.co_filename).name}:{last.tb_lineno}"
        last = last.tb_next
    return (
        f"{type(bug).__name__}{ours}: an error of deploysim itself, not of your files; please "
        f"report it. {TRACEBACK}=1 shows all of it, texts too"
    )
