"""Which conversations may be used, and which of their user turns are drawn: uniform, by a keyed hash, the same on every machine."""

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple


def ineligible(conversation: dict[str, Any]) -> str | None:
    """Why a conversation may not be used, or None. Consent must be true: unknown consent is not consent."""
    if conversation["training_allowed"] is None:
        return "consent_unknown"
    if not conversation["training_allowed"]:
        return "no_consent"
    if conversation["is_temporary"]:
        return "temporary"
    if conversation["has_attachments"]:
        return "attachments"
    return None


def eligible_turns(roles: list[str]) -> list[int]:
    """Indices of the user messages that the model answered directly: the turns that a candidate can be asked to answer."""
    return [i for i, (role, following) in enumerate(pairwise(roles)) if role == "user" and following == "assistant"]


def rank(seed: int, conversation_id: str, turn: int) -> int:
    """A turn's place in the order in which turns are drawn: a 64-bit keyed hash, independent of all other data."""
    key = seed.to_bytes(16, "big", signed=True)
    return int.from_bytes(hashlib.blake2b(f"{turn}\x1f{conversation_id}".encode("utf-8", "surrogatepass"), key=key, digest_size=8).digest())


class Survey(NamedTuple):
    """The first pass over a corpus: conversations eligible and ineligible by reason, user turns to draw from, and the rank to draw up to."""

    eligible: int
    ineligible: dict[str, int]
    turns: int
    last_rank: int


def survey(conversations: Iterable[dict[str, Any]], seed: int, max_prefixes: int) -> Survey:
    """Count and rank. `conversations` needs the consent columns and `roles`; memory is that of max_prefixes integers.

    The max_prefixes turns of lowest rank are drawn.  Ranks know nothing of each other, so later data can only displace turns,
    never reshuffle them.
    """
    reasons: Counter[str] = Counter()
    eligible = turns = 0

    def ranks() -> Iterator[int]:
        nonlocal eligible, turns
        for conversation in conversations:
            found = eligible_turns(conversation["roles"])
            reason = ineligible(conversation) or (None if found else "no_answered_user_turn")
            if reason:
                reasons[reason] += 1
                continue
            eligible += 1
            turns += len(found)
            yield from (rank(seed, conversation["conversation_id"], turn) for turn in found)

    lowest = heapq.nsmallest(max_prefixes, ranks())
    return Survey(eligible, dict(reasons), turns, lowest[-1] if lowest else -1)


def drawn_turns(conversation: dict[str, Any], seed: int, last_rank: int) -> list[int]:
    """The turns of a conversation (with `messages`) that the survey's rank draws; none of an ineligible one."""
    if ineligible(conversation):
        return []
    turns = eligible_turns([m["role"] for m in conversation["messages"]])
    return [turn for turn in turns if rank(seed, conversation["conversation_id"], turn) <= last_rank]
