"""Realistic replacements in reserved ranges: the same original gives the same surrogate within a
conversation, never across two."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportMissingParameterType=false, reportUnknownParameterType=false

import hmac
import re
import unicodedata
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from presidio_anonymizer.operators import Operator, OperatorType

from deploysim_assets.deidentify.names import last_names, other_name, other_place, script_of
from deploysim_assets.deidentify.rules import IBAN_LENGTHS, iban, luhn

_TITLES = frozenset(
    """
    mr mrs ms miss dr prof sir herr frau mme mlle monsieur madame senor senora señor señora sr sra
    signor signora
    de del della di da dos van von der den la le el al bin ben
    """.split()
)
"""Words of a name that stay."""

_STREET = re.compile(
    r"(?i)street|st|avenue|ave|road|rd|lane|ln|drive|boulevard|blvd|court|ct|way|square|terrace|rue|place|impasse|calle|avenida|plaza|via|viale|rua"
)
Draw = Callable[[str, str], int]
AREAS = ("202", "303", "404", "415", "512", "617", "702", "808")
"""Area codes of the phone surrogates."""

_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"


def _in_shape(digits: str, shape: str) -> str:
    """The digits, with the separators of `shape` where it holds as many digits."""
    if sum(c.isdigit() for c in shape) != len(digits):
        return digits
    following = iter(digits)
    return "".join(next(following) if c.isdigit() else c for c in shape)


def _card(number: int, text: str) -> str:
    body = f"400000{number % 10**9:09d}"  # a test range: no issuer holds 400000
    card = next(body + digit for digit in "0123456789" if luhn(body + digit))
    return _in_shape(card, text) if len(re.sub(r"\D", "", text)) == len(card) else card


def _iban(number: int, text: str) -> str:
    country = text[:2].upper() if text[:2].upper() in IBAN_LENGTHS else "DE"
    body = f"{number % 10**8:08d}".rjust(IBAN_LENGTHS[country] - 4, "0")
    whole = iban(country, body)
    return " ".join(whole[i : i + 4] for i in range(0, len(whole), 4)) if " " in text else whole


def _ip(number: int, text: str) -> str:
    if ":" in text:
        return f"2001:db8::{number % 65536:x}:{number // 65536 % 65536:x}"
    return f"{('192.0.2', '198.51.100', '203.0.113')[number % 3]}.{number // 3 % 254 + 1}"


def _token(number: int) -> str:
    letters = "".join(_BASE32[number >> 5 * i & 31] for i in range(24))
    return f"redacted-{letters}"


def _person(text: str, draw: Draw) -> str:
    """Every word of a name by itself, so that a first name alone, the whole name and a mailbox
    made of both stay one person's."""
    if script_of(text) == "CJK" and " " not in text and len(text) > 1:
        cut = 2 if text[:2].casefold() in last_names("CJK") else 1
        return (
            _person(text[:cut], draw) + _person(text[cut:], draw)
            if len(text) > cut
            else _name(text, draw)
        )
    return re.sub(
        r"[^\W\d_]{2,}|^[^\W\d_]$",
        lambda word: (
            word.group() if word.group().casefold() in _TITLES else _name(word.group(), draw)
        ),
        text,
    )


def _name(word: str, draw: Draw) -> str:
    return other_name(word, draw("NAME", word))


def _address(text: str, draw: Draw) -> str:
    words = re.sub(
        r"[^\W\d_]{3,}",
        lambda w: (
            w.group()
            if _STREET.fullmatch(w.group()) or w.group().islower()
            else _name(w.group(), draw)
        ),
        text,
    )
    return re.sub(r"\d+", lambda n: str(draw("HOUSE", n.group()) % 180 + 1), words)


def _mailbox(text: str, draw: Draw) -> str:
    """The words of the mailbox as those of a name, and a number that tells two mailboxes of one
    person apart."""
    quotes = text[
        : len(text) - len(text.lstrip("'`*\""))
    ]  # legal in a mailbox, yet in prose they are quotation marks
    words = re.findall(r"[^\W\d_]{3,}", text.partition("@")[0])[:2] or ["mailbox"]
    number = draw("EMAIL_ADDRESS", text.removeprefix(quotes))
    local = ".".join(_plain(_name(word.lower(), draw)) or _BASE32[number & 31] for word in words)
    return (
        f"{quotes}{local}{number >> 16 & 0xFFF}@example.{('com', 'org', 'net')[number >> 32 & 1]}"
    )


def _plain(name: str) -> str:
    """Its ASCII letters."""
    return re.sub(r"[^a-z]", "", unicodedata.normalize("NFKD", name).casefold())


def make_surrogate(entity_type: str, text: str, draw: Draw) -> str:
    """A stand-in of the entity's shape; `draw` gives a number (256 bits) for a kind and a text.
    Unknown types get an opaque token."""
    number = draw(entity_type, text)
    match entity_type:
        case "EMAIL_ADDRESS":
            return _mailbox(text, draw)
        case "PERSON":
            return _person(text, draw)
        case "LOCATION":
            return other_place(text, number)
        case "ADDRESS":
            return _address(text, draw)
        case "PHONE_NUMBER":
            national = (
                f"555-01{number % 100:02d}"  # the range kept for fiction in the North American plan
            )
            area = AREAS[number >> 8 & 7]
            return f"+1 {area}-{national}" if text.startswith("+") else f"{area}-{national}"
        case "CREDIT_CARD":
            return _card(number, text)
        case "IBAN_CODE":
            return _iban(number, text)
        case "IP_ADDRESS":
            return _ip(number, text)
        case "US_SSN":
            return _in_shape(
                f"666{number % 99 + 1:02d}{number >> 8 & 0xFFF:04d}", text
            )  # area 666 was never issued
        case "MAC_ADDRESS":
            return f"00-00-5E-00-53-{number & 0xFF:02X}"  # RFC 7042
        case "URL_CREDENTIALS":
            return f"user:{_token(number)}@db.example.com"
        case _:
            return _token(number)


def keyed_draw(key: bytes, scope: str) -> Draw:
    """Numbers by HMAC of kind, scope and normalized text: no table, no random state."""

    def draw(kind: str, text: str) -> int:
        normalized = unicodedata.normalize("NFKC", text).casefold().strip()
        message = "\x1f".join((kind, scope, normalized)).encode("utf-8", "surrogatepass")
        return int.from_bytes(hmac.new(key, message, sha256).digest())

    return draw


class Placeholders:
    """Numbered placeholders of one conversation: <PERSON_1>, <EMAIL_ADDRESS_2>. A part of a name
    counts as the name."""

    def __init__(self) -> None:
        self._known: dict[str, list[frozenset[str]]] = {}

    def __call__(self, entity_type: str, text: str) -> str:
        """The placeholder of an entity."""
        folded = unicodedata.normalize("NFKC", text).casefold().strip()
        words = (
            frozenset(re.findall(r"\w+", folded))
            if entity_type == "PERSON"
            else frozenset((folded,))
        )
        known = self._known.setdefault(entity_type, [])
        for i, seen in enumerate(known):
            if words <= seen or (entity_type == "PERSON" and seen <= words):
                known[i] = seen | words
                return f"<{entity_type}_{i + 1}>"
        known.append(words)
        return f"<{entity_type}_{len(known)}>"


class Replace(Operator):
    """presidio-anonymizer's operator over a function of entity type and text: `make_surrogate`
    with its draw, or a `Placeholders`."""

    def operate(self, text: str | None = None, params: dict[str, Any] | None = None) -> str:
        assert text is not None and params is not None
        return params["replacement"](params["entity_type"], text)

    def validate(self, params: dict[str, Any] | None = None) -> None:
        if not params or not callable(params.get("replacement")):
            raise ValueError("a replacement needs `replacement`")

    def operator_name(self) -> str:
        return "deploysim"

    def operator_type(self) -> OperatorType:
        return OperatorType.Anonymize
