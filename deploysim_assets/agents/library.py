"""Affordance: a library of earlier calls and their results, searched by tool and arguments."""

import functools
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from deploysim_assets.agents.calls import canonical
from deploysim_assets.agents.extras import extra
from deploysim_assets.agents.moment import Call, Example, Moment, Result
from deploysim_assets.agents.trajectory import Made, reads_of, walk, world_of
from deploysim_assets.project import Agents

_WORD = re.compile(r"\w+")


class Entry(NamedTuple):
    """An earlier call: whose conversation it is of, and when that began."""

    made: Made
    conversation: str
    clock: datetime | None


class _Shelf:
    """The entries of one tool, with an index over their arguments."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = entries
        self.by_key: defaultdict[str, list[Entry]] = defaultdict(list)
        for entry in entries:
            self.by_key[entry.made.key].append(entry)

    @functools.cached_property
    def _index(self) -> Any:
        bm25s = extra("bm25s", "agents.affordances: library")
        # "" so that entries without arguments are documents, too
        words = [["", *_words(entry.made.call)] for entry in self.entries]
        index = bm25s.BM25()
        index.index(words, show_progress=False)
        return index

    def best(self, call: Call, may: Callable[[Entry], bool], count: int) -> list[Entry]:
        """The entries most like a call among those that may be shown."""
        import numpy as np

        allowed = np.array([may(entry) for entry in self.entries], dtype=bool)
        if not allowed.any() or not count:
            return []
        scores = np.asarray(self._index.get_scores(["", *_words(call)]), dtype=float)
        order = np.lexsort((np.arange(len(scores)), -np.where(allowed, scores, -np.inf)))
        return [self.entries[i] for i in order[: min(count, int(allowed.sum()))]]


def _words(call: Call) -> list[str]:
    return [word.lower() for word in _WORD.findall(canonical(call).partition(" ")[2])]


class Library:
    """Answers a read that was made before, in a world with the same writes; shows the most similar
    calls otherwise.

    Never from the conversation itself, never from one that may have begun later: a prefix without a
    clock is shown nothing, as are entries without one to any; both are counted.
    """

    name = "library"

    def __init__(
        self, trajectories: Callable[[], Iterable[Mapping[str, Any]]], settings: Agents
    ) -> None:
        """`trajectories` gives rows with conversation_key, messages, production_completion, tools
        and clock; they are read when the first call is looked up."""
        extra("bm25s", "agents.affordances: library")
        self._trajectories, self._settings = trajectories, settings
        self._undated = set[str]()

    @functools.cached_property
    def _shelves(self) -> dict[str, _Shelf]:
        by_tool: defaultdict[str, dict[tuple[str, Made], Entry]] = defaultdict(dict)
        for row in self._trajectories():
            for made in _made(row, self._settings):
                entry = Entry(made, row["conversation_key"], row["clock"])
                # the prefixes of a conversation share its beginning
                by_tool[made.call.name].setdefault((entry.conversation, made), entry)
        return {tool: _Shelf(list(found.values())) for tool, found in by_tool.items()}

    def look(self, moment: Moment) -> Result | list[Example]:
        """What the same call got elsewhere, most often said first and the latest among equals, or
        the calls most like it."""
        shelf = self._shelves.get(moment.call.name)
        if shelf is None:
            return []
        own, clock = moment.prefix["conversation_key"], moment.prefix["clock"]
        if clock is None:
            self._undated.add(moment.prefix["prefix_id"])
            return []

        def may(entry: Entry) -> bool:
            if entry.conversation == own:
                return False
            return entry.clock is not None and entry.clock <= clock

        world = world_of(moment, self._settings)
        before = world.so_far(moment.steps).after
        same = [e for e in shelf.by_key.get(canonical(moment.call), ()) if may(e)]
        fits = [e for e in same if e.made.before == before]
        if fits and world.reads(moment.call):
            said = Counter(e.made.content for e in fits)
            return Result(max(fits, key=lambda e: _rank(e, said)).made.content, self.name)
        return [
            Example(e.made.call, e.made.content, self.name)
            for e in shelf.best(moment.call, may, self._settings.library_examples)
        ]

    def stats(self) -> dict[str, Any]:
        """Entries of the library, those that have no clock, and prefixes that were shown nothing
        because they have none; nothing where it was not needed."""
        if "_shelves" not in self.__dict__:
            return {}
        entries = [e for shelf in self._shelves.values() for e in shelf.entries]
        return {
            "entries": len(entries),
            "without_clock": sum(e.clock is None for e in entries),
            "prefixes_without_clock": len(self._undated),
        }


def _rank(entry: Entry, said: Mapping[str, int]) -> tuple[int, float, str, str]:
    at = entry.clock.timestamp() if entry.clock else 0.0
    return said[entry.made.content], at, entry.conversation, entry.made.content


def _made(row: Mapping[str, Any], settings: Agents) -> list[Made]:
    tools: list[Mapping[str, Any]] = row["tools"] or []
    reply: Mapping[str, Any] = row["production_completion"] or {}
    steps: list[Mapping[str, Any]] = reply.get("steps") or []
    return walk([*row["messages"], *steps], tools, reads_of(settings, tools)).made
