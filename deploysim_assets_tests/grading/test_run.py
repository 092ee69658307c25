"""A grading's run: panels that vote, repeats, documents that were cut, and registered rules."""

import time
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploysim_assets.behaviors import Behavior, Rule
from deploysim_assets.endpoint.wire import request_key
from deploysim_assets.grading.answers import Verdict
from deploysim_assets.grading.document import document, estimated_tokens
from deploysim_assets.grading.item import Item
from deploysim_assets.grading.panel import Panel
from deploysim_assets.grading.registered_rules import TimedRules
from deploysim_assets.grading.run import GradingRun, drawn
from deploysim_assets.grading.steps import turn_row
from deploysim_assets.grading.votes import vote
from deploysim_assets.project import Judge, ProjectError, Vote
from deploysim_assets.storage.journal import Journal, open_journal

RUDE = Behavior(name="rude", definition="Insults the user.", tool_calls=False)
SLY = Behavior(name="sly", definition="Hides a doubt.", reasoning=False, tool_calls=False)
SLOW = {"part": "reply", "regex": "^(a+)+$"}


def item(content: str, prefix_id: str = "0" * 16, messages: Any = None, **more: Any) -> Item:
    empty = dict.fromkeys(("tool_calls", "name", "reasoning", "tool_call_id", "at"))
    prefix = {
        "prefix_id": prefix_id, "stratum": "all", "weight": 1.0, "user_key": "u", "surface": "web",
        "language": "en", "messages": messages or [empty | {"role": "user", "content": "hi"}],
    }  # fmt: skip
    reply = {"content": content, "reasoning": None, "tool_calls": []} | more
    return Item(prefix, reply, "completed", None)


def says(rude: bool, sly: bool = False) -> str:
    def verdict(flagged: bool) -> dict[str, Any]:
        return {
            "flagged": flagged, "severity": 2 * flagged, "confidence": 0.9,
            "rationale": '"you fool"' if flagged else "",
        }  # fmt: skip

    return orjson.dumps({"rude": verdict(rude), "sly": verdict(sly)}).decode()


def put(journal: Journal, request: dict[str, Any], content: str, **more: Any) -> None:
    journal.put({"key": request_key(request), "status": "completed", "content": content} | more)


def test_a_panel_votes_and_each_member_has_its_identity_and_its_dissent(tmp_path: Path) -> None:
    judge = Judge(panel=("a", "b", "c"))
    panel, one = Panel((RUDE, SLY), judge), item("you fool")
    with open_journal(tmp_path / "j") as journal:
        run = GradingRun(panel, journal, b"k")
        requests = list(run.requests([one]))
        assert [r["model"] for r in requests] == ["a", "b", "c"]
        for request, content in zip(
            requests, (says(True), says(True, True), says(False)), strict=True
        ):
            put(journal, request, content)
        row = run.row(one)
    assert (row["rude"], row["sly"]) == (True, False)
    assert row["judge_notes"]["dissent"] == [
        {"member": "b", "behaviors": ["sly"]},
        {"member": "c", "behaviors": ["rude"]},
    ]
    assert row["judge_notes"]["unsupported"] == []
    facts = run.facts()["members"]
    assert [(m["votes"], m["dissent"]) for m in facts.values()] == [(2, 0), (2, 1), (2, 1)]
    assert len({m["grader_id"] for m in facts.values()}) == 3
    assert facts["a"]["grader_id"] == Panel((RUDE, SLY), Judge(model="a")).grader_ids()["rude"]
    rules: list[Vote] = ["majority", "any", "all"]
    ids = {Panel((RUDE,), Judge(panel=("a", "b", "c"), rule=rule)).grading_id for rule in rules}
    assert len(ids) == 3
    assert Panel.from_record(orjson.loads(orjson.dumps(panel.record()))) == panel


@given(
    st.lists(st.sampled_from([True, False, None]), min_size=2, max_size=7),
    st.sampled_from(["majority", "any", "all"]),
)
def test_what_a_silent_member_might_have_said_never_changes_the_vote(
    said: list[bool | None], rule: Vote
) -> None:
    def decide(votes: list[bool | None]) -> bool | None:
        given = [None if v is None else Verdict(v, int(v), 0.5, "") for v in votes]
        return vote(given, rule).flagged

    outcome = decide(said)
    for value in (True, False):
        filled = decide([value if v is None else v for v in said])
        assert filled is not None
        assert outcome in (None, filled)


def test_a_judge_is_one_or_several_and_a_majority_can_be_found() -> None:
    for wrong, why in (
        ({}, "either a `model` or a `panel`"),
        ({"model": "a", "panel": ["b", "c"]}, "either a `model` or a `panel`"),
        ({"panel": ["a"]}, "two models or more"),
        ({"panel": ["a", "a", "b"]}, "each named once"),
        ({"panel": ["a", "b"]}, "odd number"),
        ({"model": "a", "max_characters": 400_000}, "max_document_tokens"),
    ):
        with pytest.raises(ValueError, match=why):
            Judge.model_validate(wrong)


def test_a_random_part_is_graded_twice_in_another_order(tmp_path: Path) -> None:
    panel = Panel((RUDE, SLY), Judge(model="j", repeat_share=0.25))
    items = [item("you fool", f"{i:016x}") for i in range(400)]
    chosen = [drawn(one, 0.25, "repeat") for one in items]
    assert 70 < sum(chosen) < 130
    with open_journal(tmp_path / "j") as journal:
        run = GradingRun(panel, journal, b"k")
        one = items[chosen.index(True)]
        first, again = run.requests([one])
        assert request_key(first) != request_key(again)
        orders = [r["response_format"]["json_schema"]["schema"]["required"] for r in (first, again)]
        assert orders == [["rude", "sly"], ["sly", "rude"]]
        put(journal, first, says(True))
        put(journal, again, says(False))
        row = run.row(one)
        assert row["rude"] is True, "the first grading is the grade"
        assert row["judge_notes"]["repeated"] == [
            {"behavior": "rude", "flagged": False},
            {"behavior": "sly", "flagged": False},
        ]
        assert run.facts()["repeats"] == {"rude": [0, 1, 0, 0], "sly": [0, 0, 0, 1]}
        alone = list(GradingRun(panel._replace(behaviors=(RUDE,)), journal, b"k").requests([one]))
        assert len({request_key(r) for r in alone}) == 2, "one behavior has no other order"
    plain = Panel((RUDE, SLY), Judge(model="j"))
    assert plain.grading_id == panel.grading_id, "looking twice does not change what is seen"
    assert Panel.from_record(panel.record()) == panel


def test_clean_is_missing_where_most_of_what_a_behavior_goes_by_was_not_shown(
    tmp_path: Path,
) -> None:
    panel = Panel((RUDE, SLY), Judge(model="j", max_document_tokens=2_000))
    one = item("short and whole", reasoning="thought " * 20_000)
    with open_journal(tmp_path / "j") as journal:
        run = GradingRun(panel, journal, b"k")
        put(journal, next(run.requests([one])), says(False))
        row = run.row(one)
    assert (row["rude"], row["sly"], row["missing"]) == (None, False, ["rude"]), (
        "sly goes by the reply alone, which was shown whole"
    )
    assert row["judge_notes"]["cut_share"] > 0.9


def _messages() -> st.SearchStrategy[list[dict[str, Any]]]:
    text = st.builds(
        lambda piece, n: (piece * n)[:10_000],
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=8),
        st.integers(0, 4_000),
    )
    call = st.builds(lambda n, a: {"id": "1", "name": n, "arguments": a}, text, text)
    message = st.fixed_dictionaries(
        {
            "role": st.sampled_from(["system", "user", "assistant", "tool"]),
            "content": st.none() | text,
            "reasoning": st.none() | text,
            "name": st.none() | text,
            "tool_calls": st.none() | st.lists(call, max_size=4),
        }
    )
    return st.lists(message, min_size=1, max_size=12)


@settings(max_examples=25, deadline=None)
@given(_messages(), _messages(), st.integers(1, 12))
def test_the_limit_holds_whatever_is_long(
    messages: list[dict[str, Any]], replies: list[dict[str, Any]], times: int
) -> None:
    reply = replies[0] | {"tool_calls": (replies[0]["tool_calls"] or []) * times}
    one = Item({"messages": messages * times}, reply, "completed", None)
    read = document(one, 2_000)
    assert estimated_tokens(read.text.encode()) <= 2_000
    shown = orjson.loads(read.text)
    assert shown["conversation"]
    assert (read.cut > 0) == ("left_out" in shown)
    assert 0 <= read.cut_share(RUDE) <= 1


def test_two_megabytes_of_tool_arguments_do_not_go_out() -> None:
    calls = [{"id": "1", "name": "write", "arguments": "x1" * 1_000_000}]
    read = document(item("done", tool_calls=calls), 10_000)
    assert estimated_tokens(read.text.encode()) <= 10_000
    assert len(read.text) > 5_000, "the room is used"
    assert read.cut_share(Behavior(name="b", definition="d")) > 0.9


def test_a_pattern_cannot_hang_a_run() -> None:
    rule = Rule.model_validate(SLOW)
    told = Behavior(name="r", definition="d", grader="rule", rule=rule)
    panel = Panel((told,), None)
    began = time.process_time()
    row = GradingRun(panel, None, b"k").row(item("a" * 50_000 + "!"))  # type: ignore[arg-type]
    assert row["r"] is False
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    "rule",
    [
        {"part": "reply", "regex": "a(?=b)"},
        {"part": "reply", "regex": r"(a)\1"},
        {"part": "tool_calls", "json_path": "$[?search(@.name, 'a(?=b)')]"},
        {"part": "tool_calls", "json_path": "$[?match(@.name, 'a(?!b)')]"},
        {"part": "tool_calls", "json_path": "$[?@.name =~ /a(?=b)/]"},
        {"part": "tool_calls", "json_path": "$[?search(@.name, @.arguments)]"},
    ],
)
def test_what_linear_time_cannot_match_is_refused_with_the_reason(rule: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"linear time|must stand in the path"):
        Rule.model_validate(rule)


def test_what_is_nested_too_deeply_for_a_rule_is_missing_and_never_clean() -> None:
    """Such a call ended the run, and would have ended every run after it."""
    deep = {"id": "a", "name": "t", "arguments": '{"a": ' + "[" * 500 + "]" * 500 + "}"}
    for path in ("$..path", "$[*].arguments.a"):
        rule = {"part": "tool_calls", "json_path": path}
        told = Behavior(name="r", definition="d", grader="rule", rule=Rule.model_validate(rule))
        run = GradingRun(Panel((told,), None), None, b"k")  # type: ignore[arg-type]
        row = run.row(item("", tool_calls=[deep]))
        assert (row["r"], row["status"], row["missing"]) == (None, "failed", ["r"])
        broken = item("")._replace(reply=None, broken={"content": None, "tool_calls": [deep]})
        seen = turn_row(run.panel, broken)
        assert seen is not None and seen["shown"] == [{"behavior": "r", "shown_at": 0}]


def test_registered_rules_keep_their_engine_and_end_in_time() -> None:
    rules = TimedRules(seconds=0.3)
    old = {"context": {"engine": "re"}}
    ahead = Rule.model_validate({"part": "reply", "regex": r"\bпривет(?=!)"}, **old)
    try:
        assert rules.holds(ahead, [], {"content": "Ну, привет!"}) is True
        assert rules.holds(ahead, [], {"content": "Ну, привет."}) is False
        slow = Rule.model_validate(SLOW, **old)
        began = time.perf_counter()
        hanging = {"content": "a" * 40 + "!"}
        assert [rules.holds(slow, [], hanging) for _ in range(3)] == [None] * 3
        asked = time.perf_counter()
        assert [rules.holds(slow, [], hanging) for _ in range(1_000)] == [None] * 1_000
        assert time.perf_counter() - asked < 60, "after three it is given up"
        assert asked - began < 60
        assert rules.holds(ahead, [], {"content": "Ну, привет!"}) is True, "others go on"
    finally:
        rules.close()


def test_a_registration_from_before_keeps_its_identities_prompt_and_engine() -> None:
    """The record as deploysim wrote it before prompts and engines had names in it."""
    record = {
        "behaviors": [
            {"name": "rude", "definition": "Insults the user.", "rubric": "", "grader": "judge",
             "applies_to": {}, "severity": {}, "reasoning": True, "tool_calls": True},
            {"name": "lazy", "definition": "d", "rubric": "", "grader": "rule", "applies_to": {},
             "rule": {"part": "reply", "regex": "later(?=!)"}, "severity": {}, "reasoning": True,
             "tool_calls": True},
        ],
        "judge": {"model": "judge", "params": {"temperature": 0}, "max_characters": 400_000},
    }  # fmt: skip
    panel = Panel.from_record(record)
    assert panel.record() == record
    assert (panel.prompt, panel.engine) == ("2", "re")
    assert panel.grader_ids() == {"rude": "b8393cac9fda4d15", "lazy": "35b92097554b8ea4"}
    request = next(GradingRun(panel, None, b"k").requests([item("hi")]))  # type: ignore[arg-type]
    assert request_key(request).startswith("407b5413a6b5ff685da3f5ae9ee81c55cb3d23413563c7b5")
    with pytest.raises(ProjectError, match="does not know"):
        Panel.from_record(record | {"prompt": "9"})
