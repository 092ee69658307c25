"""Level 0 detection: presidio's recognizers and our own rules, for many texts at a time."""

import re
import time
from collections.abc import Iterable, Iterator, Sequence

from deploysim_assets.deidentify.encoded import EncodedText
from deploysim_assets.deidentify.hidden_text import BASE64, HEX, hidden_texts
from deploysim_assets.deidentify.keyed_text import STEM, keyed_spans
from deploysim_assets.deidentify.linear import Linear
from deploysim_assets.deidentify.live_rules import (
    ALL_RULES,
    CARD_RULES,
    DIGIT_RULES,
    RULES,
    SPLIT_RULES,
    all_without_numbers,
    live_on,
    live_rules,
    rule_spans,
    spans_of,
    without_numbers,
)
from deploysim_assets.deidentify.presidio import Recognizers
from deploysim_assets.deidentify.rules import Clock, DetectionError, Span
from deploysim_assets.deidentify.scan_copy import (
    JoinedLines,
    ScanCopy,
    joined_lines,
    scan_copies,
    scan_copy,
)
from deploysim_assets.deidentify.sheets import Sheet

_NO_ONES = re.compile(
    r"(?:127\.|0\.0\.0\.0|255\.255\.|192\.0\.[02]\.|198\.51\.100\.|203\.0\.113\.|2001:db8:|::1?$)",
    re.IGNORECASE,
)
"""Loopback, masks and the ranges kept for documentation."""
_IN_WORD, _VERSION = re.compile(r"\w"), re.compile(r"\d+(?:\.\d+){0,2}")
_POINT = re.compile(r"[0-9]\.$")
_CELLS = (",", ";", "\t", "|")
_SHORTEST_CARD = 13
_NUMBERS = frozenset({"CREDIT_CARD", "PHONE_NUMBER", "US_SSN", "NATIONAL_ID"})


_GAP = r"[^0-9\n]{0,4}"
_BROKEN = rf"{_GAP}(?:\n[ \t>]*{_GAP})?"
_SIGN = r"[ .\-:/()]"
_LETTERS_BEFORE = (
    rf"(?:^|[^0-9A-Za-z])[A-Za-z+(]{{1,6}}{_SIGN}{{0,2}}\r?\n[ \t>]*[A-Za-z]{{0,6}}{_SIGN}{{0,2}}"
)
_LETTERS_AFTER = rf"{_SIGN}{{0,2}}\r?\n[ \t>]*[A-Za-z]{{1,4}}(?:[^0-9A-Za-z]|$)"
_DIGITS_AT_BREAK = Linear(
    "|".join(
        (
            rf"(?m:{_LETTERS_BEFORE}(?:[0-9]{_BROKEN}){{5}})",
            *(
                rf"(?:[0-9]{_BROKEN}){{{before}}}{_GAP}\n[ \t>]*{_GAP}"
                rf"(?:[0-9]{_BROKEN}){{{5 - before}}}"
                for before in range(1, 5)
            ),
            rf"(?m:(?:[0-9]{_BROKEN}){{4}}[0-9]{_LETTERS_AFTER})",
            r":[0-9A-Fa-f]{1,4}:?\r?\n|\n[ \t>]*:?[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]",
            r"[0-9][0-9A-Z]{0,12}[ :.\-]?\r?\n[ \t>]*[0-9A-Z]{2}",
            r"[0-9A-Z]{2}[ :.\-]?\r?\n[ \t>]*[A-Z]{0,12}[0-9]",
            r"(?i:[A-Z]{2}[0-9]{2}[ -]?[0-9A-Z][0-9A-Z -]{0,40}\r?\n[ \t>]*[0-9A-Z])",
        )
    )
)
"""Five digits close together over a line break, or at one with the letters of an id beyond it; the
groups of an IPv6 address, capitals and digits, or an account number on both sides of one."""


def _is_none(span: Span, text: str) -> bool:
    """Whether a find is no identifier by what it is or what stands around it."""
    found = text[span.start : span.end]
    match span.type:
        case "EMAIL_ADDRESS" if "@" in found:
            mailbox, _, domain = found.rpartition("@")
            return not _IN_WORD.search(mailbox) or bool(_VERSION.fullmatch(domain))
        case "IP_ADDRESS":
            return _NO_ONES.match(found) is not None
        case "CREDIT_CARD" if found.isdigit() and len(found) < _SHORTEST_CARD:
            return True
        case kind if kind in _NUMBERS and found.isalnum():  # what follows the point of a float
            return bool(_POINT.search(text[max(0, span.start - 2) : span.start]))
        case _:
            return False


_RUNS_ON = {"API_KEY": 6, "JWT": 6, "PHONE_NUMBER": 3, "NATIONAL_ID": 2}
"""Types whose first line often passes for a whole one, and the length that its rest on the next
line has at least."""
_NEXT_WORD = re.compile(r"(?:[A-Z] )?[A-Z]?[a-z]+(?![0-9A-Za-z])")
"""What a line of prose begins with, and no rest of a national id."""


class _Joined:
    """The text without its line breaks, and the rules that may find something there."""

    def __init__(self, lines: JoinedLines, copy: EncodedText) -> None:
        self.lines = lines
        self.encoded = self.bare = EncodedText(lines.text)
        rules = SPLIT_RULES - DIGIT_RULES - CARD_RULES
        if _DIGITS_AT_BREAK.search(copy.data):
            self.bare, rules = without_numbers(self.encoded), SPLIT_RULES
        self.live = live_rules(self.encoded, self.bare, rules)

    def spans(self, found: set[Span], clock: Clock) -> set[Span]:
        """Identifiers that a line break cuts in two: found over a seam, where none of its type was
        found whole.

        A key or a phone number is taken to run on where the next line's start looks like its rest.
        """
        text, spans = self.lines.text, set[Span]()
        for s in spans_of(self.live, self.encoded, self.bare, clock):
            seam = self.lines.seam_within(s.start, s.end)
            if seam is None or _is_none(s, text):
                continue
            if text[s.start - 1 : s.start] in _CELLS or text[s.end : s.end + 1] in _CELLS:
                continue  # a table: its numbers do not run on
            start, end = self.lines.original(s.start, s.end)
            whole = any(f.type == s.type and start < f.end and f.start < end for f in found)
            if not whole or self._runs_on(s, seam):
                spans.add(Span(start, end, s.type))
        return spans

    def _runs_on(self, span: Span, seam: int) -> bool:
        """Whether the next line's start looks like the rest of what is found whole on this one."""
        tail = self.lines.text[seam : span.end]
        if len(tail) < _RUNS_ON.get(span.type, len(tail) + 1) or tail.islower():
            return False
        return span.type != "NATIONAL_ID" or not _NEXT_WORD.match(self.lines.text, seam)


class _Scan:
    """A text that is being scanned: its copy and that without numbers, and what was found in it
    so far, in the places of the text itself."""

    def __init__(self, copy: ScanCopy, bare: EncodedText) -> None:
        self.copy, self.encoded, self.bare = copy, copy.encoded, bare
        self.places = set[Span]()
        self.joined: _Joined | None = None


class _Scans:
    """Texts that are scanned together, on one sheet, and how much time they may take yet."""

    def __init__(self, texts: list[str]) -> None:
        self.texts = texts
        self.clock = Clock()
        self.failed = False

    def begin(self) -> None:
        """Make the copies."""
        copies = scan_copies(self.texts)
        encoded = [copy.encoded for copy in copies]
        self.sheet = Sheet([e.data for e in encoded])
        bare = all_without_numbers(encoded, self.sheet)
        self.bare = Sheet([e.data for e in bare])
        self.scans = list(map(_Scan, copies, bare))

    def add(self, scan: _Scan, spans: Iterable[Span]) -> None:
        """Note down what is an identifier among finds in a copy."""
        for span in spans:
            self.clock.check()
            if not _is_none(span, scan.encoded.text):
                scan.places.add(Span(*scan.copy.original(span.start, span.end), span.type))

    def pass_gates(self) -> None:
        """See which of our own rules may find something where."""
        self.live = list(live_on(self.sheet, self.bare, ALL_RULES))

    def add_rules(self) -> None:
        """What our own rules find."""
        for rule, touched in self.live:
            self.clock.check()
            for i in touched:
                scan = self.scans[i]
                of_numbers = rule in DIGIT_RULES
                self.add(scan, RULES[rule].spans(scan.bare if of_numbers else scan.encoded))

    def add_keyed(self) -> None:
        """Values whose key tells what they are."""
        for i in self.sheet.touched(STEM):
            self.add(self.scans[i], keyed_spans(self.scans[i].encoded))

    def join_lines(self) -> None:
        """The texts without their line breaks."""
        for scan in self.scans:
            if lines := joined_lines(scan.copy):
                scan.joined = _Joined(lines, scan.encoded)

    def add_over_breaks(self) -> None:
        """Identifiers that a line break cuts in two."""
        for scan in self.scans:
            if scan.joined:
                scan.places |= scan.joined.spans(scan.places, self.clock)


_SHORT, _SHEET = 400, 8_000
"""Longest text that shares a sheet, and length of a sheet, in characters."""


def _sheets(texts: Sequence[str]) -> Iterator[list[str]]:
    """The texts, in order, those of each sheet together."""
    some, length = list[str](), 0
    for text in texts:
        if some and length + len(text) > (_SHEET if len(text) <= _SHORT else 0):
            yield some
            some, length = [], 0
        some.append(text)
        length += len(text) if len(text) <= _SHORT else _SHEET
    if some:
        yield some


class PatternDetector:
    """Finds identifiers and secrets by pattern, in any language."""

    name, level = "patterns", 0

    def __init__(self) -> None:
        self._recognizers = Recognizers()

    def spans(self, text: str, language: str | None = None) -> list[Span]:
        """All entities of a text, overlapping ones included; DetectionError where a pattern
        timed out."""
        (found,) = self.batch([text])
        if found is None:
            raise DetectionError("time_out")
        return found

    def batch(self, texts: Sequence[str], language: str | None = None) -> list[list[Span] | None]:
        """`spans` of many texts, in order; None for one that takes too long.

        One step after the other goes over all of them, so that each finds its automata in the
        processor's caches: that takes a fifth less time than text after text. Short ones share a
        sheet; where that takes too long, each is scanned alone.
        """
        sheets = [_Scans(some) for some in _sheets(texts)]
        for step in (
            _Scans.begin,
            self._add_presidios,
            _Scans.pass_gates,
            _Scans.add_rules,
            _Scans.add_keyed,
            self._add_hidden,
            _Scans.join_lines,
            _Scans.add_over_breaks,
        ):
            now = time.thread_time()
            for scans in sheets:
                if scans.failed:
                    continue
                scans.clock.start(now)
                try:
                    step(scans)
                    scans.clock.check()
                except (TimeoutError, DetectionError):
                    scans.failed = True
                now = scans.clock.stop()
        found = list[list[Span] | None]()
        for scans in sheets:
            if not scans.failed:
                found += (sorted(scan.places) for scan in scans.scans)
            elif len(scans.texts) == 1:
                found.append(None)
            else:
                found += (self.batch([text])[0] for text in scans.texts)
        return found

    def _add_presidios(self, scans: "_Scans") -> None:
        bare = [scan.bare for scan in scans.scans]
        for i, spans in self._recognizers.on(scans.bare, bare, bare_numbers=False):
            scans.add(scans.scans[i], spans)

    def _add_hidden(self, scans: "_Scans") -> None:
        """What runs of base64 or hex hold, whole."""
        for i in sorted({*scans.bare.touched(BASE64), *scans.sheet.touched(HEX)}):
            scan = scans.scans[i]
            for hidden in hidden_texts(scan.encoded, scan.bare):
                inside = scan_copy(hidden.text).encoded
                known = next(self._scan(inside, without_numbers(inside), scans.clock), None)
                if known:
                    scans.add(scan, [Span(hidden.start, hidden.end, "ENCODED")])

    def _scan(self, encoded: EncodedText, bare: EncodedText, clock: Clock) -> Iterator[Span]:
        for part in (
            self._recognizers.spans(bare, bare_numbers=False),
            rule_spans(encoded, bare, clock),
            keyed_spans(encoded),
        ):
            for span in part:
                clock.check()
                if not _is_none(span, encoded.text):
                    yield span
