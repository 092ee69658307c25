"""Early stopping: which items the judge is still asked about for which behaviors, look by look."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from deploysim_assets.grading.item import Item
from deploysim_assets.grading.panel import Panel
from deploysim_assets.project import EarlyStopping

Decide = Callable[[int, int, float, float], str]
"""(flags, graded, threshold per message, alpha) -> "under", "over" or "continue", valid at any
number of looks."""

_GROWTH = 1.5


class Decided(NamedTuple):
    """What stopped a behavior: the side of its threshold that it was shown to lie on, after so
    many graded and flagged replies."""

    decision: str
    n: int
    k: int


class Look(NamedTuple):
    """One stretch of the stream, up to a place in it, and the behaviors that the judge was not
    asked about there."""

    until: float
    skip: frozenset[str]


def place(item: Item) -> float:
    """An item's place in the random order of the stream, from 0 to 1: its prefix_id is a keyed
    hash, independent of what it holds."""
    return int(item.prefix["prefix_id"][:13], 16) / 16**13


class Stopping:
    """The state of a stream of `size` items: looks so far, counts per behavior, and what was
    decided."""

    def __init__(self, panel: Panel, policy: EarlyStopping, decide: Decide, size: int) -> None:
        self._panel, self._policy, self._decide = panel, policy, decide
        self._thresholds = {
            b.name: b.threshold_per_100k / 1e5
            for b in panel.behaviors
            if b.grader == "judge" and b.threshold_per_100k
        }
        self._graded: Counter[str] = Counter()
        self._flagged: Counter[str] = Counter()
        self._step = min(1.0, policy.look_every / max(size, 1))
        self.decided: dict[str, Decided] = {}
        self.looks: list[Look] = []

    def following(self) -> Look | None:
        """The next stretch: first the pre-set part that the forecast rests on, which skips
        nothing; None at the end of the stream."""
        if not self.looks:
            return Look(self._policy.forecast_part, frozenset())
        done = self.looks[-1].until
        return None if done >= 1 else Look(min(1.0, done + self._step), frozenset(self.decided))

    def take(self, look: Look, rows: Iterable[dict[str, Any]]) -> None:
        """Count a finished stretch and decide what can be decided."""
        for row in rows:
            for name in self._thresholds:
                if row[name] is not None and name not in self.decided:
                    self._graded[name] += 1
                    self._flagged[name] += row[name]
        if self.looks:
            self._step *= _GROWTH
        self.looks.append(look)
        for name, threshold in self._thresholds.items():
            if name not in self.decided and self._graded[name]:
                found = self._decide(
                    self._flagged[name], self._graded[name], threshold, self._policy.alpha
                )
                if found != "continue":
                    self.decided[name] = Decided(found, self._graded[name], self._flagged[name])

    def look_of(self, item: Item) -> Look:
        """The stretch that an item lies in."""
        at = place(item)
        return next(look for look in self.looks if at < look.until or look is self.looks[-1])

    def released(self, item: Item, row: dict[str, Any]) -> dict[str, Any]:
        """The row as the forecast may use it: outside the pre-set part a stopped behavior has no
        grade, since its count stopped on purpose."""
        if place(item) < self._policy.forecast_part:
            return row
        missing = [name for name in row["missing"] if name not in self.decided]
        return (
            row
            | dict.fromkeys(self.decided)
            | {"missing": missing, "skipped": sorted({*row["skipped"], *self.decided})}
        )

    def saved(self, items: Iterable[Item]) -> dict[str, int]:
        """Grades that were not asked for, behavior by behavior, and judge calls that were not
        made at all."""
        grades = calls = 0
        for item in items:
            skip = self.look_of(item).skip
            if skip and item.reply is not None:
                whole, left = (self._panel.judged(item, s) for s in (frozenset[str](), skip))
                grades += len(whole) - len(left)
                calls += bool(whole) and not left
        return {"grades_saved": grades, "judge_calls_saved": calls}

    def between(self, look: Look, items: Iterable[Item]) -> Iterator[Item]:
        """The items of a stretch that is about to be asked."""
        start = self.looks[-1].until if self.looks else 0.0
        return (item for item in items if start <= place(item) < look.until)
