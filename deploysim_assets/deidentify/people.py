"""A name is whole or it leaks: spans of persons grown over titles, initials, particles and
neighboring names, and every further form of a person in the same conversation."""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

import regex

from deploysim_assets.deidentify.names import first_names, last_names
from deploysim_assets.deidentify.rules import Span

TITLES = (
    "Mr|Mrs|Ms|Miss|Mx|Dr|Prof|Professor|Sir|Dame|Lord|Lady|Judge|Justice|Sergeant|Sgt|Captain"
    "|Capt|Major|"
    "Colonel|Col|Lieutenant|Lt|General|Gen|Officer|Detective|Inspector|Constable|Reverend|Rev"
    "|Father|Sister|Brother|"
    "Herr|Frau|Fräulein|Mme|Mlle|Monsieur|Madame|Mademoiselle|Señora|Señor|Señorita|Senor"
    "|Senora|Don|Doña|Sra|Sr|"
    "Signora|Signor|Sig|Dott|Avv|Ing|Maître|Me|Mevrouw|Meneer|Dhr|Mevr|Messrs|Mesdames|Hon"
    "|Attorney|Nurse|Doctor|Uncle|Aunt"
)
_PARTICLE = (
    r"(?:de|del|della|delle|di|da|das|do|dos|du|van|von|der|den|ten|ter|zu|la|le|el|al|bin|ibn|ben"
    r"|bint|abu|af|av|y|e|O')"
)
_UPPER_WORD = r"\p{Lu}[\p{L}\p{M}]*(?:['’\-\u2011]\p{L}[\p{L}\p{M}]*)*"
_LONG_WORD = r"\p{Lu}[\p{L}\p{M}’'\-\u2011]+"
_INITIALS = r"(?:\p{Lu}\.[ \u00a0]?-?)+(?:\p{Lu}\b)?"
_BEFORE = regex.compile(
    rf"(?:(?:(?i:\b(?:{TITLES}))\.?|{_INITIALS}|{_UPPER_WORD}"
    rf"|(?<=\p{{L}} ){_PARTICLE})[ \u00a0]+)+$"
)
_TITLE_BEFORE = regex.compile(rf"(?i:\b(?:{TITLES})\.?)[ \u00a0]+$")
_AFTER = regex.compile(
    rf"(?:(?:-|[ \u00a0]+(?:{_PARTICLE}[ \u00a0]+){{0,3}}){_UPPER_WORD}\.?(?<!\p{{L}}{{2}}\.)"
    rf"|[ \u00a0]+\p{{Lu}}\.(?=[ \u00a0]+\p{{Lu}}))+"
)
_TITLE = regex.compile(rf"(?i:(?:{TITLES})\b\.?[ \u00a0]*)+")
TITLED = regex.compile(
    rf"\b(?:{TITLES})\b\.?[ \u00a0]+(?:(?:{_INITIALS}[ \u00a0]?"
    rf"|{_PARTICLE}[ \u00a0]+)*{_LONG_WORD}|{_INITIALS}|\p{{Lu}}\b)"
    rf"(?:(?:-|[ \u00a0]+(?:{_PARTICLE}[ \u00a0]+){{0,3}}){_UPPER_WORD}"
    rf"|[ \u00a0]+\p{{Lu}}\.(?=[ \u00a0]\p{{Lu}}))*"
)
STOP = frozenset(
    """
    a an and are as at article articles act acts because best board but by call chamber cheers
    commission committee convention council court dear did does for from government had has have he
    hello her hey hi his i if in into is it its judgment kind law may my no not of on or our
    paragraph please president protocol regards registrar rule rules section she since sincerely
    state so some still tell thank thanks that the their then there these they this those to today
    tomorrow was we were what when where which while who why will with would yes yesterday you your
    monday tuesday wednesday thursday friday saturday sunday january february march april june july
    august september october november december english french german spanish american british
    christmas easter internet ok okay sure sorry well also however did do can could should how let
    make just english god jesus lord mr mrs ms dr chapter
    """.split()
)
"""Words with a capital that are no part of a name."""
AMBIGUOUS = frozenset(
    "art august autumn bill chase christian dawn drew faith frank grace grant guy hope hunter "
    "iris ivy jack joy june king lance "
    "long man major march mark may mercy miles penny rich rob rose ruby sandy sky young "
    "summer sue will law love see say low le so hall best bush cook day fox green hill house "
    "lord moss park price reed rice short small stone street sweet wall ward wise wood young "
    "black white brown bond case cross church field "
    "flowers glass gold good head key knight little may moon more noble paul pope power queen "
    "read self sharp silver "
    "snow son star sun swift way well wells west winter east north south english french "
    "german welsh major mercer an do "
    "van den ten man bin ben di da de max min win won".split()
)
"""Names that are words as well: in lower case they prove nothing."""
_FIRST_UNPARTED = 0x2E80
_WORD = re.compile(r"[^\W\d_]+(?:['’\-][^\W\d_]+)*")


def grown(text: str, span: Span) -> Span:
    """The span of a person with its title, initials, particles and the names beside it."""
    start, end = span.start, span.end
    while start < end and not text[start].isalnum():
        start += 1
    while end > start and not (
        text[end - 1].isalnum() or (text[end - 1] == "." and text[end - 2 : end - 1].isupper())
    ):
        end -= 1
    if text[max(end - 2, start) : end] in ("'s", "’s"):
        end -= 2
    while start > 0 and _runs_on(text[start - 1]):
        start -= 1
    while end < len(text) and _runs_on(text[end]) and end - start < 120:
        end += 1
    return Span(_start(text, start), _end(text, start, end), "PERSON")


def _start(text: str, start: int) -> int:
    """Where a name begins with its title, its initials and the names before it."""
    before = _BEFORE.search(text, max(0, start - 60), start, timeout=1.0)
    at = before.start() if before else start
    while at < start:
        word = re.match(r"\S+", text[at:start])
        if word is None or _belongs(text, at, word.group()):
            break
        at += len(word.group())
        while at < start and text[at].isspace():
            at += 1
    return at


def _end(text: str, start: int, end: int) -> int:
    """Where a name ends with the names after it."""
    after = _AFTER.match(text, end, min(len(text), end + 60), timeout=1.0)
    words = _WORD.findall(after.group()) if after else []
    if after is None or (words and words[0].lower() in STOP):
        return end
    end = after.end()
    while words and words[-1].lower() in STOP:
        end = text.rindex(words.pop(), start, end)
    while end > start and not (text[end - 1].isalnum() or text[end - 1] == "."):
        end -= 1
    return end


def _runs_on(character: str) -> bool:
    """Whether a letter is one of a word that blanks part from the next (no Chinese or Japanese)."""
    return character.isalpha() and ord(character) < _FIRST_UNPARTED


def _belongs(text: str, at: int, word: str) -> bool:
    """Whether a capitalized word before a name is part of it; at a sentence's start it must be a
    title, an initial or a known name."""
    plain = word.rstrip(".").lower()
    if plain in STOP and not _TITLE.fullmatch(word):
        return False
    if _TITLE.fullmatch(word) or (word.endswith(".") and len(word) <= 8):
        return True
    if plain in first_names() or plain in last_names():
        return True
    return at > 1 and text[at - 1] == " " and text[at - 2] not in '.!?:\n"”“'


def without_title(name: str) -> str:
    """A name without its titles; empty where it was one alone."""
    return _TITLE.sub("", name, count=1) if _TITLE.match(name) else name


class Forms:
    """Every form in which the persons of a conversation come up again: a part of the name alone,
    in capitals, in a mailbox's or a handle's writing.

    Looked up word by word: to compile a pattern of all names takes longer than to read the text.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._written: dict[str, set[str]] = {}
        self._combined: dict[str, set[str]] = {}
        for name in names:
            words = [
                w
                for w in _WORD.findall(without_title(name))
                if len(w) > 1 and w.lower() not in STOP
            ]
            first, last = (words[0], words[-1]) if words else ("", "")
            if len(words) > 1 and first.isascii() and last.isascii():
                self._combined.setdefault(last.lower(), set()).add(first.lower())
            for word in words:
                for written in _writings(word, alone=len(words) == 1):
                    begins = _RUN.match(written)
                    self._written.setdefault(begins.group() if begins else "", set()).add(written)

    def spans(self, text: str) -> Iterator[Span]:
        """Where they stand in a text."""
        for run in _RUN.finditer(text):
            for written in self._written.get(run.group(), ()):
                start, end = run.start(), run.start() + len(written)
                if text.startswith(written, start) and not _continues(text, end):
                    yield Span(start, end, "PERSON")
        for family, given in self._combined.items():
            if family in text:
                for one in given:
                    for m in _combined(one, family).finditer(text):
                        yield Span(m.start(), m.end(), "PERSON")


_RUN = re.compile(r"\w+")


def _continues(text: str, at: int) -> bool:
    return _RUN.match(text, at) is not None


def _writings(word: str, *, alone: bool) -> Iterator[str]:
    """How a word of a name is written; `alone` where it is all of the name."""
    folded = word.lower()
    if len(word) < 3 and not word.isupper() and (alone or len(word) != 2):
        return
    if folded in AMBIGUOUS and alone:
        return
    yield from (word, word.upper())
    if word.isupper() or word.islower():
        yield word.capitalize()
    if (
        len(folded) > 3
        and folded not in AMBIGUOUS
        and (folded in first_names() or folded in last_names())
    ):
        yield folded


@lru_cache(maxsize=2_000)
def _combined(given: str, family: str) -> re.Pattern[str]:
    """A mailbox's or a handle's writing of both names, or of an initial and the family's name."""
    one, other = re.escape(given), re.escape(family)
    initial = rf"|{one[:1]}[._-]?{other}" if len(family) > 3 else ""
    return re.compile(
        rf"(?<![a-z0-9])(?:{one}[._\- ]?{other}|{other}[._-]?{one}{initial})[0-9]*(?![a-z0-9])"
    )
