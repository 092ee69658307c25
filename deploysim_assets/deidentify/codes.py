"""Numbers of cases, orders, tickets and bookings: what names one matter of one person."""

import re
from collections.abc import Iterator

from deploysim_assets.deidentify.rules import Span

_CUE = (
    r"(?:applications?|case|docket|file|reference|ref|order|invoice|ticket|booking|reservation"
    r"|confirmation|tracking|claim|"
    r"policy|account|customer|member|membership|flight|contract|receipt|transaction|serial"
    r"|registration|certificate|licen[cs]e|permit|"
    r"badge|employee|student|record|complaint|petition|warrant|docket|matter|parcel|shipment|pnr"
    r"|unit)"
)
_CUED = re.compile(
    rf"(?i)\b{_CUE}(?: ?(?:no|nr|nos|num|number|numbers|id|code|#))?\.?(?: is| was|:)? ?[#(]?"
    r"(?-i:((?=[A-Z0-9/.\-]*[0-9]{2})[A-Z]{0,4}[-/]?[0-9A-Z]{2,}(?:[-/.][A-Z0-9]{1,8}){0,5}))(?![\w%])"
)
_NO = re.compile(
    r"(?i:\b(?:nos?|nr|ref)\.? ?|№ ?|#)((?:[0-9]+[-/.])+[0-9]+"
    r"|[A-Z]{1,4}[-/ ]?[0-9]{2,}[A-Z0-9/-]*|[0-9]{4,})(?!\w)"
)
_SLASHED = re.compile(
    r"(?<![\w/.\-])([0-9]{3,6}/[0-9]{2}(?:[0-9]{2})?|[0-9]{1,5}(?:/[0-9]{2,6}){2,4})(?![\w/])"
)
_MIXED = re.compile(
    r"(?<![\w/.\-#@])((?=[A-Z]*[0-9])(?=[0-9]*[A-Z])[A-Z0-9]{1,3}[0-9]{5,}[A-Z0-9]{0,4})(?![\w/])"
)
_PATTERNS = (_CUED, _NO, _SLASHED, _MIXED)
_DATE = re.compile(r"[0-3]?[0-9]/[0-3]?[0-9]/(?:[0-9]{2}){1,2}|[0-9]{4}/[01]?[0-9]/[0-3]?[0-9]")


def code_spans(text: str) -> Iterator[Span]:
    """Codes that a cue or their own writing gives away."""
    for pattern in _PATTERNS:
        for m in pattern.finditer(text):
            if not _DATE.fullmatch(m.group(1)):
                yield Span(m.start(1), m.end(1), "CODE")
