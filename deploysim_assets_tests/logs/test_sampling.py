"""Sampling: uniform over eligible user turns, the same whatever the order of files, and stable when data is added."""

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from deploysim_assets.logs.sampling import drawn_turns, eligible_turns, ineligible, rank, survey

ROLES = st.lists(st.sampled_from(["system", "user", "assistant", "tool"]), min_size=1, max_size=12)


def _conversation(number: int, roles: list[str], **more: Any) -> dict[str, Any]:
    consent = {"training_allowed": True, "is_temporary": False, "has_attachments": False}
    return {"conversation_id": f"c{number}", "roles": roles, "messages": [{"role": r} for r in roles], **consent, **more}


def _drawn(corpus: list[dict[str, Any]], seed: int, limit: int) -> set[tuple[str, int]]:
    found = survey(corpus, seed, limit)
    return {(c["conversation_id"], turn) for c in corpus for turn in drawn_turns(c, seed, found.last_rank)}


@given(st.lists(ROLES, max_size=30), st.integers(1, 40), st.integers(-5, 5), st.randoms())
def test_the_sample_is_of_its_size_and_knows_no_order(corpus: list[list[str]], limit: int, seed: int, shuffle: random.Random) -> None:
    conversations = [_conversation(i, roles) for i, roles in enumerate(corpus)]
    turns = sum(len(eligible_turns(c["roles"])) for c in conversations)
    drawn = _drawn(conversations, seed, limit)
    assert len(drawn) == min(limit, turns)
    shuffle.shuffle(conversations)
    assert _drawn(conversations, seed, limit) == drawn


@given(st.lists(ROLES, min_size=1, max_size=20), st.lists(ROLES, max_size=20), st.integers(1, 30))
def test_later_data_can_only_displace_turns(early: list[list[str]], late: list[list[str]], limit: int) -> None:
    first = [_conversation(i, roles) for i, roles in enumerate(early)]
    more = [_conversation(1000 + i, roles) for i, roles in enumerate(late)]
    before, after = _drawn(first, 7, limit), _drawn([*first, *more], 7, limit)
    old = {c["conversation_id"] for c in first}
    assert {t for t in after if t[0] in old} <= before


def test_every_turn_has_the_same_chance() -> None:
    corpus = [_conversation(i, ["user", "assistant"] * (1 + i % 5)) for i in range(2000)]
    hits = [0] * 5
    for seed in range(20):
        for _, turn in _drawn(corpus, seed, 600):
            hits[turn // 2] += 1
    expected = [20 * 600 * sum(1 + i % 5 > t for i in range(2000)) / 6000 for t in range(5)]
    assert stats.chisquare(hits, expected).pvalue > 1e-3


def test_the_hash_is_fixed_for_ever() -> None:
    """A change of it would draw other prefixes on the next run, and nothing that was paid for would be found again."""
    assert rank(7, "conversation-1", 3) == 10345707996346736848


def test_only_true_consent_is_consent_and_every_reason_is_counted() -> None:
    dialog = ["user", "assistant"]
    corpus = [
        _conversation(0, dialog),
        _conversation(1, dialog, training_allowed=None),
        _conversation(2, dialog, training_allowed=False),
        _conversation(3, dialog, is_temporary=True),
        _conversation(4, dialog, has_attachments=True),
        _conversation(5, ["system", "user"]),
    ]
    found = survey(corpus, 1, 100)
    assert found.eligible == 1
    assert found.ineligible == {"consent_unknown": 1, "no_consent": 1, "temporary": 1, "attachments": 1, "no_answered_user_turn": 1}
    assert found.eligible + sum(found.ineligible.values()) == len(corpus)
    assert {c["conversation_id"] for c in corpus if drawn_turns(c, 1, found.last_rank)} == {"c0"}
    assert ineligible(corpus[1]) == "consent_unknown"


def test_a_turn_answered_by_a_tool_call_counts_and_an_unanswered_one_does_not() -> None:
    assert eligible_turns(["system", "user", "assistant", "tool", "assistant", "user", "user", "assistant", "user"]) == [1, 6]
