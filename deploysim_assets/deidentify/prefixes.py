"""Sampled conversations -> de-identified prefixes: scrubbed whole, cut at the drawn user turns,
quarantined where not cleared."""

import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple, Protocol

from deploysim_assets.deidentify.keys import Keys
from deploysim_assets.deidentify.scrub import Quarantined, Scrubber
from deploysim_assets.project import Deidentification

CHUNK = 200
_IN_FLIGHT = 8
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


def _whole(drawn: Drawn) -> list[dict[str, Any]]:
    """The messages up to the answer to the last drawn turn."""
    last = max(turn.turn_index for turn in drawn.turns)
    return drawn.conversation["messages"][: last + 2]


def cut_prefixes(chunk: list[Drawn], keys: Keys, scrubber: Scrubber) -> Cut:
    """De-identify the conversations of a chunk and cut each after its drawn turns. A pure
    function of its arguments."""
    cut = Cut([], [])
    scrubber.read_ahead((_whole(drawn), drawn.conversation["language"]) for drawn in chunk)
    for conversation, turns in chunk:
        conversation_key = keys.identify("conversation", conversation["conversation_id"])
        user = conversation["user_id"]
        user_key = keys.identify("user", user) if user is not None else conversation_key
        ids = {
            turn: keys.identify("prefix", conversation["conversation_id"], str(turn.turn_index))
            for turn in turns
        }
        try:
            scrubbed = scrubber.scrub(
                _whole(Drawn(conversation, turns)),
                conversation_key,
                conversation["language"],
                user_key,
            )
        except Quarantined as why:
            cut.quarantined.extend(
                {"prefix_id": i, "conversation_key": conversation_key, "reason": str(why)}
                for i in ids.values()
            )
            continue
        for turn, prefix_id in ids.items():
            reply = scrubbed.messages[turn.turn_index + 1]
            entities = sum(scrubbed.entities[: turn.turn_index + 2], Counter[str]())
            cut.prefixes.append(
                {
                    "prefix_id": prefix_id,
                    "conversation_key": conversation_key,
                    "user_key": user_key,
                    "model_version": conversation["model_version"],
                    "turn_index": turn.turn_index,
                    "stratum": turn.stratum or conversation["surface"] or "unknown",
                    "weight": turn.weight,
                    "surface": conversation["surface"],
                    "language": conversation["language"],
                    "training_allowed": conversation["training_allowed"],
                    "messages": scrubbed.messages[: turn.turn_index + 1],
                    "production_completion": {
                        k: reply.get(k)
                        for k in ("content", "reasoning", "tool_calls", "finish_reason")
                    }
                    | {"steps": []},
                    "tools": None,
                    "tools_inferred": None,
                    "commit": None,
                    "clock": conversation["started_at"],
                    "entities": [
                        {"type": kind, "count": count} for kind, count in sorted(entities.items())
                    ],
                    "deid_level": scrubber.level,
                }
            )
    return cut


_scrubber: Scrubber | None = None


def _in_worker(chunk: list[Drawn], keys: Keys, policy: Deidentification) -> Cut:
    global _scrubber  # noqa: PLW0603 (one per worker process: building it takes a second)
    _scrubber = _scrubber or Scrubber(keys.surrogates, policy)
    return cut_prefixes(chunk, keys, _scrubber)


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
    drawn: Iterable[Drawn], keys: Keys, policy: Deidentification, workers: int | None = None
) -> Iterator[Cut]:
    """All conversations, in order: at first in this process, and through worker processes what
    is left after the seconds that these take to start. Always through `workers` of them, where
    these are given; the result does not depend on their number.
    """
    chunks = _chunks(drawn)
    if workers is None:
        began, scrubber = time.monotonic(), None
        for chunk in chunks:
            scrubber = scrubber or Scrubber(keys.surrogates, policy)
            yield cut_prefixes(chunk, keys, scrubber)
            if time.monotonic() - began > _STARTING_WORKERS:
                break
    first = next(chunks, None)
    if first is None:
        return
    # spawn: a forked child inherits the locks of polars' and gRPC's threads
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers or os.cpu_count(), mp_context=context) as pool:
        pending = [pool.submit(_in_worker, first, keys, policy)]
        for chunk in chunks:
            if len(pending) >= _IN_FLIGHT:
                yield pending.pop(0).result()
            pending.append(pool.submit(_in_worker, chunk, keys, policy))
        for future in pending:
            yield future.result()
