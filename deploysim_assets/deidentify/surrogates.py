"""Realistic replacements in reserved ranges: the same original gives the same surrogate within a
conversation, never across two."""

import hmac
import re
import string
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256
from typing import Any

from presidio_anonymizer.operators import Operator, OperatorType

from deploysim_assets.deidentify.dates import other_date, shifted, year_of
from deploysim_assets.deidentify.names import last_names, other_name, other_place, script_of
from deploysim_assets.deidentify.people import without_title
from deploysim_assets.deidentify.rules import IBAN_LENGTHS, iban, luhn
from deploysim_assets.project import Deidentification

_TITLES = frozenset(
    """
    mr mrs ms miss dr prof sir herr frau mme mlle monsieur madame senor senora señor señora sr sra
    signor signora
    de del della di da dos van von der den la le el al bin ben
    """.split()
)
"""Words of a name that stay."""

_STREET = re.compile(
    r"(?i)street|st|avenue|ave|road|rd|lane|ln|drive|boulevard|blvd|court|ct|way|square|terrace"
    r"|rue|place|impasse|calle|avenida|plaza|via|viale|rua"
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


def _device(number: int, text: str) -> str:
    """A MAC address that no maker has: IANA's prefix with the bit that says locally administered.
    Of those kept for documentation (RFC 9542: 00-00-5E-00-53-xx) there are 256, so that two devices
    of a conversation would often become one; of these there are 16 million."""
    digits = iter(f"02005E{number & 0xFFFFFF:06X}")
    if sum(c in string.hexdigits for c in text) != len("02005EXXXXXX"):
        return "-".join(a + b for a, b in zip(digits, digits, strict=True))
    shaped = "".join(next(digits) if c in string.hexdigits else c for c in text)
    return shaped if text.upper() == text else shaped.lower()


def _base32(number: int, count: int) -> str:
    return "".join(_BASE32[number >> 5 * i & 31] for i in range(count))


def _token(number: int) -> str:
    return f"redacted-{_base32(number, 24)}"


_COMPANY = """
    Alder Birch Cobalt Drake Ember Fathom Garnet Heron Indigo Juniper Kestrel Larch Meridian
    Nimbus Orchard Pinnacle
    """.split()
_KEPT_OF_COMPANY = re.compile(
    r"(?i)\b(?:Ltd|Limited|Inc|LLC|LLP|Corp|Corporation|Company|GmbH|AG|Bank|Court|University"
    r"|College|School|Hospital|"
    r"Council|Ministry|Department|Institute|Church|Police|Government|Association|Union|Party"
    r"|Committee|Foundation|Group)\b\.?"
)


def _organization(text: str, number: int) -> str:
    """A made-up name with the word that tells what it is."""
    kind = _KEPT_OF_COMPANY.findall(text)
    name = (
        f"{_COMPANY[number % 16]} {_COMPANY[number >> 4 & 15]}"
        if not kind
        else _COMPANY[number % 16]
    )
    return f"{name} {kind[-1]}" if kind else name


def _code(text: str, draw: Draw) -> str:
    """Other digits and capitals in the same writing."""
    number = draw("CODE", text)
    out = ""
    for c in text:
        number, step = divmod(number, 26)
        if c.isdigit():
            out += str((int(c) + 1 + step % 9) % 10)
        elif c.isascii() and c.isupper():
            out += chr((ord(c) - 65 + 1 + step % 25) % 26 + 65)
        else:
            out += c
    return out


_GROUPED = frozenset(
    {"CREDIT_CARD", "IBAN_CODE", "US_SSN", "MAC_ADDRESS", "PHONE_NUMBER", "NATIONAL_ID", "ACCOUNT"}
)
"""What is the same however it is grouped."""
_SINGLE = "ABCDEGHJKLMNPRSTVW"


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
    return re.sub(r"[^\W\d_]+", lambda word: _part(word, draw), text)


def _part(word: re.Match[str], draw: Draw) -> str:
    found, behind = word.group(), word.string[word.end() : word.end() + 1]
    if found.casefold() in _TITLES or (found == "s" and word.string[word.start() - 1] in "'’"):
        return found
    if len(found) == 1 and (behind == "." or found.isupper()) and found.isascii():
        rest = _SINGLE.replace(found.upper(), "")
        return rest[draw("INITIAL", found) % len(rest)]
    return _name(found, draw)


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


def _coordinates(text: str, number: int) -> str:
    """Elsewhere, in the writing of a decimal; another notation as an opaque token."""
    other = re.sub(r"[0-9]+\.[0-9]+", f"{number % 80}.{number >> 8 & 7}", text)
    return _token(number) if re.search(r"[°/+A-Za-z]|deg", text) or other == text else other


def make_surrogate(  # noqa: C901, PLR0912 (one case a type)
    entity_type: str, text: str, draw: Draw
) -> str:
    """A stand-in of the entity's shape; `draw` gives a number (256 bits) for a kind and a text.
    Unknown types get an opaque token."""
    number = draw(entity_type, re.sub(r"[\W_]", "", text) if entity_type in _GROUPED else text)
    match entity_type:
        case "EMAIL_ADDRESS":
            return _mailbox(text, draw)
        case "PERSON":
            return _person(text, draw)
        case "LOCATION":
            return other_place(text, number)
        case "ORGANIZATION":
            return _organization(text, number)
        case "GROUP":
            return f"{other_place(text, number).rstrip('aeiou')}ian"
        case "CODE":
            return _code(text, draw)
        case "AGE":
            return str(30 + number % 40)
        case "COORDINATES":
            return _coordinates(text, number)
        case "HANDLE":
            return ("@" if text.startswith("@") else "") + f"user_{_base32(number, 8)}"
        case "PROFILE_URL":
            return f"user-{_base32(number, 8)}"
        case "LICENSE_PLATE":
            return f"XX-{_base32(number, 4).upper()}"
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
            return _device(number, text)
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


def offset_days(draw: Draw) -> int:
    """By how many days dates are moved: whole weeks, so that weekdays stay true, and never none."""
    weeks = draw("OFFSET", "") % 104 - 52
    return 7 * (weeks if weeks < 0 else weeks + 1)


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


class Put(Operator):
    """presidio-anonymizer's operator that puts what `replacements` holds for an entity type and a
    text."""

    def operate(self, text: str | None = None, params: dict[str, Any] | None = None) -> str:
        assert text is not None and params is not None
        return params["replacements"][params["entity_type"], text]

    def validate(self, params: dict[str, Any] | None = None) -> None:
        if not params or "replacements" not in params:
            raise ValueError("`replacements` is missing")

    def operator_name(self) -> str:
        return "deploysim"

    def operator_type(self) -> OperatorType:
        return OperatorType.Anonymize


@lru_cache(maxsize=8)
def _folded(names: tuple[str, ...]) -> frozenset[str]:
    return frozenset(name.casefold() for name in names)


class Treatment:
    """What a policy does with each entity of one conversation."""

    def __init__(
        self,
        policy: Deidentification,
        draw: Draw,
        draw_of_user: Draw,
        placeholders: Placeholders | None,
    ) -> None:
        self._policy, self._draw, self._placeholders = policy, draw, placeholders
        self._offset = offset_days(draw_of_user)
        self._public = _folded(tuple(policy.public_organizations))

    def of(self, entity_type: str, text: str) -> str:
        """What stands in the place of an entity; the text itself where it is kept."""
        action = self._policy.action(entity_type)
        if action == "keep" or (
            self._policy.profile == "chat" and self._is_public(entity_type, text)
        ):
            return text
        if action == "shift":
            return self._shifted(entity_type, text)
        if action == "generalize":
            return _generalized(entity_type, text)
        if self._placeholders is not None:
            return self._placeholders(entity_type, text)
        if entity_type in ("DATE", "DATE_OF_BIRTH"):
            return other_date(text, self._draw("DATE", text))
        if entity_type == "PERSON" and self._policy.profile == "strict":
            bare = without_title(text)
            return make_surrogate("PERSON", bare, self._draw) if bare else "N."
        return make_surrogate(entity_type, text, self._draw)

    def _is_public(self, entity_type: str, text: str) -> bool:
        """Whether an organization is everybody's: one of the list."""
        name = re.sub(r"(?i)^the |['’]s$", "", text).strip(" .,")
        return entity_type == "ORGANIZATION" and name.casefold() in self._public

    def _shifted(self, entity_type: str, text: str) -> str:
        moved = shifted(text, self._offset)
        if moved is not None:
            return moved
        return (
            other_date(text, self._draw("DATE", text)) if entity_type == "DATE_OF_BIRTH" else text
        )


def _generalized(entity_type: str, text: str) -> str:
    match entity_type:
        case "AGE":
            digits = re.sub(r"[^0-9]", "", text)
            return "90" if digits and int(digits) > 89 else text
        case "COORDINATES":
            return _about(text)
        case _:
            return year_of(text)


_MINUTES = re.compile(
    r"(?P<degrees>[0-9]{1,3} ?(?:°|deg(?:rees)?),? ?)(?P<minutes>[0-9]{1,2})[0-9.'′’\"″” ,a-z]*"
)


def _about(place: str) -> str:
    """Coordinates to a tenth of a degree or ten minutes; what is written in a grid's letters is
    gone."""
    if _MINUTES.search(place):
        return _MINUTES.sub(
            lambda m: f"{m['degrees']}{int(m['minutes']) // 10 * 10:02d}' ", place
        ).strip()
    coarse = re.sub(r"([0-9]\.[0-9])[0-9]+", r"\1", place)
    return (
        coarse if coarse != place or re.fullmatch(r"[^+/A-Za-z]*[NSEWnsew]?", place) else "a place"
    )
