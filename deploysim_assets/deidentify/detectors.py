"""Level 0 detection: presidio's recognizers without a model and without the network, and our own rules, behind one gate pass."""

# pyright: reportArgumentType=false, reportMissingTypeStubs=false, reportUnknownMemberType=false, reportIncompatibleMethodOverride=false
# pyright: reportUnknownParameterType=false, reportMissingParameterType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import logging

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

from deploysim_assets.deidentify.phones import REGIONS, FastPhoneRecognizer
from deploysim_assets.deidentify.rules import RULES, SPLIT_TYPES, Span
from deploysim_assets.deidentify.scan_copy import ScanCopy, joined_lines, scan_copy
from deploysim_assets.project import ProjectError

LEVEL = 0
"""What this installation can detect: 0 patterns and secrets."""

FLAGS = regex.IGNORECASE | regex.MULTILINE | regex.DOTALL | regex.ASCII  # ASCII: else CJK text has no boundary next to an identifier
THRESHOLD = 0.35


class AnyDomainEmail(EmailRecognizer):
    """Keeps addresses in domains that the public-suffix list does not know (corp.internal), and asks no list, hence no network."""

    def validate_result(self, pattern_text):
        return None


class AddressNotSlice(IpRecognizer):
    """Passes over `x[1::2]`: an IPv6 address has three groups, or one of three digits."""

    def invalidate_result(self, pattern_text):
        groups = [g for g in pattern_text.split(":") if g]
        slice_like = ":" in pattern_text and len(groups) < 3 and all(len(g) < 3 for g in groups)
        return slice_like or super().invalidate_result(pattern_text)


_GATES = {
    AnyDomainEmail: "@",
    CreditCardRecognizer: r"[0-9](?:[^0-9]?[0-9]){10}",
    AddressNotSlice: r"[0-9]\.[0-9]|:[0-9A-Fa-f]{0,4}:",
    UsSsnRecognizer: r"[0-9]{3}.?[0-9]{2}.?[0-9]{4}",
    IbanRecognizer: r"[A-Za-z]{2}[0-9]{2}",
    CryptoRecognizer: r"(?i)bc1|[13][a-km-zA-HJ-NP-Z1-9]{24}",
    MacAddressRecognizer: r"[0-9A-Fa-f]{2}[:-][0-9A-Fa-f]{2}|[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}",
    FastPhoneRecognizer: r"[0-9\x{ff10}-\x{ff19}](?:[^0-9]{0,6}[0-9]){4}",
}


def recognizers() -> list[EntityRecognizer]:
    """Presidio's recognizers as level 0 uses them; the phone recognizer is presidio's, result for result."""
    found: list[EntityRecognizer] = [FastPhoneRecognizer(supported_regions=REGIONS)]
    for kind in (AnyDomainEmail, CreditCardRecognizer, AddressNotSlice, UsSsnRecognizer, IbanRecognizer, CryptoRecognizer, MacAddressRecognizer):
        recognizer = kind()
        recognizer.global_regex_flags = FLAGS
        found.append(recognizer)
    return found


_RUNS_ON = {"API_KEY": 6, "JWT": 6, "PHONE_NUMBER": 3}
"""Types whose first line often passes for a whole one, and the length that its rest on the next line has at least."""


class _TimeOuts(logging.Handler):
    """Counts presidio's skipped patterns: on a time-out it logs a line and goes on, which would pass an unscanned text as clean."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        said = str(record.msg).lower()
        self.count += "timed out" in said or "timeout" in said


class DetectionError(Exception):
    """A text could not be scanned whole."""


class PatternDetector:
    """Finds identifiers and secrets by pattern."""

    def __init__(self) -> None:
        self._recognizers = [(re2.compile(_GATES[type(r)]), r) for r in recognizers()]
        log = logging.getLogger("presidio-analyzer")
        log.handlers[:] = [timeouts := _TimeOuts()]  # the IBAN recognizer logs text that it could not validate
        log.propagate = False
        self._timeouts = timeouts

    def spans(self, text: str) -> list[Span]:
        """All entities of a text, overlapping ones included; DetectionError where a pattern timed out."""
        copy = scan_copy(text)
        try:
            found = set(self._scan(copy.text))
            places = {Span(*copy.original(s.start, s.end), s.type) for s in found}
            places |= self._across_lines(copy, places)
        except TimeoutError:
            raise DetectionError("time_out") from None
        return sorted(places)

    def presidio_spans(self, text: str) -> list[Span]:
        """What presidio's recognizers find in a text, each run only where its gate lets it match at all."""
        before = self._timeouts.count
        found = [
            Span(result.start, result.end, result.entity_type)
            for gate, recognizer in self._recognizers
            if gate.search(text)
            for result in recognizer.analyze(text, recognizer.supported_entities, None) or ()
            if result.score >= THRESHOLD
        ]
        if self._timeouts.count != before:
            raise DetectionError("time_out")
        return found

    def _scan(self, text: str) -> list[Span]:
        found = self.presidio_spans(text)
        for rule in RULES:
            if rule.gate.search(text):
                found += rule.spans(text)
        return found

    @staticmethod
    def _across_lines(copy: ScanCopy, found: set[Span]) -> set[Span]:
        """Identifiers that a line break cuts in two: found in the joined text, over a seam, where none of its type was found whole.

        A key or a phone number is taken to run on where the next line's start looks like its rest.
        """
        joined = joined_lines(copy)
        if joined is None:
            return set()
        text, seams = joined
        spans: set[Span] = set()
        for rule in RULES:
            if rule.type in SPLIT_TYPES and rule.gate.search(text.text):
                for s in rule.spans(text.text):
                    seam = next((seam for seam in seams if s.start < seam < s.end), None)
                    if seam is not None:
                        start, end = text.original(s.start, s.end)
                        whole = any(f.type == s.type and start < f.end and f.start < end for f in found)
                        tail = text.text[seam : s.end]
                        if not whole or (len(tail) >= _RUNS_ON.get(s.type, len(tail) + 1) and not tail.islower()):
                            spans.add(Span(start, end, s.type))
        return spans


def require_level(min_level: int) -> None:
    """ProjectError where the policy asks for a level that this installation does not have; it never falls back to a lower one."""
    if min_level > LEVEL:
        raise ProjectError(
            f"deploysim.yaml: deidentification.min_level: {min_level} asks for more than this installation can do (level {LEVEL}: patterns "
            "and secrets, no names); set `deidentification: {min_level: 0}` to accept that in writing"
        )
