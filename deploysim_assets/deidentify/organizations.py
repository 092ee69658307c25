"""Organizations by the word that tells what they are (Court, Ministry, Ltd), and initials that
stand for a person."""

from collections.abc import Iterator

import regex

from deploysim_assets.deidentify.rules import Span

_HEAD = (
    r"(?:Courts?|Tribunal|Office|Board|Council|Department|Ministry|Commission|Commissioner"
    r"|Committee|Services?|Authority|Agency|Police|Prison|"
    r"Constabulary|University|College|School|Academy|Hospital|Clinic|Bank|Association|Union"
    r"|Federation|Party|Institute|Institution|Church|"
    r"Foundation|Trust|Society|Cent(?:er|re)|Company|Corporation|Chamber|Army|Navy|Regiment"
    r"|Directorate|Inspectorate|Secretary of State|"
    r"Prosecutor|Registry|Bureau|Parliament|Assembly|Senate|Congress|Club|Laboratories"
    r"|Enterprises|Industries|Partners|Brothers|Railways|Airlines|Insurance|Fund)"
)
_SUFFIX = (
    r"(?:Ltd|Limited|LLC|LLP|L\.L\.C|Inc|Incorporated|Corp|Corporation|PLC|plc|GmbH|AG|S\.?A\.?"
    r"|N\.?V|B\.?V|Pty|Co|Group|and Sons|& Sons|& Co)\b\.?"
)
_CAP = r"\p{Lu}[\p{L}\p{M}'’&.-]*"
_LINK = r"(?:of the|of|for the|for|and the|and|&|the|de la|de|du|des|der|für|in)"
_NAMED = regex.compile(
    rf"(?<![\p{{L}}-])(?:{_CAP} (?:{_LINK} )?){{1,6}}{_HEAD}\b(?: (?:{_LINK}) {_CAP}(?: "
    rf"{_CAP}){{0,4}})*"
    rf"|(?<![\p{{L}}-]){_HEAD} (?:of|for) (?:the )?{_CAP}(?: (?:{_LINK} )?{_CAP}){{0,5}}"
    rf"|(?<![\p{{L}}-])Secretary of State\b(?: for (?:the )?{_CAP}(?: (?:and )?{_CAP}){{0,3}})?"
    rf"|(?<![\p{{L}}-])(?:{_CAP},? (?:and |& )?){{1,4}}{_SUFFIX}"
)
_TOO_MANY = regex.compile(
    r"^(?:The|This|That|In|At|On|By|For|A|An|If|When|And|But|My|His|Her|Your|Our|Their|No|Is|Was"
    r"|To|From|As)\s+"
)
_ALSO_CALLED = regex.compile(r"['’]?s? \((?:[\"“”'‘’]?\p{L}[\p{L} .\-]{1,50}[\"“”'‘’]?)\)")
_LEAST_CAPITALS = 2
_INITIALS = regex.compile(
    r"(?<![\p{L}\p{N}.])(?:\p{Lu}\.[ ]?){1,3}\p{Lu}\.(?![\p{L}\p{N}])"
    r"|(?<![\p{L}\p{N}.])(?:\p{Lu}\.){2,4}(?![\p{L}\p{N}])"
)
_ABBREVIATIONS = frozenset(
    """
    US USA UK EU UN DC AM PM NY LA PS BC AD ID PO RIP TV HM QC MP BA MA MD JD PHD OK DVD CD UV IE
    EG FBI CIA NATO AKA FAQ UAE USSR HIV HR CEO CFO PR PE IQ BCE CE VP MC DJ RE ET AL NB RSVP CV BS
    MS
    """.split()
)
_JUDGE = regex.compile(
    r"(?<![\p{L}-])\p{Lu}[\p{L}-]{2,} (?:L\.?J|JJ?|CJ|QC|KC|MR|P)\b\.?(?![\p{L}'’])"
)
_SINGLE = regex.compile(
    r"(?<![\p{L}\p{N}.’'&/\-])(?:[B-HJ-Z])\.?(?=[ ,;’']|\.[ \n])(?! ?[\p{N}&/=+*])"
)
_TIMEOUT = 2.0


def organization_spans(text: str) -> Iterator[Span]:
    """Names of two words and more that hold a word for an institution or a legal form."""
    for m in _NAMED.finditer(text, timeout=_TIMEOUT):
        start = m.start()
        if more := _TOO_MANY.match(m.group()):
            start += more.end()
        if len(regex.findall(r"\b\p{Lu}", text[start : m.end()])) >= _LEAST_CAPITALS:
            also = _ALSO_CALLED.match(text, m.end())
            yield Span(start, also.end() if also else m.end(), "ORGANIZATION")


def initial_spans(text: str) -> Iterator[Span]:
    """Persons of whom a text gives initials alone, and judges by their office's letters."""
    for m in _INITIALS.finditer(text, timeout=_TIMEOUT):
        if regex.sub(r"[. ]", "", m.group()) not in _ABBREVIATIONS:
            yield Span(m.start(), m.end(), "PERSON")
    for m in _JUDGE.finditer(text, timeout=_TIMEOUT):
        yield Span(m.start(), m.end(), "PERSON")


def letter_spans(text: str) -> Iterator[Span]:
    """Single capitals that stand for a person, of which one comes up again: `K., a former
    patient`."""
    found = list(_SINGLE.finditer(text, timeout=_TIMEOUT))
    letters = [m.group()[0] for m in found]
    for m in found:
        if letters.count(m.group()[0]) > 1:
            yield Span(m.start(), m.start() + 1, "PERSON")
