"""Level 0 detection: presidio's recognizers without a model and without the network, and our own
rules, behind one gate pass."""

# pyright: reportArgumentType=false, reportMissingTypeStubs=false, reportUnknownMemberType=false, reportIncompatibleMethodOverride=false
# pyright: reportUnknownParameterType=false, reportMissingParameterType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import logging
from typing import Any

import re2
import regex
from presidio_analyzer import EntityRecognizer
from presidio_analyzer.predefined_recognizers import (
    CreditCardRecognizer,
    CryptoRecognizer,
    EmailRecognizer,
    IbanRecognizer,
    IpRecognizer,
    MacAddressRecognizer,
    UsSsnRecognizer,
)
from presidio_analyzer.predefined_recognizers.generic.iban_patterns import regex_per_country

from deploysim_assets.deidentify.encoded import EncodedText
from deploysim_assets.deidentify.phones import REGIONS, FastPhoneRecognizer
from deploysim_assets.deidentify.rules import SPLIT_TYPES, DetectionError, Span, rule_spans
from deploysim_assets.deidentify.scan_copy import ScanCopy, joined_lines, scan_copy

FLAGS = (
    regex.IGNORECASE | regex.MULTILINE | regex.DOTALL | regex.ASCII
)  # ASCII: else CJK text has no boundary next to an identifier
THRESHOLD = 0.35


class AnyDomainEmail(EmailRecognizer):
    """Keeps addresses in domains that the public-suffix list does not know (corp.internal), and
    asks no list, hence no network."""

    def validate_result(self, pattern_text):
        return None


class AddressNotSlice(IpRecognizer):
    """Passes over `x[1::2]`: an IPv6 address has three groups, or one of three digits."""

    def invalidate_result(self, pattern_text):
        groups = [g for g in pattern_text.split(":") if g]
        slice_like = ":" in pattern_text and len(groups) < 3 and all(len(g) < 3 for g in groups)
        return slice_like or super().invalidate_result(pattern_text)


_HEX2, _HEX4 = "[0-9A-Fa-f]{2}", "[0-9A-Fa-f]{4}"
_GATES = {
    AnyDomainEmail: (
        r"[!#$%&'*+/=?^_`{|}~A-Za-z0-9-]@[A-Za-z0-9_]+(?:-+[A-Za-z0-9_]+)*\.[A-Za-z0-9_]"
    ),
    CreditCardRecognizer: r"[13456][0-9]{3}[- ]?[0-9]{3,4}[- ]?[0-9]{3,4}[- ]?[0-9]{3}",
    AddressNotSlice: (
        r"(?:[0-9]{1,3}\.){3}[0-9]|::[0-9A-Fa-f]|[0-9A-Fa-f]::|(?:[0-9A-Fa-f]{1,4}:){7}"
    ),
    UsSsnRecognizer: r"[0-9]{3}[- .][0-9]{2}[- .][0-9]{4}",
    IbanRecognizer: (
        rf"(?i)(?:{'|'.join(sorted(regex_per_country))})[0-9]{{2}}(?:[ -]?[A-Z0-9]{{4}}){{2}}"
    ),
    CryptoRecognizer: r"(?i)(?:bc1|[13])[a-zA-HJ-NP-Z0-9]{25}",
    MacAddressRecognizer: rf"{_HEX2}[:-](?:{_HEX2}[:-]){{4}}{_HEX2}|{_HEX4}\.{_HEX4}\.{_HEX4}",
}
"""What a find of at least THRESHOLD must hold (RE2, linear in the text)."""
_MAY_HOLD_SPACES = (CreditCardRecognizer, UsSsnRecognizer, IbanRecognizer)


def _window(recognizer: type[EntityRecognizer]) -> Any:
    """The word, or the line for what is written with spaces, that holds all a find can:
    presidio's own pattern is tried on these only."""
    around = r"[^\n]*" if recognizer in _MAY_HOLD_SPACES else r"\S*"
    return re2.compile(f"{around}(?:{_GATES[recognizer]}){around}")


def recognizers() -> list[EntityRecognizer]:
    """Presidio's recognizers as level 0 uses them; the phone recognizer is presidio's, result
    for result."""
    found: list[EntityRecognizer] = [FastPhoneRecognizer(supported_regions=REGIONS)]
    for kind in (
        AnyDomainEmail,
        CreditCardRecognizer,
        AddressNotSlice,
        UsSsnRecognizer,
        IbanRecognizer,
        CryptoRecognizer,
        MacAddressRecognizer,
    ):
        recognizer = kind()
        recognizer.global_regex_flags = FLAGS
        found.append(recognizer)
    return found


_RUNS_ON = {"API_KEY": 6, "JWT": 6, "PHONE_NUMBER": 3}
"""Types whose first line often passes for a whole one, and the length that its rest on the next
line has at least."""


class _TimeOuts(logging.Handler):
    """Counts presidio's skipped patterns: on a time-out it logs a line and goes on, which would
    pass an unscanned text as clean."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        said = str(record.msg).lower()
        self.count += "timed out" in said or "timeout" in said


class PatternDetector:
    """Finds identifiers and secrets by pattern, in any language."""

    name, level = "patterns", 0

    def __init__(self) -> None:
        found = recognizers()
        self._phones = next(r for r in found if isinstance(r, FastPhoneRecognizer))
        self._recognizers = [(_window(type(r)), r) for r in found if r is not self._phones]
        log = logging.getLogger("presidio-analyzer")
        log.handlers[:] = [
            timeouts := _TimeOuts()
        ]  # the IBAN recognizer logs text that it could not validate
        log.propagate = False
        self._timeouts = timeouts

    def spans(self, text: str, language: str | None = None) -> list[Span]:
        """All entities of a text, overlapping ones included; DetectionError where a pattern
        timed out."""
        copy = scan_copy(text)
        try:
            encoded = EncodedText(copy.text)
            found = {*self.presidio_spans(encoded, bare_numbers=False), *rule_spans(encoded)}
            places = {Span(*copy.original(s.start, s.end), s.type) for s in found}
            places |= self._across_lines(copy, places)
        except TimeoutError:
            raise DetectionError("time_out") from None
        return sorted(places)

    def presidio_spans(self, encoded: EncodedText, *, bare_numbers: bool = True) -> list[Span]:
        """What presidio's recognizers find in a text, each run only where its gate lets it match
        at all."""
        before = self._timeouts.count
        found = [
            (0, result)
            for result in self._phones.analyze_encoded(encoded, bare_numbers=bare_numbers)
        ]
        for window, recognizer in self._recognizers:
            for hit in window.finditer(encoded.data):
                start, end = encoded.index(hit.start()), encoded.index(hit.end())
                found += [
                    (start, r)
                    for r in recognizer.analyze(
                        encoded.text[start:end], recognizer.supported_entities, None
                    )
                    or ()
                ]
        if self._timeouts.count != before:
            raise DetectionError("time_out")
        return [
            Span(at + r.start, at + r.end, r.entity_type) for at, r in found if r.score >= THRESHOLD
        ]

    @staticmethod
    def _across_lines(copy: ScanCopy, found: set[Span]) -> set[Span]:
        """Identifiers that a line break cuts in two: found in the joined text, over a seam, where
        none of its type was found whole.

        A key or a phone number is taken to run on where the next line's start looks like its rest.
        """
        joined = joined_lines(copy)
        if joined is None:
            return set()
        encoded, spans = EncodedText(joined.text), set[Span]()
        for s in rule_spans(encoded):
            seam = joined.seam_within(s.start, s.end) if s.type in SPLIT_TYPES else None
            if seam is None:
                continue
            start, end = joined.original(s.start, s.end)
            whole = any(f.type == s.type and start < f.end and f.start < end for f in found)
            tail = joined.text[seam : s.end]
            if not whole or (
                len(tail) >= _RUNS_ON.get(s.type, len(tail) + 1) and not tail.islower()
            ):
                spans.add(Span(start, end, s.type))
        return spans
