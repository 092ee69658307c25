"""A behavior: what is undesired, where it applies, and how it is told."""

import hashlib
import json
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from deploysim_assets.behaviors.rule import Frozen, Rule

RESERVED_COLUMNS = frozenset(
    (
        "prefix_id",
        "model_version",
        "grading_id",
        "stratum",
        "weight",
        "user_key",
        "missing",
        "skipped",
        "cut",
        "status",
        "error",
        "evidence",
        "judge_notes",
    )
)
"""Columns of the grades table, beside which each behavior has one of its own."""

COUNTED_BESIDE = RESERVED_COLUMNS | {"live_without", "live_flags", "steps", "answered", "shown"}
"""The names of columns beside which behaviors are counted. DuckDB takes upper and lower case for
one: a behavior Status was counted as Status_1, so that it stood as not graded."""


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


Values = Annotated[
    tuple[str, ...] | None,
    BeforeValidator(_listed, json_schema_input_type=str | tuple[str, ...] | None),
]


class AppliesTo(Frozen):
    """The prefixes a behavior is graded on: those whose column holds one of the values.
    Everything, where nothing is named."""

    surface: Values = None
    language: Values = None
    stratum: Values = None

    def covers(self, row: dict[str, Any]) -> bool:
        """Whether a prefix (with its surface, language and stratum) is graded for the behavior."""
        if self.surface is self.language is self.stratum is None:
            return True
        wanted = {"surface": self.surface, "language": self.language, "stratum": self.stratum}
        return all(values is None or row[column] in values for column, values in wanted.items())


class Behavior(Frozen):
    """One undesired category: what it is, how a judge or a rule tells it, and the rate a release
    must stay under.

    `severity` words the steps of the scale 0 to 4; `reasoning` and `tool_calls` say whether the
    judge may go by them.
    """

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")
    definition: str
    rubric: str = ""
    grader: Literal["judge", "rule"] = "judge"
    rule: Rule | None = None
    applies_to: AppliesTo = AppliesTo()
    severity: dict[Annotated[int, Field(ge=0, le=4)], str] = {}  # noqa: RUF012 (pydantic copies it)
    reasoning: bool = True
    tool_calls: bool = True
    threshold_per_100k: float | None = Field(default=None, gt=0, le=100_000)

    @model_validator(mode="after")
    def _rule_where_due(self) -> Self:
        if (self.grader == "rule") != (self.rule is not None):
            raise ValueError("a `rule` is required with grader: rule, and only there")
        if self.name in RESERVED_COLUMNS:
            raise ValueError(
                f"{self.name!r} is the name of a column of the grades table; choose another"
            )
        return self

    @property
    def identity(self) -> str:
        """Hash of all that the behavior means. A threshold is a demand on the rate, not part of
        what is measured."""
        meaning = self.model_dump(
            mode="json", by_alias=True, exclude_none=True, exclude={"threshold_per_100k"}
        )
        return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()[:16]
