"""Readers of production logs, one file per format, registered here by the name that deploysim.yaml uses."""

from collections.abc import Callable, Iterator
from pathlib import Path

from deploysim_assets.logs import openai_chat
from deploysim_assets.logs.conversation import Conversation, Reject
from deploysim_assets.project import ProjectError

READERS: dict[str, Callable[[Path], Iterator[Conversation | Reject]]] = {"openai_chat": openai_chat.read}


def reader(log_format: str) -> Callable[[Path], Iterator[Conversation | Reject]]:
    """The reader of a format; ProjectError names the formats there are."""
    if log_format not in READERS:
        raise ProjectError(f"deploysim.yaml: releases: logs.format: {log_format!r} is no known format; use one of {sorted(READERS)}")
    return READERS[log_format]
