"""Many short texts side by side on one sheet: one search tells which of them a pattern may match,
where a search of each would cost more in calls than in reading."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from deploysim_assets.deidentify.linear import Linear

_BEFORE_EACH = b"\n|\n"
"""For a pattern that begins with `(?:^|[^..])`, a sign of that class."""


class Sheet:
    """Texts in UTF-8, in order; a single one is on its sheet as it is."""

    def __init__(self, texts: Sequence[bytes]) -> None:
        self.count = len(texts)
        if self.count == 1:
            self.data = texts[0]
        else:
            self.data = _BEFORE_EACH + _BEFORE_EACH.join(texts)
        self._starts = [0, *accumulate(len(text) + len(_BEFORE_EACH) for text in texts)]

    def touched(self, pattern: Linear) -> list[int]:
        """Numbers, ascending, of the texts that a match reaches into: all that match by
        themselves, and maybe others. A match that runs from one text into the next may hide
        another one there, but touches both."""
        if self.count == 1:
            return [0] if pattern.search(self.data) else []
        found, at, starts = list[int](), 0, self._starts
        while hit := pattern.search(self.data, at):
            first = last = bisect_right(starts, hit[0]) - 1
            if hit[1] > starts[first + 1]:
                last = bisect_right(starts, hit[1] - 1) - 1
            found += range(first, last + 1)
            if last + 1 == self.count:
                break
            at = starts[last + 1]
        return found
