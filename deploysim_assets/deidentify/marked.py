"""Recall against texts in which people marked what is personal: how many of the marked spans are
replaced whole, by type, and what was quarantined."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from scipy import stats

from deploysim_assets.deidentify.scrub import Asked, Quarantined, Scrubber
from deploysim_assets.project import ProjectError


class Marked(NamedTuple):
    """A text and its marked spans: start, end (characters), type."""

    text: str
    spans: list[tuple[int, int, str]]


class Covered(NamedTuple):
    """Spans of a type: all, those replaced whole, those touched, and those in quarantined texts
    (which count as not covered)."""

    type: str
    spans: int
    whole: int
    touched: int
    quarantined: int

    @property
    def recall(self) -> float:
        return self.whole / self.spans

    @property
    def lower(self) -> float:
        """One-sided 95% Clopper-Pearson."""
        return (
            float(stats.beta.ppf(0.05, self.whole, self.spans - self.whole + 1))
            if self.whole
            else 0.0
        )


class Score(NamedTuple):
    """By type (the last row is all of them), and how many texts were quarantined for what."""

    rows: list[Covered]
    texts: int
    quarantined: dict[str, int]


def read_marked(path: Path) -> Iterator[Marked]:
    """Lines of {"text": .., "spans": [[start, end, type], ..]}, also gzipped; ProjectError names
    the line that is none."""
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row: dict[str, Any] = json.loads(line)
                text = row["text"]
                spans = [(int(a), int(b), str(kind)) for a, b, kind in row["spans"]]
                assert isinstance(text, str)
                assert all(0 <= a < b <= len(text) for a, b, _ in spans)
            except (AssertionError, ValueError, KeyError, TypeError):
                raise ProjectError(
                    f"{path}: line {number}: not a marked text; each line is "
                    '{"text": "..", "spans": [[start, end, "TYPE"], ..]} with places in characters'
                ) from None
            yield Marked(text, spans)


def score(scrubber: Scrubber, texts: list[Marked]) -> Score:
    """A span is covered when every character of it but blanks is replaced; a shifted date is when
    it became another date."""
    counts: dict[str, list[int]] = {}
    quarantined: dict[str, int] = {}
    scrubber.read_ahead(
        Asked([{"role": "user", "content": m.text} | _NOTHING], "text") for m in texts
    )
    for text, spans in texts:
        covered = bytearray(len(text))
        out = 0
        try:
            for change in scrubber.changes(text):
                covered[change.start : change.end] = b"\1" * (change.end - change.start)
        except Quarantined as why:
            quarantined[str(why)] = quarantined.get(str(why), 0) + 1
            out = 1
        for start, end, kind in spans:
            seen = [bool(covered[i]) for i in range(start, end) if not text[i].isspace()]
            row = counts.setdefault(kind, [0, 0, 0, 0])
            row[0] += 1
            row[1] += bool(seen) and all(seen)
            row[2] += any(seen)
            row[3] += out
    rows = [Covered(kind, *row) for kind, row in sorted(counts.items(), key=lambda c: -c[1][0])]
    total = [sum(column) for column in zip(*counts.values(), strict=True)] or [0, 0, 0, 0]
    return Score([*rows, Covered("all", *total)], len(texts), quarantined)


_NOTHING: dict[str, Any] = dict.fromkeys(("reasoning", "name", "tool_calls", "tool_call_id", "at"))
