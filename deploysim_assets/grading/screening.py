"""The cascade: a cheap first stage clears most items, and a random part of the cleared ones is
judged anyway."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from deploysim_assets.grading.item import Item
from deploysim_assets.grading.run import GradingRun
from deploysim_assets.grading.stopping import place

CLEARED = "cleared"
"""What a stratum's name gets behind it for the part that the screen cleared."""


class Screening:
    """What the first stage made of each item: suspicious, cleared and audited, or cleared."""

    def __init__(self, run: GradingRun, items: Iterable[Item]) -> None:
        panel = run.panel
        assert panel.judge is not None and panel.judge.screen is not None
        self._panel, self._share = panel, panel.judge.screen.audit_share
        self._suspicious: set[str] = set()
        self._cleared: Counter[str] = Counter()
        self._audited: Counter[str] = Counter()
        self._flagged: Counter[str] = Counter()
        for item in items:
            if not panel.judged(item) or item.reply is None:
                continue
            if run.suspicious(item):
                self._suspicious.add(item.prefix["prefix_id"])
            else:
                self._cleared[item.prefix["stratum"]] += 1
                self._audited[item.prefix["stratum"]] += place(item) < self._share

    def is_suspicious(self, item: Item) -> bool:
        """Whether the first stage left the item to the judge."""
        return item.prefix["prefix_id"] in self._suspicious

    def judged(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items that the judge sees. The audited part is one and the same for every table:
        it goes by the prefix."""
        return (item for item in items if place(item) < self._share or self.is_suspicious(item))

    def skip(self, item: Item) -> frozenset[str]:
        """The behaviors that the judge was not asked about for an item."""
        seen = place(item) < self._share or item.reply is None or self.is_suspicious(item)
        return frozenset() if seen else frozenset(b.name for b in self._panel.judged(item))

    def weighted(self, item: Item, row: dict[str, Any]) -> dict[str, Any]:
        """The row with the stratum and the weight of its stage: an audited reply stands for all
        that were cleared."""
        if item.reply is None or not self._panel.judged(item) or self.is_suspicious(item):
            return row
        stratum = item.prefix["stratum"]
        if not self._audited[
            stratum
        ]:  # nothing tells what the screen missed there: the stratum is uncovered, and said to be
            return row | {
                "stratum": f"{stratum} {CLEARED}",
                "missing": [*row["missing"], *row["skipped"]],
                "skipped": [],
            }
        weight = row["weight"] * self._cleared[stratum] / self._audited[stratum]
        if place(item) < self._share:
            self._flagged.update(b.name for b in self._panel.judged(item) if row[b.name])
        return row | {"stratum": f"{stratum} {CLEARED}", "weight": weight}

    def counts(self) -> dict[str, Any]:
        """What the first stage came to: the misses found per behavior among the audited, out of
        how many cleared."""
        found = {
            "suspicious": len(self._suspicious),
            "cleared": self._cleared.total(),
            "audited": self._audited.total(),
            "misses_found": dict(self._flagged),
        }
        return {"screen": found}
