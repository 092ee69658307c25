"""A text beside its UTF-8 form, so that many RE2 patterns search it without encoding it each
time."""

_CONTINUING = bytes(range(0x80, 0xC0))
"""Bytes of UTF-8 that begin no character."""


class EncodedText:
    """`data` is what RE2 searches; a lone surrogate stands there as a question mark, so that
    characters keep their count."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.data = text.encode(errors="replace")
        self._plain = len(self.data) == len(text)
        self._known = 0, 0

    def index(self, offset: int) -> int:
        """The character that begins at a byte offset."""
        if self._plain or offset == 0:
            return offset
        at, count = self._known if self._known[0] <= offset else (0, 0)
        count += len(self.data[at:offset].translate(None, _CONTINUING))
        self._known = offset, count  # places are asked for from left to right, mostly
        return count

    def size(self, start: int, end: int) -> int:
        """Bytes of the characters from one on to another."""
        return end - start if self._plain else len(self.text[start:end].encode(errors="replace"))
