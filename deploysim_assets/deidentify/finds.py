"""What the detectors find in texts: many texts at a time where that is faster, and what was found
remembered up to a number of bytes."""

from collections import OrderedDict
from collections.abc import Iterable

from deploysim_assets.deidentify.detectors import Detector
from deploysim_assets.deidentify.leaves import Leaf
from deploysim_assets.deidentify.ner import NerDetector
from deploysim_assets.deidentify.patterns import PatternDetector
from deploysim_assets.deidentify.rules import DetectionError, Span

_MEMO_BYTES = 64 * 1024 * 1024
_BYTES_OF_SPAN = 150
_AT_ONCE = 256
_LONGEST_AT_ONCE = 16_000
"""A longer text keeps the caches warm by itself, and its time-out is told when it is its turn."""
_MOST_AHEAD = 4_000_000
"""So many characters at most are scanned ahead: the memo must still hold them when they are asked
for."""
Key = tuple[str, str, str | None]
Found = tuple[Span, ...]
"""What is found in most texts is nothing: of that there is one for all of them."""


class _Memo:
    """Spans of texts, up to a number of bytes; the oldest go first."""

    def __init__(self, limit: int) -> None:
        self._limit, self._size = limit, 0
        self._found: OrderedDict[Key, Found] = OrderedDict()

    def get(self, key: Key) -> Found | None:
        return self._found.get(key)

    def put(self, key: Key, spans: Iterable[Span]) -> None:
        if key in self._found:
            return
        found = self._found[key] = tuple(spans)
        self._size += self._bytes(key, found)
        while self._size > self._limit and self._found:
            self._size -= self._bytes(*self._found.popitem(last=False))

    @staticmethod
    def _bytes(key: Key, spans: Found) -> int:
        return 4 * len(key[1]) + _BYTES_OF_SPAN * (1 + len(spans))


class Finds:
    """Asks detectors for their finds, and remembers them."""

    def __init__(self, found_by: list[Detector]) -> None:
        self.detectors = found_by
        self._memo = _Memo(_MEMO_BYTES)

    def of_text(self, detector: Detector, text: str, language: str | None) -> Found:
        """What one detector finds in a text; DetectionError where it could not scan all of it."""
        key = _key(detector, text, language)
        found = self._memo.get(key)
        if found is None:
            try:
                found = tuple(detector.spans(text, language))
            except TimeoutError:
                raise DetectionError("time_out") from None
            self._memo.put(key, found)
        return found

    def of_leaf(self, leaf: Leaf, language: str | None, level: int) -> Found:
        """What the detectors up to a level find in a text, those that may read it."""
        if leaf.type:
            return (Span(0, len(leaf.text), leaf.type),)
        found: Found = ()
        for detector in self.detectors:
            if detector.level <= level and _may_read(detector, leaf):
                found += self.of_text(detector, leaf.text, language)
        return found

    def read_ahead(self, leaves: Iterable[tuple[Leaf, str | None]]) -> None:
        """Scan texts that `of_leaf` will be asked about, with their languages, in batches, equal
        ones once; what cannot be scanned is told when it is asked about."""
        untyped = [(leaf, language) for leaf, language in leaves if leaf.type is None]
        for detector in self.detectors:
            if isinstance(detector, PatternDetector):
                self._scan_ahead(detector, (leaf.text for leaf, _ in untyped))
            elif isinstance(detector, NerDetector):
                asked = [(leaf.text, lang) for leaf, lang in untyped if _may_read(detector, leaf)]
                self._model_ahead(detector, asked)

    def scan_ahead(self, texts: Iterable[str]) -> None:
        """Scan texts for patterns, as `read_ahead` does."""
        held = list(texts)
        for detector in self.detectors:
            if isinstance(detector, PatternDetector):
                self._scan_ahead(detector, held)

    def _scan_ahead(self, detector: PatternDetector, texts: Iterable[str]) -> None:
        length, new = 0, dict[str, None]()
        for text in texts:
            if len(text) <= _LONGEST_AT_ONCE and text not in new:
                if self._memo.get(_key(detector, text, None)) is not None:
                    continue
                length += len(text)
                if length > _MOST_AHEAD:
                    break
                new[text] = None
        some = list(new)
        for i in range(0, len(some), _AT_ONCE):
            slice_ = some[i : i + _AT_ONCE]
            for text, spans in zip(slice_, detector.batch(slice_), strict=True):
                if spans is not None:
                    self._memo.put(_key(detector, text, None), spans)

    def _model_ahead(self, ner: NerDetector, asked: Iterable[tuple[str, str | None]]) -> None:
        texts: dict[str | None, dict[str, None]] = {}
        for text, language in asked:
            if self._memo.get(_key(ner, text, language)) is None:
                texts.setdefault(language, {})[text] = None
        for language, found in texts.items():
            some = sorted(found, key=len)
            try:
                for text, spans in zip(some, ner.batch(some, language), strict=True):
                    if spans is not None:
                        self._memo.put(_key(ner, text, language), spans)
            except DetectionError:
                continue


def _key(detector: Detector, text: str, language: str | None) -> Key:
    return detector.name, text, language if detector.level >= 2 else None


def _may_read(detector: Detector, leaf: Leaf) -> bool:
    """Whether a detector is asked about a text: keys of JSON are for patterns alone, and a model is
    asked about words."""
    if detector.level == 0:
        return True
    if leaf.is_key:
        return False
    return detector.level < 2 or any(c.isalpha() for c in leaf.text)
