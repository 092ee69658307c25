"""Postal addresses, over several lines: a unit, a box or a house number in front, the street, then
town, state and country up to the postal code; and the names of countries."""

from collections.abc import Iterator
from functools import cache

import regex

from deploysim_assets.deidentify.rules import Span

_UNIT = (
    r"(?i:\b(?:apt|apartment|suite|ste|unit|p\.? ?o\.? ?box|post ?box|post ?fach|flat)\b\.?) "
    r"?#?[0-9]{1,6}[A-Za-z]?\b(?: (?i:box) [0-9]{1,6}\b)?"
)
_BREAK = r"(?:[ ]*\n[>?| \t,]*|,[ ]?\n?[ ]?|[ ]{1,2})"
_WORDS = r"[\p{L}'’.\-]{2,}(?: [\p{L}'’.\-]{1,}){0,4}"
_POSTAL = (
    r"(?:[0-9]{4,6}(?:-[0-9]{3,4})?(?![\w/-])|[A-Z]{1,2}[0-9][0-9A-Z]? ?[0-9][A-Z]{2}\b|[A-Z]{2}[ "
    r"-][0-9]{4,5}\b)"
)
_STREET_BEFORE = regex.compile(
    r"(?:[0-9]{1,5}[A-Za-z]?[ ,/-]{1,2}){0,2}(?:[\p{L}'’.\-]{1,}[ "
    r"]){1,6}(?:[0-9]{1,5}[a-zA-Z]?)?[ ]*(?:,|\n[>?| \t]*|[ ])[ ]*$"
)
_NUMBERS_BEFORE = regex.compile(r"(?<![\w./$€£:-])(?:[0-9]{1,5}[A-Za-z]?[ ,/-]{1,2}){1,2}$")
_UNITS = regex.compile(_UNIT)
_TAIL = regex.compile(
    rf"(?:{_BREAK}{_WORDS}){{0,3}}?{_BREAK}(?:{_WORDS}{_BREAK})?{_POSTAL}(?:{_BREAK}[\p{{Lu}}]"
    rf"{{2}}\b)?"
)
_TOWN = regex.compile(
    r"(?:[ ]*\n[>?| \t,]*|,[ ])(?:\p{Lu}[\p{L}'’.\-]*)(?:[ ](?:\p{Lu}[\p{L}'’.\-]*"
    r"|d[eou]l?|la|nad|sur|upon|am)){0,3}"
)
_STREET_WORD = (
    r"(?:Street|St|Avenue|Ave|Road|Rd|Lane|Ln|Drive|Dr|Boulevard|Blvd|Court|Ct|Way|Square|Sq"
    r"|Terrace|Place|Pl|Close|Crescent|Parkway|Pkwy|Highway|Hwy|Circle|Cir|Trail|Row|Walk|Quay"
    r"|Grove|Gardens|Hill)"
)
_STREETS = regex.compile(
    rf"(?i)\b[0-9]{{1,5}}[a-z]? (?:[0-9]{{1,5}} )?(?:[\p{{L}}0-9.'’-]+ "
    rf"){{1,3}}{_STREET_WORD}\b\.?(?![\p{{L}}-])"
    r"|\b\p{L}{3,}(?:straße|strasse|str\.?|weg|platz|allee|gasse|gatan|gata|vej|veien|vegen|gade"
    r"|laan|straat|plein|utca|katu|tie) [0-9]{1,5}[a-z]?\b"
    r"|\b(?:rue|avenue|boulevard|place|impasse|chemin|calle|avenida|av|plaza|paseo|via|viale"
    r"|corso|piazza|rua|travessa|ul|ulica|ulice|al"
    r"|os)\.? (?:[\p{L}.'’-]+ ){0,4}[\p{L}.'’-]+,? [0-9]{1,5}[a-z]?\b"
    r"|\b[0-9]{1,5}(?:[ ,]+[0-9]{1,4})?,? (?:rue|avenue|boulevard|place|impasse|chemin|calle"
    r"|avenida|via|viale|rua|ul\.?) (?:[\p{L}.'’-]+ ){0,4}[\p{L}.'’-]+"
)
_HOUSE = regex.compile(
    r"(?<![\w./$€£:%-])(?:[0-9]{1,4} )?\p{Lu}[\p{L}'’.\-]+(?:[ ]\p{L}[\p{L}'’.\-]*){0,3} "
    r"[0-9]{1,4}[a-z]?(?=,? ?\n|, \p{Lu})"
)
_PLACE_CUE = regex.compile(
    r"(?i:\b(?:lives?|living|live|located|resid(?:es|ing|ent)|office is|address(?: is|:)?|moved?"
    r"|deliver(?:ed)?|sent?|send|ship|taxi|arrived|meet)\b)"
    r"[^\n.!?]{0,24}?(?i:\b(?:at|in|to|from|is|:)) ?$"
)
_TIMEOUT = 2.0


def address_spans(text: str) -> Iterator[Span]:
    """Addresses with what belongs to them on the lines around."""
    if not any(c.isdigit() for c in text):
        return
    for m in _UNITS.finditer(text, timeout=_TIMEOUT):
        start = m.start()
        line = max(text.rfind("\n", 0, start) + 1, start - 60)
        if start == line or not text[line:start].strip(" >?|,"):
            line = max(text.rfind("\n", 0, max(line - 1, 0)) + 1, start - 70)
        before = _STREET_BEFORE.search(text, line, start, timeout=_TIMEOUT)
        if before and (digits := regex.search(r"[0-9]", before.group())):
            start = before.start()
            if not before.group()[: digits.start()].istitle():
                start += digits.start()
        yield _with_tail(text, start, m.end())
    for pattern in (_STREETS, _HOUSE):
        for m in pattern.finditer(text, timeout=_TIMEOUT):
            if pattern is _HOUSE and not (
                _TAIL.match(text, m.end(), timeout=_TIMEOUT)
                or _PLACE_CUE.search(text, max(0, m.start() - 50), m.start(), timeout=_TIMEOUT)
            ):
                continue
            start = m.start()
            if before := _NUMBERS_BEFORE.search(text, max(0, start - 14), start):
                start = before.start()
            yield _with_tail(text, start, m.end())


def _with_tail(text: str, start: int, end: int) -> Span:
    if unit := regex.compile(rf"{_BREAK}{_UNIT}").match(text, end):
        end = unit.end()
    if tail := _TAIL.match(text, end, min(len(text), end + 110), timeout=_TIMEOUT):
        return Span(start, tail.end(), "ADDRESS")
    if town := _TOWN.match(text, end, min(len(text), end + 60), timeout=_TIMEOUT):
        end = town.end()
    return Span(start, end, "ADDRESS")


_TWICE = frozenset({"Georgia", "Jordan", "Chad", "Guinea", "Jersey"})
_ALSO = (
    "Russia|South Korea|North Korea|Korea|Vietnam|Syria|Iran|Bolivia|Venezuela|Tanzania|Laos"
    "|Moldova|Taiwan|Macedonia|"
    "Ivory Coast|Libya|USA|Chechnya|Kurdistan|Scotland|Wales|England|Northern Ireland|Kosovo"
    "|Great Britain|Palestine"
)
_WIDE = (
    "United States|North|South|East|West|Southeast|Northeast|Southwest|Northwest|Midwest|US"
    "|U.S.|U.S|U.S.A.|America|United States of America|UK|U.K.|Britain|EU|Europe|Asia|Africa"
    "|North America|South America|"
    "Latin America|Central America|Australia|Antarctica|Antarctic|Arctic|Middle East|Earth"
    "|Georgia|Jordan|Chad|Guinea|Holland|Czechia|"
    "Alabama|Alaska|Arizona|Arkansas|California|Colorado|Connecticut|Delaware|Florida|Hawaii"
    "|Idaho|Illinois|Indiana|"
    "Iowa|Kansas|Kentucky|Louisiana|Maine|Maryland|Massachusetts|Michigan|Minnesota"
    "|Mississippi|Missouri|Montana|"
    "Nebraska|Nevada|New Hampshire|New Jersey|New Mexico|New York|North Carolina|North Dakota"
    "|Ohio|Oklahoma|Oregon|"
    "Pennsylvania|Rhode Island|South Carolina|South Dakota|Tennessee|Texas|Utah|Vermont"
    "|Virginia|Washington|"
    "West Virginia|Wisconsin|Wyoming|DC|D.C.|Soviet Union|USSR|World|Pacific|Atlantic|Mars|Moon"
)


@cache
def country_names() -> frozenset[str]:
    """Faker's countries, without those that are people's names as well."""
    from faker.providers.address.en import Provider

    plain = {regex.sub(r" \(.*\)", "", country) for country in Provider.countries}
    return frozenset(plain | set(_ALSO.split("|"))) - _TWICE


@cache
def _wide() -> frozenset[str]:
    return frozenset(n.casefold() for n in (*country_names(), *_WIDE.split("|")))


def is_wide(place: str) -> bool:
    """Whether a place is a country, a continent or a state of the USA, which tell of no one person
    (HIPAA's Safe Harbor asks for what is smaller than a state)."""
    return regex.sub(r"(?i)^the |['’]s?$", "", place).strip(" ,").casefold() in _wide()


@cache
def _countries() -> regex.Pattern[str]:
    names = country_names()
    written = sorted(names | {c.upper() for c in names}, key=len, reverse=True)
    return regex.compile(rf"(?<![\w-])(?:{'|'.join(map(regex.escape, written))})(?![\w-])")


def country_spans(text: str) -> Iterator[Span]:
    """Countries by name."""
    for m in _countries().finditer(text, timeout=_TIMEOUT):
        yield Span(m.start(), m.end(), "LOCATION")
