"""Coordinates, in degrees, grids and words."""

import re

import regex

from deploysim_assets.deidentify.linear import Linear
from deploysim_assets.deidentify.rules import NOT_IN_WORD, Rule, rule


def _are_coordinates(found: str) -> bool:
    """A latitude and a longitude, neither of them a share of one."""
    numbers = [float(n) for n in re.findall(r"[+-]?[0-9]+\.[0-9]+", found)]
    return abs(numbers[0]) <= 90 and abs(numbers[1]) <= 180 and max(map(abs, numbers)) >= 10


_SECONDS = (
    r"[0-9]{1,3}°\s?[0-9]{1,2}['′’]\s?"
    r"(?:[0-9]{1,2}(?:\.[0-9]+)?(?:[\"″”]|['′’]{2})?\s?)?[NSEWnsew]"
)
_DEGREES = r"[0-9]{1,3}(?:°| deg(?:rees)?)"
_BEFORE_PAIR = r"(?:^|[^0-9.,;\s\[+-][ :=(\n]{0,2})"
_PAIR = (
    r"[+-]?[0-9]{1,2}\.[0-9]{4,}\s?°?\s?[NSns]?\s?[,;/ "
    r"]\s?[+-]?[0-9]{1,3}\.[0-9]{4,}\s?°?(?:\s?[EWew]\b)?"
)
COORDINATE_RULES: tuple[Rule, ...] = (
    rule(
        "COORDINATES",
        r"(?i:\b(?:lat(?:itude)?|lng"
        r"|lon(?:g(?:itude)?)?)\b[\"'\\]{0,3}\s?[:=]?\s?)([+-]?[0-9]{1,3}\.[0-9]{3,})",
        part=1,
    ),
    Rule(
        "COORDINATES",
        Linear(_BEFORE_PAIR + _PAIR),
        regex.compile(rf"{_BEFORE_PAIR}({_PAIR})" + r"(?!\s?[,;]?\s?[+-]?[0-9]|[0-9.])"),
        _are_coordinates,
        part=1,
    ),
    rule(
        "COORDINATES",
        r"(?i:\b(?:coord\w*|gps|geo\w*|located at|location|position|maps?[^\s]{0,40}?[@=/]|point"
        r"|pin)\b[^\n0-9+-]{0,24})"
        r"([+-]?[0-9]{1,3}\.[0-9]{3,}\s?°?\s?[NSns]?[,; /]\s?[+-]?[0-9]{1,3}\.[0-9]{3,})",
        after=r"(?!\s?[,;]?\s?[+-]?[0-9]|[0-9.])",
        part=1,
    ),
    rule(
        "COORDINATES",
        rf"{_SECONDS}(?:[, ]{{1,3}}{_SECONDS})?",
    ),
    rule(
        "COORDINATES",
        rf"[NSns] ?{_DEGREES},? ?[0-9]{{1,2}}(?:\.[0-9]+)?['′’]?,? ?"
        rf"[EWew] ?{_DEGREES},? ?[0-9]{{1,2}}"
        r"(?:\.[0-9]+)?['′’]?|[0-9]{1,3} deg(?:rees)?,? [0-9]{1,2} min(?:utes)?(?:,? [0-9.]{1,6} "
        r"sec(?:onds)?)?",
        before=r"(?<![0-9A-Za-z])",
        gate=r"[0-9](?:°| deg)",
    ),
    rule(
        "COORDINATES",
        r"@(?:)([+-]?[0-9]{1,3}\.[0-9]{3,},[+-]?[0-9]{1,3}\.[0-9]{3,})",
        after=r"(?=,[0-9.]{1,6}[zma])",
        part=1,
        keywords="@",
    ),
    rule(  # a plus code, three words, a square of the military grid
        "COORDINATES",
        r"[2-9CFGHJMPQRVWX]{8}\+[2-9CFGHJMPQRVWX]{2,3}|///[a-z]{3,20}\.[a-z]{3,20}\.[a-z]{3,20}"
        r"|[0-9]{1,2}[C-HJ-NP-X][A-HJ-NP-Z]{2}(?:[0-9]{10}|[0-9]{8}|[0-9]{6})",
        lambda found: found[0] == "/" or any(c.isalpha() for c in found),
        **NOT_IN_WORD,
        gate=r"[2-9C-X]{8}\+|///[a-z]|[0-9][C-X][A-Z]{2}[0-9]{6}",
    ),
    rule(
        "COORDINATES",
        r"(?i:\b(?:geo ?hash|utm|mgrs)[ :=]{1,3})"
        r"([0-9]{0,2}[A-Za-z]? ?[0-9][0-9A-Za-z]{4,12}(?: [0-9]{6,7})?"
        r"|[0-9a-z]{6,12})",
        lambda found: any(c.isdigit() for c in found),
        part=1,
        keywords="geohash utm mgrs",
    ),
)
