"""Which conversations may be used, and which of their user turns are drawn: uniform, by a keyed hash, the same on every machine."""

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import polars as pl

from deploysim_assets.project import Eligibility, Sampling

_MESSAGE = pl.element().struct
_TEXT = _MESSAGE.field("content").fill_null("")
ROLES = pl.col("messages").list.eval(_MESSAGE.field("role")).alias("roles")
FILLED = pl.col("messages").list.eval((_TEXT.str.strip_chars() != "") | (_MESSAGE.field("tool_calls").list.len().fill_null(0) > 0)).alias("filled")
CHARACTERS = pl.col("messages").list.eval(_TEXT.str.len_chars()).list.sum().alias("characters")
DRAWN_FROM = [pl.exclude("messages", "source"), ROLES, FILLED, CHARACTERS]
"""What the survey reads of raw_logs: everything but the texts."""


def ineligible(conversation: dict[str, Any], policy: Eligibility, model_names: frozenset[str]) -> str | None:
    """Why a conversation may not be used, or None. Consent must be true: unknown consent is not consent.

    `conversation` has the columns of raw_logs and, in place of `messages`, `roles` and `characters`.  `model_names` are the names of the
    release; a conversation of a model that the source names otherwise belongs to another release.
    """
    reasons = {
        "consent_unknown": conversation["training_allowed"] is None,
        "no_consent": conversation["training_allowed"] is False,
        "temporary": conversation["is_temporary"] and not policy.allow_temporary,
        "attachments": conversation["has_attachments"] and not policy.allow_attachments,
        "excluded_surface": conversation["surface"] in policy.exclude_surfaces,
        "excluded_account": conversation["user_id"] in policy.exclude_users,
        "other_model": conversation["reported_model"] is not None and conversation["reported_model"] not in model_names,
        "too_long": len(conversation["roles"]) > policy.max_messages or conversation["characters"] > policy.max_characters,
    }
    return next((reason for reason, met in reasons.items() if met), None)


def eligible_turns(roles: list[str], filled: list[bool]) -> list[int]:
    """Indices of the user messages that the model answered directly, with something written on both sides."""
    turns = enumerate(pairwise(zip(roles, filled, strict=True)))
    return [i for i, ((role, asked), (following, answered)) in turns if role == "user" and following == "assistant" and asked and answered]


def rank(seed: int, conversation_id: str, turn: int) -> int:
    """A turn's place in the order in which turns are drawn: a 64-bit keyed hash, independent of all other data."""
    key = seed.to_bytes(16, "big", signed=True)
    return int.from_bytes(hashlib.blake2b(f"{turn}\x1f{conversation_id}".encode("utf-8", "surrogatepass"), key=key, digest_size=8).digest())


class Survey(NamedTuple):
    """The first pass over a corpus: conversations eligible and ineligible by reason, turns to draw from, and the ranks to draw up to."""

    eligible: int
    ineligible: dict[str, int]
    turns: int
    last_rank: int
    last_rank_of_user: dict[str, int]
    """For users with more turns than `max_per_user`: the rank up to which theirs may be drawn."""


class Sampler(NamedTuple):
    """Which turns of a release's conversations are drawn. Conversations come as rows of raw_logs with ROLES, FILLED and CHARACTERS."""

    sampling: Sampling
    policy: Eligibility
    model_names: frozenset[str]

    def turns_of(self, conversation: dict[str, Any]) -> tuple[str | None, list[int]]:
        """Why the conversation may not be used (or None), and its turns that could be drawn."""
        reason = ineligible(conversation, self.policy, self.model_names)
        turns = [] if reason else eligible_turns(conversation["roles"], conversation["filled"])
        return reason or (None if turns else "no_answered_user_turn"), turns

    def survey(self, conversations: Iterable[dict[str, Any]]) -> Survey:
        """Count and rank; the max_prefixes turns of lowest rank are drawn.

        Ranks know nothing of each other, so later data can only displace turns, never reshuffle them.  Memory is that of
        max_prefixes integers, and with `max_per_user` of that many more per user.
        """
        reasons: Counter[str] = Counter()
        of_user: dict[str, list[int]] = {}
        eligible = turns = 0

        def ranks() -> Iterator[int]:
            nonlocal eligible, turns
            for conversation in conversations:
                reason, found = self.turns_of(conversation)
                if reason:
                    reasons[reason] += 1
                    continue
                eligible += 1
                turns += len(found)
                mine = [rank(self.sampling.seed, conversation["conversation_id"], turn) for turn in found]
                user, cap = conversation["user_id"], self.sampling.max_per_user
                if cap is None or user is None:
                    yield from mine
                else:
                    of_user[user] = heapq.nsmallest(cap + 1, [*of_user.get(user, ()), *mine])
            for kept in of_user.values():
                yield from kept[: self.sampling.max_per_user]

        lowest = heapq.nsmallest(self.sampling.max_prefixes, ranks())
        cap = self.sampling.max_per_user or 0
        limits = {user: kept[cap - 1] for user, kept in of_user.items() if len(kept) > cap}
        return Survey(eligible, dict(reasons), turns, lowest[-1] if lowest else -1, limits)

    def drawn(self, conversation: dict[str, Any], survey: Survey) -> list[int]:
        """The turns of a conversation that the survey's ranks draw; none of an ineligible one."""
        _, turns = self.turns_of(conversation)
        limit = min(survey.last_rank, survey.last_rank_of_user.get(conversation["user_id"], survey.last_rank))
        return [turn for turn in turns if rank(self.sampling.seed, conversation["conversation_id"], turn) <= limit]
