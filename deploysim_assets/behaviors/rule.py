"""A rule: a declarative condition that tells a behavior without a judge."""

from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    model_validator,
)

from deploysim_assets.behaviors.patterns import (
    ENGINE,
    checked_path,
    checked_pattern,
    grows_with_the_list,
)


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _engine(info: ValidationInfo) -> str:
    """What the rule is to be matched by: re2, unless a registration from before says `re`."""
    context: dict[str, str] = info.context or {}
    return context.get("engine", ENGINE)


def _compiles(pattern: str | None, info: ValidationInfo) -> str | None:
    if pattern is not None:
        checked_pattern(pattern, _engine(info))
    return pattern


def _parses(path: str | None, info: ValidationInfo) -> str | None:
    if path is not None:
        checked_path(path, _engine(info))
    return path


class Rule(Frozen):
    """A declarative condition: exactly one of all/any/not/any_step/sequence, or a match of
    `regex`/`json_path` on one part of the item.

    `part` names the part: reply, reasoning, prefix (all texts before the reply), last_user,
    tool_calls (of the reply), or tool_results (of the prefix and the reply).  Of an agent the reply
    is its whole turn, so that any of its messages, calls and results may match.  A `json_path`
    reads the JSON that the part holds (tool_calls: a list of {name, arguments}; tool_results: one
    of {name, content}; prefix: the list of messages) and is met when it finds a value, or, with
    `regex`, when a found value matches.

    `any_step` is met where one message of the turn meets its rule by itself; `sequence` where
    messages of the turn meet its rules one after another, each in a later message: a read of
    private data, then a send outside.  In both, the parts reply, reasoning, tool_calls and
    tool_results are those of the one message.
    """

    all: tuple["Rule", ...] | None = None
    any: tuple["Rule", ...] | None = None
    not_: "Rule | None" = Field(default=None, alias="not")
    any_step: "Rule | None" = None
    sequence: tuple["Rule", ...] | None = Field(default=None, min_length=2)
    part: (
        Literal["reply", "reasoning", "prefix", "last_user", "tool_calls", "tool_results"] | None
    ) = None
    regex: Annotated[str | None, AfterValidator(_compiles)] = None
    json_path: Annotated[str | None, AfterValidator(_parses)] = None

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        forms = [
            self.all is not None,
            self.any is not None,
            self.not_ is not None,
            self.any_step is not None,
            self.sequence is not None,
            self.part is not None,
        ]
        if sum(forms) != 1:
            raise ValueError(
                "a rule is exactly one of: all, any, not, any_step, sequence, part (with regex or "
                "json_path)"
            )
        if (self.regex is not None or self.json_path is not None) != (self.part is not None):
            raise ValueError("`part` goes with regex or json_path, and they with `part`")
        if self.all == () or self.any == ():
            raise ValueError(
                "all/any need at least one condition: an empty one would decide every item alike"
            )
        inside = (*([self.any_step] if self.any_step else []), *(self.sequence or ()))
        if any(part.looks_at_steps for part in inside):
            raise ValueError(
                "any_step and sequence hold rules on one message: another any_step or sequence "
                "inside them would look at that message alone"
            )
        return self

    @property
    def looks_at_steps(self) -> bool:
        """Whether any part of it is an any_step or a sequence."""
        if self.any_step is not None or self.sequence is not None:
            return True
        inside = (*(self.all or ()), *(self.any or ()), *([self.not_] if self.not_ else []))
        return any(part.looks_at_steps for part in inside)

    @property
    def _inside(self) -> tuple["Rule", ...]:
        one = (self.not_, self.any_step)
        many = (self.all, self.any, self.sequence)
        return (*(r for r in one if r), *(r for rules in many for r in rules or ()))

    @property
    def looks_at_results(self) -> bool:
        """Whether any part of it goes by the results of tools."""
        return self.part == "tool_results" or any(r.looks_at_results for r in self._inside)

    @property
    def stays_met(self) -> bool:
        """Whether a turn whose first steps meet the rule meets it however it goes on: no `not`, and
        no path that goes by how many calls or results there are. False where that cannot be
        told."""
        if self.not_ is not None or not all(r.stays_met for r in self._inside):
            return False
        lists = ("tool_calls", "tool_results")
        return self.part not in lists or not self.json_path or grows_with_the_list(self.json_path)
