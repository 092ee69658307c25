"""How Dagster runs the project."""

from typing import Literal, Self

from pydantic import Field, model_validator

from deploysim_assets.behaviors import Frozen


class Running(Frozen):
    """How a run carries out its steps: one after the other in its own process, or each in a process
    of its own, `max_concurrent` of them at once (default: one per core)."""

    executor: Literal["in_process", "multiprocess"] = "in_process"
    max_concurrent: int | None = Field(default=None, ge=1, le=256)

    @model_validator(mode="after")
    def _at_once_needs_processes(self) -> Self:
        if self.max_concurrent is not None and self.executor == "in_process":
            raise ValueError(
                "max_concurrent: in_process runs one step at a time; set executor: multiprocess, "
                "or drop max_concurrent"
            )
        return self
