"""Which of many RE2 patterns can match a text at all, told in one pass over it."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false

import re
from collections.abc import Mapping
from typing import Any

import re2

_MEMORY = 64 * 1024 * 1024
_ALWAYS = ""
"""A pattern that every text matches: where the set does not report it, RE2 gave up."""
_TO_ZERO = bytes.maketrans(b"123456789", b"0" * 9)
_TOKEN = re.compile(
    r"(?P<digit>[0-9]|\\x\{0*3[0-9]\})|\\(?:[pP]|x)\{[^}]*\}|\\."
    r"|\[\^?\]?(?:\\.|[^\]\\])*\]|\{[0-9,]+\}|.",
    re.DOTALL,
)


def of_shape(pattern: str) -> str:
    """A pattern that matches, with every digit read as a zero, at least where `pattern` does."""
    return _TOKEN.sub(_token_of_shape, pattern)


def _token_of_shape(token: re.Match[str]) -> str:
    found = token.group()
    if token["digit"]:
        return "0"
    if found[0] != "[" or not any(c.isdigit() for c in found):
        return found
    if found[1] != "^":
        at = 2 if found[1] == "]" else 1
        return f"{found[:at]}0{found[at:]}"
    return found if "0-9" in found else "(?s:.)"


class Gate:
    """`passing` gives the numbers of the patterns that a text may match somewhere.

    They share one automaton, which reads the shape of the text alone: told apart, the digits of
    random numbers make states without end, and each that is new takes longer to build than a text
    to read.
    """

    def __init__(self, patterns: Mapping[int, str]) -> None:
        options: Any = re2.Options()
        options.max_mem = _MEMORY
        options.log_errors = False
        self._set: Any = re2.Set.SearchSet(options)
        self._set.Add(_ALWAYS)
        for pattern in patterns.values():
            self._set.Add(of_shape(pattern))
        self._set.Compile()
        self._names = list(patterns)

    def passing(self, data: bytes) -> set[int]:
        """Numbers of the patterns that may match; all where RE2 could not tell."""
        hits: list[int] = self._set.Match(data.translate(_TO_ZERO)) or []
        if 0 not in hits:
            return set(self._names)
        return {self._names[i - 1] for i in hits if i}
