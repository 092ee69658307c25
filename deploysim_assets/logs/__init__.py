"""Readers of production logs, one file per format, registered here by the name that
deploysim.yaml uses."""

from deploysim_assets.logs import (
    agent_trajectories,
    langfuse,
    openai_chat,
    otel_genai,
    sharegpt,
    wildchat,
)
from deploysim_assets.logs.conversation import Reader
from deploysim_assets.project import ProjectError

READERS: dict[str, Reader] = {
    "agent_trajectories": agent_trajectories.read,
    "langfuse": langfuse.read,
    "openai_chat": openai_chat.read,
    "otel_genai": otel_genai.read,
    "sharegpt": sharegpt.read,
    "wildchat": wildchat.read,
}


def reader(log_format: str) -> Reader:
    """The reader of a format; ProjectError names the formats there are."""
    if log_format not in READERS:
        raise ProjectError(
            f"deploysim.yaml: releases: logs.format: {log_format!r} is no known format; use one "
            f"of {sorted(READERS)}"
        )
    return READERS[log_format]
