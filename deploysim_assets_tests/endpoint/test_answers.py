"""What a response says, in the shapes of the common servers, and what is no answer at all."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploysim_assets.endpoint.answers import MalformedError, UsageError, answer
from deploysim_assets.schema import FINISH_REASONS, reply_state, split_thinking


def response(*output: dict[str, Any], status: str = "completed", **more: Any) -> bytes:
    return orjson.dumps(
        {"status": status, "output": output, "usage": {"input_tokens": 9, "output_tokens": 4}}
        | more
    )


def said(text: str) -> dict[str, Any]:
    return {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "output_text", "text": text, "annotations": []}],
    }


def chat(content: Any, finish: Any = "stop", usage: Any = None, **message: Any) -> dict[str, Any]:
    choice = {"message": {"content": content, **message}, "finish_reason": finish}
    return answer(orjson.dumps({"choices": [choice], "usage": usage}), "chat")


def test_reasoning_text_and_tool_calls_of_a_response_are_carried() -> None:
    thought = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Let me see."}]}
    call = {"type": "function_call", "call_id": "c9", "name": "browser", "arguments": "{}"}
    found = answer(response(thought, said("done"), call), "responses")
    assert (found["status"], found["content"], found["reasoning"]) == (
        "completed",
        "done",
        "Let me see.",
    )
    assert found["tool_calls"] == [{"id": "c9", "name": "browser", "arguments": "{}"}]
    assert (found["prompt_tokens"], found["completion_tokens"], found["finish_reason"]) == (
        9,
        4,
        "tool_calls",
    )


def test_refusals_filters_and_cut_off_answers_are_told_apart() -> None:
    refusal = {"type": "message", "content": [{"type": "refusal", "refusal": "I will not."}]}
    refused = answer(response(refusal), "responses")
    assert (refused["status"], refused["error"]) == ("refused", "I will not.")
    for details in ({"reason": "max_output_tokens"}, None):
        raw = response(said("half"), status="incomplete", incomplete_details=details)
        assert answer(raw, "responses")["finish_reason"] == "length"
    filtered = answer(
        response(status="incomplete", incomplete_details={"reason": "content_filter"}), "responses"
    )
    assert (filtered["status"], filtered["error"]) == ("filtered", "content filter")
    assert chat("", "content_filter")["status"] == "filtered"
    assert chat("I cannot", "refusal")["status"] == "refused"


@pytest.mark.parametrize("api", ["chat", "responses"])
@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b"null",
        b"<html>",
        b'{"status": "failed", "output": []}',
        b'{"status": "in_progress", "output": []}',
        b'{"choices": [{}]}',
        b'{"choices": [{"message": "text"}]}',
        b'{"error": {"message": "in a 200"}}',
        b'{"choices": [{"message": {"content": "half"}}], "error": {"message": "overloaded"}}',
        b'{"choices": [{"message": {"content": "half a sen"}, "error": {"code": 502}}]}',
    ],
)
def test_what_is_no_answer_is_said_to_be_none(api: Any, raw: bytes) -> None:
    with pytest.raises(MalformedError):
        answer(raw, api)


@pytest.mark.parametrize(
    "content", [0, 1.5, True, {"text": "x"}, [1], [{"type": "text", "text": 7}], [[]], [None]]
)
def test_a_content_that_is_no_text_is_malformed_and_never_made_into_one(content: Any) -> None:
    with pytest.raises(MalformedError, match="the response is no answer"):
        chat(content)


@pytest.mark.parametrize("finish", ["error", "abort"])
def test_an_answer_that_the_server_broke_off_is_none(finish: str) -> None:
    with pytest.raises(MalformedError, match="broke off"):
        chat("half a sen", finish)


def test_reasoning_nested_a_thousand_deep_is_malformed_and_ends_nothing() -> None:
    raw = b'{"choices": [{"message": {"content": "x", "reasoning": %s"x"%s}}]}'
    deep = 1_000
    with pytest.raises(MalformedError):
        answer(raw % (b"[" * deep, b"]" * deep), "chat")


def test_parts_are_joined_and_others_are_kept_by_their_type() -> None:
    found = chat(
        [
            {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
            {"type": "text", "text": "one"},
            {"type": "image_url", "image_url": {"url": "data:x"}},
            {"type": "text", "text": "two"},
            "three",
        ]
    )
    assert (found["content"], found["reasoning"]) == ("one\ntwo\nthree", "hm")
    assert found["attachments"] == ["image_url"]
    assert chat([{"type": "refusal", "refusal": "no"}])["status"] == "refused"
    assert reply_state(chat([{"type": "image_url"}])) == "empty", "nothing that a grader can read"
    drawn = answer(response({"type": "image_generation_call"}, said("see")), "responses")
    assert (drawn["content"], drawn["attachments"]) == ("see", ["image_generation_call"])


@pytest.mark.parametrize(
    "message",
    [
        {"function_call": {"name": "browser", "arguments": "{}"}},
        {"tool_calls": [{"type": "function", "function": {"name": "browser", "arguments": {}}}]},
        {"tool_calls": [{"type": "custom", "custom": {"name": "browser", "input": "{}"}}]},
    ],
)
def test_a_tool_call_is_one_in_whichever_shape(message: dict[str, Any]) -> None:
    found = chat(None, "function_call", **message)
    assert found["tool_calls"] == [{"id": None, "name": "browser", "arguments": "{}"}]
    assert (found["finish_reason"], reply_state(found)) == ("tool_calls", "completed")


@pytest.mark.parametrize(
    "calls",
    [[7], [{"function": {"name": 3, "arguments": "{}"}}], [{"function": {"name": "f"}}], "x"],
)
def test_a_tool_call_without_name_or_arguments_is_malformed(calls: Any) -> None:
    with pytest.raises(MalformedError):
        chat("text", tool_calls=calls)


@pytest.mark.parametrize(
    "message",
    [
        {"reasoning": "thought"},
        {"reasoning_content": "thought"},
        {"reasoning": "thought", "reasoning_content": "thought"},
        {"thinking": "thought"},
        {"thinking_blocks": [{"type": "thinking", "thinking": "thought", "signature": "s"}]},
        {"reasoning_details": [{"type": "reasoning.text", "text": "thought"}]},
    ],
)
def test_the_reasoning_fields_of_the_common_servers(message: dict[str, Any]) -> None:
    found = chat("text", **message)
    assert (found["content"], found["reasoning"]) == ("text", "thought")


@pytest.mark.parametrize(
    ("content", "thought", "rest"),
    [
        ("<think>hm</think>\n\nfine", "hm", "fine"),
        ("\n<THINK>hm</THINK>fine", "hm", "fine"),
        ("<think>a</think><think>b</think>fine", "a\nb", "fine"),
        ("<thinking>hm</thinking>fine", "hm", "fine"),
        ("[THINK]hm[/THINK]fine", "hm", "fine"),
        ("a template opened it\n</think>\n\nfine", "a template opened it", "fine"),
        ("<think>cut off in mid", "cut off in mid", ""),
        ("<think></think>fine", "", "fine"),
        ("Models write <think> and </think> tags.", None, None),
        ("Close it with `</think>` as usual.", None, None),
        ("I think> so", None, None),
        ("plain", None, None),
    ],
)
def test_thinking_inside_the_content_is_set_apart(
    content: str, thought: str | None, rest: str | None
) -> None:
    assert split_thinking(content) == (thought, content if rest is None else rest)
    found = chat(content)
    assert found["content"] == (content if rest is None else rest)
    assert found["reasoning"] == (thought or None)


def test_a_reply_that_is_nothing_but_thinking_is_empty() -> None:
    assert reply_state(chat("<think>and it never came to an answer", "length")) == "empty"
    assert reply_state(chat("<think>done</think>", "stop")) == "empty"


@given(st.text(max_size=200))
def test_setting_thinking_apart_loses_nothing_visible(text: str) -> None:
    thought, rest = split_thinking(text)
    kept = "".join(rest.split()) + "".join((thought or "").split())
    assert len(kept) <= len("".join(text.split()))
    if thought is None:
        assert rest == text


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(JSON, JSON, JSON, JSON, JSON)
def test_whatever_comes_is_an_answer_of_the_schema_or_malformed(
    content: Any, finish: Any, calls: Any, reasoning: Any, usage: Any
) -> None:
    message = {"content": content, "tool_calls": calls, "reasoning": reasoning}
    raw = orjson.dumps(
        {"choices": [{"message": message, "finish_reason": finish}], "usage": usage},
        option=orjson.OPT_NON_STR_KEYS,
    )
    try:
        found = answer(raw, "chat")
    except MalformedError:
        return
    assert isinstance(found["content"], str | None)
    assert isinstance(found["reasoning"], str | None)
    assert found["finish_reason"] in FINISH_REASONS
    assert all(isinstance(c["name"], str) for c in found["tool_calls"])
    for name in ("prompt_tokens", "completion_tokens"):
        assert found[name] is None or found[name] >= 0


@pytest.mark.parametrize("tokens", [-1, 10**12, 1.5, "12", True, [], float("1e300")])
def test_a_usage_that_cannot_be_is_an_error(tokens: Any) -> None:
    with pytest.raises(UsageError, match="a usage that cannot be: prompt_tokens"):
        chat("fine", usage={"prompt_tokens": tokens, "completion_tokens": 2})


def test_a_missing_usage_is_told_as_missing_and_the_servers_names_are_kept() -> None:
    found = chat("fine")
    assert (found["prompt_tokens"], found["completion_tokens"]) == (None, None)
    raw = orjson.dumps(
        {"choices": [{"message": {"content": "x"}}], "model": "m-2026", "system_fingerprint": 7}
    )
    named = answer(raw, "chat")
    assert (named["reported_model"], named["system_fingerprint"]) == ("m-2026", None)
    assert named["finish_reason"] == "unknown"
