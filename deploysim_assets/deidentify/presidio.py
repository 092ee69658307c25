"""Presidio's recognizers without a model and without the network, each behind what tells that it
may find something."""

# pyright: reportArgumentType=false, reportMissingTypeStubs=false, reportUnknownMemberType=false, reportIncompatibleMethodOverride=false
# pyright: reportUnknownParameterType=false, reportMissingParameterType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import logging
from collections.abc import Iterator, Sequence

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
from deploysim_assets.deidentify.gate import Gate
from deploysim_assets.deidentify.linear import Linear
from deploysim_assets.deidentify.phones import REGIONS, RUN, FastPhoneRecognizer
from deploysim_assets.deidentify.rules import DetectionError, Span
from deploysim_assets.deidentify.sheets import Sheet

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
_KINDS = tuple(_GATES)
_GATE = Gate(dict(enumerate(_GATES.values())))
_MAY_HOLD_SPACES = (CreditCardRecognizer, UsSsnRecognizer, IbanRecognizer)


def _window(recognizer: type[EntityRecognizer]) -> Linear:
    """The word, or the line for what is written with spaces, that holds all a find can:
    presidio's own pattern is tried on these only."""
    around = r"[^\n]*" if recognizer in _MAY_HOLD_SPACES else r"\S*"
    return Linear(f"{around}(?:{_GATES[recognizer]}){around}")


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


class _TimeOuts(logging.Handler):
    """Counts presidio's skipped patterns: on a time-out it logs a line and goes on, which would
    pass an unscanned text as clean."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        said = str(record.msg).lower()
        self.count += "timed out" in said or "timeout" in said


_time_outs = _TimeOuts()


class Recognizers:
    """Presidio's recognizers as level 0 uses them."""

    def __init__(self) -> None:
        found = recognizers()
        self._phones = next(r for r in found if isinstance(r, FastPhoneRecognizer))
        self._others = {
            _KINDS.index(type(r)): (_window(type(r)), r) for r in found if r is not self._phones
        }
        log = logging.getLogger("presidio-analyzer")
        log.handlers[:] = [_time_outs]  # the IBAN recognizer logs text that it could not validate
        log.propagate = False

    def spans(self, encoded: EncodedText, *, bare_numbers: bool = True) -> list[Span]:
        """What they find in a text; `bare_numbers` as the phone recognizer has it."""
        sheet = Sheet([encoded.data])
        found = self.on(sheet, [encoded], bare_numbers=bare_numbers)
        return [span for _, spans in found for span in spans]

    def on(
        self, sheet: Sheet, texts: Sequence[EncodedText], *, bare_numbers: bool = True
    ) -> Iterator[tuple[int, Iterator[Span]]]:
        """`spans` of the texts of a sheet, each with the number of its text; DetectionError
        where a pattern timed out."""
        before = _time_outs.count
        for i in sheet.touched(RUN):
            found = self._phones.analyze_encoded(texts[i], bare_numbers=bare_numbers)
            yield i, (Span(r.start, r.end, r.entity_type) for r in found if r.score >= THRESHOLD)
        for kind in sorted(_GATE.passing(sheet.data)):
            window, recognizer = self._others[kind]
            for i in sheet.touched(window):
                yield i, _in_windows(window, recognizer, texts[i])
        if _time_outs.count != before:
            raise DetectionError("time_out")


def _in_windows(
    window: Linear, recognizer: EntityRecognizer, encoded: EncodedText
) -> Iterator[Span]:
    for begin, stop in window.finditer(encoded.data):
        start, end = encoded.index(begin), encoded.index(stop)
        text = encoded.text[start:end]
        for r in recognizer.analyze(text, recognizer.supported_entities, None) or ():
            if r.score >= THRESHOLD:
                yield Span(start + r.start, start + r.end, r.entity_type)
