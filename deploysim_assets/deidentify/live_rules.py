"""Which of the rules can find something in a text, told by a few passes over it, and what these
find."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import re
from collections.abc import Iterable, Iterator, Sequence

import re2

from deploysim_assets.deidentify.encoded import EncodedText
from deploysim_assets.deidentify.gate import Gate
from deploysim_assets.deidentify.id_rules import ID_RULES
from deploysim_assets.deidentify.linear import Linear
from deploysim_assets.deidentify.rules import CONTACT_RULES, SPLIT_TYPES, Clock, Rule, Span
from deploysim_assets.deidentify.secret_rules import SECRET_RULES
from deploysim_assets.deidentify.sheets import Sheet

RULES = (*CONTACT_RULES, *SECRET_RULES, *ID_RULES)
"""In the order in which they are tried."""
_CLOSE_DIGITS = Linear(r"[0-9](?:[^0-9\n]{0,4}[0-9]){4}")


def _gate(rule: Rule) -> str:
    words = "|".join(f"(?i:{re2.escape(w.decode())})" for w in rule.keywords)
    return rule.gate or words or rule.core.pattern


_OF_DIGITS = Gate(
    {i: rule.core.pattern for i, rule in enumerate(RULES) if rule.digits and not rule.part}
)
_OF_WORDS = Gate(
    {
        i: _gate(rule)
        for i, rule in enumerate(RULES)
        if not rule.long_runs and (rule.part or not rule.digits)
    }
)
_STARTS = [rule.core if rule.core.pattern == _gate(rule) else Linear(_gate(rule)) for rule in RULES]
"""What tells a text of a sheet that a rule may find something in."""
_OF_RUNS = frozenset(i for i, rule in enumerate(RULES) if rule.long_runs)
ALL_RULES = frozenset(range(len(RULES)))
DIGIT_RULES = frozenset(i for i, rule in enumerate(RULES) if rule.digits)
SPLIT_RULES = frozenset(i for i, rule in enumerate(RULES) if rule.type in SPLIT_TYPES)
CARD_RULES = frozenset(i for i, rule in enumerate(RULES) if rule.type == "CREDIT_CARD")
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
    return all_without_numbers([encoded], Sheet([encoded.data]))[0]


def all_without_numbers(texts: Sequence[EncodedText], sheet: Sheet) -> list[EncodedText]:
    """`without_numbers` of the texts of a sheet."""
    bare = list(texts)
    if close := sheet.touched(_CLOSE_DIGITS):
        may_be_none = set(sheet.touched(_MAY_BE_NONE))
        for i in close:
            if i in may_be_none:
                bare[i] = _blanked(texts[i])
    return bare


def _blanked(encoded: EncodedText) -> EncodedText:
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


def live_rules(encoded: EncodedText, bare: EncodedText, rules: frozenset[int]) -> list[int]:
    """Those of `rules` whose core or keywords a text holds; rules of numbers look at `bare`."""
    return [i for i, _ in live_on(Sheet([encoded.data]), Sheet([bare.data]), rules)]


def live_on(sheet: Sheet, bare: Sheet, rules: frozenset[int]) -> Iterator[tuple[int, list[int]]]:
    """`live_rules` of the texts of a sheet: each rule, in order, with the numbers of the texts
    that it may find something in."""
    live = _OF_WORDS.passing(sheet.data) | _OF_RUNS
    close = set[int]()
    if rules & DIGIT_RULES and (near := _near_digits(bare.data)):
        live |= _OF_DIGITS.passing(near)
        close.update(bare.touched(_RUN_OF_DIGITS))
    for i in sorted(live & rules):
        rule = RULES[i]
        if rule.digits and not close:
            continue
        if sheet.count == 1 and not rule.long_runs:  # its core is searched for soon enough
            texts = [0]
        else:
            texts = (bare if rule.digits else sheet).touched(_STARTS[i])
        if rule.digits:
            texts = [t for t in texts if t in close]
        if texts:
            yield i, texts


def rule_spans(
    encoded: EncodedText,
    bare: EncodedText | None = None,
    clock: Clock | None = None,
    rules: frozenset[int] = ALL_RULES,
) -> Iterator[Span]:
    """What `rules` find in a text."""
    bare = bare or encoded
    yield from spans_of(live_rules(encoded, bare, rules), encoded, bare, clock)


def spans_of(
    live: Iterable[int], encoded: EncodedText, bare: EncodedText, clock: Clock | None
) -> Iterator[Span]:
    for i in live:
        if clock:
            clock.check()
        yield from RULES[i].spans(bare if RULES[i].digits else encoded)
