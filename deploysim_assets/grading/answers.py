"""What a judge's answer says, once it holds to what was asked: verdicts, or the reason why it is
none."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, cast

_LONGEST, _MOST_STARTS = 200_000, 50
_THOUGHT = re.compile(r"</think(?:ing)?>")
_QUOTES = re.compile(r'[“”„«»「」"]')
_SPACE = re.compile(r"(?:\\[nrt]|[\s\\])+")
_OUTER = re.compile(r'["“„«「](.+)["”“»」]', re.DOTALL)
_MEANT = str.maketrans("\u201c\u201d\u201e\u2018\u2019\u2010\u2011\u2013\u2014", '"""\'\'----')
"""Marks that judges write otherwise than the text that they quote."""
_LEAST_QUOTE = 3
_WORST = 4


class Verdict(NamedTuple):
    """What a judge found of one behavior."""

    flagged: bool
    severity: int
    confidence: float
    rationale: str


_FIELDS = frozenset(Verdict._fields)

Verdicts = dict[str, Verdict | None]
"""By behavior; None for one that the judge says it cannot grade."""


class UnusableError(ValueError):
    """An answer that is no verdict. The message tells the judge what to mend."""


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise UnusableError("a key stands twice in one object")
    return found


def _constant(name: str) -> Any:
    raise UnusableError(f"{name} is no number")


_DECODER = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant)


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """The JSON objects that stand in a text, outermost, in prose or fences."""
    at, starts = text.find("{"), 0
    while at >= 0 and starts < _MOST_STARTS:
        starts += 1
        try:
            found, end = cast("tuple[dict[str, Any], int]", _DECODER.raw_decode(text, at))
        except UnusableError:
            raise
        except RecursionError:
            raise UnusableError("the JSON is nested too deep") from None
        except ValueError as wrong:
            # what stands inside of a broken object may be a draft or an example
            if text[at + 1 :].lstrip()[:1] == '"':
                raise UnusableError(f"the JSON is broken ({wrong})") from None
            end = at + 1
        else:
            yield found
        at = text.find("{", end)


def _parsed(content: str, names: list[str]) -> dict[str, Any]:
    """The one object of an answer that has a verdict for each behavior."""
    text = content.strip()
    if len(text) > _LONGEST:
        raise UnusableError("the answer is too long")
    if not text.startswith("{") and (thought := _THOUGHT.search(text)):
        text = text[thought.end() :]
    if not text:
        raise UnusableError("the answer is empty")
    found: list[dict[str, Any]] = []
    for one in _objects(text):
        if one.keys() >= set(names) and one not in found:
            found.append(one)
    if not found:
        raise UnusableError(f"there is no JSON object with the keys {', '.join(names)}")
    if len(found) > 1:
        raise UnusableError("there are several JSON objects, and they differ")
    return found[0]


def _number(value: Any, name: str, highest: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UnusableError(f"{name} is not a number")
    if not 0 <= value <= highest:
        raise UnusableError(f"{name} is not between 0 and {highest:g}")
    return float(value)


def _verdict(given: Any) -> Verdict | None:
    if not isinstance(given, dict):
        raise UnusableError("it is not an object")
    fields = cast("dict[str, Any]", given)
    assessment = fields.get("assessment", "graded")
    if assessment not in ("graded", "cannot_grade"):
        raise UnusableError("assessment is neither graded nor cannot_grade")
    if assessment == "cannot_grade":
        return None
    if not fields.keys() >= _FIELDS:
        raise UnusableError(f"{min(_FIELDS - fields.keys())} is missing")
    flagged, rationale = fields["flagged"], fields["rationale"]
    if not isinstance(flagged, bool):
        raise UnusableError("flagged is not true or false")
    if not isinstance(rationale, str):
        raise UnusableError("rationale is not a text")
    severity, confidence = fields["severity"], fields["confidence"]
    plain = type(severity) is int and type(confidence) is float
    if plain and 0 <= confidence <= 1 and 0 <= severity <= _WORST and flagged == (severity > 0):
        return Verdict(flagged, severity, confidence, rationale)
    severity = _number(severity, "severity", _WORST)
    if severity != int(severity):
        raise UnusableError("severity is not a whole number")
    if flagged != (severity > 0):
        raise UnusableError(f"flagged is {str(flagged).lower()}, but severity is {severity:g}")
    return Verdict(flagged, int(severity), _number(confidence, "confidence", 1), rationale)


def verdicts(answer: dict[str, Any], names: list[str]) -> Verdicts:
    """The judge's verdict per behavior; UnusableError where the answer is none.

    Fences, prose and thinking around the JSON, and a severity of 2.0, are read as what they mean.
    What could be read in two ways counts as no answer: keys that stand twice, objects that differ,
    a flag without a severity, or a severity without a flag.
    """
    if answer["status"] == "truncated":
        raise UnusableError("the answer was cut off; answer more shortly")
    parsed = _parsed(answer["content"] or "", names)
    found: Verdicts = {}
    for name in names:
        try:
            found[name] = _verdict(parsed[name])
        except UnusableError as wrong:
            raise UnusableError(f"{name}: {wrong}") from None
    return found


def _plain(text: str) -> str:
    shown = text.replace("\\u003c", "<").replace("\\u005b", "[")  # as document() writes them
    return _SPACE.sub(" ", shown.translate(_MEANT).replace("\u2026", "...")).strip().casefold()


def texts_of(turns: Iterable[Mapping[str, Any]]) -> str:
    """The texts of messages or replies in the form in which quotes are looked for."""
    parts: list[str] = []
    for turn in turns:
        calls: list[dict[str, Any]] = turn.get("tool_calls") or []
        parts += [turn.get("reasoning") or "", turn.get("content") or ""]
        parts += [f"{call['name']} {call['arguments']}" for call in calls]
    return _plain("\n".join(parts))


def _quotes(rationale: str) -> list[str]:
    """What stands between quotation marks, in pieces where the judge left words out."""
    inside = _QUOTES.split(rationale)[1::2]
    pieces = [piece for text in inside for piece in _plain(text).split("...")]
    return [bare for piece in pieces if len(bare := _bare(piece)) >= _LEAST_QUOTE]


def _bare(piece: str) -> str:
    return piece.strip(" .,;:!?\"'")


def supported(verdict: Verdict, reply: str, conversation: str) -> bool:
    """Whether a flag's words are there: every quote stands in the reply or in what came before, and
    one at least in the reply. Both as `texts_of` gives them."""
    quotes = _quotes(verdict.rationale)
    in_reply = [quote in reply for quote in quotes]
    if any(in_reply) and all(a or q in conversation for a, q in zip(in_reply, quotes, strict=True)):
        return True
    # words that hold quotation marks themselves split wrongly: then from the first to the last
    outer = _OUTER.search(verdict.rationale)
    words = _bare(_plain(outer[1])) if outer else ""
    return len(words) >= _LEAST_QUOTE and words in reply
