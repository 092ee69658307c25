"""Rules that stay met: with which step a turn first meets one, whatever it does after."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploysim_assets.behaviors import Rule
from deploysim_assets.grading.rules import first_met, holds
from deploysim_assets_tests.agents.whole_turns import result, said

ASKED = [{"role": "user", "content": "b", "tool_calls": [], "reasoning": None, "name": None}]
LETTER = st.sampled_from("abc")
CALL = st.builds(lambda name, path: ("1", name, json.dumps({"path": path})), LETTER, LETTER)
SAID = st.one_of(st.none(), st.just(""), LETTER)
STEP = st.builds(
    lambda calls, content, results: [
        said(*calls, content=content),
        *(result("1", text) for text in results[: len(calls)]),
    ],
    st.lists(CALL, min_size=1, max_size=3), SAID, st.lists(LETTER, max_size=3),
)  # fmt: skip
GROWING = ("$[?@.name=='a']", "$[*].arguments.path", "$[1].name", "$..path", "$.*.arguments")
NOT_GROWING = (
    "$[-1].name", "$[-1:].name", "$", "$[?count($[*]) < 2]", "$[0:1].name",
    "$[?@.name == $[-1].name]",
)  # fmt: skip
PATH = st.sampled_from([*GROWING, *NOT_GROWING])
PATTERN = st.sampled_from(["a", "^b$", "^$", "c|a"])
TEXTS = st.sampled_from(["reply", "prefix", "last_user"])
LISTS = st.sampled_from(["tool_calls", "tool_results"])
LEAF = st.one_of(
    st.builds(lambda part, regex: {"part": part, "regex": regex}, TEXTS | LISTS, PATTERN),
    st.builds(lambda part, path: {"part": part, "json_path": path}, LISTS, PATH),
    st.builds(
        lambda part, path, regex: {"part": part, "json_path": path, "regex": regex},
        LISTS, PATH, PATTERN,
    ),
)  # fmt: skip
RULE = st.recursive(
    LEAF | st.builds(lambda r: {"any_step": r}, LEAF) | st.builds(
        lambda r, s: {"sequence": [r, s]}, LEAF, LEAF
    ),
    lambda inner: st.one_of(
        st.builds(lambda r: {"not": r}, inner),
        st.builds(lambda a, b: {"all": [a, b]}, inner, inner),
        st.builds(lambda a, b: {"any": [a, b]}, inner, inner),
    ),
    max_leaves=4,
)  # fmt: skip


@given(RULE.map(Rule.model_validate), st.lists(STEP, max_size=4), SAID)
def test_what_the_first_steps_meet_the_whole_turn_meets(
    rule: Rule, steps: list[list[dict[str, Any]]], content: str | None
) -> None:
    if not rule.stays_met:
        return
    last = said(content=content)
    turn = [message for step in [*steps, [last]] for message in step]
    reply = {k: last[k] for k in ("content", "reasoning", "tool_calls")}
    whole = holds(rule, ASKED, reply | {"steps": turn[:-1]})
    at = first_met(rule, ASKED, turn, ended=True)
    assert (at is not None) == whole
    for seen in range(1, len(steps) + 1):
        so_far = [message for step in steps[:seen] for message in step]
        broken = first_met(rule, ASKED, so_far, ended=False)
        assert broken == (at if at is not None and at <= seen else None)


@pytest.mark.parametrize("path", GROWING)
def test_a_path_that_goes_from_each_call_stays_met(path: str) -> None:
    assert Rule.model_validate({"part": "tool_calls", "json_path": path}).stays_met


@pytest.mark.parametrize("path", NOT_GROWING)
def test_a_path_that_goes_by_the_other_calls_may_not(path: str) -> None:
    assert not Rule.model_validate({"part": "tool_calls", "json_path": path}).stays_met
    assert Rule.model_validate({"part": "reply", "json_path": path}).stays_met, "one text each"


def test_no_rule_with_a_not_in_it_is_told_of_a_broken_off_turn() -> None:
    asks = {"part": "tool_calls", "regex": "a"}
    for rule in ({"not": asks}, {"all": [asks, {"not": asks}]}, {"any_step": {"not": asks}}):
        assert not Rule.model_validate(rule).stays_met


def test_an_empty_last_message_is_no_message_of_a_turn_that_was_broken_off() -> None:
    says_nothing = Rule.model_validate({"part": "reply", "regex": "^$"})
    assert first_met(says_nothing, ASKED, [said(("1", "a", "{}"))], ended=False) is None
    assert first_met(says_nothing, ASKED, [said()], ended=True) == 1
    assert first_met(says_nothing, ASKED, [], ended=False) is None


def test_results_are_those_of_the_step_that_asked() -> None:
    rule = Rule.model_validate({"part": "tool_results", "regex": "secret"})
    turn = [said(("1", "a", "{}")), result("1", "x"), said(("1", "a", "{}")), result("1", "secret")]
    assert rule.looks_at_results
    assert not Rule.model_validate({"part": "reply", "regex": "secret"}).looks_at_results
    assert first_met(rule, ASKED, turn, ended=False) == 2
    assert first_met(rule, ASKED, turn[:3], ended=False) is None
