"""What a model found, mended: whole words, whole names, whole addresses, and nothing that is
plainly something else."""

import regex

from deploysim_assets.deidentify.addresses import is_wide
from deploysim_assets.deidentify.names import first_names, last_names
from deploysim_assets.deidentify.people import STOP, grown
from deploysim_assets.deidentify.rules import Clock, Span

_PLAIN = frozenset("PERSON ORGANIZATION LOCATION GROUP".split())
_ARTICLE = regex.compile(r"(?i)(?:the|a|an|his|her|their|our|my|this)\s+")
_RELATIVE = frozenset(
    """
    today tomorrow yesterday tonight now currently recently daily weekly monthly yearly annual
    annually day days night nights morning evening afternoon week weeks month months year years
    hour hours minute minutes second seconds decade century weekend once moment summer winter
    spring autumn fall
    """.split()
)
_MORE = r"(?:[ ,]{1,2}|,?\s*\n ?,? ?)"
_UNIT = (
    r"(?i:(?:apt|apartment|suite|ste|unit|box|p\.?o\.? box|floor|fl|room|rm|flat|no|nr|building"
    r"|bldg)\b\.?) ?#?[0-9A-Za-z]{1,6}"
)
_AFTER_PLACE = regex.compile(
    rf"(?:{_MORE}(?:{_UNIT}|[A-Z]{{2}}\b(?=[ ,.\n]|$)|[0-9]{{4,6}}(?:-[0-9]{{3,4}})?(?![\w/])"
    rf"|[A-Z]{{1,2}}[0-9]{{1,2}}[A-Z]? ?[0-9][A-Z]{{2}}\b))+"
)
_NUMBER_AFTER = regex.compile(r"[ ,]{1,2}[0-9]{1,4}[a-zA-Z]?(?![\w/%.:-]|\.[0-9])")
_NUMBER_BEFORE = regex.compile(r"(?<![\w./$€£:-])(?:[0-9]{1,5}[a-zA-Z]?[ ,/-]{1,2}){1,2}$")


def mended(text: str, spans: list[Span], clock: Clock) -> list[Span]:
    """The spans of a model, grown and cleared; those of one type that touch made one."""
    out: list[Span] = []
    for span in sorted(spans):
        clock.check()
        if span.type in _PLAIN:
            span = _whole_words(text, span)  # noqa: PLW2901
        found = text[span.start : span.end]
        if span.type in _PLAIN and not _is_name(text, span, found):
            continue
        if span.type == "PERSON":
            out.append(grown(text, span))
        elif span.type == "LOCATION":
            out.append(_place(text, span))
        elif span.type == "DATE":
            if found.lower() not in _RELATIVE:
                out.append(span)
        else:
            out.append(span)
    return out


_GROUPS = frozenset(
    """
    jew jews jewish slavs nazi nazis muslim muslims christian christians catholic catholics hindu
    hindus arab arabs latino latinos hispanic hispanics asian asians african africans american
    americans mexican mexicans russian russians irish gypsies roma democrat democrats republican
    republicans gay lesbian black blacks white whites karen boomer
    """.split()
)
"""Groups that a small model takes for persons."""

_THINGS = frozenset("AI AIs ATM ATMs STD STDs DNA API APIs URL CPU PDF Lunch Dinner Napalm".split())
"""Things whose capitals a small model takes for a name's."""


def _is_name(text: str, span: Span, found: str) -> bool:
    """Whether a find can be a name: it has a capital, is no common word, and a single word at the
    start of a sentence has more to show than the capital every first word has."""
    plain = found.strip(".'’\"").casefold()
    if (
        len(found) < 2
        or plain in STOP
        or found in _THINGS
        or not any(c.isupper() or (c.isalpha() and not c.islower()) for c in found)
    ):
        return False
    if "://" in found or found[0] in "@#/\\<":
        return False
    if span.type == "PERSON" and plain in _GROUPS:
        return False
    opens = (
        span.start == 0
        or text[: span.start].rstrip(" \"“'(*-•>").endswith((".", "!", "?", ":", "\n"))
        or not text[: span.start].strip()
    )
    if " " in found or not opens or not found.isalpha() or found.isupper():
        return True
    if plain in first_names() or plain in last_names():
        return True
    return span.type == "PERSON" or is_wide(found)


def _whole_words(text: str, span: Span) -> Span:
    start, end = span.start, span.end
    if article := _ARTICLE.match(text, start, end):
        start = article.end()
    while start > 0 and text[start - 1].isalnum() and text[start].isalnum():
        start -= 1
    while end < len(text) and text[end].isalnum() and text[end - 1].isalnum():
        end += 1
    while end > start and text[end - 1] in ' ,;:!?\n"“”([{':
        end -= 1
    return Span(start, max(end, start), span.type)


def _place(text: str, span: Span) -> Span:
    """A place with its house number before, its unit, state and postal code after it."""
    start, end = span.start, span.end
    if is_wide(text[start:end]) or text[start:end].isupper():
        return span
    before = _NUMBER_BEFORE.search(text, max(0, start - 16), start)
    if before and not regex.fullmatch(r"(?:19|20)[0-9]{2}\W*", before.group()):
        start = before.start()
    if start == span.start and (number := _NUMBER_AFTER.match(text, end)):
        street = regex.search(
            r"(?i)(?:str|straße|gatan|gata|vej|weg|laan|utca|ulica|ul|via|rue|calle|rua|avenida"
            r"|plaza)",
            text[span.start : end],
        )
        if street:
            end = number.end()
    if after := _AFTER_PLACE.match(text, end):
        end = after.end()
    return Span(start, end, "ADDRESS" if (start, end) != (span.start, span.end) else "LOCATION")


_BETWEEN = {
    "LOCATION": regex.compile(r", | \(|,?[ ]*\n[>?| \t]*"),
    "ADDRESS": regex.compile(r", |,?[ ]*\n[>?| \t,]*| "),
    "DATE": regex.compile(r"(?: and|, and| or| to| until|,| -| –|–|-)? ?(?:on |of )?"),
    "ORGANIZATION": regex.compile(r" (?:of|for|and|de|du) (?:the )?| \(|['’] "),
}
_DAYS_BEFORE = regex.compile(r"(?<![\w./])(?:[0-3]?[0-9](?:,|,? and|,? or| to| –|–|-) ?)+$")
_PART_OF_DAY = regex.compile(
    r"(?i)(?:(?:early |late )?(?:morning|afternoon|evening|night|day) of |(?:between|around"
    r"|about|over|approximately|some|mid-?|early|late) )$"
)
_TIME = regex.compile(
    r"(?i)(?<![\w.:])(?:[01]?[0-9]|2[0-3])[.:][0-5][0-9](?:[.:][0-5][0-9])? ?(?:[ap]\.?m\b\.?"
    r"|hours|hrs|h\b|uhr)"
)


def joined(text: str, spans: list[Span], clock: Clock) -> list[Span]:
    """Dates with the days listed before them; spans of one type that only a comma, an `and` or a
    preposition parts made one."""
    spans = [*spans, *(Span(m.start(), m.end(), "DATE") for m in _TIME.finditer(text))]
    out: list[Span] = []
    for span in sorted(spans):
        clock.check()
        if span.type == "DATE":
            span = _date(text, span)  # noqa: PLW2901
        last = out[-1] if out else None
        if last and span.start < last.end and _family(span) == _family(last):
            out[-1] = Span(last.start, max(last.end, span.end), last.type)
        elif (
            last
            and _family(span) == _family(last)
            and span.type in _BETWEEN
            and span.start >= last.end
            and _BETWEEN[span.type].fullmatch(text, last.end, span.start)
        ):
            out[-1] = Span(last.start, span.end, last.type)
        else:
            out.append(span)
    return out


def _family(span: Span) -> str:
    return "LOCATION" if span.type == "ADDRESS" else span.type


def _date(text: str, span: Span) -> Span:
    start = span.start
    if before := _DAYS_BEFORE.search(text, max(0, start - 30), start):
        start = before.start()
    if before := _PART_OF_DAY.search(text, max(0, start - 24), start):
        start = before.start()
    return Span(start, span.end, "DATE")
