"""Sampling: uniform over eligible user turns, the same whatever the order of files, and stable
when data is added."""

import random
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from deploysim_assets.logs.sampling import CHARACTERS, FILLED, Sampler, allot, eligible_turns, rank
from deploysim_assets.logs.sampling import ROLES as ROLES_OF
from deploysim_assets.project import Eligibility, Sampling, Strata
from deploysim_assets.schema import CONVERSATIONS

ROLES = st.lists(st.sampled_from(["system", "user", "assistant", "tool"]), min_size=1, max_size=12)


def _conversation(number: int, roles: list[str], **more: Any) -> dict[str, Any]:
    free = {
        "training_allowed": True,
        "is_temporary": False,
        "has_attachments": False,
        "surface": "web",
        "user_id": f"u{number % 3}",
        "reported_model": None,
    }
    return {
        "conversation_id": f"c{number}",
        "roles": roles,
        "filled": [True] * len(roles),
        "characters": 10,
        **free,
        **more,
    }


def _sampler(limit: int = 100, seed: int = 1, cap: int | None = None, **policy: Any) -> Sampler:
    return Sampler(
        Sampling(max_prefixes=limit, seed=seed, max_per_user=cap),
        Eligibility(**policy),
        frozenset({"m"}),
    )


def _drawn(
    corpus: list[dict[str, Any]], seed: int, limit: int, cap: int | None = None
) -> set[tuple[str, int]]:
    sampler = _sampler(limit, seed, cap)
    found = sampler.survey(corpus)
    return {
        (c["conversation_id"], turn.turn_index) for c in corpus for turn in sampler.drawn(c, found)
    }


@given(st.lists(ROLES, max_size=30), st.integers(1, 40), st.integers(-5, 5), st.randoms())
def test_the_sample_is_of_its_size_and_knows_no_order(
    corpus: list[list[str]], limit: int, seed: int, shuffle: random.Random
) -> None:
    conversations = [_conversation(i, roles) for i, roles in enumerate(corpus)]
    turns = sum(len(eligible_turns(c["roles"], c["filled"])) for c in conversations)
    drawn = _drawn(conversations, seed, limit)
    assert len(drawn) == min(limit, turns)
    shuffle.shuffle(conversations)
    assert _drawn(conversations, seed, limit) == drawn


@given(st.lists(ROLES, min_size=1, max_size=20), st.lists(ROLES, max_size=20), st.integers(1, 30))
def test_later_data_can_only_displace_turns(
    early: list[list[str]], late: list[list[str]], limit: int
) -> None:
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
    """A change of it would draw other prefixes on the next run, and nothing that was paid for
    would be found again."""
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
        _conversation(6, dialog, surface="api"),
        _conversation(7, dialog, user_id="employee"),
        _conversation(8, dialog, reported_model="another"),
        _conversation(9, dialog, characters=500),
        _conversation(10, dialog * 20),
        _conversation(11, dialog, filled=[False, True]),
        _conversation(12, dialog, reported_model="m"),
        _conversation(13, dialog, filled=[True, False]),  # an empty answer is one, and missing
    ]
    sampler = _sampler(
        exclude_surfaces=("api",), exclude_users=("employee",), max_characters=100, max_messages=10
    )
    found = sampler.survey(corpus)
    assert found.eligible == 3
    once = (
        "consent_unknown",
        "no_consent",
        "temporary",
        "attachments",
        "excluded_surface",
        "excluded_account",
        "other_model",
    )
    assert found.ineligible == dict.fromkeys(once, 1) | {"no_answered_user_turn": 2, "too_long": 2}
    assert found.eligible + sum(found.ineligible.values()) == len(corpus)
    assert {c["conversation_id"] for c in corpus if sampler.drawn(c, found)} == {"c0", "c12", "c13"}


def test_the_policy_can_let_temporary_chats_and_attachments_in_but_not_consent() -> None:
    sampler = _sampler(allow_temporary=True, allow_attachments=True)
    dialog = ["user", "assistant"]
    assert sampler.turns_of(_conversation(0, dialog, is_temporary=True, has_attachments=True)) == (
        None,
        [0],
    )
    assert (
        sampler.turns_of(_conversation(0, dialog, is_temporary=True, training_allowed=None))[0]
        == "consent_unknown"
    )
    assert not any("consent" in name for name in Eligibility.model_fields)


@given(st.lists(ROLES, max_size=30), st.integers(1, 5), st.integers(1, 40))
def test_no_user_contributes_more_than_the_cap(
    corpus: list[list[str]], cap: int, limit: int
) -> None:
    conversations = [_conversation(i, roles) for i, roles in enumerate(corpus)]
    drawn = _drawn(conversations, 7, limit, cap)
    users = {c["conversation_id"]: c["user_id"] for c in conversations}
    turns = {
        u: sum(
            len(eligible_turns(c["roles"], c["filled"])) for c in conversations if c["user_id"] == u
        )
        for u in users.values()
    }
    per_user = [sum(users[c] == u for c, _ in drawn) for u in set(users.values())]
    assert max(per_user, default=0) <= cap
    assert len(drawn) == min(limit, sum(min(cap, n) for n in turns.values()))


def test_a_turn_answered_by_a_tool_call_counts_and_an_unanswered_or_empty_one_does_not() -> None:
    roles = [
        "system",
        "user",
        "assistant",
        "tool",
        "assistant",
        "user",
        "user",
        "assistant",
        "user",
    ]
    assert eligible_turns(roles, [True] * 9) == [1, 6]
    assert eligible_turns(roles, [True, False, *[True] * 7]) == [6]


def test_roles_and_filled_are_read_off_the_messages() -> None:
    message = dict.fromkeys(("tool_call_id", "name", "reasoning", "at", "tool_calls"))
    call = [{"id": None, "name": "browser", "arguments": "{}"}]
    messages = [
        message | {"role": "user", "content": " "},
        message | {"role": "assistant", "content": None, "tool_calls": call},
    ]
    messages.append(message | {"role": "user", "content": "abc"})
    frame = pl.DataFrame(
        [{"messages": messages}], schema={"messages": CONVERSATIONS["messages"]}
    ).select(ROLES_OF, FILLED, CHARACTERS)
    assert frame.row(0) == (["user", "assistant", "user"], [False, True, True], 4)


def _agent_turns(*turns: list[str]) -> pl.DataFrame:
    """One conversation whose turns call tools by these names."""
    message = dict.fromkeys(("tool_call_id", "name", "reasoning", "at", "tool_calls"))
    messages: list[dict[str, Any]] = []
    for names in turns:
        messages.append(message | {"role": "user", "content": "go"})
        for name in names:
            call = [{"id": None, "name": name, "arguments": "{}"}]
            messages.append(message | {"role": "assistant", "content": None, "tool_calls": call})
            messages.append(message | {"role": "tool", "content": "ok"})
        messages.append(message | {"role": "assistant", "content": "done"})
    tools = [{"name": "get_token", "description": None, "parameters": None, "read_only": False}]
    row = _conversation(0, []) | {"messages": messages, "tools": tools}
    return pl.DataFrame([{name: row.get(name) for name in CONVERSATIONS}], schema=CONVERSATIONS)


def test_turns_are_strata_by_what_their_tools_may_have_done() -> None:
    design = Strata(by="tools", shares={"write": 1.0})
    sampler = Sampler(
        Sampling(max_prefixes=9, strata=design),
        Eligibility(),
        frozenset({"m"}),
        {"frobnicate": True, "list_files": False},
    )
    frame = _agent_turns(
        [],
        ["read_file", "search_web"],
        ["read_file", "send_email"],
        ["get_token"],  # its definition says that it writes
        ["frobnicate"],  # the project says that it reads
        ["list_files"],  # and that this writes
    )
    [row] = frame.select(sampler.survey_columns()).iter_rows(named=True)
    strata = [sampler.stratum(row, turn) for turn in eligible_turns(row["roles"], row["filled"])]
    assert strata == ["none", "read", "write", "write", "read", "write"]
    found = sampler.survey([row])
    assert {name: s.turns for name, s in found.strata.items()} == {"none": 1, "read": 2, "write": 3}
    assert sum(t.weight for t in sampler.drawn(row, found)) == pytest.approx(6)


STRATA = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 400), min_size=1)


@given(STRATA, st.integers(1, 800), st.floats(0.3, 1), st.sampled_from("abcdef"))
def test_an_allotment_uses_the_limit_and_no_stratum_goes_without(
    turns: dict[str, int], limit: int, proportional: float, favored: str
) -> None:
    design = Strata(by="surface", shares={favored: 1.0}, proportional=proportional)
    drawn = allot(turns, limit, design)
    assert sum(drawn.values()) == min(limit, sum(turns.values()))
    assert all(0 <= drawn[h] <= turns[h] for h in turns)
    if limit >= len(turns):
        assert all(drawn.values())
    if limit >= 50 * len(turns):
        total, used = sum(turns.values()), sum(drawn.values())
        weights = [turns[h] / drawn[h] / (total / used) for h in turns]
        assert max(weights) <= 1 / 0.3 * 1.1, "30% in proportion to traffic bounds the weights"


def test_a_stratified_sample_favors_a_stratum_and_its_weights_undo_it() -> None:
    corpus = [
        _conversation(i, ["user", "assistant"], surface="api" if i % 20 == 0 else "web")
        for i in range(4000)
    ]
    design = Strata(by="surface", shares={"api": 0.9, "web": 0.1})
    sampler = Sampler(
        Sampling(max_prefixes=200, seed=1, strata=design), Eligibility(), frozenset({"m"})
    )
    found = sampler.survey(corpus)
    turns = [turn for c in corpus for turn in sampler.drawn(c, found)]
    by_stratum = {h: [t.weight for t in turns if t.stratum == h] for h in ("api", "web")}
    assert len(turns) == 200
    assert len(by_stratum["api"]) == 129, "0.3 x 10 + 0.7 x 0.9 x 200, and web the rest"
    assert sum(by_stratum["api"]) == pytest.approx(200)
    assert sum(by_stratum["web"]) == pytest.approx(3800)
    assert found.largest_weight == pytest.approx((3800 / 71) / (4000 / 200))


def test_strata_by_depth_and_by_a_risk_score() -> None:
    depth = Sampler(
        Sampling(strata=Strata(by="depth", shares={"5+": 1.0})), Eligibility(), frozenset()
    )
    long = _conversation(0, ["user", "assistant"] * 6)
    assert [depth.stratum(long, turn) for turn in (0, 2, 6, 8)] == ["1", "2-4", "2-4", "5+"]
    risk = Sampler(
        Sampling(
            strata=Strata(by="risk", shares={"risk 1": 1.0}, risk_column="score", risk_cuts=(0.5,))
        ),
        Eligibility(),
        frozenset(),
    )
    assert [risk.stratum(long | {"risk": value}, 0) for value in (None, 0.1, 0.5, 0.9)] == [
        "unknown",
        "risk 0",
        "risk 1",
        "risk 1",
    ]
    frame = pl.DataFrame({"source": ['{"score": 0.7}', "{}", None]}).select(
        risk.survey_columns()[-1]
    )
    assert frame["risk"].to_list() == [0.7, None, None]


@pytest.mark.parametrize(
    ("design", "said"),
    [
        ({"by": "surface", "shares": {"web": 0.5}}, "make them sum to 1"),
        ({"by": "risk", "shares": {"risk 1": 1}}, "`risk_column` goes with by: risk"),
        (
            {"by": "surface", "shares": {"web": 1}, "proportional": 0.1},
            "greater than or equal to 0.3",
        ),
    ],
)
def test_a_design_that_cannot_hold_is_refused(design: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Strata.model_validate(design)
