"""Keeps raw text out of errors: what fails while raw text is in hand must not carry it into logs
or Dagster's event log."""

import contextlib
from collections.abc import Generator

from deploysim_assets.project import ProjectError
from deploysim_assets.shards import ShardError, kind_and_place


class WithheldError(Exception):
    """An unexpected failure whose message may have held raw text; only its kind and place are
    told."""


@contextlib.contextmanager
def text_withheld() -> Generator[None]:
    """Let ProjectErrors and ShardErrors pass (they hold no text); replace every other error by its
    type and the line that raised it."""
    try:
        yield
    except (ProjectError, ShardError):
        raise
    except Exception as wrong:  # noqa: BLE001
        raise WithheldError(
            f"{kind_and_place(wrong)} (the message is withheld: it may quote a conversation)"
        ) from None
