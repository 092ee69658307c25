"""Earlier calls: the same one answers, the most similar are examples; never the conversation under
test, never a later one."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploysim_assets.agents.library import Library
from deploysim_assets.agents.moment import Example, Result
from deploysim_assets.project import Agents, ProjectError
from deploysim_assets_tests.agents.turns import call, called, moment, prefix, result, tool

TOOLS = [tool("search", query="string"), tool("send_mail", to="string")]
NOW = datetime(2026, 3, 1, tzinfo=UTC)
SETTINGS = Agents(library_examples=2)


def earlier(
    query: str, said: str, key: str = "other", clock: datetime | None = NOW, wrote: bool = False
) -> dict[str, Any]:
    steps = [called(call("search", "a", query=query)), result("a", said)]
    if wrote:
        steps = [called(call("send_mail", "w", to="x")), result("w", "sent"), *steps]
    return prefix(TOOLS, steps=steps, conversation_key=key, clock=clock)


def look(rows: list[dict[str, Any]], query: str, *steps: dict[str, Any], **fields: Any) -> Any:
    of = prefix(TOOLS, **({"clock": NOW} | fields))
    return Library(lambda: rows, SETTINGS).look(
        moment(of, call("search", "b", query=query), *steps)
    )


def test_the_same_call_elsewhere_answers() -> None:
    rows = [earlier("cats", "3 cats"), earlier("dogs", "2 dogs", "third")]
    assert look(rows, "cats") == Result("3 cats", "library")


def test_the_same_call_that_got_several_answers_gets_the_most_common_then_the_latest() -> None:
    day = timedelta(days=1)
    rows = [
        earlier("cats", "old", "a", NOW - 3 * day),
        earlier("cats", "new", "b", NOW - day),
        earlier("cats", "mid", "c", NOW - 2 * day),
    ]
    assert look(rows, "cats").content == "new"
    assert look([*rows, earlier("cats", "old", "d", NOW - 4 * day)], "cats").content == "old"


def test_similar_calls_are_examples_the_most_similar_first() -> None:
    rows = [
        earlier("red cats in town", "1", "a"), earlier("blue dogs", "2", "b"),
        earlier("black cats", "3", "c"), earlier("", "4", "d"),
    ]  # fmt: skip
    found = look(rows, "cats in town")
    assert [type(e) for e in found] == [Example, Example]
    assert [e.content for e in found] == ["1", "3"]


def test_the_conversation_under_test_and_later_ones_are_not_looked_at() -> None:
    own = earlier("cats", "mine", "cd" * 16)
    late = earlier("cats", "late", "x", NOW + timedelta(seconds=1))
    unknown = earlier("cats", "undated", "y", None)
    assert look([own, late, unknown], "cats") == []
    earliest = earlier("cats", "early", "z", NOW - timedelta(days=999))
    assert look([late, unknown, earliest], "cats", clock=None) == [], "any may be later"


def test_an_answer_holds_only_after_the_same_writes() -> None:
    wrote = [called(call("send_mail", "w", to="x")), result("w", "sent")]
    steps = [s | {"source": "model" if s["role"] == "tool" else None} for s in wrote]
    assert isinstance(look([earlier("cats", "3")], "cats", *steps), list)
    assert look([earlier("cats", "4", wrote=True)], "cats", *steps).content == "4"
    assert isinstance(look([earlier("cats", "4", wrote=True)], "cats"), list)


def test_a_write_is_never_taken_from_elsewhere() -> None:
    rows = [earlier("cats", "3", wrote=True)]
    library = Library(lambda: rows, SETTINGS)
    found = library.look(moment(prefix(TOOLS, clock=NOW), call("send_mail", "b", to="x")))
    assert isinstance(found, list) and found[0].content == "sent"


def test_prefixes_of_one_conversation_count_once_and_undated_entries_are_counted() -> None:
    rows = [earlier("cats", "3"), earlier("cats", "3"), earlier("dogs", "2", "z", None)]
    library = Library(lambda: rows, SETTINGS)
    assert library.stats() == {}, "it is read when it is needed"
    for clock in (NOW, None):
        library.look(moment(prefix(TOOLS, clock=clock), call("search", "b", query="x")))
    assert library.stats() == {"entries": 2, "without_clock": 1, "prefixes_without_clock": 1}


@given(st.lists(st.tuples(st.text(max_size=8), st.integers(-3, 3), st.booleans()), max_size=8))
def test_nothing_of_its_own_and_nothing_later_is_ever_shown(
    made: list[tuple[str, int, bool]],
) -> None:
    rows = [
        earlier(query, f"{days} {own}", "cd" * 16 if own else f"k{i}", NOW + timedelta(days=days))
        for i, (query, days, own) in enumerate(made)
    ]
    found = look(rows, "cats")
    shown = [found.content] if isinstance(found, Result) else [e.content for e in found]
    for said in shown:
        days, own = said.split()
        assert int(days) <= 0 and own == "False"


def test_a_missing_package_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "bm25s", None)
    with pytest.raises(ProjectError, match=r'bm25s.*pip install "deploysim\[agents\]"'):
        Library(list, SETTINGS)
