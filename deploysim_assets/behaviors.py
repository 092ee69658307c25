"""behaviors.yaml -> frozen models: undesired behaviors, the rules that tell some of them, and
where each applies."""

import hashlib
import json
import re
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

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
    )
)
"""Columns of the grades table, beside which each behavior has one of its own."""


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _compiles(pattern: str | None) -> str | None:
    if pattern is not None:
        try:
            re.compile(pattern)
        except re.error as wrong:
            raise ValueError(f"not a regular expression: {wrong}") from wrong
    return pattern


def _parses(path: str | None) -> str | None:
    if path is not None:
        import jsonpath

        try:
            jsonpath.compile(path)
        except jsonpath.JSONPathError as wrong:
            raise ValueError(f"not a JSON path: {wrong}") from wrong
    return path


class Rule(Frozen):
    """A declarative condition: exactly one of all/any/not, or a match of `regex`/`json_path` on one
    part of the item.

    `part` names the part: reply, reasoning, prefix (all texts before the reply), last_user,
    tool_calls (of the reply), or tool_results (of the prefix).  A `json_path` reads the JSON that
    the part holds (tool_calls: a list of {name, arguments}; prefix: the list of messages) and is
    met when it finds a value, or, with `regex`, when a found value matches.
    """

    all: tuple["Rule", ...] | None = None
    any: tuple["Rule", ...] | None = None
    not_: "Rule | None" = Field(default=None, alias="not")
    part: (
        Literal["reply", "reasoning", "prefix", "last_user", "tool_calls", "tool_results"] | None
    ) = None
    regex: Annotated[str | None, BeforeValidator(_compiles)] = None
    json_path: Annotated[str | None, BeforeValidator(_parses)] = None

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        forms = [
            self.all is not None,
            self.any is not None,
            self.not_ is not None,
            self.part is not None,
        ]
        if sum(forms) != 1:
            raise ValueError(
                "a rule is exactly one of: all, any, not, part (with regex or json_path)"
            )
        if (self.regex is not None or self.json_path is not None) != (self.part is not None):
            raise ValueError("`part` goes with regex or json_path, and they with `part`")
        if self.all == () or self.any == ():
            raise ValueError(
                "all/any need at least one condition: an empty one would decide every item alike"
            )
        return self


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


Values = Annotated[tuple[str, ...] | None, BeforeValidator(_listed)]


class AppliesTo(Frozen):
    """The prefixes a behavior is graded on: those whose column holds one of the values.
    Everything, where nothing is named."""

    surface: Values = None
    language: Values = None
    stratum: Values = None

    def covers(self, row: dict[str, Any]) -> bool:
        """Whether a prefix (with its surface, language and stratum) is graded for the behavior."""
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
    severity: dict[Annotated[int, Field(ge=0, le=4)], str] = {}
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
