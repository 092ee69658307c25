"""Which conversations may be used, and which of their user turns are drawn: uniform, by a keyed
hash, the same on every machine."""

import hashlib
import heapq
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import chain, pairwise
from typing import Any, NamedTuple

import polars as pl

from deploysim_assets.project import Eligibility, Sampling, Strata
from deploysim_assets.schema import declared_read_only, tool_kind

_MESSAGE = pl.element().struct
_TEXT = _MESSAGE.field("content").fill_null("")
ROLES = pl.col("messages").list.eval(_MESSAGE.field("role")).alias("roles")
FILLED = (
    pl.col("messages")
    .list.eval(
        (_TEXT.str.strip_chars() != "") | (_MESSAGE.field("tool_calls").list.len().fill_null(0) > 0)
    )
    .alias("filled")
)
CALLED = (
    pl.col("messages")
    .list.eval(
        _MESSAGE.field("tool_calls").list.eval(pl.element().struct.field("name")).fill_null([])
    )
    .alias("called")
)
"""The names of the tools that each message calls."""

CHARACTERS = pl.col("messages").list.eval(_TEXT.str.len_chars()).list.sum().alias("characters")


TEXTS = ("messages", "source")
"""Columns of raw_logs that no draw looks at."""


def _risk(column: str) -> pl.Expr:
    return (
        pl.col("source")
        .str.json_path_match(f"$['{column}']")
        .cast(pl.Float64, strict=False)
        .alias("risk")
    )


def ineligible(
    conversation: dict[str, Any], policy: Eligibility, model_names: frozenset[str]
) -> str | None:
    """Why a conversation may not be used, or None. Consent must be true: unknown consent is not
    consent.

    `conversation` has the columns of raw_logs and, in place of `messages`, `roles` and
    `characters`.  `model_names` are the names of the release; a conversation of a model that the
    source names otherwise belongs to another release.
    """
    reasons = {
        "consent_unknown": conversation["training_allowed"] is None,
        "no_consent": conversation["training_allowed"] is False,
        "temporary": conversation["is_temporary"] and not policy.allow_temporary,
        "attachments": conversation["has_attachments"] and not policy.allow_attachments,
        "excluded_surface": conversation["surface"] in policy.exclude_surfaces,
        "excluded_account": conversation["user_id"] in policy.exclude_users,
        "other_model": conversation["reported_model"] is not None
        and conversation["reported_model"] not in model_names,
        "too_long": len(conversation["roles"]) > policy.max_messages
        or conversation["characters"] > policy.max_characters,
    }
    return next((reason for reason, met in reasons.items() if met), None)


def eligible_turns(roles: list[str], filled: list[bool]) -> list[int]:
    """Indices of the user messages, with something written in them, that the model answered
    directly. An empty answer counts: production must be as empty as it was."""
    turns = enumerate(pairwise(zip(roles, filled, strict=True)))
    return [
        i
        for i, ((role, asked), (following, _)) in turns
        if role == "user" and following == "assistant" and asked
    ]


def rank(seed: int, conversation_id: str, turn: int) -> int:
    """A turn's place in the order in which turns are drawn: a 64-bit keyed hash, independent of
    all other data."""
    key = seed.to_bytes(16, "big", signed=True)
    return int.from_bytes(
        hashlib.blake2b(
            f"{turn}\x1f{conversation_id}".encode("utf-8", "surrogatepass"), key=key, digest_size=8
        ).digest()
    )


class Allotment(NamedTuple):
    """One stratum of the survey: turns to draw from, turns drawn, and the rank up to which they
    are."""

    turns: int
    drawn: int
    last_rank: int

    @property
    def weight(self) -> float:
        """The inverse of a turn's chance to be drawn."""
        return self.turns / self.drawn if self.drawn else 0.0


class Survey(NamedTuple):
    """The first pass over a corpus: conversations eligible and ineligible by reason, turns to
    draw from, and how many of which stratum."""

    eligible: int
    ineligible: dict[str, int]
    strata: dict[str, Allotment]
    last_rank_of_user: dict[str, int]
    """For users with more turns than `max_per_user`: the rank up to which theirs may be drawn."""

    @property
    def turns(self) -> int:
        return sum(s.turns for s in self.strata.values())

    @property
    def largest_weight(self) -> float:
        """The largest inclusion weight over the average one; 1 for a uniform draw."""
        drawn = sum(s.drawn for s in self.strata.values())
        return (
            max((s.weight for s in self.strata.values()), default=0.0) * drawn / self.turns
            if drawn
            else 0.0
        )


class DrawnTurn(NamedTuple):
    """A user turn of a conversation that was drawn, and its inclusion weight."""

    turn_index: int
    stratum: str
    weight: float


def allot(turns: dict[str, int], limit: int, design: Strata | None) -> dict[str, int]:
    """How many turns to draw of each stratum: all in proportion without a design, else its
    proportional part and its shares.

    No stratum that has turns goes without, and what a small stratum cannot use falls to the others
    in proportion to their turns.
    """
    total = sum(turns.values())
    limit = min(limit, total)
    if design is None or limit == total:
        wanted = {h: limit * n / total for h, n in turns.items()} if total else {}
    else:
        present = {h: design.shares.get(h, 0.0) for h in turns}
        scale = sum(present.values())
        shares = {h: share / scale if scale else turns[h] / total for h, share in present.items()}
        wanted = {
            h: limit * (design.proportional * n / total + (1 - design.proportional) * shares[h])
            for h, n in turns.items()
        }
    least = 1 if limit >= len(turns) else 0
    drawn = {h: min(n, max(least, int(wanted[h]))) for h, n in turns.items()}
    while (left := limit - sum(drawn.values())) > 0:
        room = {h: turns[h] - drawn[h] for h in turns if turns[h] > drawn[h]}
        of_all = sum(turns[h] for h in room)
        more = {h: min(room[h], left * turns[h] // of_all) for h in room}
        if not any(more.values()):
            more = dict.fromkeys(sorted(room, key=lambda h: (drawn[h] - wanted[h], h))[:left], 1)
        for h, extra in more.items():
            drawn[h] += extra
    for h in sorted(
        drawn, key=lambda h: -drawn[h]
    ):  # the least of one each may have passed the limit
        drawn[h] -= min(drawn[h] - least, max(0, sum(drawn.values()) - limit))
    return drawn


class Sampler(NamedTuple):
    """Which turns of a release's conversations are drawn. Conversations come as rows of raw_logs
    with the columns of `survey_columns`."""

    sampling: Sampling
    policy: Eligibility
    model_names: frozenset[str]
    read_only: Mapping[str, bool] = {}
    """What the project says of single tools."""

    def survey_columns(self) -> list[pl.Expr]:
        """What the survey reads of raw_logs: everything but the texts."""
        design = self.sampling.strata
        risk = [_risk(design.risk_column)] if design and design.risk_column else []
        called = [CALLED] if design and design.by == "tools" else []
        return [pl.exclude(*TEXTS), ROLES, FILLED, CHARACTERS, *risk, *called]

    def turns_of(self, conversation: dict[str, Any]) -> tuple[str | None, list[int]]:
        """Why the conversation may not be used (or None), and its turns that could be drawn."""
        reason = ineligible(conversation, self.policy, self.model_names)
        turns = [] if reason else eligible_turns(conversation["roles"], conversation["filled"])
        return reason or (None if turns else "no_answered_user_turn"), turns

    def stratum(self, conversation: dict[str, Any], turn: int) -> str:
        """The stratum of a turn under the design; without one, all turns are of one."""
        design = self.sampling.strata
        if design is None:
            return ""
        if design.by == "depth":
            depth = conversation["roles"][: turn + 1].count("user")
            return "1" if depth == 1 else "2-4" if depth < 5 else "5+"
        if design.by == "risk":
            risk = conversation["risk"]
            return "unknown" if risk is None else f"risk {bisect_right(design.risk_cuts, risk)}"
        if design.by == "tools":
            end = turn + 1
            while end < len(conversation["roles"]) and conversation["roles"][end] != "user":
                end += 1
            names = chain.from_iterable(conversation["called"][turn + 1 : end])
            declared = declared_read_only(conversation["tools"])
            return tool_kind(names, declared | dict(self.read_only))
        return conversation[design.by] or "unknown"

    def survey(self, conversations: Iterable[dict[str, Any]]) -> Survey:
        """Count and rank; of each stratum, as many turns of lowest rank are drawn as it is
        allotted.

        Ranks know nothing of each other, so later data can only displace turns, never reshuffle
        them.  Memory is that of max_prefixes integers per stratum, and with `max_per_user` of that
        many more per user.
        """
        reasons: Counter[str] = Counter()
        turns: Counter[str] = Counter()
        lowest: dict[str, list[int]] = {}
        of_user: dict[str, list[tuple[int, str]]] = {}
        cap, limit = self.sampling.max_per_user, self.sampling.max_prefixes
        eligible = 0

        def count(rank: int, stratum: str) -> None:
            turns[stratum] += 1
            kept = lowest.setdefault(stratum, [])
            kept.append(rank)
            if len(kept) >= 2 * limit + 1000:
                kept[:] = heapq.nsmallest(limit, kept)

        for conversation in conversations:
            reason, found = self.turns_of(conversation)
            if reason:
                reasons[reason] += 1
                continue
            eligible += 1
            mine = [
                (
                    rank(self.sampling.seed, conversation["conversation_id"], turn),
                    self.stratum(conversation, turn),
                )
                for turn in found
            ]
            user = conversation["user_id"]
            if cap is None or user is None:
                for item in mine:
                    count(*item)
            else:
                of_user[user] = heapq.nsmallest(cap + 1, [*of_user.get(user, ()), *mine])
        for kept in of_user.values():
            for item in kept[:cap]:
                count(*item)
        limits = {
            user: kept[cap - 1][0]
            for user, kept in of_user.items()
            if cap is not None and len(kept) > cap
        }
        strata: dict[str, Allotment] = {}
        for stratum, drawn in allot(dict(turns), limit, self.sampling.strata).items():
            last = heapq.nsmallest(drawn, lowest[stratum])[-1] if drawn else -1
            strata[stratum] = Allotment(turns[stratum], drawn, last)
        return Survey(eligible, dict(reasons), strata, limits)

    def drawn(self, conversation: dict[str, Any], survey: Survey) -> list[DrawnTurn]:
        """The turns of a conversation that the survey's ranks draw; none of an ineligible one."""
        _, turns = self.turns_of(conversation)
        of_user = survey.last_rank_of_user.get(conversation["user_id"])
        found: list[DrawnTurn] = []
        for turn in turns:
            place = rank(self.sampling.seed, conversation["conversation_id"], turn)
            stratum = self.stratum(conversation, turn)
            of_stratum = survey.strata.get(stratum)
            if (
                of_stratum
                and place <= of_stratum.last_rank
                and (of_user is None or place <= of_user)
            ):
                found.append(DrawnTurn(turn, stratum, of_stratum.weight))
        return found
