"""Realistic replacements in reserved ranges: the same original gives the same surrogate within a conversation, never across two."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportMissingParameterType=false, reportUnknownParameterType=false

import hmac
import re
import unicodedata
from hashlib import sha256
from typing import Any

from presidio_anonymizer.operators import Operator, OperatorType

from deploysim_assets.deidentify.rules import IBAN_LENGTHS, iban, luhn

_NAMES = "alex avery blake casey dana drew eden emery finley harper jordan kai logan morgan noel parker quinn reese riley rowan sage sasha taylor".split()
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


def make_surrogate(entity_type: str, text: str, number: int) -> str:
    """A stand-in of the entity's shape, chosen by `number` (256 bits); unknown types get an opaque token."""
    match entity_type:
        case "EMAIL_ADDRESS":
            return f"{_NAMES[number % len(_NAMES)]}.{_BASE32[number >> 8 & 31]}{number >> 16 & 0xFFF}@example.{('com', 'org', 'net')[number >> 32 & 1]}"
        case "PHONE_NUMBER":
            national = f"555-01{number % 100:02d}"  # the range kept for fiction in the North American plan
            area = AREAS[number >> 8 & 7]
            return f"+1 {area}-{national}" if text.startswith("+") else f"{area}-{national}"
        case "CREDIT_CARD":
            return _card(number, text)
        case "IBAN_CODE":
            return _iban(number, text)
        case "IP_ADDRESS":
            return _ip(number, text)
        case "US_SSN":
            return _in_shape(f"666{number % 99 + 1:02d}{number >> 8 & 0xFFF:04d}", text)  # area 666 was never issued
        case "MAC_ADDRESS":
            return f"00-00-5E-00-53-{number & 0xFF:02X}"  # RFC 7042
        case "URL_CREDENTIALS":
            return f"user:{_token(number)}@db.example.com"
        case _:
            return _token(number)


class Surrogate(Operator):
    """presidio-anonymizer's operator over `make_surrogate`: HMAC of type, scope and normalized text; no table, no random state."""

    def operate(self, text: str | None = None, params: dict[str, Any] | None = None) -> str:
        assert text is not None and params is not None
        kind, scope = params["entity_type"], params["scope"]
        normalized = unicodedata.normalize("NFKC", text).casefold().strip()
        message = "\x1f".join((kind, scope, normalized)).encode("utf-8", "surrogatepass")
        return make_surrogate(kind, text, int.from_bytes(hmac.new(params["key"], message, sha256).digest()))

    def validate(self, params: dict[str, Any] | None = None) -> None:
        if not params or not isinstance(params.get("key"), bytes) or len(params["key"]) < 32:
            raise ValueError("a surrogate needs a key of at least 32 bytes")

    def operator_name(self) -> str:
        return "surrogate"

    def operator_type(self) -> OperatorType:
        return OperatorType.Anonymize
