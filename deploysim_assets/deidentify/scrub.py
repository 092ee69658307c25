"""One conversation -> the same conversation without identifiers, or the reason why it could not
be cleared."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from deploysim_assets.deidentify import call_ids
from deploysim_assets.deidentify.detectors import detectors
from deploysim_assets.deidentify.finds import Finds, Found
from deploysim_assets.deidentify.leaves import (
    MAX_MESSAGE_BYTES,
    Leaf,
    rewritten,
    rewritten_tool,
)
from deploysim_assets.deidentify.over_messages import split_spans
from deploysim_assets.deidentify.overlaps import disjoint
from deploysim_assets.deidentify.people import Forms
from deploysim_assets.deidentify.replacing import Change, Output, Replacer
from deploysim_assets.deidentify.rules import Clock, DetectionError, Span
from deploysim_assets.deidentify.surrogates import (
    Placeholders,
    Treatment,
    keyed_draw,
    offset_days,
)
from deploysim_assets.project import Deidentification

__all__ = [
    "MAX_ENTITIES",
    "MAX_MESSAGE_BYTES",
    "PATTERNS_ONLY",
    "Asked",
    "Quarantined",
    "Scrubbed",
    "Scrubber",
]

MAX_ENTITIES = 2_000
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


class Quarantined(Exception):
    """The conversation could not be cleared; the argument is the reason code."""


class Scrubbed(NamedTuple):
    """De-identified messages and how many entities of each type were replaced in each, and
    likewise the tools."""

    messages: list[dict[str, Any]]
    entities: list[Counter[str]]
    tools: list[dict[str, Any]]
    entities_of_tools: Counter[str]


class Asked(NamedTuple):
    """A conversation to de-identify: its messages, the scope (its keyed id) that makes its
    surrogates differ from every other conversation's, what the log says of its language, the user
    (default: the scope) who gives the offset of dates, and the tools that it declares."""

    messages: Sequence[Mapping[str, Any]]
    scope: str
    language: str | None = None
    user: str | None = None
    tools: Sequence[Mapping[str, Any]] = ()


class _Talk:
    """A conversation under way; `why` is the reason why it could not be cleared."""

    def __init__(self, asked: Asked, treatment: Treatment) -> None:
        self.asked, self.treatment = asked, treatment
        self.leaves = list[Leaf]()
        self.of_message = list[int]()
        self.changes = list[Sequence[Change]]()
        self.outputs = list[Output | None]()
        """None for a text in which nothing is to be changed."""
        self.result: Scrubbed | None = None
        self.why: str | None = None


class Scrubber:
    """Replaces what the policy's detectors find, and scans its own output: whatever is found
    there beside what it issued quarantines."""

    def __init__(self, key: bytes, policy: Deidentification = PATTERNS_ONLY) -> None:
        self._key = key
        self._policy = policy
        self.level = policy.min_level
        self._languages = {language.casefold() for language in policy.languages or ()}
        self._finds = Finds(detectors(policy))
        self._detectors = self._finds.detectors
        self._replacer = Replacer(policy, self._finds)

    def read_ahead(self, conversations: Iterable[Asked]) -> None:
        """Scan the texts of many conversations in batches, equal ones once: several times as fast
        as one by one where a model reads them, with the same finds."""
        self._read(conversations, ahead=True)

    def _read(self, conversations: Iterable[Asked], *, ahead: bool) -> list[_Talk]:
        talks = [_Talk(c, self._treatment(c.scope, c.user)) for c in conversations]
        _each(talks, self._look)
        if ahead:
            self._finds.read_ahead((leaf, t.asked.language) for t in talks for leaf in t.leaves)
        return talks

    def scrub(
        self,
        messages: Sequence[Mapping[str, Any]],
        scope: str,
        language: str | None = None,
        user: str | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
    ) -> Scrubbed:
        """`scrub_all` of one conversation.

        Raises Quarantined: time_out, message_too_long, too_many_entities, too_deep, not_text,
        unsupported_language, model_failed, residual.
        """
        (result,) = self._scrubbed([Asked(messages, scope, language, user, tools)])
        if isinstance(result, Quarantined):
            raise result
        return result

    def scrub_all(self, conversations: Sequence[Asked]) -> list[Scrubbed | Quarantined]:
        """De-identify all messages of each conversation and the tools that it declares. Each comes
        out as it would alone; many at a time take a quarter less."""
        return self._scrubbed(conversations, ahead=True)

    def _scrubbed(
        self, conversations: Sequence[Asked], *, ahead: bool = False
    ) -> list[Scrubbed | Quarantined]:
        talks = self._read(conversations, ahead=ahead)
        _each(talks, self._replace)
        self._replacer.read_ahead(
            (leaf, output)
            for t in talks
            if not t.why
            for leaf, output in zip(t.leaves, t.outputs, strict=True)
            if output
        )
        _each(talks, self._finish)
        return [t.result or Quarantined(t.why) for t in talks]

    def _look(self, talk: _Talk) -> None:
        """The texts of a conversation."""
        asked = talk.asked
        if self._languages and (asked.language or "").casefold() not in self._languages:
            raise DetectionError("unsupported_language")
        talk.leaves, talk.of_message = self._leaves(asked.messages, asked.tools)

    def _replace(self, talk: _Talk) -> None:
        """What is found in a conversation, replaced."""
        asked = talk.asked
        talk.changes = self._changes(
            talk.leaves, talk.of_message, asked.messages, asked.language, talk.treatment
        )
        talk.outputs = [
            self._replacer.applied(leaf.text, todo) if todo else None
            for leaf, todo in zip(talk.leaves, talk.changes, strict=True)
        ]

    def _finish(self, talk: _Talk) -> None:
        """The conversation with its texts, once these were looked at again."""
        texts = iter(
            [
                self._replacer.rid(leaf, output, talk.treatment) if output else leaf.text
                for leaf, output in zip(talk.leaves, talk.outputs, strict=True)
            ]
        )

        def put(_: Leaf) -> str:
            return next(texts)

        ids: dict[str, str] = {}
        cleaned = [call_ids.numbered(rewritten(m, put), ids) for m in talk.asked.messages]
        tools = [rewritten_tool(tool, put) for tool in talk.asked.tools]
        entities = [Counter[str]() for _ in (*cleaned, "of the tools")]
        of_text = (*talk.of_message, *(-1 for _ in talk.leaves[len(talk.of_message) :]))
        for i, leaf, todo in zip(of_text, talk.leaves, talk.changes, strict=True):
            if todo:
                entities[i].update(c.type for c in todo if c.new != leaf.text[c.start : c.end])
        talk.result = Scrubbed(cleaned, entities[:-1], tools, entities[-1])

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

        def keep(leaf: Leaf) -> str:
            if _size(leaf.text) > MAX_MESSAGE_BYTES:
                raise DetectionError("message_too_long")
            leaves.append(leaf)
            return leaf.text

        for i, message in enumerate(messages):
            rewritten(message, keep)
            of_message += [i] * (len(leaves) - len(of_message))
        for tool in tools:
            rewritten_tool(tool, keep)
        return leaves, of_message

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
    ) -> list[Sequence[Change]]:
        """For each text what is replaced in it."""
        spans = [self._finds.of_leaf(leaf, language, self.level) for leaf in leaves]
        clock = Clock()
        try:
            of_messages = leaves[: len(of_message)]
            for i, found in split_spans(messages, of_messages, of_message, clock).items():
                spans[i] += tuple(found)
            self._add_mentions(leaves, spans, clock)
            call_ids.add_named(messages, leaves, spans)
        except TimeoutError:
            raise DetectionError("time_out") from None
        out: list[Sequence[Change]] = []
        for leaf, found in zip(leaves, spans, strict=True):
            if not found:
                out.append(())
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

    def _add_mentions(self, leaves: list[Leaf], spans: list[Found], clock: Clock) -> None:
        """A person, a place or a code that was found once is found wherever it comes up again."""
        people, again = self._mentioned(leaves, spans)
        if len(people) > _MAX_PEOPLE:
            raise DetectionError("too_many_entities")
        if not people and not again:
            return
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
                spans[i] += tuple(more)

    def _mentioned(
        self, leaves: list[Leaf], spans: list[Found]
    ) -> tuple[dict[str, None], dict[str, str]]:
        """People, and the words of whatever else is looked for again with its type."""
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
        return people, again


def _each(talks: Iterable[_Talk], step: Callable[[_Talk], None]) -> None:
    for talk in talks:
        if talk.why is None:
            try:
                step(talk)
            except DetectionError as wrong:
                talk.why = str(wrong)


def _size(text: str) -> int:
    """Bytes of its UTF-8; DetectionError where it is no text."""
    if text.isascii():
        return len(text)
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise DetectionError("not_text") from None


def _places(words: str, kind: str, text: str) -> Iterable[Span]:
    at = text.find(words)
    while at >= 0:
        end = at + len(words)
        if not (text[at - 1 : at].isalnum() and at) and not text[end : end + 1].isalnum():
            yield Span(at, end, kind)
        at = text.find(words, end)
