"""A text beside its UTF-8 form, so that many RE2 patterns search it without encoding it each
time."""

from functools import cached_property

import numpy as np

_CONTINUES = bytes(range(0x80, 0xC0))
_FEW = 32
"""Places that are counted one by one: for so many that takes less than an array of all."""


class EncodedText:
    """`data` is what RE2 searches; a lone surrogate stands there as a question mark, so that
    characters keep their count."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.data = text.encode(errors="replace")
        self._plain = len(self.data) == len(text)
        self._asked = 0

    @cached_property
    def _characters(self) -> np.ndarray:
        continues = (np.frombuffer(self.data, np.uint8) & 0xC0) == 0x80
        return np.cumsum(~continues)

    def index(self, offset: int) -> int:
        """The character that begins at a byte offset."""
        if self._plain or offset == 0:
            return offset
        if self._asked < _FEW:
            self._asked += 1
            return len(self.data[:offset].translate(None, _CONTINUES))
        return int(self._characters[offset - 1])
