"""A text as a model that learned from edited English reads it best: shouted words in lower case
with a capital, and names of a text without any capitals with theirs."""

import re
from functools import cache
from typing import Any

from deploysim_assets.deidentify.addresses import country_names
from deploysim_assets.deidentify.names import first_names, last_names
from deploysim_assets.deidentify.people import AMBIGUOUS

_SHOUTED = re.compile(r"(?<![\w'])[^\W\d_]{4,}(?!\w)")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_LINE = re.compile(r"[^\n]+")


@cache
def _names() -> frozenset[str]:
    """Names and countries in lower case that are no English words."""
    from faker.providers.lorem.en_US import Provider
    from spacy.lang.en.stop_words import STOP_WORDS

    known: tuple[Any, Any] = (Provider, STOP_WORDS)
    words = frozenset[str](known[0].word_list) | frozenset[str](known[1]) | AMBIGUOUS
    places = frozenset(
        w.lower() for name in country_names() for w in name.split() if w[0].isupper()
    )
    return (first_names() | last_names() | places) - words


def as_written(text: str) -> str:
    """The text with the capitals that an editor would give it, character for character."""
    return _LINE.sub(lambda line: _line(line.group()), text)


def _line(line: str) -> str:
    if line.islower():
        return _keeping_length(line, _WORD.sub(_named, line))
    return _keeping_length(line, _SHOUTED.sub(_calmed, line)) if _SHOUTED.search(line) else line


def _keeping_length(before: str, after: str) -> str:
    return after if len(after) == len(before) else before


def _named(word: re.Match[str]) -> str:
    found = word.group()
    return found[0].upper() + found[1:] if found in _names() else found


def _calmed(word: re.Match[str]) -> str:
    found = word.group()
    return found.capitalize() if found.isupper() else found
