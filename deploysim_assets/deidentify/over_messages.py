"""Identifiers that somebody gives in two messages: the first half at the end of one, the rest at
the start of the next."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from deploysim_assets.deidentify.encoded import EncodedText
from deploysim_assets.deidentify.leaves import Leaf
from deploysim_assets.deidentify.rules import Clock, Span, luhn

_REACH = 80
_CUT_DOMAIN = re.compile(r"@[\w-]*$|@[\w.-]*[.-]$")
_PART = re.compile(
    r"[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{1,4})+|[+(]?[\w@](?:[\w@.+\-/()]|(?<=\d)[ \u00a0](?=\d))*[-@.]?"
)
_MAILBOX_END = re.compile(r"([\w.+\-]{2,64})\s*$")
_DOMAIN_START = re.compile(r"\s*(@[\w\-]+(?:\.[\w\-]+)*\.[^\W\d_]{2,24})(?![\w@])")
_ADDRESS_START = re.compile(r"\s*([\w.+\-]+@[\w\-]+(?:\.[\w\-]+)+)")
_ADDRESS_WHOLE = re.compile(r"[\w.+\-]+@[\w\-]+(?:\.[\w\-]+)*\.[^\W\d_]{2,24}")
_AT_START = re.compile(r"\s*[(\[]?at[)\]]?\s+([\w\-]+(?:\.[\w\-]+)*\.[^\W\d_]{2,24})(?!\w)")
_MAIL_CUE = re.compile(r"(?i)mail|address|write (?:to|me)")


def split_spans(
    messages: Sequence[Mapping[str, Any]],
    leaves: Sequence[Leaf],
    of_message: Sequence[int],
    clock: Clock,
) -> dict[int, list[Span]]:
    """For the texts, by their number, the parts of identifiers that run on in the next message of
    the same speaker, or in the next one; TimeoutError once the clock is up."""
    whole = {
        m: i
        for i, (leaf, m) in enumerate(zip(leaves, of_message, strict=True))
        if not leaf.is_key and leaf.type is None and messages[m]["content"] == leaf.text
    }
    found: dict[int, list[Span]] = {}
    last_of: dict[str, int] = {}
    for m in range(len(messages)):
        if m not in whole:
            continue
        clock.check()
        role = messages[m]["role"]
        for before in {last_of.get(role), m - 1 if m - 1 in whole else None} - {None}:
            first, second = whole[before], whole[m]  # pyright: ignore[reportArgumentType]
            for a, b in _joined(leaves[first].text, leaves[second].text):
                found.setdefault(first, []).append(a)
                found.setdefault(second, []).append(b)
        last_of[role] = m
    return found


def _joined(one: str, two: str) -> list[tuple[Span, Span]]:
    """The two parts of what neither text holds alone."""
    tail, head = one[-_REACH:], two[:_REACH]
    if mailbox := _cut_mailbox(tail, head, len(one) - len(tail)):
        return [mailbox]
    if not (any(c.isdigit() or c in "@_-" for c in tail) or "@" in head):
        return []
    parts, following = list(_PART.finditer(tail)), list(_PART.finditer(head))
    if not parts or not following:
        return []
    domain = _CUT_DOMAIN.search(parts[-1].group()) is not None and following[0].start() < 2
    firsts = [m for m in following if _may_be_part(m.group()) or (domain and m is following[0])][:2]
    lasts = [m for m in parts if _may_be_part(m.group())][-2:]
    offset = len(one) - len(tail)
    out: list[tuple[Span, Span]] = []
    for last in lasts:
        for first in firsts:
            for between in ("", " "):
                whole = (last.group() + between + first.group()).replace("\u00a0", " ")
                kind = _type(whole, len(last.group()), len(last.group()) + len(between))
                if kind:
                    out.append(
                        (
                            Span(offset + last.start(), offset + last.end(), kind),
                            Span(first.start(), first.end(), kind),
                        )
                    )
                    return out
    return out


def _cut_mailbox(tail: str, head: str, offset: int) -> tuple[Span, Span] | None:
    """A mailbox that is cut before its @, or, where mail is spoken of, in its name or before an
    `at`: no part of it is one by itself."""
    before = _MAILBOX_END.search(tail)
    if before is None:
        return None
    after = _DOMAIN_START.match(head)
    if after is None and _MAIL_CUE.search(tail, 0, before.start()):
        cut = before.group(1)[-1] in "._+-"
        after = (_ADDRESS_START if cut else _AT_START).match(head)
    if after is None:
        return None
    return (
        Span(offset + before.start(1), offset + before.end(1), "EMAIL_ADDRESS"),
        Span(after.start(1), after.end(1), "EMAIL_ADDRESS"),
    )


def _is_cut_address(first: str) -> bool:
    """Whether an address breaks off in its domain. One that is whole but for a full stop behind it
    ended its sentence: the next message begins with a word."""
    if _CUT_DOMAIN.search(first) is None:
        return False
    return not (first.endswith(".") and _ADDRESS_WHOLE.fullmatch(first[:-1]))


def _may_be_part(word: str) -> bool:
    return any(c.isdigit() for c in word) or "@" in word or "_" in word or len(word) >= 16


def _type(whole: str, cut: int, resumed: int) -> str | None:
    """The type of an identifier that is made of both parts and of nothing else."""
    from deploysim_assets.deidentify.patterns import SPLIT_RULES, rule_spans

    for span in rule_spans(EncodedText(whole), rules=SPLIT_RULES):
        if not (span.start < cut and span.end > resumed):
            continue
        length = span.end - span.start
        if length < 0.8 * len(whole.strip()):
            continue
        if span.type == "CREDIT_CARD" and not luhn(whole[span.start : span.end]):
            continue
        if span.type == "EMAIL_ADDRESS" and not _is_cut_address(whole[:cut]):
            continue
        return span.type
    return None
