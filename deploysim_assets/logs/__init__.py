"""Readers of production logs, one file per format, registered here by the name that
deploysim.yaml uses."""

from deploysim_assets.logs import (
    agent_trajectories,
    helicone,
    inspect_logs,
    langfuse,
    langsmith,
    litellm,
    mlflow,
    openai_agents,
    openai_batch,
    openai_chat,
    openinference,
    otel_genai,
    sharegpt,
    swe_agent,
    tau_bench,
    wildchat,
)
from deploysim_assets.logs.conversation import Reader
from deploysim_assets.project import ProjectError

READERS: dict[str, Reader] = {
    "agent_trajectories": agent_trajectories.read,
    "helicone": helicone.read,
    "inspect": inspect_logs.read,
    "langfuse": langfuse.read,
    "langsmith": langsmith.read,
    "litellm": litellm.read,
    "lmsys": wildchat.read,
    "mlflow": mlflow.read,
    "openai_agents": openai_agents.read,
    "openai_batch": openai_batch.read,
    "openai_chat": openai_chat.read,
    "openinference": openinference.read,
    "otel_genai": otel_genai.read,
    "sharegpt": sharegpt.read,
    "swe_agent": swe_agent.read,
    "tau_bench": tau_bench.read,
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
