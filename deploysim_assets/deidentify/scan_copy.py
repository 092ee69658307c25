"""The copy of a text that is scanned: what hides an identifier from a pattern is undone, and
every place leads back to the original."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

import html
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from deploysim_assets.deidentify.encoded import EncodedText
from deploysim_assets.deidentify.linear import Linear
from deploysim_assets.deidentify.sheets import Sheet

_AS_THEY_ARE = frozenset("：！（），；？［］＂＇＜＞｛｝")
"""Marks of Chinese and Japanese prose that no identifier holds; a plain colon would run into the
address behind it."""


_INVISIBLE = frozenset(
    map(
        chr,
        (
            0x034F,
            0x115F,
            0x1160,
            0x180B,
            0x180C,
            0x180D,
            0x2800,
            0x3164,
            0xFFA0,
            *(c for c in range(0x20) if chr(c) not in "\t\n\r"),
            0x7F,
            *range(0xFE00, 0xFE10),
            *range(0xE0100, 0xE01F0),
        ),
    )
)
"""Variation selectors, joiners, fillers and control characters, which category Cf leaves out."""


def _is_invisible(character: str) -> bool:
    return character in _INVISIBLE or unicodedata.category(character) == "Cf"


def _hiding_characters() -> list[tuple[int, int]]:
    """Ranges of the characters that NFKC changes, that are invisible, or that are digits of other
    scripts."""
    codes = (
        *range(0x20),
        *range(0x7F, 0xD800),
        *range(0xE000, 0x10000),
        *range(0x1D400, 0x1D800),
        *range(0xE0000, 0xE01F0),
    )
    changed = (
        c
        for c in codes
        if unicodedata.normalize("NFKC", chr(c)) != chr(c)
        or _is_invisible(chr(c))
        or unicodedata.category(chr(c)) == "Nd"
    )
    runs: list[tuple[int, int]] = [(0, 0)]
    for code in changed:
        if chr(code) in _AS_THEY_ARE:
            continue
        if code == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], code)
        else:
            runs.append((code, code))
    return runs


_ENTITIES = "commat period lowbar hyphen dash plus colon sol num nbsp amp quot apos lt gt".split()
_ESCAPES = (
    rf"&#[0-9]{{2,6}};|&#[xX][0-9a-fA-F]{{2,6}};|&(?:{'|'.join(_ENTITIES)});|\\x[2-7][0-9a-fA-F]|"
    r"\\u[0-9a-fA-F]{4}|\\@|%[2-7][0-9a-fA-F]|%[c-fC-F][0-9a-fA-F](?:%[89abAB][0-9a-fA-F])+"
)
_CHARACTERS = _hiding_characters()
_DASHES = "\u2010\u2012\u2013\u2212"
"""What an editor sets between digits for a hyphen."""
_HIDING = re.compile(
    f"[{''.join(f'{re.escape(chr(a))}-{re.escape(chr(b))}' for a, b in _CHARACTERS)}]|{_ESCAPES}"
    f"|(?<=[0-9])[{_DASHES}](?=[0-9])"
)
_HIDES = Linear(
    "["
    + "".join(rf"\x{{{a:x}}}-\x{{{b:x}}}" for a, b in _CHARACTERS)
    + f"]|{_ESCAPES}|[0-9][{_DASHES}][0-9]"
)
"""The same, to tell in one pass whether there is anything to do."""


class ScanCopy(NamedTuple):
    """A text to scan. `starts[i]` and `ends[i]` are where its i-th character came from; None
    where the copy is the original."""

    encoded: EncodedText
    starts: list[int] | None = None
    ends: list[int] | None = None

    @property
    def text(self) -> str:
        return self.encoded.text

    def original(self, start: int, end: int) -> tuple[int, int]:
        """The part of the original that a part of the copy came from."""
        if self.starts is None or self.ends is None:
            return start, end
        return self.starts[start], self.ends[end - 1]


def _decoded(piece: str) -> str:
    if piece == "\\@":
        return "@"
    if piece[0] == "\\":
        return chr(int(piece[2:], 16))  # noqa: FURB166 (a backslash, not a zero)
    if piece[0] == "&" and len(piece) > 1:
        return html.unescape(piece)
    if piece[0] == "%" and len(piece) > 1:
        return bytes.fromhex(piece.replace("%", "")).decode(errors="replace")
    if unicodedata.category(piece) == "Nd":
        return str(unicodedata.decimal(piece))
    return "-" if piece in _DASHES else piece


def scan_copy(text: str) -> ScanCopy:
    """Full-width forms and other compatibility characters as plain ones (NFKC), escapes such as
    %40 decoded, invisible ones left out."""
    return scan_copies([text])[0]


def scan_copies(texts: Sequence[str]) -> list[ScanCopy]:
    """`scan_copy` of many short texts."""
    copies = [ScanCopy(EncodedText(text)) for text in texts]
    for i in Sheet([copy.encoded.data for copy in copies]).touched(_HIDES):
        copies[i] = _plain(texts[i])
    return copies


def _plain(text: str) -> ScanCopy:
    out: list[str] = []
    starts: list[int] = []
    ends: list[int] = []

    def put(characters: str, start: int, end: int) -> None:
        out.append(characters)
        starts.extend([start] * len(characters))
        ends.extend([end] * len(characters))

    at = 0
    for match in _HIDING.finditer(text):
        plain = text[at : match.start()]
        out.append(plain)
        starts.extend(range(at, match.start()))
        ends.extend(range(at + 1, match.start() + 1))
        seen = [c for c in _decoded(match.group()) if c != "\0" and not _is_invisible(c)]
        put(unicodedata.normalize("NFKC", "".join(seen)), match.start(), match.end())
        at = match.end()
    out.append(text[at:])
    starts.extend(range(at, len(text)))
    ends.extend(range(at + 1, len(text) + 1))
    return ScanCopy(EncodedText("".join(out)), starts, ends)


class JoinedLines(NamedTuple):
    """A text with its line breaks taken out. The part after `seams[i]` came from `kept[i]` on in
    the copy."""

    text: str
    copy: ScanCopy
    kept: list[int]
    seams: list[int]

    def seam_within(self, start: int, end: int) -> int | None:
        """The first seam strictly inside a part of the joined text, or None."""
        i = bisect_right(self.seams, start)
        return self.seams[i] if i < len(self.seams) and self.seams[i] < end else None

    def original(self, start: int, end: int) -> tuple[int, int]:
        """The part of the original that a part of the joined text came from."""
        return self.copy.original(self._place(start), self._place(end - 1) + 1)

    def _place(self, at: int) -> int:
        piece = bisect_right(self.seams, at) - 1
        return self.kept[piece] + at - self.seams[piece]


def joined_lines(copy: ScanCopy) -> JoinedLines | None:
    """The copy without its line breaks and what indents the next line or quotes it; None for a
    text of one line.

    A blank line stays a break (it ends a thought), as does one before an @ (code puts it at a
    line's start).
    """
    text = copy.text
    pieces, kept, seams = list[str](), [0], [0]
    at = length = 0
    for found in _BREAK.finditer(text):
        end = found.start()
        if text[end - 1 : end] == "\r":
            end -= 1
        if text[end - 1 : end] in ("", "\n"):
            continue
        pieces.append(text[at:end])
        length += end - at
        at = found.end()
        kept.append(at)
        seams.append(length)
    if not pieces:
        return None
    return JoinedLines("".join([*pieces, text[at:]]), copy, kept, seams)


_BREAK = re.compile(r"\n[ \t]*(?:>[> \t]*)?(?=[^\n\r@ \t>])")
