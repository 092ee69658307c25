"""Which of many RE2 patterns can match a text at all, told in a few passes."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportPrivateUsage=false

from collections.abc import Mapping
from typing import Any

import re2

_MEMORY = 64 * 1024 * 1024
_ALWAYS = ""
"""A pattern that every text matches: where a set does not report it, RE2 gave up."""


class Gate:
    """`passing` gives the numbers of the patterns that a text matches somewhere.

    The patterns share `sets` automata: one pass each. More sets cost more passes, fewer cost
    states, which multiply where many patterns begin alike.
    """

    def __init__(self, patterns: Mapping[int, str], sets: int = 1) -> None:
        options: Any = re2.Options()
        options.max_mem = _MEMORY
        options.log_errors = False
        self.sets: list[tuple[Any, list[int]]] = []
        names = list(patterns)
        for i in range(sets):
            of_set: Any = re2.Set.SearchSet(options)
            of_set.Add(_ALWAYS)
            for name in names[i::sets]:
                of_set.Add(patterns[name])
            of_set.Compile()
            # without its wrapper, which gives None for the empty list of a set that gave up
            self.sets.append((of_set._set.Match, names[i::sets]))

    def passing(self, data: bytes) -> set[int]:
        """Numbers of the patterns that match; all of a set that could not tell."""
        found: set[int] = set()
        for match, names in self.sets:
            hits: list[int] = match(data)
            if len(hits) == 1 and hits[0] == 0:
                continue
            if 0 in hits:
                found.update(names[i - 1] for i in hits if i)
            else:
                found.update(names)
        return found
