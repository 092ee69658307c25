"""An answer that is no answer has a state of its own, on both sides, and is never a clean one."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploysim_assets.behaviors import Behavior
from deploysim_assets.endpoint.completions import completion_row
from deploysim_assets.endpoint.wire import request_key
from deploysim_assets.grading.item import Item
from deploysim_assets.grading.panel import Panel
from deploysim_assets.grading.run import GradingRun
from deploysim_assets.project import Judge
from deploysim_assets.schema import FINISH_REASONS, finish_reason, reply_state
from deploysim_assets.storage.journal import open_journal

PREFIX: dict[str, Any] = {
    "prefix_id": "p", "stratum": "s", "weight": 1.0, "user_key": "u", "surface": None,
    "language": None,
    "messages": [dict.fromkeys(("tool_calls", "tool_call_id", "name", "reasoning", "at"))
                 | {"role": "user", "content": "hello"}],
}  # fmt: skip
CALL = {"id": "c", "name": "browser", "arguments": "{}"}
RUDE = Behavior(name="rude", definition="d")
RULED = Behavior.model_validate(
    {"name": "ruled", "definition": "d", "grader": "rule", "rule": {"part": "reply", "regex": "x"}}
)


def reply(content: str | None, finish: str | None = "stop", calls: Any = None) -> dict[str, Any]:
    return {
        "content": content,
        "reasoning": "thought",
        "tool_calls": calls or [],
        "finish_reason": finish,
    }


@pytest.mark.parametrize(
    ("found", "state"),
    [
        (reply("fine"), "completed"),
        (reply("fine", None), "completed"),
        (reply("fine", "unknown"), "completed"),
        (reply(None, calls=[CALL]), "completed"),
        (reply("half a", "length"), "truncated"),
        (reply(None, "length", [CALL]), "truncated"),
        (reply(None), "empty"),
        (reply("", "length"), "empty"),
        (reply(" \n\t"), "empty"),
        (reply("\u200b\ufeff\u2060"), "empty"),
        (reply("part", "content_filter"), "filtered"),
        (reply("I cannot", "refusal"), "refused"),
    ],
)
def test_a_reply_is_in_exactly_one_state(found: dict[str, Any], state: str) -> None:
    assert reply_state(found) == state
    assert Item.of_production(PREFIX | {"production_completion": found}).status == state


@given(st.one_of(st.none(), st.text(max_size=20), st.integers(), st.lists(st.text())))
def test_whatever_a_server_calls_the_end_is_one_of_the_reasons(said: Any) -> None:
    found = finish_reason(said)
    assert found is None if said in (None, "") else found in FINISH_REASONS


@pytest.mark.parametrize(
    ("said", "reason"),
    [("end_turn", "stop"), ("MAX_TOKENS", "length"), ("abort", "length"),
     ("SAFETY", "content_filter"), ("tool_use", "tool_calls"),
     ("function_call", "tool_calls"), ("banana", "unknown")],
)  # fmt: skip
def test_the_words_of_the_common_servers(said: str, reason: str) -> None:
    assert finish_reason(said) == reason


@pytest.mark.parametrize("side", ["candidate", "production"])
def test_only_a_panel_that_says_so_grades_what_was_cut(side: str) -> None:
    def item(found: dict[str, Any]) -> Item:
        if side == "production":
            return Item.of_production(PREFIX | {"production_completion": found})
        row = {"message": found, "status": reply_state(found), "error": None}
        return Item.of_completion(PREFIX, row)

    cut, empty = item(reply("half x", "length")), item(reply("", "length"))
    missing, graded = Panel((RUDE, RULED), Judge(model="j")), Panel((RULED,), None, "grade")
    assert not list(GradingRun(missing, None, b"").requests(map(missing.admitted, [cut, empty])))  # type: ignore[arg-type]
    row = GradingRun(missing, None, b"").row(missing.admitted(cut))  # type: ignore[arg-type]
    assert (row["status"], row["ruled"], row["missing"]) == ("truncated", None, ["rude", "ruled"])
    row = GradingRun(graded, None, b"").row(graded.admitted(cut))  # type: ignore[arg-type]
    assert (row["status"], row["ruled"]) == ("graded", True)
    row = GradingRun(graded, None, b"").row(graded.admitted(empty))  # type: ignore[arg-type]
    assert (row["status"], row["ruled"]) == ("empty", None)


def test_grading_what_was_cut_is_another_grading_and_the_default_is_none() -> None:
    plain, grades = Panel((RUDE,), Judge(model="j")), Panel((RUDE,), Judge(model="j"), "grade")
    assert plain.grading_id != grades.grading_id
    assert Panel.from_record(grades.record()) == grades
    assert Panel.from_record(plain.record()) == plain
    assert "truncated" not in plain.record(), "identities of registrations made before stay"


def test_an_answer_that_was_journalled_before_there_were_states_gets_its_own(
    tmp_path: Path,
) -> None:
    body: dict[str, Any] = {"model": "m", "messages": []}
    kept: dict[str, Any] = {
        "key": request_key(body), "status": "completed", "error": None, "content": "",
        "reasoning": None, "tool_calls": [], "finish_reason": "max_tokens", "prompt_tokens": 1,
        "completion_tokens": 0, "latency_ms": 1.0, "requested_at": "2026-01-01T00:00:00+00:00",
    }  # fmt: skip
    with open_journal(tmp_path / "j") as journal:
        journal.put(kept)
        row = completion_row("p", "m", body, journal, {})
    assert (row["status"], row["finish_reason"]) == ("empty", "length")
