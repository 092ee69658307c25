"""One conversation -> the same conversation without identifiers, or the reason why it could not be cleared."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import orjson
from presidio_anonymizer import AnonymizerEngine
from presidio_anonymizer.entities import ConflictResolutionStrategy, OperatorConfig, RecognizerResult

from deploysim_assets.deidentify.detectors import DetectionError, PatternDetector
from deploysim_assets.deidentify.surrogates import Surrogate

MAX_MESSAGE_BYTES = 256 * 1024
MAX_ENTITIES = 2_000  # presidio's splicing is quadratic in them
_MAX_DEPTH = 64
_MEMO_SIZE = 20_000
_SHORTEST_NUMBER = 7


class Quarantined(Exception):
    """The conversation could not be cleared; the argument is the reason code."""


class Scrubbed(NamedTuple):
    """De-identified messages and how many entities of each type were replaced in each."""

    messages: list[dict[str, Any]]
    entities: list[Counter[str]]


class Scrubber:
    """Replaces what the detector finds, and scans its own output: whatever is found there beside its surrogates quarantines."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._detector = PatternDetector()
        self._anonymizer = AnonymizerEngine()
        self._anonymizer.add_anonymizer(Surrogate)
        self._memo: dict[str, list[RecognizerResult]] = {}

    def scrub(self, messages: list[dict[str, Any]], scope: str) -> Scrubbed:
        """De-identify all messages of a conversation; `scope` (its keyed id) makes surrogates differ from every other conversation's.

        Raises Quarantined: time_out, message_too_long, too_many_entities, too_deep, not_text, residual.
        """
        cleaned: list[dict[str, Any]] = []
        counts: list[Counter[str]] = []
        for message in messages:
            counter: Counter[str] = Counter()

            def replace(text: str, counter: Counter[str] = counter) -> str:
                return self._replace(text, scope, counter)

            cleaned.append(_walk(message, replace))
            counts.append(counter)
        return Scrubbed(cleaned, counts)

    def _found(self, text: str) -> list[RecognizerResult]:
        found = self._memo.get(text)
        if found is None:
            try:
                spans = self._detector.spans(text)
            except DetectionError as wrong:
                raise Quarantined(str(wrong)) from wrong
            found = [RecognizerResult(entity_type=s.type, start=s.start, end=s.end, score=1.0) for s in spans]
            if len(self._memo) > _MEMO_SIZE:
                self._memo.clear()
            self._memo[text] = found
        return found

    def _replace(self, text: str, scope: str, counter: Counter[str]) -> str:
        try:
            size = len(text.encode())
        except UnicodeEncodeError:
            raise Quarantined("not_text") from None
        if size > MAX_MESSAGE_BYTES:
            raise Quarantined("message_too_long")
        found = self._found(text)
        if not found:
            return text
        if len(found) > MAX_ENTITIES:
            raise Quarantined("too_many_entities")
        result = self._anonymizer.anonymize(
            text,
            list(found),
            operators={"DEFAULT": OperatorConfig("surrogate", {"key": self._key, "scope": scope})},
            conflict_resolution=ConflictResolutionStrategy.REMOVE_INTERSECTIONS,
            merge_entities_with_spaces=False,  # by default neighbors of one type become one entity
        )
        issued = [(item.start, item.end) for item in result.items]
        counter.update(item.entity_type for item in result.items)
        for hit in self._found(result.text):
            if not any(start <= hit.start and hit.end <= end for start, end in issued):
                raise Quarantined("residual")
        return result.text


def _walk(message: dict[str, Any], replace: Callable[[str], str]) -> dict[str, Any]:
    """The message with every text replaced: content, reasoning, name, and tool calls' names and arguments."""
    calls: list[dict[str, Any]] | None = message["tool_calls"]
    return message | {
        "content": _json_or_text(message["content"], replace),
        "reasoning": _text(message["reasoning"], replace),
        "name": _text(message["name"], replace),
        "tool_calls": calls and [c | {"name": _text(c["name"], replace), "arguments": _json_or_text(c["arguments"], replace)} for c in calls],
    }


def _text(value: str | None, replace: Callable[[str], str]) -> str | None:
    return replace(value) if value else value


def _json_or_text(value: str | None, replace: Callable[[str], str]) -> str | None:
    """Texts inside JSON are scanned decoded (an escape hides an address), and encoded again; anything else as it stands."""
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
    if isinstance(value, int) and not isinstance(value, bool) and len(str(value)) >= _SHORTEST_NUMBER:
        scanned = replace(str(value))  # a card or an SSN may be written as a number
        return value if scanned == str(value) else scanned
    return value
