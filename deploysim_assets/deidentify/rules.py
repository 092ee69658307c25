"""Our own level 0 rules, where presidio's recognizers leak: boundaries, separators, checksums,
secrets, encoded addresses."""

# pyright: reportOptionalMemberAccess=false

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import re
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import regex

from deploysim_assets.deidentify.encoded import EncodedText
from deploysim_assets.deidentify.linear import Linear


class DetectionError(Exception):
    """A text could not be scanned whole; the argument is the reason code."""


MAX_SECONDS = 10.0


class Clock:
    """The CPU time that one text may take, so that what no pattern's own limit stops ends in
    quarantine, too. Of this thread: another's load does not count."""

    def __init__(self) -> None:
        self._left = MAX_SECONDS
        self.start(time.thread_time())

    def start(self, now: float) -> None:
        """Count on from here; `now` is what `stop` of another clock said, or the thread's time."""
        self._until = now + self._left
        self._not_before = time.monotonic() + self._left

    def stop(self) -> float:
        """Count no further until the next start; the thread's time."""
        now = time.thread_time()
        self._left = self._until - now
        return now

    def check(self) -> None:
        """TimeoutError once it is used up."""
        # a thread uses up no more than goes by, and to ask what goes by is no call of the kernel
        if time.monotonic() > self._not_before and time.thread_time() > self._until:
            raise TimeoutError


class Span(NamedTuple):
    """A found entity: [start, end) in code points, and its type."""

    start: int
    end: int
    type: str


class Rule(NamedTuple):
    """A pattern in two forms: its core for RE2, which is linear in the text, and the whole with
    look-around, tried where a core begins."""

    type: str
    core: Linear
    pattern: Any
    holds: Callable[[str], bool] = lambda found: True
    lead: str = ""
    """What stands before the pattern, and begins its core."""
    back: bool = False
    """The match starts where its first group, a look-behind, does."""
    part: int = 0
    """The group that is the identifier, where a cue stands before it."""
    keywords: tuple[bytes, ...] = ()
    """In lower case; a text that holds none of them is not searched."""
    digits: bool = False
    """Whether what it finds holds five digits close together."""
    gate: str = ""
    """What its core cannot do without, where no keyword says that."""
    long_runs: bool = False
    """Whether its core counts many characters, which multiplies the states of a gate."""

    def spans(self, encoded: EncodedText) -> Iterator[Span]:
        """The rule's finds, those of `pattern.finditer`; a time-out raises TimeoutError, so that
        it cannot pass for clean."""
        text, data, at = encoded.text, encoded.data, 0
        while hit := self.core.search(data, at):
            begin = hit[0]
            match = self.pattern.match(
                text, encoded.index(begin) + len(self.lead), timeout=_TIMEOUT
            )
            if match is None:
                at = max(_NUMBER.match_end(data, begin), begin + 1)
                continue
            if self.holds(match.group(self.part)):
                start = match.start(1) if self.back else match.start(self.part)
                yield Span(start, match.end(self.part), self.type)
            at = begin + len(self.lead) + encoded.size(*match.span())


_TIMEOUT = 2.0
_NUMBER = Linear(r"[0-9]*")
"""No rule that fails at a number's first digit holds at a later one."""
IBAN_LENGTHS = {
    country: int(length)
    for country, length in (
        pair.split("=")
        for pair in """
        AD=24 AE=23 AL=28 AT=20 AZ=28 BA=20 BE=16 BG=22 BH=22 BR=29 BY=28 CH=21 CR=22 CY=28 CZ=24
        DE=22 DK=18 DO=28 EE=20 EG=29
        ES=24 FI=18 FO=18 FR=27 GB=22 GE=22 GI=23 GL=18 GR=27 GT=28 HR=21 HU=28 IE=22 IL=23 IQ=23
        IS=26 IT=27 JO=30 KW=30 KZ=20
        LB=28 LC=32 LI=21 LT=20 LU=20 LV=21 LY=25 MC=27 MD=24 ME=22 MK=19 MR=27 MT=31 MU=30 NL=18
        NO=15 PK=24 PL=28 PS=29 PT=25
        QA=29 RO=24 RS=22 SA=24 SC=31 SE=24 SI=19 SK=24 SM=27 ST=25 SV=28 TL=23 TN=24 TR=26 UA=29
        VA=22 VG=24 XK=20
        """.split()
    )
}
_LETTERS = r"\p{Latin}\p{Cyrillic}\p{Greek}\p{Arabic}\p{Hebrew}"


def luhn(text: str) -> bool:
    """Whether the digits of a text pass the checksum of card numbers."""
    digits = [int(c) for c in text if c.isdigit()]
    doubled = [d if i % 2 == 0 else sum(divmod(2 * d, 10)) for i, d in enumerate(reversed(digits))]
    return sum(doubled) % 10 == 0


def _is_card(found: str) -> bool:
    """A card: its separators group it as cards are written, or the checksum holds. Mistyped
    cards are still cards."""
    return luhn(found) or bool(
        regex.fullmatch(
            r"[2-6][0-9]{3}(?:[^0-9][0-9]{4}){3}|3[47][0-9]{2}[^0-9][0-9]{6}[^0-9][0-9]{5}", found
        )
    )


def _is_iban(found: str) -> bool:
    plain = regex.sub(r"[^0-9A-Za-z]", "", found).upper()
    if len(plain) != IBAN_LENGTHS.get(plain[:2]):
        return False
    grouped = bool(regex.fullmatch(r"[A-Za-z]{2}[0-9]{2}(?:[ -][0-9A-Za-z]{1,4})+", found))
    return grouped or int("".join(str(int(c, 36)) for c in plain[4:] + plain[:4])) % 97 == 1


def _is_ssn(found: str) -> bool:
    area, group, serial = regex.split(r"[ .-]", found)
    return area not in ("000", "666") and group != "00" and serial != "0000"


def iban(country: str, body: str) -> str:
    """The IBAN of a country and account, with the check digits that hold."""
    check = 98 - int("".join(str(int(c, 36)) for c in f"{body}{country}00")) % 97
    return f"{country}{check:02d}{body}"


def _iban_pattern() -> str:
    """One alternative per length: a run that took the next word with it would fail its checksum
    and leak."""
    by_length: dict[int, list[str]] = {}
    for country, length in IBAN_LENGTHS.items():
        by_length.setdefault(length, []).append(country)
    parts = [
        rf"(?:{'|'.join(c)})[0-9]{{2}}(?:[ -]?[0-9A-Z]){{{length - 4}}}"
        for length, c in by_length.items()
    ]
    return rf"(?i:{'|'.join(parts)})"


_W = "[A-Za-z0-9_]"
_EDGE = rf"(?:(?<!{_W})(?={_W})|(?<={_W})(?!{_W}))"
"""RE2's word boundary, which is one next to Chinese letters, too."""
_GROUP = re.compile(r"(?<!\\)\((?!\?)")


def rule(
    kind: str,
    core: str,
    holds: Callable[[str], bool] = lambda found: True,
    *,
    before: str = "",
    after: str = "",
    lead: str = "",
    part: int = 0,
    keywords: str = "",
    digits: bool = False,
    gate: str = "",
    long_runs: bool = False,
) -> Rule:
    """A rule whose pattern has one group at most, `part`. RE2 knows no look-around, so `before`
    and `after` are left to the second look, as is all from the group on where a cue stands before
    it: long repeats cost RE2 its memory. `keywords` are separated by spaces."""
    cue = core[: _GROUP.search(core).start()] if part else ""  # pyright: ignore
    return Rule(
        kind,
        Linear(lead + (cue or core)),
        regex.compile((before + core + after).replace(r"\b", _EDGE)),
        holds,
        lead,
        part=part,
        keywords=tuple(word.encode() for word in keywords.split()),
        digits=digits,
        gate=gate,
        long_runs=long_runs,
    )


_MAILBOX = rf"[{_LETTERS}0-9!#$%&'*+/=?^_`{{|}}~.-]"
_DOMAIN = rf"@[{_LETTERS}0-9-]+(?:\.[{_LETTERS}0-9-]+)+"
NOT_IN_NUMBER: Any = {"before": r"(?<![0-9])", "after": r"(?![0-9])"}
NOT_IN_WORD: Any = {"before": r"(?<![0-9A-Za-z])", "after": r"(?![0-9A-Za-z])"}
_OCTET = "(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])"

CONTACT_RULES = (
    # from the @ outwards: a search for the mailbox first would try every word of the text
    Rule(
        "EMAIL_ADDRESS",
        Linear(_DOMAIN),
        regex.compile(rf"(?<=({_MAILBOX}+)){_DOMAIN}"),
        back=True,
        keywords=(b"@",),
    ),
    rule(
        "EMAIL_ADDRESS",
        r"(?i)[a-z0-9._+-]{1,64} ?[\[({] ?at ?[\])}] ?[a-z0-9-]{1,64}(?:(?: ?[\[({] ?dot ?[\])}] "
        r"?|\.)[a-z0-9-]{1,64})+",
        gate=r"(?i)[\[({] ?at ?[\])}]",
    ),
    rule(  # told in words
        "EMAIL_ADDRESS",
        r"(?i)[a-z0-9._+-]{2,64}(?: at [a-z0-9-]{2,64}(?: dot [a-z0-9-]{2,24}){1,3}"
        r"|_at_[a-z0-9-]{2,64}(?:_dot_[a-z0-9-]{2,24}){1,3})",
        before=r"(?<![\w.+-])",
        after=r"(?![\w-])",
        keywords="dot",
    ),
    rule(  # with blanks, or a mailbox in quotation marks
        "EMAIL_ADDRESS",
        r"(?:[A-Za-z0-9._+-]{2,64} @ ?|\"[^\"\n@]{1,64}\"@)"
        r"[A-Za-z0-9-]{1,64}(?:\.[A-Za-z0-9-]{1,64}){0,4}\.[A-Za-z]{2,24}",
        after=r"(?![A-Za-z0-9])",
        keywords="@",
    ),
    rule(
        "CREDIT_CARD",
        r"(?:[2-6][0-9]{3}(?:[ .\-_/]{0,2}[0-9]{4}){2}(?:[ .\-_/]{0,2}[0-9]{1,7})?"
        r"|3[0-9]{3}[ .\-_/]{0,2}[0-9]{6}[ .\-_/]{0,2}[0-9]{4,5})",
        _is_card,
        before=r"(?<![0-9a-fA-F]|[0-9]\.)",
        after=r"(?![0-9a-fA-F])",
        long_runs=True,
    ),
    rule(
        "IBAN_CODE",
        _iban_pattern(),
        _is_iban,
        before=r"(?<![0-9A-Za-z])",
        after="(?![0-9])",
        digits=True,
    ),
    rule(
        "IP_ADDRESS",
        rf"(?:{_OCTET}\.){{3}}{_OCTET}",
        before=r"(?<![0-9.])",
        after=r"(?![0-9])(?!\.[0-9])",
        digits=True,
    ),
    rule(
        "IP_ADDRESS",
        r"(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}",
        before=r"(?<![0-9A-Fa-f:])",
        after=r"(?![0-9A-Fa-f:])",
        digits=True,
    ),
    rule(
        "MAC_ADDRESS",
        r"(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}|(?:[0-9A-Fa-f]{2}-){5}[0-9A-Fa-f]{2}",
        before=r"(?<![0-9A-Za-z:-])",
        after=r"(?![0-9A-Za-z])(?![:-][0-9A-Fa-f])",
        gate=r"(?:[0-9A-Fa-f]{2}[:-]){3}",
    ),
    rule(
        "US_SSN",
        r"[0-8][0-9]{2}(?:-[0-9]{2}-|\.[0-9]{2}\.| [0-9]{2} )[0-9]{4}",
        _is_ssn,
        **NOT_IN_NUMBER,
        digits=True,
    ),
    rule(
        "US_SSN",
        r"(?i)(?:ssn|social security(?: number)?)[^0-9\n]{0,12}[0-9]{9}",
        after="(?![0-9])",
        digits=True,
    ),
    rule(
        "PHONE_NUMBER",
        r"\+[1-9](?:[ ().\-/]{0,2}[0-9]){7,14}",
        before=r"(?<![0-9A-Za-z])",
        after="(?![0-9])",
        digits=True,
    ),
    rule(
        "PHONE_NUMBER",
        r"\(?[2-9][0-9]{2}\)?[\- .]{1,2}[2-9][0-9]{2}[\- .][0-9]{4}",
        **NOT_IN_NUMBER,
        digits=True,
    ),
)
"""In the order in which they are tried."""

SPLIT_TYPES = frozenset(
    {
        "EMAIL_ADDRESS",
        "CREDIT_CARD",
        "IBAN_CODE",
        "API_KEY",
        "JWT",
        "US_SSN",
        "PHONE_NUMBER",
        "IP_ADDRESS",
        "MAC_ADDRESS",
        "NATIONAL_ID",
    }
)
"""What is also looked for across a line break."""
