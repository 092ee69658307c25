"""Prefixes of agents: whole turns whose calls and results stay together, and no identifier or time
leaves."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploysim_assets.deidentify.keys import Keys
from deploysim_assets.deidentify.prefixes import Cut, Drawn, cut_prefixes
from deploysim_assets.deidentify.scrub import Scrubber
from deploysim_assets.deidentify.turns import paired, turn_end, whole_turn
from deploysim_assets.logs.sampling import DrawnTurn
from deploysim_assets.project import Deidentification
from deploysim_assets.schema import PREFIXES, reply_state, turn_calls, turn_messages

KEYS = Keys(b"1" * 32, b"2" * 32)
AT = datetime(2026, 5, 1, 12, tzinfo=UTC)
POLICY = Deidentification(min_level=0)
MAIL, SECRET = "jo.kim@corp-real.com", "hunter2xyzzy"


def says(role: str, content: str | None = None, *calls: tuple[str | None, str, Any],
         answers: str | None = None, name: str | None = None) -> dict[str, Any]:  # fmt: skip
    made = [{"id": i, "name": n, "arguments": json.dumps(a)} for i, n, a in calls]
    return {
        "role": role, "content": content, "tool_calls": made or None, "tool_call_id": answers,
        "name": name, "reasoning": None, "at": AT, "finish_reason": None,
    }  # fmt: skip


def talk(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "conversation_id": "c1", "user_id": "u1", "model_version": "m", "started_at": AT,
        "surface": "web", "language": "en", "training_allowed": True, "messages": list(messages),
        "tools": None, "tools_inferred": None, "commit": None,
    } | more  # fmt: skip


def cut(
    conversation: dict[str, Any],
    *turns: int,
    agents: bool = True,
    policy: Deidentification = POLICY,
) -> Cut:
    drawn = Drawn(conversation, [DrawnTurn(turn, "", 1.0) for turn in turns])
    scrubber = Scrubber(KEYS.surrogates, policy)
    return cut_prefixes([drawn], KEYS, scrubber, agents=agents)


WORK = (
    says("user", f"Write to {MAIL}, my password is {SECRET}"),
    says("assistant", None, ("a", "get_user", {"email": MAIL}), ("b", "get_file", {"path": "/x"})),
    says("tool", json.dumps({"email": MAIL, "password": SECRET}), answers="a", name="get_user"),
    says("tool", "text", answers="b", name="get_file"),
    says("assistant", "One more.", ("a", "send", {"to": MAIL})),
    says("tool", "sent", answers="a", name="send"),
    says("assistant", f"Sent to {MAIL} as asked."),
    says("user", "Thanks"),
    says("assistant", "Bye."),
)
TOOL = {
    "name": "get_user",
    "description": f"Ask {MAIL} in doubt.",
    "parameters": json.dumps(
        {
            "type": "object",
            "properties": {
                "password": {"type": "string", "description": "The password of the user."},
                "email": {"type": "string", "default": MAIL, "enum": [MAIL, "none"]},
                "name": {"type": "string", "const": "x"},
            },
            "required": ["password", "email"],
        }
    ),
    "read_only": True,
}


def test_the_production_turn_is_whole_and_each_result_keeps_its_call() -> None:
    [first, last] = cut(talk(*WORK), 0, 7).prefixes
    turn = first["production_completion"]
    assert [m["role"] for m in turn["steps"]] == ["assistant", "tool", "tool", "assistant", "tool"]
    assert turn["content"].startswith("Sent to ")
    assert [c["name"] for c in turn_calls(turn)] == ["get_user", "get_file", "send"]
    ids = [c["id"] for c in turn_calls(turn)]
    results = [m["tool_call_id"] for m in turn["steps"] if m["role"] == "tool"]
    assert ids == results == ["call_1", "call_2", "call_3"]  # the log used an id twice
    assert [m["source"] for m in turn["steps"]] == [
        None, "production", "production", None, "production",
    ]  # fmt: skip
    assert reply_state(turn) == "completed"
    assert (last["production_completion"]["content"], last["production_completion"]["steps"]) == (
        "Bye.",
        [],
    )
    assert [m.get("tool_call_id") for m in last["messages"] if m["role"] == "tool"] == ids
    assert pl.DataFrame([first, last], schema=PREFIXES).height == 2


def test_without_agents_the_first_message_is_the_reply_as_ever() -> None:
    conversation = talk(*WORK, tools=[TOOL], commit="abcdef1", tools_inferred=False)
    [first] = cut(conversation, 0, agents=False).prefixes
    reply = first["production_completion"]
    assert (reply["content"], reply["steps"]) == (None, [])
    assert [c["name"] for c in reply["tool_calls"]] == ["get_user", "get_file"]
    assert [first[k] for k in ("tools", "tools_inferred", "commit", "clock")] == [None] * 4


def test_a_conversation_without_tools_is_asked_once_in_an_agents_project_too() -> None:
    chat = talk(says("user", "a"), says("assistant", "b"), says("assistant", "c"))
    [prefix] = cut(chat, 0).prefixes
    assert (prefix["production_completion"]["content"], prefix["tools"]) == ("b", None)
    [declared] = cut(chat | {"tools": [TOOL], "tools_inferred": False}, 0).prefixes
    assert declared["production_completion"]["content"] == "c"
    assert [s["content"] for s in declared["production_completion"]["steps"]] == ["b"]


def test_no_identifier_stays_in_steps_tools_or_schemas_and_each_has_one_surrogate() -> None:
    [first] = cut(talk(*WORK, tools=[TOOL], tools_inferred=False), 0).prefixes
    whole = json.dumps(first, default=str)
    assert MAIL not in whole
    assert SECRET not in whole
    asked = json.loads(first["production_completion"]["steps"][0]["tool_calls"][0]["arguments"])
    told = json.loads(first["production_completion"]["steps"][1]["content"])
    [tool] = first["tools"]
    schema = json.loads(tool["parameters"])
    email = schema["properties"]["email"]
    assert asked["email"] == told["email"] == email["default"] == email["enum"][0]
    assert asked["email"] in tool["description"]
    assert asked["email"] in first["messages"][0]["content"]
    # a schema's own words are no data: the type of a password is no secret
    assert schema["properties"]["password"]["type"] == "string"
    assert schema["required"] == ["password", "email"]
    assert email["enum"][1] == "none"
    assert (tool["name"], tool["read_only"], first["tools_inferred"]) == ("get_user", True, False)


def test_a_tools_name_stays_the_same_in_definition_call_and_result() -> None:
    name = f"ask_{MAIL}"
    tool = {"name": name, "description": None, "parameters": None, "read_only": None}
    conversation = talk(
        says("user", "go"),
        says("assistant", None, ("1", name, {})),
        says("tool", "x", answers="1", name=name),
        says("assistant", "done"),
        tools=[tool],
    )
    [prefix] = cut(conversation, 0).prefixes
    steps = prefix["production_completion"]["steps"]
    assert MAIL not in json.dumps(prefix, default=str)
    assert prefix["tools"][0]["name"] == steps[0]["tool_calls"][0]["name"] == steps[1]["name"]


@pytest.mark.parametrize(
    ("policy", "kept"),
    [
        (POLICY, "moved"),
        (Deidentification(min_level=0, profile="strict"), "gone"),
        (Deidentification(min_level=0, profile="strict", types={"date": "generalize"}), "gone"),
        (Deidentification(min_level=0, types={"date": "keep"}), "kept"),
    ],
)
def test_raw_times_leave_only_where_dates_may(policy: Deidentification, kept: str) -> None:
    conversation = talk(*WORK, commit="ABCDEF1".lower())
    [prefix] = cut(conversation, 0, policy=policy).prefixes
    assert all(m["at"] is None for m in prefix["messages"])
    clock = prefix["clock"]
    if kept == "moved":
        days = (clock - AT) / timedelta(days=1)
        assert days % 7 == 0
        assert 7 <= abs(days) <= 371
    else:
        assert clock == (AT if kept == "kept" else None)
    strict = policy.profile == "strict"
    assert prefix["commit"] == (None if strict else "abcdef1")


def test_what_was_earlier_stays_earlier_whoever_wrote_it() -> None:
    scrubber = Scrubber(KEYS.surrogates, POLICY)
    times = [AT + timedelta(minutes=n * n) for n in range(5)]
    moved = [scrubber.moved(t) for t in times]
    assert all(m is not None for m in moved)
    gaps = [b - a for a, b in zip(moved, moved[1:], strict=False) if a and b]
    assert gaps == [b - a for a, b in zip(times, times[1:], strict=False)]
    assert scrubber.moved(None) is None
    assert Scrubber(b"another key of thirty-two bytes!", POLICY).moved(AT) != moved[0]


@pytest.mark.parametrize("commit", ["main", f"fix-for-{MAIL}", "abc", "z" * 40, "a" * 65])
def test_only_a_hash_is_a_commit(commit: str) -> None:
    [prefix] = cut(talk(*WORK, commit=commit), 0).prefixes
    assert prefix["commit"] is None


def test_a_turn_that_breaks_off_with_a_result_is_empty_and_all_in_its_steps() -> None:
    [prefix] = cut(talk(*WORK[:4]), 0).prefixes
    turn = prefix["production_completion"]
    assert (turn["content"], turn["tool_calls"], len(turn["steps"])) == (None, None, 3)
    assert reply_state(turn) == "empty"


def test_300_steps_with_secrets_in_every_result_are_cleared_in_seconds() -> None:
    import time

    messages = [says("user", "go")]
    for n in range(150):
        path = {"path": f"/srv/{n}"}
        messages.append(says("assistant", None, ("same", "get_file", path)))
        leak = {"email": f"p{n}@corp-real.com", "api_key": f"sk-{n:04d}" + "abcDEF123" * 4}
        messages.append(says("tool", json.dumps(leak), answers="same", name="get_file"))
    messages.append(says("assistant", "done"))
    began = time.process_time()
    [prefix] = cut(talk(*messages), 0).prefixes
    assert time.process_time() - began < 60
    turn = prefix["production_completion"]
    assert "corp-real" not in json.dumps(turn)
    assert "abcDEF123" not in json.dumps(turn)
    assert [c["id"] for c in turn_calls(turn)] == [f"call_{n + 1}" for n in range(150)]
    results = [m["tool_call_id"] for m in turn["steps"] if m["role"] == "tool"]
    assert results == [f"call_{n + 1}" for n in range(150)]


def test_results_find_their_calls_among_very_many() -> None:
    calls = [("x" if n % 2 else None, "f", {}) for n in range(60_000)]
    results = [says("tool", "r", answers="y") for _ in range(3_000)]
    late = [says("tool", "r", answers="x"), says("tool", "r", name="f"), says("tool", "r")]
    done = paired([says("assistant", None, *calls), *results, *late])
    assert [m["tool_call_id"] for m in done[-3:]] == ["call_2", "call_1", "call_3"]
    assert done[1]["tool_call_id"] == "call_60001"


HOSTILE = [
    "not JSON at all, mail jo.kim@corp-real.com",
    json.dumps({"properties": [MAIL], "required": MAIL, "enum": {MAIL: [MAIL]}}),
    json.dumps({"$defs": {"x": {"default": {"email": MAIL}}}, MAIL: 1}),
    json.dumps({"properties": {MAIL: {"type": ["string"]}}, "required": [MAIL]}),
    json.dumps([MAIL, {"description": MAIL}]),
    json.dumps({"type": MAIL, "$ref": MAIL, "pattern": MAIL, "format": [MAIL]}),
    json.dumps({"not": {"anyOf": [{"const": MAIL}, {"examples": [MAIL]}]}}),
    "{}",
    "null",
    "",
]


@pytest.mark.parametrize("schema", HOSTILE)
def test_no_schema_carries_an_identifier_through(schema: str) -> None:
    tool = TOOL | {"parameters": schema}
    [prefix] = cut(talk(*WORK, tools=[tool]), 0).prefixes
    assert MAIL not in json.dumps(prefix, default=str)


def test_numbers_of_a_schema_are_looked_at_and_its_bounds_stay() -> None:
    schema = {"properties": {"pin": {"maxLength": 4, "minimum": 1000, "title": 4111111111111111}}}
    [prefix] = cut(talk(*WORK, tools=[TOOL | {"parameters": json.dumps(schema)}]), 0).prefixes
    kept = json.loads(prefix["tools"][0]["parameters"])["properties"]["pin"]
    assert (kept["maxLength"], kept["minimum"]) == (4, 1000)
    assert "4111111111111111" not in prefix["tools"][0]["parameters"]


def test_a_schema_that_nests_or_fills_without_end_quarantines() -> None:
    deep: Any = {"type": "string"}
    for _ in range(100):
        deep = {"properties": {"a": deep}}
    for schema, reason in ((json.dumps(deep), "too_deep"), ("x" * 300_000, "message_too_long")):
        found = cut(talk(*WORK, tools=[TOOL | {"parameters": schema}]), 0)
        assert [q["reason"] for q in found.quarantined] == [reason]
        assert found.prefixes == []


ROLES = st.sampled_from(["assistant", "tool", "system", "user"])
IDS = st.sampled_from([None, "", "1", "2"])


@st.composite
def dialogs(draw: st.DrawFn) -> list[dict[str, Any]]:
    made = [says("user", "go"), says("assistant", "on it")]
    for role in draw(st.lists(ROLES, max_size=12)):
        names = draw(st.lists(st.sampled_from(["f", "g"]), max_size=3))
        calls = [(draw(IDS), name, {}) for name in names] if role == "assistant" else []
        answers = draw(IDS) if role == "tool" else None
        name = draw(st.sampled_from([None, "f", "g"])) if role == "tool" else None
        made.append(says(role, draw(st.sampled_from([None, "x"])), *calls, answers=answers,
                         name=name))  # fmt: skip
    return made


def _ids(messages: Sequence[Any]) -> list[str]:
    return [c["id"] for m in messages for c in m["tool_calls"] or ()]


@given(dialogs())
@settings(max_examples=150, deadline=None)
def test_every_call_has_an_id_of_its_own_and_no_result_answers_a_later_or_answered_call(
    messages: list[dict[str, Any]],
) -> None:
    done = paired(messages)
    ids = _ids(done)
    assert len(ids) == len(set(ids))
    assert [m["content"] for m in done] == [m["content"] for m in messages]
    answered: set[str] = set()
    for place, message in enumerate(done):
        if message["role"] == "tool":
            number = message["tool_call_id"]
            assert number not in answered
            assert number in _ids(done[:place]) or number not in ids
            answered.add(number)
    end = turn_end(messages, 0)
    turn = whole_turn(done[1:end])
    said = [m["content"] for m in turn_messages(turn)]
    if done[end - 1]["role"] != "assistant":
        assert said.pop() is None
    assert said == [m["content"] for m in messages[1:end]]
