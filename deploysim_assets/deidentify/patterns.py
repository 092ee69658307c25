"""Level 0 detection: presidio's recognizers without a model and without the network, and our own
rules, behind one gate pass."""

# pyright: reportArgumentType=false, reportMissingTypeStubs=false, reportUnknownMemberType=false, reportIncompatibleMethodOverride=false
# pyright: reportUnknownParameterType=false, reportMissingParameterType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import logging
import re
import time
from collections.abc import Iterable, Iterator, Sequence

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
from deploysim_assets.deidentify.gate import Gate
from deploysim_assets.deidentify.hidden_text import hidden_texts
from deploysim_assets.deidentify.id_rules import ID_RULES
from deploysim_assets.deidentify.keyed_text import keyed_spans
from deploysim_assets.deidentify.linear import Linear
from deploysim_assets.deidentify.phones import REGIONS, FastPhoneRecognizer
from deploysim_assets.deidentify.rules import (
    CONTACT_RULES,
    SPLIT_TYPES,
    Clock,
    DetectionError,
    Span,
)
from deploysim_assets.deidentify.scan_copy import ScanCopy, joined_lines, scan_copy
from deploysim_assets.deidentify.secret_rules import SECRET_RULES

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
_OF_PRESIDIO = Gate(dict(enumerate(_GATES.values())))
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


RULES = (*CONTACT_RULES, *SECRET_RULES, *ID_RULES)
"""In the order in which they are tried."""
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


_CLOSE_DIGITS = Linear(r"[0-9](?:[^0-9\n]{0,4}[0-9]){4}")


_OF_DIGITS = Gate(
    {i: rule.core.pattern for i, rule in enumerate(RULES) if rule.digits and not rule.part}, sets=2
)
_OF_WORDS = Gate(
    {
        i: rule.gate
        or "|".join(f"(?i:{re2.escape(w.decode())})" for w in rule.keywords)
        or rule.core.pattern
        for i, rule in enumerate(RULES)
        if not rule.long_runs and (rule.part or not rule.digits)
    }
)
_OF_RUNS = frozenset(i for i, rule in enumerate(RULES) if rule.long_runs)
_ALL_RULES = frozenset(range(len(RULES)))
_DIGITS = frozenset(i for i, rule in enumerate(RULES) if rule.digits)
SPLIT_RULES = frozenset(i for i, rule in enumerate(RULES) if rule.type in SPLIT_TYPES)
_CARDS = frozenset(i for i, rule in enumerate(RULES) if rule.type == "CREDIT_CARD")
_SIGNS = Linear(
    r"[@:=<\n]|\p{Nd}[^\p{Nd}\n]{1,4}\p{Nd}|\p{Nd}{5}|[0-9A-Za-z+/_-]{12}"
    r"|[0-9a-fA-F]{2}(?:[ :][0-9a-fA-F]{2}){7}|(?i:insert\s{1,4}into)"
)


def _is_plain(encoded: EncodedText) -> bool:
    """Whether a text, such as a word of JSON, holds nothing that any recognizer, rule, key or
    encoding starts from."""
    return not (
        _SIGNS.search(encoded.data)
        or _OF_WORDS.passing(encoded.data)
        or _OF_PRESIDIO.passing(encoded.data)
    )


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
_NO_IDENTIFIER = re.compile(
    r"(?<![\w.])[+-]?[0-9]{1,20}\.[0-9]{5,}(?:[eE][+-]?[0-9]+)?(?![\w.°])"
    r"|(?<![0-9A-Za-z])(?:[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"
    r"|[0-9a-f]{32,128})(?![0-9A-Za-z])"
    r"|(?<!\d)(?:19|20)[0-9]{2}-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9](?::[0-5][0-9]"
    r"(?:[.,][0-9]+)?)?(?:Z|[+-][0-9]{2}:?[0-9]{2})?"
)
"""Floats, hashes, UUIDs and timestamps, in ASCII."""
_MAY_BE_NONE = Linear(
    r"[+-]?[0-9]{1,20}\.[0-9]{5}|[0-9a-f]{8}-[0-9a-f]{4}-|[0-9a-f]{32}"
    r"|(?:19|20)[0-9]{2}-[01][0-9]-[0-3][0-9][T ][0-2]"
)
_ALPHANUMERIC = Linear(r"[+-]?[0-9A-Za-z]*")


def without_numbers(encoded: EncodedText) -> EncodedText:
    """The text with blanks for the numbers that are nobody's, which every recognizer of numbers
    would look at otherwise."""
    if not _CLOSE_DIGITS.search(encoded.data):
        return encoded
    text, parts, kept, at = encoded.text, list[str](), 0, 0
    while hit := _MAY_BE_NONE.search(encoded.data, at):
        begin = hit[0]
        start = encoded.index(begin)
        none = _NO_IDENTIFIER.match(text, start)
        if none is None:
            at = max(_ALPHANUMERIC.match_end(encoded.data, begin), begin + 1)
            continue
        parts += (text[kept:start], " " * (none.end() - start))
        kept, at = none.end(), begin + none.end() - start
    return EncodedText("".join([*parts, text[kept:]])) if parts else encoded


_RUN_OF_DIGITS = Linear(r"[0-9](?:[^0-9\n]{0,4}[0-9]){4,}")
_LONGEST_CORE = 48


def _near_digits(data: bytes) -> bytes:
    """Where five digits stand close together, with what a core of a rule of digits may hold
    around them."""
    parts, at = list[bytes](), 0
    for start, end in _RUN_OF_DIGITS.finditer(data):
        if start - _LONGEST_CORE > at:
            parts.append(b"\n")
            at = start - _LONGEST_CORE
        parts.append(data[at : end + _LONGEST_CORE])
        at = end + _LONGEST_CORE
    return b"".join(parts)


def rule_spans(
    encoded: EncodedText,
    bare: EncodedText | None = None,
    clock: Clock | None = None,
    rules: frozenset[int] = _ALL_RULES,
) -> Iterator[Span]:
    """What `rules` find in a text; only those whose core or keywords it holds are tried, and
    rules of numbers look at `bare`."""
    bare = bare or encoded
    live = _OF_WORDS.passing(encoded.data)
    live.update(i for i in _OF_RUNS & rules if RULES[i].core.search(encoded.data))
    if rules & _DIGITS and (near := _near_digits(bare.data)):
        live |= _OF_DIGITS.passing(near)
    else:
        live -= _DIGITS
    for i in sorted(live & rules):
        if clock:
            clock.check()
        yield from RULES[i].spans(bare if RULES[i].digits else encoded)


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


class _TimeOuts(logging.Handler):
    """Counts presidio's skipped patterns: on a time-out it logs a line and goes on, which would
    pass an unscanned text as clean."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        said = str(record.msg).lower()
        self.count += "timed out" in said or "timeout" in said


def _across_lines(copy: ScanCopy, found: set[Span], clock: Clock) -> set[Span]:
    """Identifiers that a line break cuts in two: found in the joined text, over a seam, where
    none of its type was found whole.

    A key or a phone number is taken to run on where the next line's start looks like its rest.
    """
    joined = joined_lines(copy)
    if joined is None:
        return set()
    encoded, spans = EncodedText(joined.text), set[Span]()
    if _DIGITS_AT_BREAK.search(copy.encoded.data):
        bare, rules = without_numbers(encoded), SPLIT_RULES
    else:
        bare, rules = encoded, SPLIT_RULES - _DIGITS - _CARDS
    for s in rule_spans(encoded, bare, clock, rules):
        seam = joined.seam_within(s.start, s.end)
        if seam is None or _is_none(s, joined.text):
            continue
        if joined.text[s.start - 1 : s.start] in _CELLS or joined.text[s.end : s.end + 1] in _CELLS:
            continue  # a table: its numbers do not run on
        start, end = joined.original(s.start, s.end)
        whole = any(f.type == s.type and start < f.end and f.start < end for f in found)
        tail = joined.text[seam : s.end]
        if not whole or (len(tail) >= _RUNS_ON.get(s.type, len(tail) + 1) and not tail.islower()):
            spans.add(Span(start, end, s.type))
    return spans


class _Scan:
    """A text that is being scanned: its copy, what was found in it so far, in the places of the
    text itself, and how much time it may take yet."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.clock = Clock()
        self.places = set[Span]()
        self.ended = self.failed = False

    def begin(self) -> None:
        """Make the copy and see whether there is anything to look for."""
        self.copy = scan_copy(self.text)
        self.encoded = self.copy.encoded
        self.ended = _is_plain(self.encoded)
        if not self.ended:
            self.bare = without_numbers(self.encoded)

    def add(self, spans: Iterable[Span]) -> None:
        """Note down what is an identifier among finds in the copy."""
        for span in spans:
            self.clock.check()
            if not _is_none(span, self.encoded.text):
                self.places.add(Span(*self.copy.original(span.start, span.end), span.type))

    def add_rules(self) -> None:
        """What our own rules find."""
        self.add(rule_spans(self.encoded, self.bare, self.clock))

    def add_keyed(self) -> None:
        """Values whose key tells what they are."""
        self.add(keyed_spans(self.encoded))

    def add_over_breaks(self) -> None:
        """Identifiers that a line break cuts in two."""
        self.places |= _across_lines(self.copy, self.places, self.clock)


class PatternDetector:
    """Finds identifiers and secrets by pattern, in any language."""

    name, level = "patterns", 0

    def __init__(self) -> None:
        found = recognizers()
        self._phones = next(r for r in found if isinstance(r, FastPhoneRecognizer))
        self._recognizers = {
            _KINDS.index(type(r)): (_window(type(r)), r) for r in found if r is not self._phones
        }
        log = logging.getLogger("presidio-analyzer")
        log.handlers[:] = [
            timeouts := _TimeOuts()
        ]  # the IBAN recognizer logs text that it could not validate
        log.propagate = False
        self._timeouts = timeouts

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
        processor's caches: that takes a fifth less time than text after text.
        """
        scans = [_Scan(text) for text in texts]
        for step in (
            _Scan.begin,
            self._add_presidios,
            _Scan.add_rules,
            _Scan.add_keyed,
            self._add_hidden,
            _Scan.add_over_breaks,
        ):
            now = time.thread_time()
            for scan in scans:
                if scan.ended:
                    continue
                scan.clock.start(now)
                try:
                    step(scan)
                    scan.clock.check()
                except (TimeoutError, DetectionError):
                    scan.ended = scan.failed = True
                now = scan.clock.stop()
        return [None if scan.failed else sorted(scan.places) for scan in scans]

    def _add_presidios(self, scan: "_Scan") -> None:
        scan.add(self.presidio_spans(scan.bare, bare_numbers=False))

    def _add_hidden(self, scan: "_Scan") -> None:
        """What runs of base64 or hex hold, whole."""
        for hidden in hidden_texts(scan.encoded, scan.bare):
            inside = scan_copy(hidden.text).encoded
            known = next(self._scan(inside, without_numbers(inside), scan.clock), None)
            if known:
                scan.add([Span(hidden.start, hidden.end, "ENCODED")])

    def _scan(self, encoded: EncodedText, bare: EncodedText, clock: Clock) -> Iterator[Span]:
        for part in (
            self.presidio_spans(bare, bare_numbers=False),
            rule_spans(encoded, bare, clock),
            keyed_spans(encoded),
        ):
            for span in part:
                clock.check()
                if not _is_none(span, encoded.text):
                    yield span

    def presidio_spans(self, encoded: EncodedText, *, bare_numbers: bool = True) -> list[Span]:
        """What presidio's recognizers find in a text, each run only where its gate lets it match
        at all."""
        before = self._timeouts.count
        found = [
            (0, result)
            for result in self._phones.analyze_encoded(encoded, bare_numbers=bare_numbers)
        ]
        for i in sorted(_OF_PRESIDIO.passing(encoded.data)):
            window, recognizer = self._recognizers[i]
            for begin, stop in window.finditer(encoded.data):
                start, end = encoded.index(begin), encoded.index(stop)
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
