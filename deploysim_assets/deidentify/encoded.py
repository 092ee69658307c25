"""A text beside its UTF-8 form, so that many RE2 patterns search it without encoding it each
time."""

from functools import cached_property

import numpy as np


class EncodedText:
    """`data` is what RE2 searches; a lone surrogate stands there as a question mark, so that
    characters keep their count."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.data = text.encode(errors="replace")
        self._plain = len(self.data) == len(text)

    @cached_property
    def _characters(self) -> np.ndarray:
        continues = (np.frombuffer(self.data, np.uint8) & 0xC0) == 0x80
        return np.cumsum(~continues)

    def index(self, offset: int) -> int:
        """The character that begins at a byte offset."""
        if self._plain or offset == 0:
            return offset
        return int(self._characters[offset - 1])
