"""Values whose key tells what they are, in a text that is no JSON as a whole: JSON inside prose or
cut off, .env lines, arguments, headers and connection strings."""

import re
from collections.abc import Iterator

from deploysim_assets.deidentify.encoded import EncodedText
from deploysim_assets.deidentify.keyed_tables import table_spans
from deploysim_assets.deidentify.keyed_values import is_of_a_thing, type_of_key, type_of_value
from deploysim_assets.deidentify.linear import Linear
from deploysim_assets.deidentify.rules import Span

STEM = Linear(
    r"(?i)pass|pwd|secret|token|key|auth|cred|cookie|dsn|conn|database|ssn|social|nation"
    r"|passport|licen|tax|"
    r"phone|tel|mobil|cell|fax|whatsapp|mail|name|login|handle|nick|birth|dob|address|street|zip"
    r"|post|plate|vin|lat|lng|"
    r"lon|coord|gps|iban|card|cvv|cvc|cc|pin|otp|account|acct|routing|user|uid|sid|customer"
    r"|client|employee|patient|member|"
    r"policy|medical|mrn|insurance|device|imei|aadhaar|pan|cpf|dni|bsn|nino|nhs|pesel|sig|jwt"
    r"|pat|salt|hash|seed|mnemonic|"
    r"recover|backup|verif|contact|recipient|sender|author|owner|guest|passenger|city|town"
    r"|county|swift|bic|id"
)
_QUOTED_KEY = Linear(
    r"""\\{0,7}["'][A-Za-z][A-Za-z0-9_. -]{1,40}\\{0,7}["']\]?\s{0,3}(?::|=>|=)\s{0,3}"""
)
_PLAIN_KEY = Linear(r"""[A-Za-z][A-Za-z0-9_.-]{1,40}\s{0,3}[=:]{1,2}>?\s{0,3}""")
_KEY_IN_QUOTES = re.compile(rb"""[\\"']*([A-Za-z0-9_. -]+)""")
_KEY_ALONE = re.compile(rb"[A-Za-z0-9_.-]+")
_TAG = Linear(r"<([A-Za-z][A-Za-z0-9_.:-]{1,40})>([^<>\n]{3,200})</")
_QUOTE = re.compile(r"""\\{0,7}["'`]""")
_NAMED_VALUE = Linear(
    r"""(?i)\b(?:key|name|id|field|property)\s?=\s?\\?["']([A-Za-z][A-Za-z0-9_. -]{1,40})\\?["']"""
    r"""[^<>\n]{0,80}?\bvalue\s?=\s?\\?["']([^"'\\\n<>]{1,200})"""
)
_REST_OF_LINE = re.compile(r"[ \t\r]*(?:\n|$)")
_AMONG_PAIRS = re.compile(r" [A-Za-z_.]{2,20}=[^\s=,()]")
_INDENT = re.compile(r"(?:^|\n)[ \t]*(?:- |export |set )?$")
_BARE = re.compile(r"""[^\s,;}\]"'\\<>&)]{3,400}""")
_BARE_PHONE = re.compile(r"[+(]?[0-9][0-9 ().\-/]{4,22}[0-9]")
_BARE_ADDRESS = re.compile(r"[\p{Lu}0-9(][^\n|]{4,100}".replace(r"\p{Lu}", "A-ZÀ-Þ"))
_BARE_NAME = re.compile(r"[^\W\d_][^\W\d_'’.-]*(?: [^\W\d_][^\W\d_'’.-]*){1,4}(?=\s*(?:\n|$))")
_AS_WRITTEN = {
    "PERSON": _BARE_NAME,
    "PHONE_NUMBER": _BARE_PHONE,
    "CREDIT_CARD": _BARE_PHONE,
    "ADDRESS": _BARE_ADDRESS,
}
_LIST_END = 2_000
_ANY_KEY = re.compile(r"""["']([A-Za-z_]{2,40})\\{0,7}["']\s{0,3}:""")
_NEAR = 300
"""So far around a `name` in a text its object's other keys are looked for."""


def keyed_spans(encoded: EncodedText) -> Iterator[Span]:
    """Values in a text whose key tells what they are."""
    if STEM.search(encoded.data) is None:
        return
    text = encoded.text
    yield from table_spans(encoded)
    if ":" in text or "=" in text:
        yield from _quoted(encoded, text)
        yield from _plain(encoded, text)
        for _, name, value in _NAMED_VALUE.groups(encoded.data):
            yield from _told(encoded, text, name, value)
    if "</" in text:
        for _, name, value in _TAG.groups(encoded.data):
            yield from _told(encoded, text, name, value)


def _told(
    encoded: EncodedText, text: str, name: tuple[int, int], value: tuple[int, int]
) -> Iterator[Span]:
    """The value of a tag or an attribute, where its name tells what it is."""
    key = encoded.data[slice(*name)].decode()
    if kind := type_of_key(key):
        start, end = map(encoded.index, value)
        yield from _valued(kind, key, text, start, end)


def _quoted(encoded: EncodedText, text: str) -> Iterator[Span]:
    for begin, stop in _QUOTED_KEY.finditer(encoded.data):
        named = _KEY_IN_QUOTES.match(encoded.data, begin)
        assert named is not None, "the match holds a key"
        key = named.group(1).decode()
        kind = type_of_key(key)
        if kind is None:
            continue
        at = encoded.index(stop)
        if text[at : at + 1] == "[":
            last = min((i for i in (text.find("]", at), at + _LIST_END) if i >= 0), default=at)
            while (quote := _QUOTE.search(text, at, last)) is not None:
                start, end, at = _string(text, quote)
                yield from _valued(kind, key, text, start, end)
        elif quote := _QUOTE.match(text, at):
            start, end, _ = _string(text, quote)
            yield from _valued(kind, key, text, start, end)
        elif (value := _BARE.match(text, at)) and value.group()[0] not in "{[":
            yield from _valued(kind, key, text, value.start(), value.end())


def _string(text: str, quote: re.Match[str]) -> tuple[int, int, int]:
    """Start and end of a string's inside, and where to go on; a string that is cut off ends with
    its line or the text."""
    opened = quote.group()
    for closing in re.finditer(r"""(\\*)(["'`])""", text[quote.end() : quote.end() + 20_000]):
        if closing.group(2) == opened[-1] and len(closing.group(1)) <= len(opened) - 1:
            return quote.end(), quote.end() + closing.start(), quote.end() + closing.end()
    end = text.find("\n", quote.end())
    return quote.end(), (len(text) if end < 0 else end), len(text)


def _plain(encoded: EncodedText, text: str) -> Iterator[Span]:
    """Unquoted keys: values that look like what the key promises; a name of code does not."""
    for begin, stop in _PLAIN_KEY.finditer(encoded.data):
        named = _KEY_ALONE.match(encoded.data, begin)
        assert named is not None, "the match begins with a key"
        key = named.group().decode()
        kind = type_of_key(key)
        if kind is None or kind in ("NAME", "PLACE"):
            continue
        before, at = encoded.index(begin), encoded.index(stop)
        sign = encoded.data[named.end() : stop].strip()
        if sign == b"==":
            continue
        if quote := _QUOTE.match(text, at):
            start, end, _ = _string(text, quote)
            if (
                "\n" not in text[start:end]
                and len(quote.group()) == 1
                and text[start : start + 1] not in (" ", "+", ",", ")", "%", "]", "}", ":", ";")
            ):
                yield from _valued(kind, key, text, start, end)
            continue
        value = _AS_WRITTEN.get(kind, _BARE).match(text, at)
        if value is None and kind == "PERSON":
            value = _BARE.match(text, at)
        if value is None:
            continue
        found = value.group()
        tight = (
            key.isupper()
            or key[:2].lower() == "x-"
            or text[before - 1 : before] in (";", "&", "?")
            or _is_setting(text, before, at, value.end(), sign)
        )
        if _holds_bare(kind, found, sign, tight=tight, in_url=text[before - 1 : before] in "&?"):
            yield from _valued(kind, key, text, value.start(), value.end())


def _is_setting(text: str, start: int, value: int, end: int, sign: bytes) -> bool:
    """Whether a key and its value are a line of a file of settings, `a=b` or `a: b`, or one of
    several pairs; code sets blanks around its equals sign, or more behind the value."""
    spaced = text[value - 1].isspace()
    if sign == b"=" and not spaced and _AMONG_PAIRS.match(text, end):
        return True
    return ((sign == b"=" and not spaced) or (sign == b":" and spaced)) and bool(
        _REST_OF_LINE.match(text, end) and _INDENT.search(text, max(0, start - 40), start)
    )


def _holds_bare(kind: str, found: str, sign: bytes, *, tight: bool, in_url: bool) -> bool:
    """Whether an unquoted value is one, not a name of code or the next word."""
    match kind:
        case "SECRET":
            return (tight and sign in (b"=", b":")) or _looks_random(found)
        case "PERSON":
            return (sign == b"=" and in_url) or " " in found
        case "ADDRESS":
            return any(c.isdigit() for c in found) and "://" not in found
        case _:
            digits = sum(c.isdigit() for c in found)
            return digits >= 4 and re.match(r"[A-Za-z_]\w*[.(\[]", found) is None


def _looks_random(found: str) -> bool:
    return (
        len(found) >= 6
        and any(c.isdigit() for c in found)
        and any(c.isalpha() for c in found)
        and re.fullmatch(r"[A-Za-z_][\w.]*(?:[(\[].*)?", found) is None
    ) or (
        len(found) >= 8
        and sum(c.isdigit() for c in found) >= 2
        and any(c.isalpha() for c in found)
        and re.search(r"[.(\[_]", found) is None
    )


def _valued(kind: str, key: str, text: str, start: int, end: int) -> Iterator[Span]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    of_a_thing = kind == "NAME" and is_of_a_thing(
        _ANY_KEY.findall(text, max(0, start - _NEAR), end + _NEAR)
    )
    found = type_of_value(kind, text[start:end], key, of_a_thing=of_a_thing)
    if found:
        yield Span(start, end, found)
