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
from phonenumbers import PhoneMetadata, PhoneNumberMatcher
from phonenumbers.phonenumbermatcher import _PATTERN, _SECOND_NUMBER_START_PATTERN
from phonenumbers.phonenumberutil import _VALID_PUNCTUATION, NumberParseException
from presidio_analyzer import EntityRecognizer, RecognizerResult
from presidio_analyzer.predefined_recognizers import PhoneRecognizer

from deploysim_assets.deidentify.encoded import EncodedText
from deploysim_assets.deidentify.linear import Linear

REGIONS = ("US", "GB", "DE", "FR", "ES", "IT", "IL", "IN", "CA", "BR", "CN", "JP", "KR", "AU", "MX")

_LETTER, _DIGIT = re.compile(r"[^\W\d_]"), re.compile(r"\d")
_TRUNK = re.compile("0[01]")
_MEMO_SIZE = 100_000
_BETWEEN = rf"[{_VALID_PUNCTUATION}]"
RUN = Linear(
    rf"(?i)(?:[+＋(\[（［]{_BETWEEN}{{0,4}}){{0,2}}\p{{Nd}}(?:{_BETWEEN}{{0,4}}\p{{Nd}}){{3}}(?:{_BETWEEN}{{0,4}}\p{{Nd}})*"
)
"""Where a candidate of at least _SHORTEST_ANYWHERE digits can be."""
_EXTENSION = Linear(
    r"(?i)\p{Nd}[ \x{a0}\t,]*(?:;ext=|e?xt|ｅ?ｘｔ|доб|anexo|int|ｉｎｔ|[#＃])|\p{Nd}[ "
    r"\x{a0}\t,]+[xｘ~～]|\p{Nd}[xｘ~～](?:[:.．,\t]|[ \x{a0}-]{4})"
)
"""Where a candidate can run on past its run of digits."""
_SHAPE = re.compile(
    r"[+＋(\[（［]{0,3}[+＋].*"
    r"|00[1-9][\d .\-/()]{7,}"
    r"|[(（\[]\d{1,5}[)）\]][ .\-/]{0,2}\d[\d .\-/]{4,}.*"
    r"|0\d{1,4}[ \-/.]\d{2,8}(?:[ \-.]\d{2,5}){0,4}"
    r"|(?:1[ .\-]?)?[2-9]\d{2}[ .\-]\d{3}[ .\-]\d{4}.*"
    r"|\d{2,4}(?:[ \-]\d{2,4}){2,4}",
    re.DOTALL,
)
"""How a phone number is written that says so itself."""
_BARE = re.compile(r"[2-9]\d{9}|1[3-9]\d{9}|0[1-9]\d{8,9}")
"""Digits alone, ten or eleven: a phone number where a word stands before them."""
_ANSWER = re.compile(r"[2-9]\d{9}|1[3-9]\d{9}|0[1-9]\d{8,9}|\d{3,5} \d{5,7}")
"""All of a message, as somebody answers who was asked for it."""
_NO_PHONE = re.compile(
    r"(?:19|20)\d\d[-/. ][01]?\d[-/. ][0-3]?\d.*|[0-3]?\d[-/.][01]?\d[-/.](?:19"
    r"|20)?\d\d(?:[ ~\-]+[\d:].*)?"
    r"|(?:\d{1,3}\.){3}\d{1,3}|(?:\d{2} )?(?:\d{4}[ -]?){3,}\d{0,7}|\d{4}-\d{4}|[+]\d+\.\d+"
    r"|[-\s]*\d*\.\d+(?:[-\s\[\]()~/]+\d*\.\d+)*",
    re.DOTALL,
)
"""Dates, IP addresses, the groups of a card or an account, ranges of years, decimals."""
_OUTRIGHT = re.compile(
    r"[+＋][1-9][\d ().\-]{8,}|001[ .\-]\d{3}[ .\-]\d{3}[ .\-]\d{4}"
    r"|\(\d{2,4}\)[ ]?\d{3,4}-\d{3,4}|\d{3}-\d{3}-\d{4}(?!\d)"
)
_CALLED = re.compile(
    r"(?i)(?:\bcall|phone|\btel|\bfax|mobile|\bcell|whatsapp|answering at|text me|reach (?:me"
    r"|you|us))[^\d\n]*$"
)
_LONGEST_RUN = 48
"""Beyond it a run is a table of numbers, in which the rules still look for what says so itself."""
_LATIN = re.compile(r"[A-Za-z]")
_CUE = re.compile(
    r"(?i)phone|\btel|\bcall|\bcell|mobil|whatsapp|\bsms|\bfax|number|numer|text me|reach me"
    r"|contact me|número|numéro|nummer|電話|电话|手机|телефон|هاتف|전화"
)
_ANY_CUE = Linear(_CUE.pattern)
_CUE_REACH, _SHORTEST_CUED = 40, 5
_LONGEST_CHARACTER = 4
"""Bytes of UTF-8."""
_CUE_AFTER = re.compile(
    r"[ ,\\-]{0,3}\(?(?:office|fax|mobile|cell|home|work|phone|tel)\b", re.IGNORECASE
)


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


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    while end > start and not text[end - 1].isdigit():
        end -= 1
    extension = re.compile(r" ?x ?[0-9]{2,6}").match(text, end)
    return start, extension.end() if extension else end


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
        self._memo: dict[tuple[bool, str, str, str], tuple[_Hit, ...]] = {}

    def analyze(self, text, entities, nlp_artifacts=None):
        return self.analyze_encoded(EncodedText(text))

    def analyze_encoded(
        self, encoded: EncodedText, *, bare_numbers: bool = True
    ) -> list[RecognizerResult]:
        """`analyze` of a text whose UTF-8 form is there already.

        Without `bare_numbers`, a run counts that is written as phone numbers are, or that stands
        behind a cue: some region's plan holds almost any number, so floats, arrays, hashes,
        timestamps and ids would all be found.
        """
        if not bare_numbers:
            return self._likely(encoded)
        runs = [(encoded.index(a), encoded.index(b)) for a, b in RUN.finditer(encoded.data)]
        if runs and _EXTENSION.search(encoded.data):
            runs = [(0, len(encoded.text))]
        text, results = encoded.text, []
        for start, end in runs:
            results += self._in_run(text, start, end)
        return EntityRecognizer.remove_duplicates(results)

    def _likely(self, encoded: EncodedText) -> list[RecognizerResult]:
        text, data, results = encoded.text, encoded.data, []
        for begin, stop in RUN.finditer(data):
            if not _SHORTEST_CUED <= stop - begin <= _LONGEST_RUN:
                continue
            start, end = encoded.index(begin), encoded.index(stop)
            before = data[max(0, begin - _LONGEST_CHARACTER * _CUE_REACH) : begin]
            if self._is_likely(text, start, end, before):
                whole = _Hit(*_trimmed(text, start, end), None)
                found = self._in_run(text, start, end, whole)
                if not found and self._says_so(encoded, whole.start, whole.end):
                    found = [self._get_recognizer_result(whole, text, None, None)]
                results += found
        return EntityRecognizer.remove_duplicates(results)

    @staticmethod
    def _is_likely(text: str, start: int, end: int, preceding: bytes) -> bool:
        before = text[start - 1 : start]
        if before and (before in "._=#$€£%" or before.isdigit()) and text[start] not in "+(":
            return False
        if before == "-" and text[start - 2 : start - 1].isalnum():
            return False
        if _ANY_CUE.search(preceding) and _CUE.search(text, max(0, start - _CUE_REACH), start):
            return _NO_PHONE.fullmatch(text, start, end) is None
        if _CUE_AFTER.match(text, end):
            return True
        alone = not text[:start].strip() and not text[end:].strip(" .!\n")
        if alone and _ANSWER.fullmatch(text, start, end):
            return True
        if _BARE.fullmatch(text, start, end):
            return before == " " and text[start - 2 : start - 1].isalpha()
        if not _SHAPE.fullmatch(text, start, end) or _NO_PHONE.fullmatch(text, start, end):
            return False
        spoken = text[start] in "+(（[［" or not text[max(0, start - 2) : start].strip().endswith(
            (",", "[")
        )
        return spoken and sum(c.isdigit() for c in text[start:end]) >= 7

    @staticmethod
    def _says_so(encoded: EncodedText, start: int, end: int) -> bool:
        """Whether a number that no region's plan holds is still given as one."""
        text = encoded.text
        digits = sum(c.isdigit() for c in text[start:end])
        if not 6 <= digits <= 18:
            return False
        return bool(
            _OUTRIGHT.match(text, start, end)
            or _CUE_AFTER.match(text, end)
            or (_ANY_CUE.search(encoded.data) and _CALLED.search(text, max(0, start - 30), start))
        )

    def _in_run(
        self, text: str, start: int, end: int, whole: _Hit | None = None
    ) -> list[RecognizerResult]:
        """What is found in a run; with `whole`, no further region is asked once one has found
        all of that."""
        results = []
        before = text[start - 1 : start] if start else ""
        key = (whole is None, before, text[start:end], text[end : end + 3])
        if key[2].isdigit() and (_LATIN.match(before) or _LATIN.match(key[3])):
            return []  # part of a word: the matcher takes no number that touches a Latin letter
        hits = self._memo.get(key)
        if hits is None:
            if len(self._memo) > _MEMO_SIZE:
                self._memo.clear()
            found = list[_Hit]()
            for hit in self._hits(text, start, end):
                found.append(hit)
                if whole and start + hit.start <= whole.start and whole.end <= start + hit.end:
                    break
            hits = self._memo[key] = tuple(found)
        for hit in hits:
            found = _Hit(start + hit.start, start + hit.end, hit.region)
            results.append(self._get_recognizer_result(found, text, hit.region, None))
        return results

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
