"""Dates and ages: where they stand, another date in the same writing, and what is left of one that
is only generalized."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

import calendar
import re
from collections.abc import Iterator
from datetime import date, timedelta

from deploysim_assets.deidentify.linear import Linear
from deploysim_assets.deidentify.rules import Span

_MONTHS = (
    "january jan januar janvier enero gennaio janeiro januari",
    "february feb februar février fevrier febrero febbraio fevereiro februari",
    "march mar märz maerz mars marzo março maart",
    "april apr avril abril aprile",
    "may mai mayo maggio maio mei",
    "june jun juni juin junio giugno junho",
    "july jul juli juillet julio luglio julho",
    "august aug août aout agosto augustus",
    "september sept sep septembre septiembre settembre setembro",
    "october oct okt oktober octobre octubre ottobre outubro",
    "november nov novembre noviembre novembro",
    "december dec dez dezember décembre decembre diciembre dicembre dezembro",
)
_NUMBER_OF = {name: i + 1 for i, names in enumerate(_MONTHS) for name in names.split()}
_ROW_OF = {name: j for names in _MONTHS for j, name in enumerate(names.split())}
_ENGLISH = [names.split()[0] for names in _MONTHS]
_WORD = "|".join(sorted(_NUMBER_OF, key=len, reverse=True))
_M = rf"(?P<m>{_WORD})\b\.?"
_D = r"(?P<d>0?[1-9]|[12][0-9]|3[01])(?P<th>st|nd|rd|th|\.)?"
_Y = r"(?P<y>1[6-9][0-9]{2}|20[0-9]{2})"
_FORMS = tuple(
    re.compile(rf"(?<![\w]){form}(?!\w)", re.IGNORECASE)
    for form in (
        rf"{_D}(?: |-)?(?:of |de )?{_M},?(?: (?:de |of )?|-){_Y}",
        rf"{_M}(?: the)? {_D},? {_Y}",
        rf"{_Y}(?P<s>[-/.])(?P<mm>0?[1-9]|1[0-2])(?P=s)(?P<d>0?[1-9]|[12][0-9]|3[01])(?=T|\b)",
        r"(?P<a>0?[1-9]|[12][0-9]|3[01])(?P<s>[-/.])(?P<b>0?[1-9]|[12][0-9]"
        r"|3[01])(?P=s)(?P<y>(?:1[89]|20)[0-9]{2}|[0-9]{2})(?![-/.][0-9])",
        r"(?P<y>(?:19|20)[0-9]{2}) ?年 ?(?P<mm>1[0-2]|0?[1-9]) ?月(?: ?(?P<d>[12][0-9]|3[01]"
        r"|0?[1-9]) ?日)?",
        rf"{_M},? (?:of )?{_Y}",
        rf"{_D}(?: of| de)? {_M}",
        rf"{_M} {_D}",
    )
)
_ISO = re.compile(_FORMS[2].pattern.removesuffix(r"(?!\w)"), re.IGNORECASE)
_ANY = (*_FORMS[:2], _ISO, *_FORMS[3:])
_OF_SIGNS = frozenset({2, 3, 4})
_HAS_MONTH = Linear(rf"(?is)[0-9].{{0,8}}(?:{_WORD})|(?:{_WORD}).{{0,8}}[0-9]")
_HAS_SIGN = Linear(r"[0-9][-/.][0-9]|年")
_AGE = re.compile(
    r"(?i)\b(9[0-9]|1[0-2][0-9])(?=[ \u2011-]?(?:years?|yrs?)[ \u2011-]?old|[ -]?y/?o\b"
    r"| years of age| Jahre alt| ans\b| años)"
    r"|(?<=\baged )(?:9[0-9]|1[0-2][0-9])\b|(?<=\bage[: ])(?:9[0-9]|1[0-2][0-9])\b"
    r"|(?<=\bage of )(?:9[0-9]|1[0-2][0-9])\b"
)
_HAS_DATE = re.compile(r"[0-9]")


def date_spans(text: str) -> list[Span]:
    """Dates of at least two parts of day, month and year."""
    if _HAS_DATE.search(text) is None:
        return []
    return [Span(m.start(), m.end(), "DATE") for m in _matches(text)]


def age_spans(text: str) -> Iterator[Span]:
    """Ages over 89, the number alone."""
    if _HAS_DATE.search(text) is not None:
        for m in _AGE.finditer(text):
            yield Span(m.start(), m.end(), "AGE")


def _matches(text: str) -> list[re.Match[str]]:
    taken: list[re.Match[str]] = []
    covered = bytearray(len(text))  # a look at every earlier match would be quadratic
    data = text.encode(errors="replace")
    month, sign = _HAS_MONTH.search(data), _HAS_SIGN.search(data)
    for i, form in enumerate(_ANY):
        if not (sign if i in _OF_SIGNS else month):
            continue
        for m in form.finditer(text):
            if 1 not in covered[m.start() : m.end()] and _parts(m) is not None:
                taken.append(m)
                covered[m.start() : m.end()] = b"\1" * (m.end() - m.start())
    return sorted(taken, key=lambda m: m.start())


def _parts(m: re.Match[str]) -> date | None:
    """The date of a match; a part that is missing counts as the middle of the year or month."""
    found = m.groupdict()
    year = int(found.get("y") or 2001)
    if year < 100:
        year += 2000 if year < 40 else 1900
    if found.get("a"):
        first, second = int(found["a"]), int(found["b"])
        day_first = first > 12 or (found["s"] == "." and second <= 12)
        day, month = (first, second) if day_first else (second, first)
        if month > 12:
            return None
    else:
        month = _NUMBER_OF[found["m"].lower()] if found.get("m") else int(found["mm"])
        day = int(found.get("d") or 15)
    if day > calendar.monthrange(year, month)[1]:
        return None
    return date(year, month, day)


def shifted(text: str, days: int) -> str | None:
    """The text with every date in it moved by so many days, in its own writing; None where it
    holds none."""
    matches = _matches(text)
    if not matches:
        return None
    out, at = "", 0
    for m in matches:
        then = _parts(m)
        assert then is not None
        before = _DAY_BEFORE.sub(
            lambda d, then=then: str((_of_day(then, int(d.group())) + timedelta(days=days)).day),
            text[at : m.start()],
        )
        out += before + _written(m, then + timedelta(days=days))
        at = m.end()
    return out + text[at:]


_DAY_BEFORE = re.compile(r"(?<![\w./])[0-3]?[0-9](?=(?:,|,? and|,? or| to| –|–|-) )")


def _of_day(then: date, day: int) -> date:
    return then.replace(day=min(max(day, 1), calendar.monthrange(then.year, then.month)[1]))


def _written(m: re.Match[str], then: date) -> str:
    found = m.groupdict()
    new: dict[str, str] = {}
    if found.get("y"):
        new["y"] = f"{then.year % 100:02d}" if len(found["y"]) == 2 else str(then.year)
    if found.get("m"):
        new["m"] = _month(found["m"], then.month)
    if found.get("a"):
        first, second = int(found["a"]), int(found["b"])
        day_first = first > 12 or (found["s"] == "." and second <= 12)
        new["a"], new["b"] = (
            _digits(n, found[k])
            for n, k in zip(
                (then.day, then.month) if day_first else (then.month, then.day), "ab", strict=True
            )
        )
    if found.get("mm"):
        new["mm"] = _digits(then.month, found["mm"])
    if found.get("d"):
        new["d"] = _digits(then.day, found["d"])
    if found.get("th") and found["th"] != ".":
        new["th"] = (
            "th" if 10 < then.day < 14 else {1: "st", 2: "nd", 3: "rd"}.get(then.day % 10, "th")
        )
    text, base = m.group(), m.start()
    for group in sorted(new, key=m.start, reverse=True):
        text = text[: m.start(group) - base] + new[group] + text[m.end(group) - base :]
    return text


def _digits(number: int, like: str) -> str:
    return f"{number:02d}" if len(like) == 2 and (like[0] == "0" or number > 9) else str(number)


def _month(word: str, month: int) -> str:
    """Another month in the language and the length of `word`."""
    row = _ROW_OF[word.lower()]
    names = _MONTHS[month - 1].split()
    short = len(word) <= 4 and row > 0
    name = _ENGLISH[month - 1][:3] if short else names[min(row, len(names) - 1)]
    if row == 0 or short:
        name = _ENGLISH[month - 1][:3] if short else _ENGLISH[month - 1]
    return name.upper() if word.isupper() else name.capitalize() if word[0].isupper() else name


def year_of(text: str) -> str:
    """What is left of a date that is generalized: its year, or nothing that says when."""
    found = re.search(r"(?:1[6-9]|20)[0-9]{2}", text)
    return found.group() if found else "some day"


_COUNTED = """
    one two three four five six seven eight nine ten eleven twelve fifteen eighteen twenty
    thirty forty fifty sixty
    """.split()
_DAYS = [day.lower() for day in calendar.day_name]
_WORDS = re.compile(r"[0-9]+|[^\W\d_]+")


def other_date(text: str, number: int) -> str:
    """Another date or span of time of the same writing; `number` chooses it."""
    moved = shifted(text, 40 + number % 600)
    if moved is not None and not any(
        a == b
        for a, b in zip(_WORDS.findall(text), _WORDS.findall(moved), strict=False)
        if a.isdigit()
    ):
        return moved
    step = iter(range(1, 1_000))

    def other(m: re.Match[str]) -> str:
        word, nth = m.group(), number // next(step)
        folded = word.lower()
        if word.isdigit():
            value = int(word)
            if len(word) == 4:
                return str(value - 3 - nth % 6)
            new = nth % max(9, 10 ** len(word) - 1) + 1
            return f"{new + (new == value):0{len(word)}d}"[-max(len(word), 1) :]
        if folded in _NUMBER_OF:
            return _month(word, (_NUMBER_OF[folded] + nth % 11) % 12 + 1)
        if folded in _DAYS:
            new = _DAYS[(_DAYS.index(folded) + 1 + nth % 6) % 7]
            return new.capitalize() if word[0].isupper() else new
        if folded in _COUNTED:
            new = _COUNTED[(_COUNTED.index(folded) + 1 + nth % (len(_COUNTED) - 1)) % len(_COUNTED)]
            return new.capitalize() if word[0].isupper() else new
        return word

    changed = _WORDS.sub(other, text)
    return changed if changed != text else "some time"
