"""The panel: all graders of a project under one identity, from items to rows of the grades
table."""

import hashlib
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple, Self

import orjson

from deploysim_assets.behaviors import Behavior
from deploysim_assets.endpoint.wire import request_key
from deploysim_assets.grading.item import Item
from deploysim_assets.grading.judge import PROMPT_VERSION, document, judge_request, repair, verdicts
from deploysim_assets.grading.rules import holds
from deploysim_assets.project import Judge, Project, Truncated
from deploysim_assets.storage.journal import Journal

_RULES_VERSION = "1"


def _hash(value: Any) -> str:
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


class Panel(NamedTuple):
    """Behaviors and the judge that grades those without a rule. Equal definitions give an equal
    `grading_id`, on both sides."""

    behaviors: tuple[Behavior, ...]
    judge: Judge | None
    truncated: Truncated = "missing"

    @classmethod
    def of(cls, project: Project) -> Self:
        """The panel that the project's files describe now."""
        return cls(project.behaviors, project.judge, project.grading.truncated)

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Self:
        """The panel as a registration recorded it."""
        judge = record["judge"]
        return cls(
            tuple(Behavior.model_validate(b) for b in record["behaviors"]),
            Judge.model_validate(judge) if judge else None,
            record.get("truncated", "missing"),
        )

    def record(self) -> dict[str, Any]:
        """Everything that determines a grade, for the registration. The judge's address and pace
        are not part of it."""
        judge = self.judge and self.judge.model_dump(
            mode="json",
            by_alias=True,
            exclude_none=True,
            include={"model", "params", "max_characters", "screen"},
        )
        return {
            "behaviors": [
                b.model_dump(mode="json", by_alias=True, exclude_none=True) for b in self.behaviors
            ],
            "judge": judge,
        } | ({} if self.truncated == "missing" else {"truncated": self.truncated})

    def grader_ids(self) -> dict[str, str]:
        """The grader's identity per behavior. The judge sees all its behaviors at once, so each
        identity covers them all."""
        record = self.record()
        behaviors = [
            {k: v for k, v in b.items() if k != "threshold_per_100k"} for b in record["behaviors"]
        ]
        judged = [b for b in behaviors if b["grader"] == "judge"]
        together = _hash({"judge": record["judge"], "prompt": PROMPT_VERSION, "behaviors": judged})
        return {
            b["name"]: _hash({"rules": _RULES_VERSION, "behavior": b})
            if b["grader"] == "rule"
            else together
            for b in behaviors
        }

    @property
    def grading_id(self) -> str:
        if self.truncated == "missing":
            return _hash(self.grader_ids())
        return _hash({"grader_ids": self.grader_ids(), "truncated": self.truncated})

    @property
    def names(self) -> list[str]:
        return [b.name for b in self.behaviors]

    def admitted(self, item: Item) -> Item:
        """The item as this panel takes it: with the reply that was cut, where it grades those."""
        grades_cut = item.cut is not None and self.truncated == "grade"
        return item._replace(reply=item.cut) if grades_cut else item

    def judged(self, item: Item, skip: AbstractSet[str] = frozenset()) -> list[Behavior]:
        """The behaviors that the judge is asked about for an item."""
        return [
            b
            for b in self.behaviors
            if b.grader == "judge" and b.name not in skip and b.applies_to.covers(item.prefix)
        ]

    def requests(
        self, items: Iterable[Item], skip: AbstractSet[str] = frozenset()
    ) -> Iterator[dict[str, Any]]:
        """The judge's requests for the items that have a reply and a behavior to be judged for."""
        return (request for item in items if (request := self._request(item, skip)) is not None)

    def _request(self, item: Item, skip: AbstractSet[str] = frozenset()) -> dict[str, Any] | None:
        judged = self.judged(item, skip)
        return (
            judge_request(item, judged, self.judge)
            if judged and item.reply is not None and self.judge
            else None
        )

    def asked_for(
        self, item: Item, journal: Journal, skip: AbstractSet[str] = frozenset()
    ) -> Iterator[str]:
        """The keys of the journalled judge and screen requests for an item, repairs included."""
        item = self.admitted(item)
        for first in (self._request(item, skip), *self.screen_requests([item])):
            request = first
            while request is not None and (key := request_key(request)) in journal:
                yield key
                request = repair(request, journal.get(key))

    def row(
        self,
        item: Item,
        model_version: str,
        journal: Journal,
        failures: dict[str, str],
        skip: AbstractSet[str] = frozenset(),
    ) -> dict[str, Any]:
        """The item's row of the grades table. A reply that is missing or could not be graded has
        null, never false.

        The judge was not asked about the behaviors in `skip`: they are neither graded nor missing.
        """
        row: dict[str, Any] = {
            k: item.prefix[k] for k in ("prefix_id", "stratum", "weight", "user_key")
        }
        row |= {
            "model_version": model_version,
            "grading_id": self.grading_id,
            "status": item.status,
            "error": item.error,
            "evidence": [],
        }
        row |= dict.fromkeys(self.names)
        applies = [b.name for b in self.behaviors if b.applies_to.covers(item.prefix)]
        row |= {
            "missing": [name for name in applies if name not in skip],
            "skipped": [name for name in applies if name in skip],
            "cut": None,
        }
        if item.reply is None:
            return row
        if self.judge is not None and (judged := self.judged(item, skip)):
            read = document(item, self.judge.max_characters)
            status, error, found = _judgement(
                judge_request(item, judged, self.judge, read), journal, failures
            )
            row["cut"] = read[1]
            if found is None:
                return row | {"status": status, "error": error}
            for name, verdict in found.items():
                if verdict is None:
                    continue
                row[name] = verdict["flagged"]
                if verdict["flagged"]:
                    severity = max(0, min(4, verdict["severity"]))
                    row["evidence"].append(
                        {"behavior": name, "severity": severity}
                        | {k: verdict[k] for k in ("confidence", "rationale")}
                    )
        for behavior in self.behaviors:
            if behavior.rule is not None and behavior.applies_to.covers(item.prefix):
                row[behavior.name] = holds(behavior.rule, item.prefix["messages"], item.reply)
                if row[behavior.name]:
                    row["evidence"].append(
                        {
                            "behavior": behavior.name,
                            "severity": None,
                            "confidence": None,
                            "rationale": "rule",
                        }
                    )
        without = [name for name in row["missing"] if row[name] is None]
        if without and not any(row[name] is not None for name in self.names):
            return row | {"status": "failed", "error": "the judge could not tell"}
        return row | {"status": "graded", "missing": without}

    def suspicious(self, item: Item, journal: Journal) -> bool:
        """Whether the screen leaves an item to the judge: it flagged something, could not tell,
        or gave no usable answer."""
        assert self.judge is not None and self.judge.screen is not None
        if self.judge.screen.rule is not None:
            return item.reply is not None and holds(
                self.judge.screen.rule, item.prefix["messages"], item.reply
            )
        request = next(self.screen_requests([item]), None)
        if request is None:
            return False
        _, _, found = _judgement(request, journal, {})
        return found is None or any(
            verdict is None or verdict["flagged"] for verdict in found.values()
        )

    def screen_requests(self, items: Iterable[Item]) -> Iterator[dict[str, Any]]:
        """The first stage's requests: those of the judge, to the smaller model. None where a
        rule screens."""
        screen = self.judge and self.judge.screen
        if screen and screen.model:
            yield from (request | {"model": screen.model} for request in self.requests(items))


Verdicts = dict[str, dict[str, Any] | None]


def _judgement(
    request: dict[str, Any], journal: Journal, failures: dict[str, str]
) -> tuple[str, str | None, Verdicts | None]:
    """Follow a request and its repairs through the journal to the verdicts, or to the state
    without them."""
    names = request["response_format"]["json_schema"]["schema"]["required"]
    while True:
        key = request_key(request)
        if key not in journal:
            return "failed", failures.get(key, "not asked"), None
        answer = journal.get(key)
        if answer["status"] in ("refused", "filtered"):
            return answer["status"], f"the judge's answer: {answer['status']}", None
        found = verdicts(answer, names)
        if found is not None:
            return "graded", None, found
        following = repair(request, answer)
        if following is None:
            return "failed", "the judge's answer is not of the schema", None
        request = following
