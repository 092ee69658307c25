"""Patterns of RE2 over UTF-8, asked for places alone: the match objects of google-re2 in Python
take longer than its search."""

# pyright: reportMissingTypeStubs=false, reportPrivateUsage=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Iterator
from typing import Any

import re2

_ANYWHERE: Any = re2._Anchor.UNANCHORED
_HERE: Any = re2._Anchor.ANCHOR_START


class Linear:
    """A pattern that is searched for in time linear in the text. Groups cost a second pass: those
    of a pattern whose groups nobody asks for are to be `(?:..)`."""

    __slots__ = ("_match", "pattern")

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        compiled: Any = re2.compile(pattern)
        self._match: Any = compiled._regexp.Match

    def search(self, data: bytes, at: int = 0) -> tuple[int, int] | None:
        """Start and end of the first match from a byte on, or None."""
        found: tuple[int, int] = self._match(_ANYWHERE, data, at, len(data))[0]
        return None if found[0] < 0 else found

    def match_end(self, data: bytes, at: int) -> int:
        """Where the match that starts at a byte ends; -1 where none does."""
        return self._match(_HERE, data, at, len(data))[0][1]

    def finditer(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Start and end of all matches, none of which is empty."""
        match, at, end = self._match, 0, len(data)
        while (found := match(_ANYWHERE, data, at, end)[0])[0] >= 0:
            yield found
            at = found[1]

    def groups(self, data: bytes) -> Iterator[list[tuple[int, int]]]:
        """As `finditer`, each match with its groups."""
        match, at, end = self._match, 0, len(data)
        while (found := match(_ANYWHERE, data, at, end))[0][0] >= 0:
            yield found
            at = found[0][1]
