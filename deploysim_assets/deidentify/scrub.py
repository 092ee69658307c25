"""One conversation -> the same conversation without identifiers, or the reason why it could not
be cleared."""

import re
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from presidio_anonymizer import AnonymizerEngine
from presidio_anonymizer.entities import OperatorConfig, RecognizerResult

from deploysim_assets.deidentify.detectors import Detector, detectors
from deploysim_assets.deidentify.leaves import (
    MAX_MESSAGE_BYTES,
    Leaf,
    Replace,
    rewritten,
    rewritten_tool,
)
from deploysim_assets.deidentify.ner import NerDetector
from deploysim_assets.deidentify.over_messages import split_spans
from deploysim_assets.deidentify.overlaps import (
    ISSUED,
    UNCERTAIN,
    disjoint,
    is_issued,
    is_near,
    windows_around,
)
from deploysim_assets.deidentify.people import Forms
from deploysim_assets.deidentify.rules import Clock, DetectionError, Span
from deploysim_assets.deidentify.surrogates import (
    Placeholders,
    Put,
    Treatment,
    keyed_draw,
    offset_days,
)
from deploysim_assets.project import Deidentification

__all__ = [
    "MAX_ENTITIES",
    "MAX_MESSAGE_BYTES",
    "PATTERNS_ONLY",
    "Quarantined",
    "Scrubbed",
    "Scrubber",
]

MAX_ENTITIES = 2_000
_MEMO_BYTES = 64 * 1024 * 1024
_BYTES_OF_SPAN = 150
PATTERNS_ONLY = Deidentification(min_level=0)
_AGAIN = frozenset(
    {
        "LOCATION",
        "ORGANIZATION",
        "CODE",
        "ADDRESS",
        "NATIONAL_ID",
        "ACCOUNT",
        ("SECRET"),
        "API_KEY",
        "US_SSN",
        "HANDLE",
        "LICENSE_PLATE",
    }
)
"""What is also replaced wherever the same words stand again in the conversation."""
_SHORTEST_AGAIN = 4
_MAX_PEOPLE = 500
"""Every form of each is looked for in every text."""
_ROUNDS = 3


class Quarantined(Exception):
    """The conversation could not be cleared; the argument is the reason code."""


class Scrubbed(NamedTuple):
    """De-identified messages and how many entities of each type were replaced in each, and
    likewise the tools."""

    messages: list[dict[str, Any]]
    entities: list[Counter[str]]
    tools: list[dict[str, Any]]
    entities_of_tools: Counter[str]


class Change(NamedTuple):
    """A part of a text and what stands there afterwards; `new` is the old where it is kept."""

    start: int
    end: int
    type: str
    new: str


class _Memo:
    """Spans of texts, up to a number of bytes; the oldest go first."""

    def __init__(self, limit: int) -> None:
        self._limit, self._size = limit, 0
        self._found: OrderedDict[tuple[str, str, str | None], list[Span]] = OrderedDict()

    def get(self, key: tuple[str, str, str | None]) -> list[Span] | None:
        return self._found.get(key)

    def put(self, key: tuple[str, str, str | None], spans: list[Span]) -> None:
        if key in self._found:
            return
        self._found[key] = spans
        self._size += self._bytes(key, spans)
        while self._size > self._limit and self._found:
            self._size -= self._bytes(*self._found.popitem(last=False))

    @staticmethod
    def _bytes(key: tuple[str, str, str | None], spans: list[Span]) -> int:
        return 4 * len(key[1]) + _BYTES_OF_SPAN * (1 + len(spans))


class Scrubber:
    """Replaces what the policy's detectors find, and scans its own output: whatever is found
    there beside what it issued quarantines."""

    def __init__(self, key: bytes, policy: Deidentification = PATTERNS_ONLY) -> None:
        self._key = key
        self._policy = policy
        self.level = policy.min_level
        self._languages = {language.casefold() for language in policy.languages or ()}
        self._detectors: list[Detector] = detectors(policy)
        self._memo = _Memo(_MEMO_BYTES)
        self._anonymizer = AnonymizerEngine()
        self._anonymizer.add_anonymizer(Put)

    def read_ahead(
        self,
        conversations: Iterable[
            tuple[Sequence[Mapping[str, Any]], str | None, Sequence[Mapping[str, Any]]]
        ],
    ) -> None:
        """Let the model read the texts of many conversations (messages, language, tools) in
        batches, equal ones once: several times as fast as one by one, with the same finds."""
        ner = next((d for d in self._detectors if isinstance(d, NerDetector)), None)
        if ner is None:
            return
        texts: dict[str | None, dict[str, None]] = {}
        for messages, language, tools in conversations:
            try:
                for leaf in self._leaves(messages, tools)[0]:
                    if (
                        _is_for_model(leaf)
                        and self._memo.get((ner.name, leaf.text, language)) is None
                    ):
                        texts.setdefault(language, {})[leaf.text] = None
            except DetectionError:
                continue  # scrub says why
        for language, found in texts.items():
            some = sorted(found, key=len)
            try:
                for text, spans in zip(some, ner.batch(some, language), strict=True):
                    if spans is not None:
                        self._memo.put((ner.name, text, language), spans)
            except DetectionError:
                continue

    def scrub(
        self,
        messages: Sequence[Mapping[str, Any]],
        scope: str,
        language: str | None = None,
        user: str | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
    ) -> Scrubbed:
        """De-identify all messages of a conversation and the tools that it declares; `scope` (its
        keyed id) makes surrogates differ from every other conversation's, `user` (default: the
        scope) gives the offset of dates.

        Raises Quarantined: time_out, message_too_long, too_many_entities, too_deep, not_text,
        unsupported_language, model_failed, residual.
        """
        if self._languages and (language or "").casefold() not in self._languages:
            raise Quarantined("unsupported_language")
        try:
            leaves, of_message = self._leaves(messages, tools)
            treatment = self._treatment(scope, user)
            changes = self._changes(leaves, of_message, messages, language, treatment)
            return self._replaced(messages, tools, leaves, changes, treatment)
        except DetectionError as wrong:
            raise Quarantined(str(wrong)) from wrong

    def moved(self, time: datetime | None) -> datetime | None:
        """A log's own time under the policy: kept, moved by weeks that are the same for the whole
        project, so that what was earlier stays earlier, or gone where dates do not stay."""
        action = self._policy.action("DATE")
        if time is None or action == "keep":
            return time
        if action != "shift":
            return None
        try:
            return time + timedelta(days=offset_days(keyed_draw(self._key, "clock")))
        except OverflowError:
            return None

    @property
    def keeps_commits(self) -> bool:
        """Whether a commit may be named: under strict no code leaves."""
        return self._policy.profile == "chat"

    def changes(self, text: str, language: str | None = None) -> list[Change]:
        """What is replaced in one text, in its own places, JSON as it is written; Quarantined as
        `scrub` raises it."""
        message = dict.fromkeys(("reasoning", "name", "tool_calls", "tool_call_id")) | {
            "role": "user",
            "content": text,
        }
        self.scrub([message], "text", language)
        treatment = self._treatment("text", None)
        try:
            found = self._changes([Leaf(text)], [0], [message], language, treatment)
        except DetectionError as wrong:
            raise Quarantined(str(wrong)) from wrong
        return [c for c in found[0] if c.new != text[c.start : c.end]]

    @staticmethod
    def _leaves(
        messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()
    ) -> tuple[list[Leaf], list[int]]:
        """All texts, those of the tools last, and which message each of the messages' is of."""
        leaves: list[Leaf] = []
        of_message: list[int] = []

        def kept(leaf: Leaf) -> str:
            if _size(leaf.text) > MAX_MESSAGE_BYTES:
                raise DetectionError("message_too_long")
            leaves.append(leaf)
            return leaf.text

        for i, message in enumerate(messages):

            def keep(leaf: Leaf, i: int = i) -> str:
                of_message.append(i)
                return kept(leaf)

            rewritten(message, keep)
        for tool in tools:
            rewritten_tool(tool, kept)
        return leaves, of_message

    def _found(self, detector: Detector, text: str, language: str | None) -> list[Span]:
        by_name = language if detector.level >= 2 else None
        found = self._memo.get((detector.name, text, by_name))
        if found is None:
            try:
                found = detector.spans(text, language)
            except TimeoutError:
                raise DetectionError("time_out") from None
            self._memo.put((detector.name, text, by_name), found)
        return found

    def _spans(self, leaf: Leaf, language: str | None, *, up_to: int) -> list[Span]:
        if leaf.type:
            return [Span(0, len(leaf.text), leaf.type)]
        return [
            span
            for detector in self._detectors
            if detector.level <= (0 if leaf.is_key else up_to)
            and (detector.level < 2 or _is_for_model(leaf))
            for span in self._found(detector, leaf.text, language)
        ]

    def _treatment(self, scope: str, user: str | None) -> Treatment:
        return Treatment(
            self._policy,
            keyed_draw(self._key, scope),
            keyed_draw(self._key, user or scope),
            Placeholders() if self._policy.replacement == "placeholders" else None,
        )

    def _changes(
        self,
        leaves: list[Leaf],
        of_message: list[int],
        messages: Sequence[Mapping[str, Any]],
        language: str | None,
        treatment: Treatment,
    ) -> list[list[Change]]:
        """For each text what is replaced in it."""
        spans = [self._spans(leaf, language, up_to=self.level) for leaf in leaves]
        clock = Clock()
        try:
            of_messages = leaves[: len(of_message)]
            for i, found in split_spans(messages, of_messages, of_message, clock).items():
                spans[i] = spans[i] + found
            self._add_mentions(leaves, spans, clock)
            _add_calls(messages, leaves, spans)
        except TimeoutError:
            raise DetectionError("time_out") from None
        out: list[list[Change]] = []
        for leaf, found in zip(leaves, spans, strict=True):
            if not found:
                out.append([])
                continue
            if len(found) > 2 * MAX_ENTITIES:
                raise DetectionError("too_many_entities")
            parts = found if leaf.type else disjoint(leaf.text, found)
            if len(parts) > MAX_ENTITIES:
                raise DetectionError("too_many_entities")
            out.append(
                [
                    Change(s.start, s.end, s.type, treatment.of(s.type, leaf.text[s.start : s.end]))
                    for s in parts
                ]
            )
        return out

    def _add_mentions(self, leaves: list[Leaf], spans: list[list[Span]], clock: Clock) -> None:
        """A person, a place or a code that was found once is found wherever it comes up again."""
        people: dict[str, None] = {}
        again: dict[str, str] = {}
        for leaf, found in zip(leaves, spans, strict=True):
            for s in found:
                words = leaf.text[s.start : s.end]
                if s.type == "PERSON" and self._policy.action("PERSON") != "keep":
                    people[words] = None
                elif (
                    s.type in _AGAIN
                    and len(words) >= _SHORTEST_AGAIN
                    and (words[0].isupper() or any(c.isdigit() for c in words))
                    and len(words) < 200
                ):
                    again.setdefault(words, s.type)
        if len(people) > _MAX_PEOPLE:
            raise DetectionError("too_many_entities")
        forms = Forms(people) if people else None
        for i, leaf in enumerate(leaves):
            if leaf.type or leaf.is_key:
                continue
            more = list[Span]()
            for part in (
                forms.spans(leaf.text) if forms else (),
                *(_places(words, kind, leaf.text) for words, kind in again.items()),
            ):
                clock.check()
                for span in part:
                    more.append(span)
                    if len(more) > 2 * MAX_ENTITIES:
                        raise DetectionError("too_many_entities")
            if more:
                spans[i] = spans[i] + more

    def _replaced(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]],
        leaves: list[Leaf],
        changes: list[list[Change]],
        treatment: Treatment,
    ) -> Scrubbed:
        at = iter(zip(leaves, changes, strict=True))
        entities: list[Counter[str]] = []
        ids: dict[str, str] = {}
        cleaned: list[dict[str, Any]] = []

        def putting(counter: Counter[str]) -> Replace:
            def put(_: Leaf) -> str:
                leaf, todo = next(at)
                if not todo:
                    return leaf.text
                new, issued = self._applied(leaf.text, todo)
                counter.update(c.type for c in todo if c.new != leaf.text[c.start : c.end])
                return self._rid(new, leaf, issued, treatment) if new != leaf.text else new

            return put

        for message in messages:
            counter: Counter[str] = Counter()
            done = rewritten(message, putting(counter))
            cleaned.append(_call_ids(done, ids))
            entities.append(counter)
        of_tools: Counter[str] = Counter()
        put = putting(of_tools)
        return Scrubbed(cleaned, entities, [rewritten_tool(t, put) for t in tools], of_tools)

    def _applied(self, text: str, todo: Sequence[Change]) -> tuple[str, list[tuple[int, int]]]:
        """The text with disjoint changes made, and where they stand in it."""
        if not todo:
            return text, []
        put = {(c.type, text[c.start : c.end]): c.new for c in todo}
        result = self._anonymizer.anonymize(
            text,
            [RecognizerResult(c.type, c.start, c.end, 1.0) for c in todo],
            operators={"DEFAULT": OperatorConfig("deploysim", {"replacements": put})},
            merge_entities_with_spaces=False,  # by default neighbors of one type become one entity
        )
        return result.text, sorted((item.start, item.end) for item in result.items)

    def _rid(
        self, new: str, leaf: Leaf, issued: list[tuple[int, int]], treatment: Treatment
    ) -> str:
        """The output rid of what lists and cues find in it that nothing issued: other words around
        a name make another find. What a pattern finds there quarantines. The model is not asked
        again: it has had its say, and a surrogate is a name to it."""
        for _ in range(_ROUNDS):
            rest = self._residual(new, leaf, issued)
            if not rest:
                return new
            more = [
                Change(s.start, s.end, s.type, treatment.of(s.type, new[s.start : s.end]))
                for s in rest
            ]
            kept = [Change(a, b, ISSUED, new[a:b]) for a, b in issued if a < b]
            new, issued = self._applied(new, sorted([*kept, *more]))
        raise DetectionError("residual")

    def _residual(self, new: str, leaf: Leaf, issued: list[tuple[int, int]]) -> list[Span]:
        """What is found around the issued parts; elsewhere the text is as it was scanned."""
        if leaf.type:
            return []
        rest: list[Span] = []
        for start, end in windows_around(new, issued):
            for detector in self._detectors:
                if detector.level > (0 if leaf.is_key else 1):
                    continue
                try:
                    found = detector.spans(new[start:end])
                except TimeoutError:
                    raise DetectionError("time_out") from None
                for inside in found:
                    hit = Span(start + inside.start, start + inside.end, inside.type)
                    if self._policy.action(hit.type) == "keep" or not is_near(hit, issued):
                        continue
                    if is_issued(hit, issued, new):
                        continue
                    touches = any(a < hit.end and hit.start < b for a, b in issued)
                    if hit.type not in UNCERTAIN and not touches:
                        raise DetectionError("residual")
                    rest.append(hit)
        taken = [Span(a, b, ISSUED) for a, b in issued if a < b]
        return [s for s in disjoint(new, [*taken, *rest]) if (s.start, s.end) not in issued]


def _size(text: str) -> int:
    """Bytes of its UTF-8; DetectionError where it is no text."""
    if text.isascii():
        return len(text)
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise DetectionError("not_text") from None


def _is_for_model(leaf: Leaf) -> bool:
    return not leaf.is_key and leaf.type is None and any(c.isalpha() for c in leaf.text)


def _places(words: str, kind: str, text: str) -> Iterable[Span]:
    at = text.find(words)
    while at >= 0:
        end = at + len(words)
        if not (text[at - 1 : at].isalnum() and at) and not text[end : end + 1].isalnum():
            yield Span(at, end, kind)
        at = text.find(words, end)


_CALL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{7,63}")
_COUNTED = re.compile(r"[a-z]{0,8}[_-]?[0-9]{1,5}")


def _add_calls(
    messages: Sequence[Mapping[str, Any]], leaves: list[Leaf], spans: list[list[Span]]
) -> None:
    """Ids of calls, where a text names them; those that are counted lead nowhere."""
    calls = [c.get("id") for m in messages for c in m["tool_calls"] or ()]
    given = {i for i in (*calls, *(m.get("tool_call_id") for m in messages)) if i}
    ids = {i for i in given if _CALL_ID.fullmatch(i) and not _COUNTED.fullmatch(i)}
    if not ids:
        return
    for i, leaf in enumerate(leaves):
        if not leaf.type:
            named = [m for m in _CALL_ID.finditer(leaf.text) if m.group() in ids]
            spans[i] = spans[i] + [Span(m.start(), m.end(), "ACCOUNT") for m in named]


def _call_ids(message: dict[str, Any], ids: dict[str, str]) -> dict[str, Any]:
    """Ids of tool calls, which lead back to the provider's logs, numbered through the
    conversation."""

    def other(value: str | None) -> str | None:
        return ids.setdefault(value, f"call_{len(ids) + 1}") if value else value

    calls: list[dict[str, Any]] | None = message["tool_calls"]
    if not calls and not message.get("tool_call_id"):
        return message
    renamed = calls and [c | ({"id": other(c["id"])} if c.get("id") else {}) for c in calls]
    return message | {"tool_calls": renamed, "tool_call_id": other(message.get("tool_call_id"))}
