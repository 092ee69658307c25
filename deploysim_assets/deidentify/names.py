"""Names and places by script, from Faker's lists: what the gazetteer knows, and what surrogates
are drawn from."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import importlib
import unicodedata
from functools import cache
from typing import NamedTuple

_LOCALES = {
    "LATIN": (
        "en_US",
        "en_GB",
        "de_DE",
        "fr_FR",
        "es_ES",
        "it_IT",
        "pt_BR",
        "nl_NL",
        "sv_SE",
        "tr_TR",
        "en_IN",
        "pl_PL",
        "cs_CZ",
        "da_DK",
        "no_NO",
        "fi_FI",
        "hu_HU",
        "ro_RO",
        "hr_HR",
        "es_MX",
        "pt_PT",
    ),
    "CYRILLIC": ("ru_RU", "uk_UA"),
    "GREEK": ("el_GR",),
    "HEBREW": ("he_IL",),
    "ARABIC": ("ar_AA", "fa_IR"),
    "DEVANAGARI": ("hi_IN",),
    "CJK": ("zh_CN", "zh_TW", "ja_JP"),
    "HANGUL": ("ko_KR",),
    "THAI": ("th_TH",),
}
_KANA = ("HIRAGANA", "KATAKANA")
_PLACES = {
    "LATIN": (
        "Ashwick Brindleford Corvale Dunmarrow Elmsworth Farrowby Greyhaven Hollowmere Ivybridge "
        "Kestrelton Larkhaven Millbourne"
    ).split(),
    "CYRILLIC": "Белозёрск Вершинино Глинское Дубравино Заречное Каменка Луговое Озёрное".split(),
    "CJK": "青山镇 白河村 东林镇 南桥镇 松园镇 云水村".split(),
    "ARABIC": "الواحة النخيل الربوة المنارة السهل".split(),
}


class Names(NamedTuple):
    """First and last names of one locale, as written, and their folded forms."""

    first: tuple[str, ...]
    last: tuple[str, ...]
    folded_first: frozenset[str]
    folded_last: frozenset[str]


def script_of(text: str) -> str:
    """The script of the first letter, as the first word of its Unicode name; kana counts as CJK,
    anything unknown as Latin."""
    for character in text:
        if character.isalpha():
            script = unicodedata.name(character, "").partition(" ")[0]
            return "CJK" if script in _KANA else script if script in _LOCALES else "LATIN"
    return "LATIN"


@cache
def names(locale: str) -> Names:
    """The names of a locale."""
    provider = importlib.import_module(f"faker.providers.person.{locale}").Provider
    first, last = (
        tuple(dict.fromkeys(getattr(provider, f"{part}_names"))) for part in ("first", "last")
    )
    return Names(
        first, last, frozenset(map(str.casefold, first)), frozenset(map(str.casefold, last))
    )


@cache
def first_names(script: str = "LATIN") -> frozenset[str]:
    """Folded first names of all locales of a script."""
    found = frozenset().union(*(names(locale).folded_first for locale in _LOCALES[script]))
    return found | _romanized("first") if script == "LATIN" else found


@cache
def last_names(script: str = "LATIN") -> frozenset[str]:
    """Folded last names of all locales of a script."""
    found = frozenset().union(*(names(locale).folded_last for locale in _LOCALES[script]))
    return found | _romanized("last") if script == "LATIN" else found


@cache
def _romanized(part: str) -> frozenset[str]:
    """Japanese names in Latin letters."""
    provider = importlib.import_module("faker.providers.person.ja_JP").Provider
    return frozenset(map(str.casefold, getattr(provider, f"{part}_romanized_names", ())))


def _list_of(word: str, script: str) -> tuple[str, ...]:
    folded = word.casefold()
    for locale in _LOCALES[script]:
        known = names(locale)
        if folded in known.folded_first:
            return known.first
        if folded in known.folded_last:
            return known.last
    return names(_LOCALES[script][0]).last


def other_name(word: str, number: int) -> str:
    """Another name of the same script, kind (first or last) and locale as a name, in its case;
    chosen by `number`."""
    script = script_of(word)
    found = _list_of(word, script)
    chosen = found[number % len(found)]
    if chosen.casefold() == word.casefold():
        chosen = found[(number + 1) % len(found)]
    if word.islower():
        return chosen.lower()
    return chosen.upper() if word.isupper() and len(word) > 1 else chosen


def other_place(place: str, number: int) -> str:
    """A made-up place of the same script."""
    found = _PLACES.get(script_of(place), _PLACES["LATIN"])
    return found[number % len(found)]
