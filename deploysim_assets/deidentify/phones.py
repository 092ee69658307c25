"""Presidio's phone recognizer with the same results in a tenth of the time.

phonenumbers' matcher passes over the text once per region; here its own candidate pattern runs
once, a candidate too short for any region's national number is dropped, and only regions with a
match run the original loop. It also lifts the matcher's limit of 65,535 tries, after which it gives
up without a sign. Rests on private names of phonenumbers, which is therefore pinned.
"""

# pyright: reportPrivateUsage=false, reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportMissingParameterType=false, reportIncompatibleMethodOverride=false, reportMissingTypeStubs=false
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

import re
import sys
from collections.abc import Iterator
from typing import NamedTuple

import phonenumbers
import re2
from phonenumbers import PhoneMetadata, PhoneNumberMatcher
from phonenumbers.phonenumbermatcher import _PATTERN, _SECOND_NUMBER_START_PATTERN
from phonenumbers.phonenumberutil import _VALID_PUNCTUATION, NumberParseException
from presidio_analyzer import EntityRecognizer, RecognizerResult
from presidio_analyzer.predefined_recognizers import PhoneRecognizer

from deploysim_assets.deidentify.encoded import EncodedText

REGIONS = ("US", "GB", "DE", "FR", "ES", "IT", "IL", "IN", "CA", "BR", "CN", "JP", "KR", "AU", "MX")

_LETTER, _DIGIT = re.compile(r"[^\W\d_]"), re.compile(r"\d")
_TRUNK = re.compile("0[01]")
_MEMO_SIZE = 100_000
_BETWEEN = rf"[{_VALID_PUNCTUATION}]"
_RUN = re2.compile(
    rf"(?i)(?:[+＋(\[（［]{_BETWEEN}{{0,4}}){{0,2}}\p{{Nd}}(?:{_BETWEEN}{{0,4}}\p{{Nd}}){{3}}(?:{_BETWEEN}{{0,4}}\p{{Nd}})*"
)
"""Where a candidate of at least _SHORTEST_ANYWHERE digits can be."""
_EXTENSION = re2.compile(
    r"(?i)\p{Nd}[ \x{a0}\t,]*(?:;ext=|e?xt|ｅ?ｘｔ|доб|anexo|int|ｉｎｔ|[#＃])|\p{Nd}[ "
    r"\x{a0}\t,]+[xｘ~～]|\p{Nd}[xｘ~～](?:[:.．,\t]|[ \x{a0}-]{4})"
)
"""Where a candidate can run on past its run of digits."""
_BARE = re.compile(
    r"[\[(]?[1-9]\d{0,8}|\d{1,6}\.\d\d|(?:19|20)\d\d-[01]\d-[0-3]\d|(?:\d{1,3}\.){3}\d{1,3}|"
    r"(?:\d{2} )?(?:\d{4}[ -]?){3,}\d{1,7}"
)
_LATIN = re.compile(r"[A-Za-z]")
_CUE = re.compile(
    r"(?i)phone|tel|call|cell|mobil|whatsapp|sms|fax|numer|número|numéro|nummer|電話|电话|手机|телефон|هاتف|전화"
)
_ANY_CUE = re2.compile(_CUE.pattern)
_CUE_REACH, _SHORTEST_CUED = 40, 5


def _shortest(region: str) -> int:
    return min(PhoneMetadata.metadata_for_region(region).general_desc.possible_length)


_SHORTEST = {region: _shortest(region) for region in phonenumbers.SUPPORTED_REGIONS}
_SHORTEST_ANYWHERE = min(_SHORTEST.values())


class _Matcher(PhoneNumberMatcher):
    def _parse_and_verify(self, candidate, offset):
        if not _LETTER.search(candidate):
            digits = _DIGIT.findall(candidate)
            if len(digits) < _SHORTEST_ANYWHERE:
                return None
            international = (
                "+" in candidate
                or "\uff0b" in candidate
                or (int(digits[0]) == 0 and int(digits[1]) <= 1)
            )
            if not international and len(digits) < _SHORTEST[self.preferred_region]:
                return None
        return super()._parse_and_verify(candidate, offset)


class _Hit(NamedTuple):
    """A phone number found in a run: its place from the run's start, and the region that its
    number belongs to."""

    start: int
    end: int
    region: str | None


class FastPhoneRecognizer(PhoneRecognizer):
    """PhoneRecognizer, result for result."""

    def __init__(self, **settings):
        settings.setdefault("name", "PhoneRecognizer")
        super().__init__(**settings)
        self._memo: dict[tuple[str, str, str], tuple[_Hit, ...]] = {}

    def analyze(self, text, entities, nlp_artifacts=None):
        return self.analyze_encoded(EncodedText(text))

    def analyze_encoded(
        self, encoded: EncodedText, *, bare_numbers: bool = True
    ) -> list[RecognizerResult]:
        """`analyze` of a text whose UTF-8 form is there already.

        Without `bare_numbers`, a short run of digits with no sign, no leading zero and no cue
        before it counts as an amount or an id, as do dates, IP addresses and the groups of a card
        or an account: some region's plan holds almost any number.
        """
        runs = [
            (encoded.index(r.start()), encoded.index(r.end())) for r in _RUN.finditer(encoded.data)
        ]
        if runs and _EXTENSION.search(encoded.data):
            runs = [(0, len(encoded.text))]
        text, results = encoded.text, []
        cues = not bare_numbers and bool(runs) and _ANY_CUE.search(encoded.data) is not None
        for start, end in runs:
            if not bare_numbers and _BARE.fullmatch(text, start, end):
                cued = (
                    cues
                    and end - start >= _SHORTEST_CUED
                    and _CUE.search(text, max(0, start - _CUE_REACH), start)
                )
                if not cued:
                    continue
            key = (text[start - 1 : start] if start else "", text[start:end], text[end : end + 3])
            if key[1].isdigit() and (_LATIN.match(key[0]) or _LATIN.match(key[2])):
                continue  # part of a word: the matcher takes no number that touches a Latin letter
            hits = self._memo.get(key)
            if hits is None:
                if len(self._memo) > _MEMO_SIZE:
                    self._memo.clear()
                hits = self._memo[key] = tuple(self._hits(text, start, end))
            for hit in hits:
                found = _Hit(start + hit.start, start + hit.end, hit.region)
                results.append(self._get_recognizer_result(found, text, hit.region, None))
        return EntityRecognizer.remove_duplicates(results)

    def _hits(self, text: str, start: int, end: int) -> Iterator[_Hit]:
        """What the matcher of every region finds in one run; no run reaches into the next."""
        candidates = {
            region
            for candidate in _PATTERN.finditer(text, start, end)
            for region in self._possible_regions(candidate.group())
        }
        for region in (r for r in self.supported_regions if r in candidates):
            fruitless: set[tuple[str, str, str]] = (
                set()
            )  # a text of one candidate a thousand times is looked at once
            matcher = _Matcher(text, region, leniency=self.leniency, max_tries=sys.maxsize)
            at = start
            while at < end and (found := _PATTERN.search(text, at)) and found.start() < end:
                candidate = found.group()
                cut = _SECOND_NUMBER_START_PATTERN.search(candidate)
                if cut:
                    candidate = candidate[: cut.start()]
                begin, stop = found.start(), found.start() + len(candidate)
                key = (text[begin - 1 : begin] if begin else "", candidate, text[stop : stop + 3])
                match = None if key in fruitless else matcher._extract_match(candidate, begin)
                if match is None:
                    fruitless.add(key)
                    at = stop
                    continue
                try:
                    where = phonenumbers.region_code_for_number(
                        phonenumbers.parse(text[match.start : match.end])
                    )
                except NumberParseException:
                    where = region
                yield _Hit(match.start - start, match.end - start, where)
                at = match.end

    def _possible_regions(self, candidate: str) -> list[str]:
        """Regions that the candidate has digits enough for; all where it may be written
        internationally."""
        digits = "".join(str(int(d)) for d in _DIGIT.findall(candidate))
        if (
            _LETTER.search(candidate)
            or "+" in candidate
            or "\uff0b" in candidate
            or _TRUNK.search(digits)
        ):
            return self.supported_regions if len(digits) >= _SHORTEST_ANYWHERE else []
        return [r for r in self.supported_regions if len(digits) >= _SHORTEST[r]]
