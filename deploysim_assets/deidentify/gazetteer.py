"""Level 1: names that a gazetteer or a cue gives away, and street addresses. It cannot clear a
text of names: level 2 is for that."""

from collections.abc import Iterator

import regex

from deploysim_assets.deidentify.addresses import address_spans
from deploysim_assets.deidentify.dates import age_spans, date_spans
from deploysim_assets.deidentify.names import first_names, last_names
from deploysim_assets.deidentify.people import TITLED, grown
from deploysim_assets.deidentify.rules import Clock, Span

_WORD = r"\p{Lu}[\p{Ll}\p{M}'’]+(?:-\p{Lu}\p{Ll}+)?"
_PARTICLE = r"(?:de|del|della|di|da|dos|van|von|der|den|ter|la|le|el|al|bin|ben)"
_NAME = rf"{_WORD}(?: (?:{_PARTICLE} ){{0,2}}(?:{_WORD}|\p{{Lu}}\.)){{0,3}}"
_SEVERAL = regex.compile(
    rf"(?<![\p{{L}}\p{{N}}]){_WORD}(?: (?:{_PARTICLE} ){{0,2}}{_WORD}){{1,3}}(?![\p{{L}}])"
)
_TOLD = regex.compile(
    r"(?i:\b(?:my name is|i am called|call me|mein name ist|ich heiße|je m'appelle|mon nom "
    r"est|me llamo|mi nombre es|mi chiamo|meu nome é))"
    rf"\s+({_NAME}|\p{{Ll}}{{3,}})"
)
_GREETED = regex.compile(
    r"(?i:\b(?:dear|hi|hello|hey|i'm|i am|this "
    rf"is|regards|sincerely|best|cheers|thanks|hallo|liebe[r]?|bonjour|hola|ciao)),?\s+({_NAME})"
)
_HAN = regex.compile(
    r"(?:我叫|我是|名字是|名字叫)(\p{Han}{2,4}?)(?=[，。！？,.\s的]|$)|(\p{Han}{1,3})(?=先生|女士|小姐|老师)"
    r"|([\p{Han}\p{Katakana}ー]{2,5})(?=さん|様)"
)
_CYRILLIC = regex.compile(r"(?i:меня зовут|мене звати)\s+(\p{Lu}\p{Ll}+(?: \p{Lu}\p{Ll}+){0,2})")
_WORDS_TOO = frozenset(
    """
    april art august autumn bill chase christian dawn drew faith france frank georgia grace grant
    hope hunter iris ivy jack jordan joy june lance
    london major march mark may mercy miles paris pat pearl penny rich rob rose ruby sandy sky
    summer sue victoria will
    """.split()
)
"""Names that are words as well: alone they prove nothing."""
_BEFORE_A_NAME = frozenset(
    """
    a an and ask as at because best but call cheers ciao dear did does for from hallo hello hey hi
    hola if is it kind liebe lieber mr mrs ms my no
    on or our please regards since sincerely tell thank thanks that the then this to was we when
    where while with yes you your
    """.split()
)
"""Words with a capital at the start of a sentence or a letter."""
_TIMEOUT = 5.0


class GazetteerDetector:
    """Finds names by list, title and cue phrase, and street addresses, in the scripts that the
    rules know."""

    name, level = "gazetteer", 1

    def spans(self, text: str, language: str | None = None) -> list[Span]:
        """PERSON and ADDRESS spans; TimeoutError where a pattern took too long."""
        clock, found = Clock(), set[Span]()
        for part in (
            (grown(text, span) for span in self._people(text)),
            (Span(m.start(), m.end(), "PERSON") for m in TITLED.finditer(text, timeout=_TIMEOUT)),
            date_spans(text),
            age_spans(text),
            address_spans(text),
        ):
            for span in part:
                clock.check()
                found.add(span)
        return sorted(found)

    @staticmethod
    def _people(text: str) -> Iterator[Span]:
        known = first_names() - _WORDS_TOO
        for match in _SEVERAL.finditer(text, timeout=_TIMEOUT):
            words = match.group().split()
            start = match.start()
            while words and words[0].casefold() in _BEFORE_A_NAME:
                start += len(words.pop(0)) + 1
            if any(word.casefold() in known for word in words):
                yield Span(start, match.end(), "PERSON")
        for pattern in (_TOLD, _HAN, _CYRILLIC):
            for match in pattern.finditer(text, timeout=_TIMEOUT):
                group = next(i for i, part in enumerate(match.groups(), 1) if part)
                if (
                    pattern is not _HAN
                    or group == 3
                    or match.group(group)[0] in last_names("CJK")
                    or match.group(group)[:2] in last_names("CJK")
                ):
                    yield Span(*match.span(group), "PERSON")
        for match in _GREETED.finditer(text, timeout=_TIMEOUT):
            if match.group(1).split()[0].casefold() in known | last_names():
                yield Span(*match.span(1), "PERSON")
