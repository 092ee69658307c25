"""The copy of a text that is scanned: what hides an identifier from a pattern is undone, and every place leads back to the original."""

import re
import unicodedata
from typing import NamedTuple

_FULL_WIDTH_COLON = 0xFF1A  # stays as it is: as a plain colon it would run into the address behind it


def _compatibility_characters() -> str:
    """The characters that NFKC changes or that are invisible (category Cf), as the inside of a character class."""
    codes = (*range(0x80, 0xD800), *range(0xE000, 0x10000), *range(0x1D400, 0x1D800), *range(0xE0000, 0xE0080))
    changed = (c for c in codes if unicodedata.normalize("NFKC", chr(c)) != chr(c) or unicodedata.category(chr(c)) == "Cf")
    hiding = [c for c in changed if c != _FULL_WIDTH_COLON]
    runs: list[list[int]] = []
    for code in hiding:
        if runs and code == runs[-1][1] + 1:
            runs[-1][1] = code
        else:
            runs.append([code, code])
    return "".join(f"{re.escape(chr(a))}-{re.escape(chr(b))}" for a, b in runs)


_HIDING = re.compile(rf"[\x00{_compatibility_characters()}]|\\u[0-9a-fA-F]{{4}}|%[2-7][0-9a-fA-F]|%[c-fC-F][0-9a-fA-F](?:%[89abAB][0-9a-fA-F])+")
_BREAK = re.compile(r"(?<!\n)(?<!\n\r)\r?\n(?![ \t]*[\r\n@])[ \t]*")  # a blank line ends a thought, and code puts @ at a line's start


class ScanCopy(NamedTuple):
    """A text to scan. `starts[i]` and `ends[i]` are where its i-th character came from; None where the copy is the original."""

    text: str
    starts: list[int] | None = None
    ends: list[int] | None = None

    def original(self, start: int, end: int) -> tuple[int, int]:
        """The part of the original that a part of the copy came from."""
        if self.starts is None or self.ends is None:
            return start, end
        return self.starts[start], self.ends[end - 1]


def _decoded(piece: str) -> str:
    if piece[0] == "\\":
        return chr(int(piece.removeprefix("\\u"), 16))
    if piece[0] == "%" and len(piece) > 1:
        return bytes.fromhex(piece.replace("%", "")).decode(errors="replace")
    return piece


def scan_copy(text: str) -> ScanCopy:
    """Full-width forms and other compatibility characters as plain ones (NFKC), escapes such as %40 decoded, invisible ones left out."""
    if not _HIDING.search(text):
        return ScanCopy(text)
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
        seen = [c for c in _decoded(match.group()) if c != "\0" and unicodedata.category(c) != "Cf"]
        put(unicodedata.normalize("NFKC", "".join(seen)), match.start(), match.end())
        at = match.end()
    out.append(text[at:])
    starts.extend(range(at, len(text)))
    ends.extend(range(at + 1, len(text) + 1))
    return ScanCopy("".join(out), starts, ends)


def joined_lines(copy: ScanCopy) -> tuple[ScanCopy, list[int]] | None:
    """The copy with its line breaks taken out, and the places where they were; None for a text of one line."""
    if "\n" not in copy.text:
        return None
    out: list[str] = []
    kept: list[int] = []
    seams: list[int] = []
    at = 0
    for match in _BREAK.finditer(copy.text):
        out.append(copy.text[at : match.start()])
        kept.extend(range(at, match.start()))
        seams.append(len(kept))
        at = match.end()
    out.append(copy.text[at:])
    kept.extend(range(at, len(copy.text)))
    starts = [copy.starts[i] for i in kept] if copy.starts else kept
    ends = [copy.ends[i] for i in kept] if copy.ends else [i + 1 for i in kept]
    return ScanCopy("".join(out), starts, ends), seams
