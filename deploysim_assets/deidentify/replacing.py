"""Changes made in a text, and the second look at what came out: whatever is found there beside
what was put there is replaced, too, or quarantines."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from presidio_anonymizer import AnonymizerEngine
from presidio_anonymizer.entities import OperatorConfig, RecognizerResult

from deploysim_assets.deidentify.finds import Finds
from deploysim_assets.deidentify.leaves import Leaf
from deploysim_assets.deidentify.overlaps import (
    ISSUED,
    UNCERTAIN,
    disjoint,
    is_issued,
    is_near,
    windows_around,
)
from deploysim_assets.deidentify.rules import DetectionError, Span
from deploysim_assets.deidentify.surrogates import Put, Treatment
from deploysim_assets.project import Deidentification

_ROUNDS = 3


class Change(NamedTuple):
    """A part of a text and what stands there afterwards; `new` is the old where it is kept."""

    start: int
    end: int
    type: str
    new: str


class Output(NamedTuple):
    """A text with its changes made, and where they stand in it."""

    text: str
    issued: list[tuple[int, int]]


class Replacer:
    """Makes changes in texts, and rids what comes out of finds that nothing issued."""

    def __init__(self, policy: Deidentification, finds: Finds) -> None:
        self._policy, self._finds = policy, finds
        self._anonymizer = AnonymizerEngine()
        self._anonymizer.add_anonymizer(Put)

    def applied(self, text: str, todo: Sequence[Change]) -> Output:
        """The text with disjoint changes made."""
        put = {(c.type, text[c.start : c.end]): c.new for c in todo}
        result = self._anonymizer.anonymize(
            text,
            [RecognizerResult(c.type, c.start, c.end, 1.0) for c in todo],
            operators={"DEFAULT": OperatorConfig("deploysim", {"replacements": put})},
            merge_entities_with_spaces=False,  # by default neighbors of one type become one entity
        )
        return Output(result.text, sorted((item.start, item.end) for item in result.items))

    def read_ahead(self, outputs: Iterable[tuple[Leaf, Output]]) -> None:
        """Scan what `rid` will look at, many outputs at a time."""
        self._finds.scan_ahead(
            output.text[start:end]
            for leaf, output in outputs
            for start, end in _windows(leaf, output)
        )

    def rid(self, leaf: Leaf, output: Output, treatment: Treatment) -> str:
        """The output rid of what lists and cues find in it that nothing issued: other words around
        a name make another find. What a pattern finds there quarantines (DetectionError). The model
        is not asked again: it has had its say, and a surrogate is a name to it."""
        if output.text == leaf.text:
            return output.text
        for _ in range(_ROUNDS):
            rest = self._residual(leaf, output)
            if not rest:
                return output.text
            new = output.text
            more = [
                Change(s.start, s.end, s.type, treatment.of(s.type, new[s.start : s.end]))
                for s in rest
            ]
            kept = [Change(a, b, ISSUED, new[a:b]) for a, b in output.issued if a < b]
            output = self.applied(new, sorted([*kept, *more]))
        raise DetectionError("residual")

    def _residual(self, leaf: Leaf, output: Output) -> list[Span]:
        """What is found around the issued parts; elsewhere the text is as it was scanned."""
        new, issued = output
        rest: list[Span] = []
        for hit in self._near_issued(leaf, output):
            if self._policy.action(hit.type) == "keep" or is_issued(hit, issued, new):
                continue
            touches = any(a < hit.end and hit.start < b for a, b in issued)
            if hit.type not in UNCERTAIN and not touches:
                raise DetectionError("residual")
            rest.append(hit)
        taken = [Span(a, b, ISSUED) for a, b in issued if a < b]
        return [s for s in disjoint(new, [*taken, *rest]) if (s.start, s.end) not in issued]

    def _near_issued(self, leaf: Leaf, output: Output) -> Iterator[Span]:
        for start, end in _windows(leaf, output):
            window = Leaf(output.text[start:end], is_key=leaf.is_key)
            for inside in self._finds.of_leaf(window, None, 1):
                hit = Span(start + inside.start, start + inside.end, inside.type)
                if is_near(hit, output.issued):
                    yield hit


def _windows(leaf: Leaf, output: Output) -> list[tuple[int, int]]:
    """Where an output is looked at again: nowhere if its key said that all of it goes."""
    if leaf.type or output.text == leaf.text:
        return []
    return windows_around(output.text, output.issued)
