"""deploysim.yaml -> frozen models: releases, log sources, graders, endpoints, policies."""

from deploysim_assets.project.agents import Affordance, Agents, Connector, Simulator
from deploysim_assets.project.deidentification import (
    EVERY_LANGUAGE,
    UNNAMED_LANGUAGE,
    Deidentification,
    Ner,
    packaged_ner,
)
from deploysim_assets.project.endpoint import Batches, Budget, Endpoint, Price
from deploysim_assets.project.errors import ProjectError, SealError
from deploysim_assets.project.grading import EarlyStopping, Grading, Judge, Screen, Truncated, Vote
from deploysim_assets.project.measures import Awareness, Elicitation, Exploration, SelfReplay
from deploysim_assets.project.project import CONFIG_FILE, Automation, Project
from deploysim_assets.project.releases import KEY_PATTERN, Candidate, LogSource, Release
from deploysim_assets.project.running import Compute, Running
from deploysim_assets.project.sampling import Eligibility, Sampling, Strata

__all__ = [
    "CONFIG_FILE",
    "EVERY_LANGUAGE",
    "KEY_PATTERN",
    "UNNAMED_LANGUAGE",
    "Affordance",
    "Agents",
    "Automation",
    "Awareness",
    "Batches",
    "Budget",
    "Candidate",
    "Compute",
    "Connector",
    "Deidentification",
    "EarlyStopping",
    "Elicitation",
    "Eligibility",
    "Endpoint",
    "Exploration",
    "Grading",
    "Judge",
    "LogSource",
    "Ner",
    "Price",
    "Project",
    "ProjectError",
    "Release",
    "Running",
    "Sampling",
    "Screen",
    "SealError",
    "SelfReplay",
    "Simulator",
    "Strata",
    "Truncated",
    "Vote",
    "packaged_ner",
]
