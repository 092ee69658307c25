"""Finds that overlap: which of them is replaced where, and which finds in an output are new."""

from collections.abc import Iterable

from deploysim_assets.deidentify.rules import Span

UNCERTAIN = {
    "ADDRESS": 6,
    "PERSON": 5,
    "LOCATION": 4,
    "ORGANIZATION": 3,
    "GROUP": 2,
    "DATE": 4,
    "AGE": 4,
    "CODE": 1,
}
"""Below a pattern: where both claim a place, the higher one is replaced there."""
_CERTAIN, _WHOLE = 10, 20
ISSUED = "ISSUED"
"""The type of what stands in an output because it was put there."""


def _rank(span: Span) -> int:
    return _WHOLE if span.type == ISSUED else UNCERTAIN.get(span.type, _CERTAIN)


def disjoint(text: str, found: Iterable[Span]) -> list[Span]:
    """Spans that do not overlap and cover all that was found: the certain and the long first, of
    the others what is left and holds a letter or a digit."""
    ranked = sorted(
        set(found),
        key=lambda s: (-_rank(s), s.start - s.end, s.start, s.type),
    )
    taken: list[Span] = []
    covered = bytearray(len(text))
    for span in ranked:
        start = span.start
        while start < span.end:
            if covered[start]:
                start += 1
                continue
            end = start
            while end < span.end and not covered[end]:
                end += 1
            whole = (start, end) == (span.start, span.end)
            first, last = start, end
            if not whole:
                while first < last and not text[first].isalnum():
                    first += 1
                while last > first and not text[last - 1].isalnum():
                    last -= 1
            if first < last:
                taken.append(Span(first, last, span.type))
                covered[first:last] = b"\1" * (last - first)
            start = end
    return sorted(taken)


def is_issued(hit: Span, issued: list[tuple[int, int]], text: str) -> bool:
    """Whether a find in the output is made of surrogates; a name's or a date's may reach over
    words without a capital or a digit (`said Ann`)."""
    if any(start <= hit.start and hit.end <= end for start, end in issued):
        return True
    overlapping = [(start, end) for start, end in issued if start < hit.end and hit.start < end]
    rest = "".join(
        c
        for i, c in enumerate(text[hit.start : hit.end], hit.start)
        if not any(start <= i < end for start, end in overlapping)
    )
    if hit.type not in UNCERTAIN:
        return bool(overlapping) and not any(c.isalnum() for c in rest)
    return bool(overlapping) and not any(
        c.isdigit() or c.isupper() or (c.isalpha() and not c.islower()) for c in rest
    )


_REACH, _NEAR = 180, 90
"""So far around an issued part the output is scanned again, and so far from it a find counts: what
stands closer to a window's edge may be half of something else."""


def windows_around(text: str, issued: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The parts of a text around what was issued, cut between words."""
    windows: list[tuple[int, int]] = []
    for a, b in issued:
        start = max(0, a - _REACH)
        while 0 < start < a - _NEAR and not text[start - 1].isspace():
            start += 1
        end = min(len(text), b + _REACH)
        while b + _NEAR < end < len(text) and not text[end].isspace():
            end -= 1
        if windows and start <= windows[-1][1] + _REACH:
            windows[-1] = (windows[-1][0], max(end, windows[-1][1]))
        else:
            windows.append((start, end))
    return windows


def is_near(hit: Span, issued: list[tuple[int, int]]) -> bool:
    """Whether a find stands close enough to an issued part to be one, not half of one."""
    return any(a - _NEAR < hit.end and hit.start < b + _NEAR for a, b in issued)
