"""Texts inside texts: runs of base64 or hex that decode to words, one level deep."""

import base64
import binascii
from collections.abc import Iterator
from typing import NamedTuple

from deploysim_assets.deidentify.encoded import EncodedText
from deploysim_assets.deidentify.linear import Linear

BASE64 = Linear(r"[A-Za-z0-9+/_-]{12,}={0,2}")
HEX = Linear(
    r"(?:0x)?(?:[0-9a-fA-F]{2}){8,}|\b[0-9a-fA-F]{2}(?:[ :][0-9a-fA-F]{2}){7,}\b"
    r"|(?:\\x[0-9a-fA-F]{2}){8,}|0x[0-9a-fA-F]{2}(?:,? ?0x[0-9a-fA-F]{2}){7,}"
)
_PRINTED = frozenset(range(0x20, 0x7F)) | {9, 10, 13}
_OF_URLS = bytes.maketrans(b"-_", b"+/")
_LONGEST = 64_000


class Hidden(NamedTuple):
    """A decoded text and the part of the text that holds it."""

    start: int
    end: int
    text: str


def hidden_texts(encoded: EncodedText, bare: EncodedText) -> Iterator[Hidden]:
    """What runs of base64 and hex decode to, where that is text; `bare` is the text without floats
    and hashes, in which base64 is looked for."""
    for pattern, decode, where in (
        (BASE64, _from_base64, bare),
        (HEX, _from_hex, encoded),
    ):
        for start, end in pattern.finditer(where.data):
            run = where.data[start:end]
            if pattern is BASE64 and run.isdigit() and len(run) < 20:
                continue
            head = decode(run[:16])
            if head is None or not _may_be_text(head):
                continue  # a hash, a number, a word
            data = decode(run[:_LONGEST])
            if data and (text := _as_text(data)):
                yield Hidden(where.index(start), where.index(end), text)


def _may_be_text(head: bytes) -> bool:
    return _PRINTED.issuperset(head[:3]) or head[0] >= 0xC2 or head[1:4:2] == b"\0\0"


def _from_base64(run: bytes) -> bytes | None:
    run = run.rstrip(b"=").translate(_OF_URLS)
    if len(run) % 4 == 1:
        run = run[:-1]
    if not run[:4].isdigit() and run.islower() and run.isalpha():
        return None  # a word
    try:
        return base64.b64decode(run + b"=" * (-len(run) % 4))
    except (binascii.Error, ValueError):
        return None


def _from_hex(run: bytes) -> bytes | None:
    digits = run.replace(b"0x", b"").replace(b"\\x", b"").translate(None, b" :,")
    try:
        return bytes.fromhex(digits[: len(digits) // 2 * 2].decode())
    except ValueError:
        return None


def _as_text(data: bytes) -> str | None:
    if data[0] < 0x20 and data[0] not in _PRINTED:
        return None
    wide = len(data) > 3 and not any(data[1::2]) and all(data[::2])  # as PowerShell encodes
    try:
        text = data.decode("utf-16-le" if wide else "utf-8")
    except UnicodeDecodeError:
        return None
    if text.isascii():
        return text if _PRINTED.issuperset(text.encode()) else None
    return (
        text
        if sum(c.isalnum() or c.isspace() or c in "@.:-+,/" for c in text) >= 0.9 * len(text)
        else None
    )
