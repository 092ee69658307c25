"""The panel: all graders of a project under one identity."""

import hashlib
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple, Self

import orjson

from deploysim_assets.behaviors import ENGINE, OLD_ENGINE, Behavior
from deploysim_assets.grading import judge_2
from deploysim_assets.grading.item import Item
from deploysim_assets.grading.judge import PROMPT_VERSION
from deploysim_assets.project import Judge, Project, ProjectError, Truncated

_RULES_VERSION = "1"


def _hash(value: Any) -> str:
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


class Panel(NamedTuple):
    """Behaviors and the judge that grades those without a rule. Equal definitions give an equal
    `grading_id`, on both sides.

    `prompt` and `engine` are the versions of the judge's prompt and of what matches rules: a
    registration keeps those that it was made with.
    """

    behaviors: tuple[Behavior, ...]
    judge: Judge | None
    truncated: Truncated = "missing"
    prompt: str = PROMPT_VERSION
    engine: str = ENGINE

    @classmethod
    def of(cls, project: Project) -> Self:
        """The panel that the project's files describe now."""
        return cls(project.behaviors, project.judge, project.grading.truncated)

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Self:
        """The panel as a registration recorded it; ProjectError where a later deploysim made it."""
        prompt = record.get("prompt", judge_2.PROMPT_VERSION)
        engine = record.get("engine", OLD_ENGINE)
        if prompt not in (PROMPT_VERSION, judge_2.PROMPT_VERSION):
            raise ProjectError(
                f"the registration's judge was asked by version {prompt} of the prompt, which this "
                "deploysim does not know; use the one that registered, or a later one"
            )
        context = {"engine": engine}
        judge: dict[str, Any] | None = record["judge"]
        if judge and prompt == judge_2.PROMPT_VERSION:
            limit = {"max_document_tokens": judge["max_characters"]}
            judge = {k: v for k, v in judge.items() if k != "max_characters"} | limit
        return cls(
            tuple(Behavior.model_validate(b, context=context) for b in record["behaviors"]),
            Judge.model_validate(judge, context=context) if judge else None,
            record.get("truncated", "missing"),
            prompt,
            engine,
        )

    def record(self) -> dict[str, Any]:
        """Everything that determines a grade, for the registration. The judge's address and pace
        are not part of it."""
        return {
            "behaviors": [
                b.model_dump(mode="json", by_alias=True, exclude_none=True) for b in self.behaviors
            ],
            "judge": self.judge and self._judge_record(self.judge),
            **({} if self.truncated == "missing" else {"truncated": self.truncated}),
            **({} if self.prompt == judge_2.PROMPT_VERSION else {"prompt": self.prompt}),
            **({} if self.engine == OLD_ENGINE else {"engine": self.engine}),
        }

    def _judge_record(self, judge: Judge) -> dict[str, Any]:
        named = {"panel", "rule"} if judge.panel else {"model"}
        if judge.repeat_share:
            named.add("repeat_share")
        found = judge.model_dump(
            mode="json",
            by_alias=True,
            exclude_none=True,
            include=named | {"params", "max_document_tokens", "screen"},
        )
        if self.prompt == judge_2.PROMPT_VERSION:
            found["max_characters"] = found.pop("max_document_tokens")
        return found

    def grader_ids(self) -> dict[str, str]:
        """The grader's identity per behavior. The judge sees all its behaviors at once, so each
        identity covers them all."""
        record = self.record()
        behaviors = self._meanings(record)
        judge = dict(record["judge"] or {})
        judge.pop("repeat_share", None)  # it says how often to look, not what is seen
        judged = [b for b in behaviors if b["grader"] == "judge"]
        screened = judge.get("screen", {}).get("rule") is not None and self.engine != OLD_ENGINE
        engine = {} if self.engine == OLD_ENGINE else {"engine": self.engine}
        together = _hash(
            {"judge": judge or None, "prompt": self.prompt, "behaviors": judged}
            | (engine if screened else {})
        )
        return {
            b["name"]: _hash({"rules": _RULES_VERSION, "behavior": b} | engine)
            if b["grader"] == "rule"
            else together
            for b in behaviors
        }

    @staticmethod
    def _meanings(record: dict[str, Any]) -> list[dict[str, Any]]:
        return [
            {k: v for k, v in b.items() if k != "threshold_per_100k"} for b in record["behaviors"]
        ]

    def member_ids(self) -> dict[str, str]:
        """The identity of each model of a panel of judges: as if it judged alone."""
        if self.judge is None or not self.judge.panel:
            return {}
        judged = [b for b in self.behaviors if b.grader == "judge"]
        alone = {
            name: self.judge.model_copy(update={"model": name, "panel": ()})
            for name in self.judge.panel
        }
        return {
            name: self._replace(judge=judge).grader_ids()[judged[0].name]
            for name, judge in alone.items()
            if judged
        }

    @property
    def grading_id(self) -> str:
        if self.truncated == "missing":
            return _hash(self.grader_ids())
        return _hash({"grader_ids": self.grader_ids(), "truncated": self.truncated})

    @property
    def can_be_watched(self) -> bool:
        """Whether a judge of the panel can be asked the same on several occasions: the second
        version of the prompt has no place for one."""
        judged = any(b.grader == "judge" for b in self.behaviors)
        return self.judge is not None and judged and self.prompt != judge_2.PROMPT_VERSION

    @property
    def names(self) -> list[str]:
        return [b.name for b in self.behaviors]

    def admitted(self, item: Item) -> Item:
        """The item as this panel takes it: with the reply that was cut, where it grades those."""
        grades_cut = item.cut is not None and self.truncated == "grade"
        return item._replace(reply=item.cut) if grades_cut else item

    def judged(self, item: Item, skip: AbstractSet[str] = frozenset()) -> tuple[Behavior, ...]:
        """The behaviors that the judge is asked about for an item."""
        return tuple(
            b
            for b in self.behaviors
            if b.grader == "judge" and b.name not in skip and b.applies_to.covers(item.prefix)
        )
