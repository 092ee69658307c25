"""Simulated against recorded results of the same call."""

import json

from hypothesis import given
from hypothesis import strategies as st

from deploysim_assets.agents.agreement import (
    Agreement,
    agreement,
    answered,
    compared,
    counted,
    same_call,
)
from deploysim_assets_tests.agents.whole_turns import result, said, turn

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@given(VALUES)
def test_the_same_value_written_otherwise_is_json_equal(value: object) -> None:
    found = agreement(json.dumps(value, indent=1), json.dumps(value, sort_keys=True))
    assert found.json_equal
    assert found.fields == 1


@given(VALUES, VALUES)
def test_agreement_is_symmetric_and_a_share(first: object, second: object) -> None:
    a, b = json.dumps(first), json.dumps(second)
    found = agreement(a, b)
    assert found == agreement(b, a)
    assert 0 <= found.fields <= 1
    assert found.exact <= found.json_equal
    assert found.json_equal <= (found.fields == 1)


def test_a_number_is_no_string_and_no_truth_value() -> None:
    assert not agreement('{"a": 1}', '{"a": "1"}').json_equal
    assert not agreement('{"a": 1}', '{"a": true}').json_equal
    assert agreement('{"a": 1}', '{"a": 1.0}').json_equal
    assert not agreement("NaN", "[NaN]").json_equal


def test_fields_are_counted_by_their_place_and_value() -> None:
    assert agreement('{"a": 1, "b": 2}', '{"a": 1, "b": 3}').fields == 1 / 3
    assert agreement('{"a": 1}', "nothing").fields == 0
    assert agreement("one\ntwo", "one\nthree").fields == 1 / 3
    assert not agreement("one\ntwo", "two\none").json_equal, "lines stand in an order"


def test_texts_nested_without_end_are_compared_as_texts() -> None:
    deep = "[" * 100_000
    assert agreement(deep, deep + " ").json_equal
    nested = "[" * 500 + "1" + "]" * 500
    assert agreement(nested, nested + " ").json_equal


def test_results_are_told_by_the_id_of_their_call() -> None:
    parallel = turn(
        said(("x", "read", '{"n": 1}'), ("y", "read", '{"n": 2}')),
        result("y", "two"),
        result("x", "one"),
    )
    assert [(a.arguments, a.content) for a in answered(parallel)] == [
        ('{"n": 2}', "two"),
        ('{"n": 1}', "one"),
    ]
    without = turn(
        said((None, "read", '{"n": 1}'), (None, "read", '{"n": 2}')),
        result(None, "one"),
        result(None, "two"),
    )
    assert [a.content for a in answered(without)] == ["one", "two"]


def test_a_call_is_compared_with_the_same_time_of_that_call() -> None:
    recorded = turn(
        said(("1", "list", "{}")), result("1", "[1]"),
        said(("2", "add", '{"b": 1, "a": 2}')), result("2", "ok"),
        said(("3", "list", "{}")), result("3", "[1, 2]"),
    )  # fmt: skip
    simulated = turn(
        said(("a", "list", " {} ")), result("a", "[1]"),
        said(("b", "add", '{"a": 2, "b": 1}')), result("b", "done"),
        said(("c", "list", "{}")), result("c", "[1,2]"),
        said(("d", "list", "{}")), result("d", "[]"),
        said(("e", "other", "{}")), result("e", "[]"),
    )  # fmt: skip
    found = compared(simulated, recorded)
    assert [one.content for one, _ in found] == ["[1]", "done", "[1,2]"]
    total = counted(agreed for _, agreed in found)
    assert (total.calls, total.exact, total.json_equal) == (3, 1, 2)


def test_arguments_are_the_same_however_they_are_written() -> None:
    assert same_call('{"a": 1, "b": [2]}') == same_call('{"b":[2],"a":1}')
    assert same_call("not json ") == same_call("not json")
    assert agreement("x", "x") == Agreement(True, True, 1.0)
