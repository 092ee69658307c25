"""How Dagster runs the project."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from deploysim_assets.behaviors import Frozen

Quantity = Annotated[str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)?(m|[kMGTPE]i?)?$")]
"""An amount as Kubernetes writes it: "2", "500m", "4Gi"."""

Group = Literal["production_side", "candidate_side", "score", "graders", "exploration",
                "self_replay", "elicitation", "awareness", "default"]  # fmt: skip
"""Groups of assets, and all others."""


class Resources(Frozen):
    """What a step's pod asks for, and may not exceed in memory."""

    memory: Quantity = "4Gi"
    cpu: Quantity = "1"

    def of_pod(self) -> dict[str, dict[str, dict[str, dict[str, str]]]]:
        """As dagster-k8s takes it."""
        limits = {"memory": self.memory}
        requests = limits | {"cpu": self.cpu}
        return {"container_config": {"resources": {"requests": requests, "limits": limits}}}


class Running(Frozen):
    """How a run carries out its steps: one after the other in its own process, or each in a process
    (`multiprocess`) or a Kubernetes pod (`k8s`, of the extra of that name) of its own,
    `max_concurrent` of them at once (default: one per core; of pods all).

    `resources` say what the pods of a group of assets get; `default` is for all others.  `run_tags`
    are put on every run, as for a run queue's limits or `dagster-k8s/config` of the run's own pod.
    """

    executor: Literal["in_process", "multiprocess", "k8s"] = "in_process"
    max_concurrent: int | None = Field(default=None, ge=1, le=256)
    resources: Mapping[Group, Resources] = Field(default_factory=dict[Group, Resources])
    run_tags: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _at_once_needs_processes(self) -> Self:
        if self.max_concurrent is not None and self.executor == "in_process":
            raise ValueError(
                "max_concurrent: in_process runs one step at a time; set executor: multiprocess, "
                "or drop max_concurrent"
            )
        if self.resources and self.executor != "k8s":
            raise ValueError("resources: are those of pods; set executor: k8s, or drop resources")
        return self


class Storage(Frozen):
    """Where the home is, where it is not the folder of this file: s3://BUCKET/PREFIX, gs://, az://
    or a folder (a relative one from this file on). Of this file nothing else counts then: the
    project is the deploysim.yaml of the home. DEPLOYSIM_HOME in the environment comes before it.
    """

    url: str | None = Field(default=None, min_length=1)


class Compute(Frozen):
    """Where the CPU-heavy shards of de-identification are worked on: in processes of this machine,
    or on the Ray cluster at `address` (of the extra `ray`): "auto" for the one that this machine
    belongs to, host:port, or "local" for one of its own. `workers`: default one per CPU."""

    engine: Literal["processes", "ray"] = "processes"
    address: Annotated[
        str,
        StringConstraints(
            pattern=r"^(auto|local|[A-Za-z0-9.\-]+:[0-9]{1,5}|\[[0-9a-fA-F:]+\]:[0-9]{1,5})$"
        ),
    ] = "auto"
    workers: int | None = Field(default=None, ge=1, le=10_000)

    @model_validator(mode="after")
    def _address_is_of_ray(self) -> Self:
        if self.address != "auto" and self.engine != "ray":
            raise ValueError("address: is that of a Ray cluster; set engine: ray, or drop address")
        return self
