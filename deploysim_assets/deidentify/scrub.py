"""One conversation -> the same conversation without identifiers, or the reason why it could not
be cleared."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import orjson
from presidio_anonymizer import AnonymizerEngine
from presidio_anonymizer.entities import (
    ConflictResolutionStrategy,
    OperatorConfig,
    RecognizerResult,
)

from deploysim_assets.deidentify.detectors import detectors
from deploysim_assets.deidentify.rules import DetectionError
from deploysim_assets.deidentify.surrogates import Placeholders, Replace, keyed_draw, make_surrogate
from deploysim_assets.project import Deidentification

MAX_MESSAGE_BYTES = 256 * 1024
MAX_ENTITIES = 2_000  # presidio's splicing is quadratic in them
_MAX_DEPTH = 64
_MEMO_SIZE = 4_000
_SHORTEST_NUMBER = 7
_CERTAINTY = {"PERSON": 0.5, "LOCATION": 0.4, "ADDRESS": 0.6}
"""Below a pattern's 1.0: where both claim a place, the pattern's find is the one that is
replaced."""
PATTERNS_ONLY = Deidentification(min_level=0)


class Quarantined(Exception):
    """The conversation could not be cleared; the argument is the reason code."""


class Scrubbed(NamedTuple):
    """De-identified messages and how many entities of each type were replaced in each."""

    messages: list[dict[str, Any]]
    entities: list[Counter[str]]


class Scrubber:
    """Replaces what the policy's detectors find, and scans its own output: whatever is found
    there beside what it issued quarantines."""

    def __init__(self, key: bytes, policy: Deidentification = PATTERNS_ONLY) -> None:
        self._key = key
        self._policy = policy
        self.level = policy.min_level
        self._languages = {language.casefold() for language in policy.languages or ()}
        self._detectors = detectors(policy)
        self._anonymizer = AnonymizerEngine()
        self._anonymizer.add_anonymizer(Replace)
        self._memo: dict[tuple[str, str | None], list[RecognizerResult]] = {}

    def scrub(
        self, messages: list[dict[str, Any]], scope: str, language: str | None = None
    ) -> Scrubbed:
        """De-identify all messages of a conversation; `scope` (its keyed id) makes surrogates
        differ from every other conversation's.

        Raises Quarantined: time_out, message_too_long, too_many_entities, too_deep, not_text,
        unsupported_language, residual.
        """
        if self._languages and (language or "").casefold() not in self._languages:
            raise Quarantined("unsupported_language")
        by_name = (
            language if self._policy.min_level >= 2 else None
        )  # else the memo would hold a text once per language
        operator = self._operator(scope)
        cleaned: list[dict[str, Any]] = []
        counts: list[Counter[str]] = []
        for message in messages:
            counter: Counter[str] = Counter()

            def replace(text: str, counter: Counter[str] = counter) -> str:
                return self._replace(text, by_name, operator, counter)

            cleaned.append(_walk(message, replace))
            counts.append(counter)
        return Scrubbed(cleaned, counts)

    def _operator(self, scope: str) -> OperatorConfig:
        if self._policy.replacement == "placeholders":
            return OperatorConfig("deploysim", {"replacement": Placeholders()})
        return OperatorConfig(
            "deploysim", {"replacement": partial(make_surrogate, draw=keyed_draw(self._key, scope))}
        )

    def _found(self, text: str, language: str | None) -> list[RecognizerResult]:
        found = self._memo.get((text, language))
        if found is None:
            try:
                spans = [
                    span for detector in self._detectors for span in detector.spans(text, language)
                ]
            except DetectionError as wrong:
                raise Quarantined(str(wrong)) from wrong
            except TimeoutError:
                raise Quarantined("time_out") from None
            found = [
                RecognizerResult(
                    entity_type=s.type, start=s.start, end=s.end, score=_CERTAINTY.get(s.type, 1.0)
                )
                for s in spans
            ]
            if len(self._memo) > _MEMO_SIZE:
                self._memo.clear()
            self._memo[text, language] = found
        return found

    def _replace(
        self, text: str, language: str | None, operator: OperatorConfig, counter: Counter[str]
    ) -> str:
        try:
            size = len(text.encode())
        except UnicodeEncodeError:
            raise Quarantined("not_text") from None
        if size > MAX_MESSAGE_BYTES:
            raise Quarantined("message_too_long")
        found = self._found(text, language)
        if not found:
            return text
        if len(found) > MAX_ENTITIES:
            raise Quarantined("too_many_entities")
        if self._policy.replacement == "placeholders":
            for hit in sorted(
                found, key=lambda hit: hit.start
            ):  # the anonymizer goes through a text from its end
                operator.params["replacement"](hit.entity_type, text[hit.start : hit.end])
        result = self._anonymizer.anonymize(
            text,
            list(found),
            operators={"DEFAULT": operator},
            conflict_resolution=ConflictResolutionStrategy.REMOVE_INTERSECTIONS,
            merge_entities_with_spaces=False,  # by default neighbors of one type become one entity
        )
        issued = [(item.start, item.end) for item in result.items]
        counter.update(item.entity_type for item in result.items)
        for hit in self._found(result.text, language):
            if not _is_issued(hit, issued, result.text):
                raise Quarantined("residual")
        return result.text


def _is_issued(hit: RecognizerResult, issued: list[tuple[int, int]], text: str) -> bool:
    """Whether a find in the output lies inside a surrogate; a name's may reach over words
    without a capital or a digit (`said Ann`)."""
    if any(start <= hit.start and hit.end <= end for start, end in issued):
        return True
    if hit.entity_type not in _CERTAINTY:
        return False
    overlapping = [(start, end) for start, end in issued if start < hit.end and hit.start < end]
    rest = "".join(
        c
        for i, c in enumerate(text[hit.start : hit.end], hit.start)
        if not any(start <= i < end for start, end in overlapping)
    )
    return bool(overlapping) and not any(
        c.isdigit() or c.isupper() or (c.isalpha() and not c.islower()) for c in rest
    )


def _walk(message: dict[str, Any], replace: Callable[[str], str]) -> dict[str, Any]:
    """The message with every text replaced: content, reasoning, name, and tool calls' names and
    arguments."""
    calls: list[dict[str, Any]] | None = message["tool_calls"]
    return message | {
        "content": _json_or_text(message["content"], replace),
        "reasoning": _text(message["reasoning"], replace),
        "name": _text(message["name"], replace),
        "tool_calls": calls
        and [
            c
            | {
                "name": _text(c["name"], replace),
                "arguments": _json_or_text(c["arguments"], replace),
            }
            for c in calls
        ],
    }


def _text(value: str | None, replace: Callable[[str], str]) -> str | None:
    return replace(value) if value else value


def _json_or_text(value: str | None, replace: Callable[[str], str]) -> str | None:
    """Texts inside JSON are scanned decoded (an escape hides an address), and encoded again;
    anything else as it stands."""
    if value and value.lstrip()[:1] in ("{", "["):
        if len(value) > MAX_MESSAGE_BYTES:
            raise Quarantined("message_too_long")
        try:
            parsed = orjson.loads(value)
        except ValueError:
            return replace(value)
        rebuilt = _rebuild(parsed, replace, 0)
        return value if rebuilt == parsed else orjson.dumps(rebuilt).decode()
    return _text(value, replace)


def _rebuild(value: Any, replace: Callable[[str], str], depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise Quarantined("too_deep")
    if isinstance(value, str):
        return replace(value)
    if isinstance(value, dict):
        return {replace(k): _rebuild(v, replace, depth + 1) for k, v in value.items()}
    if isinstance(value, list):
        return [_rebuild(v, replace, depth + 1) for v in value]
    if (
        isinstance(value, int)
        and not isinstance(value, bool)
        and len(str(value)) >= _SHORTEST_NUMBER
    ):
        scanned = replace(str(value))  # a card or an SSN may be written as a number
        return value if scanned == str(value) else scanned
    return value
