"""A text as a model that learned from edited English reads it best: shouted words in lower case
with a capital, and names of a text without any capitals with theirs."""

import re
from functools import cache

_SHOUTED = re.compile(r"(?<![\w'])[^\W\d_]{4,}(?!\w)")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_LINE = re.compile(r"[^\n]+")


@cache
def _common() -> frozenset[str]:
    """Words that are no names, from Faker's English word list and spaCy's stop words."""
    from faker.providers.lorem.en_US import Provider
    from spacy.lang.en.stop_words import STOP_WORDS

    more = """
    yes ok okay hi hello hey thanks please called named name met saw went shouted wrote told asked lives live moved office
    sent send letter card credit account number phone email mail address street avenue road house city town company im dont
    cant ive thats whats id you're i'm don't can't i've that's what's it's isn't doesn't didn't couldn't wouldn't won't good
    """
    return frozenset(Provider.word_list) | frozenset(STOP_WORDS) | frozenset(more.split())


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
    return found if found in _common() else found[0].upper() + found[1:]


def _calmed(word: re.Match[str]) -> str:
    found = word.group()
    return found.capitalize() if found.isupper() else found
