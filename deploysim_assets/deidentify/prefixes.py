"""Sampled conversations -> de-identified prefixes: scrubbed whole, cut at the drawn user turns,
quarantined where not cleared."""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

from deploysim_assets.deidentify.keys import Keys
from deploysim_assets.deidentify.scrub import Asked, Quarantined, Scrubbed, Scrubber
from deploysim_assets.deidentify.turns import first_reply, paired, turn_end, whole_turn
from deploysim_assets.project import Deidentification
from deploysim_assets.schema import is_agentic
from deploysim_assets.shards import Engine

CHUNK = 200
_STARTING_WORKERS = 2.0


class Turn(Protocol):
    """A user turn that was drawn."""

    @property
    def turn_index(self) -> int: ...
    @property
    def stratum(self) -> str: ...
    @property
    def weight(self) -> float: ...


class Drawn(NamedTuple):
    """A conversation (a row of raw_logs) and the user turns of it that were drawn."""

    conversation: dict[str, Any]
    turns: Sequence[Turn]


class Cut(NamedTuple):
    """Rows of the prefixes table and of the quarantine table."""

    prefixes: list[dict[str, Any]]
    quarantined: list[dict[str, Any]]


_COMMIT = re.compile(r"[0-9a-f]{7,64}")


def _whole(drawn: Drawn, *, agents: bool) -> list[dict[str, Any]]:
    """The messages up to the answer to the last drawn turn, with agents to the end of the turn."""
    last = max(turn.turn_index for turn in drawn.turns)
    messages = drawn.conversation["messages"]
    return messages[: turn_end(messages, last) if agents else last + 2]


def _tools(drawn: Drawn, *, agents: bool) -> list[dict[str, Any]]:
    return (drawn.conversation["tools"] or []) if agents else []


def _named(drawn: Drawn, keys: Keys) -> tuple[str, str]:
    """The keyed ids of a conversation and its user; one that nobody is known to have had is a
    user's by itself."""
    conversation_key = keys.identify("conversation", drawn.conversation["conversation_id"])
    user = drawn.conversation["user_id"]
    return conversation_key, keys.identify("user", user) if user is not None else conversation_key


def cut_prefixes(
    chunk: list[Drawn], keys: Keys, scrubber: Scrubber, *, agents: bool = False
) -> Cut:
    """De-identify the conversations of a chunk and cut each after its drawn turns; with `agents`
    what production did is the whole turn, and tools, commit and clock are kept. A pure function of
    its arguments."""
    cut = Cut([], [])
    named = [_named(drawn, keys) for drawn in chunk]
    cleaned = scrubber.scrub_all(
        [
            Asked(
                _whole(drawn, agents=agents),
                conversation_key,
                drawn.conversation["language"],
                user_key,
                _tools(drawn, agents=agents),
            )
            for drawn, (conversation_key, user_key) in zip(chunk, named, strict=True)
        ]
    )
    for drawn, (conversation_key, user_key), result in zip(chunk, named, cleaned, strict=True):
        conversation, turns = drawn
        ids = {
            turn: keys.identify("prefix", conversation["conversation_id"], str(turn.turn_index))
            for turn in turns
        }
        if isinstance(result, Quarantined):
            cut.quarantined.extend(
                {"prefix_id": i, "conversation_key": conversation_key, "reason": str(result)}
                for i in ids.values()
            )
            continue
        scrubbed = result._replace(messages=paired(result.messages)) if agents else result
        for turn, prefix_id in ids.items():
            prefix = _prefix(turn, conversation, scrubbed, scrubber, agents=agents)
            cut.prefixes.append(
                {"prefix_id": prefix_id, "conversation_key": conversation_key, "user_key": user_key}
                | prefix
            )
    return cut


def _prefix(
    turn: Turn,
    conversation: dict[str, Any],
    scrubbed: Scrubbed,
    scrubber: Scrubber,
    *,
    agents: bool,
) -> dict[str, Any]:
    messages = [m | {"at": None} for m in scrubbed.messages]
    end = turn.turn_index + 2
    of_agent: dict[str, Any] = dict.fromkeys(("tools", "tools_inferred", "commit", "clock"))
    reply = first_reply(messages[turn.turn_index + 1])
    entities = Counter[str]()
    if agents:
        commit = conversation["commit"] or ""
        of_agent |= {
            "tools": scrubbed.tools or None,
            "tools_inferred": conversation["tools_inferred"] if scrubbed.tools else None,
            "commit": commit if scrubber.keeps_commits and _COMMIT.fullmatch(commit) else None,
            "clock": scrubber.moved(conversation["started_at"]),
        }
        entities += scrubbed.entities_of_tools
        last = turn_end(messages, turn.turn_index)
        whole = whole_turn(messages[turn.turn_index + 1 : last])
        if is_agentic({"tools": scrubbed.tools, "production_completion": whole}):
            reply, end = whole, last
    entities = sum(scrubbed.entities[:end], entities)
    return {
        "model_version": conversation["model_version"],
        "turn_index": turn.turn_index,
        "stratum": turn.stratum or conversation["surface"] or "unknown",
        "weight": turn.weight,
        "surface": conversation["surface"],
        "language": conversation["language"],
        "training_allowed": conversation["training_allowed"],
        "messages": messages[: turn.turn_index + 1],
        "production_completion": reply,
        **of_agent,
        "entities": [{"type": kind, "count": count} for kind, count in sorted(entities.items())],
        "deid_level": scrubber.level,
    }


def _cleaner(keys: Keys, policy: Deidentification, *, agents: bool) -> Callable[[list[Drawn]], Cut]:
    scrubber = Scrubber(keys.surrogates, policy)
    return partial(cut_prefixes, keys=keys, scrubber=scrubber, agents=agents)


def _chunks(drawn: Iterable[Drawn]) -> Iterator[list[Drawn]]:
    chunk: list[Drawn] = []
    for item in drawn:
        chunk.append(item)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def deidentified(
    drawn: Iterable[Drawn],
    keys: Keys,
    policy: Deidentification,
    engine: Engine,
    *,
    agents: bool = False,
    at_once: bool = False,
) -> Iterator[Cut]:
    """All conversations, in order: at first in this process, and by the engine's workers what is
    left after the seconds that these take to start; all by them with `at_once`. The result does not
    depend on who does what.
    """
    chunks = _chunks(drawn)
    make = partial(_cleaner, keys, policy, agents=agents)
    if not at_once:
        began, clean = time.monotonic(), None
        for chunk in chunks:
            clean = clean or make()
            yield clean(chunk)
            if time.monotonic() - began > _STARTING_WORKERS:
                break
    yield from engine(make, chunks)
