"""The audit of de-identification: recall on seeded canaries per type, script and container, and
false hits on clean text."""

import random
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import count
from typing import Any, NamedTuple

from scipy import special

from deploysim_assets.deidentify.canaries import (
    CANARIES,
    CONTAINERS,
    HIDDEN,
    KEYED,
    KEYED_CONTAINERS,
    NAMED,
    PROSE,
    SPLIT,
)
from deploysim_assets.deidentify.scrub import Quarantined, Scrubber
from deploysim_assets.deidentify.surrogates import AREAS

_PIECE = 5
_SURROGATES_SHARE = (
    *(
        "example",
        "redacted",
        "bearerredacted",
        "accountkeyredacted",
        "postgresuserredacted",
        "lindenhofdemain",
        "dbpasswordredacted",
        # the same with their signs as JSON escapes and in URLs: the word before a secret stays
        "passwordu003dredacted",
        "dbpassword3dredacted",
        "accountkeyu003dredacted",
        "accountkey3dredacted",
        "beareru0020redacted",
        "bearer20redacted",
        "passportredacted",
        "4000000000000000",
        "02-00-5E-",
        "192.0.2.",
        "198.51.100.",
        "203.0.113.",
        "2001:db8:",
    ),
    *(f"1{area}55501" for area in AREAS),
)


class Cell(NamedTuple):
    """Recall of one type in one script and container, with its one-sided 95% lower bound.
    Quarantine counts as caught."""

    type: str
    script: str
    container: str
    planted: int
    caught: int

    @property
    def recall(self) -> float:
        return self.caught / self.planted

    @property
    def lower(self) -> float:
        """Clopper-Pearson."""
        return (
            float(special.betaincinv(self.caught, self.planted - self.caught + 1, 0.05))
            if self.caught
            else 0.0
        )


def _pieces(text: str) -> set[str]:
    plain = re.sub(r"[^0-9a-z]", "", text.lower())
    return {plain[i : i + _PIECE] for i in range(len(plain) - _PIECE + 1)}


def _words(message: dict[str, Any]) -> str:
    calls: list[dict[str, str]] = message["tool_calls"] or []
    return " ".join([message["content"] or "", *(call["arguments"] for call in calls)])


def leaked(value: str, bare: dict[str, Any], cleaned: list[dict[str, Any]]) -> bool:
    """Whether five letters or digits in a row of a canary are left in every one of the cleaned
    messages.

    What the message holds without the canary does not count, nor does what all surrogates have in
    common; a chance likeness of one surrogate does not stand in two messages with different ones.
    """
    known = _pieces(_words(bare)).union(*(_pieces(shared) for shared in _SURROGATES_SHARE))
    return bool(_pieces(value).intersection(*(_pieces(_words(m)) for m in cleaned)) - known)


def _caught(scrubber: Scrubber, value: str, message: dict[str, Any], bare: dict[str, Any]) -> bool:
    """Whether nothing of the value is left. What two outputs share with it may be chance; what four
    of them share is not."""

    def left(*scopes: str) -> bool:
        cleaned = [scrubber.scrub([message], f"canary-{scope}").messages[0] for scope in scopes]
        return leaked(value, bare, cleaned)

    try:
        return not (left("1", "2") and left("1", "2", "3", "4"))
    except Quarantined:
        return True


def canary_recall(
    scrubber: Scrubber,
    seed: int,
    per_cell: int,
    corpus: list[str] | None = None,
    every: int = 1,
) -> Iterator[Cell]:
    """Plant `per_cell` canaries of every type, script and container, into texts of the corpus
    where one is given, and scrub them; of `every` so many cells in a row one alone."""
    cell = count()
    for kind, value_of in CANARIES.items():
        for script, (before, after) in PROSE.items():
            for container, plant in CONTAINERS.items():
                if next(cell) % every:
                    continue
                rng = random.Random(f"{seed}/{kind}/{script}/{container}")
                caught = 0
                for _ in range(per_cell):
                    value = value_of(rng)
                    start = f"{rng.choice(corpus)}\n\n{before}" if corpus else before
                    caught += _caught(
                        scrubber, value, plant(value, start, after), plant("", start, after)
                    )
                yield Cell(kind, script, container, per_cell, caught)


@cache
def canaries() -> dict[str, int]:
    """How many canaries were planted, one in every second cell, and how many of them the patterns
    caught as they are installed here. Without a miss the lower 95% bound over all of them is above
    .99."""
    scrubber = Scrubber(b"check" * 8)
    cells = list(canary_recall(scrubber, 1, 1, every=2))
    return {"planted": sum(c.planted for c in cells), "caught": sum(c.caught for c in cells)}


def more_canaries(  # noqa: C901 (three tables, walked one after the other)
    scrubber: Scrubber, seed: int, per_cell: int
) -> Iterator[Cell]:
    """Values that only their key tells, values in hiding, and the names, dates, places and
    organizations that the scrubber's level knows. A value counts as caught where it does not stand
    in the output as it was, and, of one that is hidden, the run that hides it does not either."""

    def cell(
        kind: str,
        script: str,
        container: str,
        plant: Callable[[random.Random], tuple[str, list[dict[str, Any]]]],
    ) -> Cell:
        rng = random.Random(f"{seed}/{kind}/{script}/{container}")
        caught = 0
        for i in range(per_cell):
            value, messages = plant(rng)
            caught += not _left(scrubber, i, value, messages)
        return Cell(kind, script, container, per_cell, caught)

    for key, (kind, value_of) in KEYED.items():
        for container, hold in KEYED_CONTAINERS.items():

            def keyed(
                rng: random.Random,
                key: str = key,
                value_of: Callable[[random.Random], str] = value_of,
                hold: Callable[[str, str], list[dict[str, Any]]] = hold,
            ) -> tuple[str, list[dict[str, Any]]]:
                value = value_of(rng)
                return value, hold(key, value)

            yield cell(kind, f'"{key}"', container, keyed)
    for kind in CANARIES:
        for place, hide in HIDDEN.items():
            if place == "two_messages" and kind not in SPLIT:
                continue

            def hidden(
                rng: random.Random,
                kind: str = kind,
                hide: Callable[[str], list[dict[str, Any]]] = hide,
            ) -> tuple[str, list[dict[str, Any]]]:
                value = CANARIES[kind](rng)
                return value, hide(value)

            yield cell(kind, "hidden", place, hidden)
    for kind, (level, value_of, sentences) in NAMED.items():
        if level > scrubber.level:
            continue

        def named(
            rng: random.Random,
            value_of: Callable[[random.Random], str] = value_of,
            sentences: tuple[str, ...] = sentences,
        ) -> tuple[str, list[dict[str, Any]]]:
            value = value_of(rng)
            return value, [_user(rng.choice(sentences).format(value))]

        yield cell(kind, "latin", "prose", named)


def _left(scrubber: Scrubber, number: int, value: str, messages: list[dict[str, Any]]) -> bool:
    """Whether a value stands in the output: once may be a surrogate's chance likeness to half of
    it, with other surrogates each of four times is not."""
    try:
        return all(
            _stands(value, messages, scrubber.scrub(messages, f"canary-{number}{again}").messages)
            for again in ("", "b", "c", "d")
        )
    except Quarantined:
        return False


def _user(content: str) -> dict[str, Any]:
    return dict.fromkeys(("reasoning", "name", "tool_calls", "tool_call_id", "at")) | {
        "role": "user",
        "content": content,
    }


def _stands(value: str, before: list[dict[str, Any]], after: list[dict[str, Any]]) -> bool:
    """Whether the value, or for one that is hidden or cut the longest words that held it, stand in
    the output."""
    old, new = (" ".join(map(_words, messages)) for messages in (before, after))
    if value in old:
        return value in new
    held = [
        w for w in re.findall(r"[^\s\"\\{}]{4,}", old) if any(c.isdigit() or c in "%&@" for c in w)
    ]
    held = held or re.findall(r"[^\s\"\\{}]{12,}", old)
    return bool(held) and all(word in new for word in held)


class FalseHits(NamedTuple):
    """Hits on text that is said to hold no identifier."""

    megabytes: float
    by_type: dict[str, int]

    @property
    def per_megabyte(self) -> float:
        return sum(self.by_type.values()) / self.megabytes


def false_hits(scrubber: Scrubber, texts: Iterable[str]) -> FalseHits:
    """Count what is replaced in clean texts; a quarantined one counts as one hit."""
    size, found = 0, dict[str, int]()
    for text in texts:
        size += len(text.encode())
        try:
            scrubbed = scrubber.scrub([_user(text)], "clean")
            for kind, count in scrubbed.entities[0].items():
                found[kind] = found.get(kind, 0) + count
        except Quarantined as why:
            found[f"quarantined: {why}"] = found.get(f"quarantined: {why}", 0) + 1
    return FalseHits(size / 1e6, found)
