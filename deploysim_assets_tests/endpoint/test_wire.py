"""The two interfaces: what is sent, what an answer says, and what an error means."""

import json
from typing import Any

import orjson
import pytest

from deploysim_assets.endpoint.wire import MalformedError, Refusal, answer, sent_body

CALL = {"id": "c1", "type": "function", "function": {"name": "browser", "arguments": '{"q": 1}'}}
CHAT: dict[str, Any] = {
    "model": "m",
    "seed": 3,
    "max_tokens": 50,
    "temperature": 0.5,
    "reasoning_effort": "low",
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "grades", "strict": True, "schema": {"type": "object"}},
    },
    "tools": [{"type": "function", "function": {"name": "browser", "parameters": {}}}],
    "messages": [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "look it up"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "content": "42", "tool_call_id": "c1"},
    ],
}


def test_chat_goes_as_it_is() -> None:
    assert sent_body(CHAT, "chat") is CHAT


def test_a_chat_request_becomes_a_responses_request() -> None:
    assert sent_body(CHAT, "responses") == {
        "model": "m",
        "max_output_tokens": 50,
        "temperature": 0.5,
        "reasoning": {"effort": "low", "summary": "auto"},
        "text": {
            "format": {
                "type": "json_schema",
                "name": "grades",
                "strict": True,
                "schema": {"type": "object"},
            }
        },
        "tools": [{"type": "function", "name": "browser", "parameters": {}}],
        "input": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "look it up"},
            {"type": "function_call", "call_id": "c1", "name": "browser", "arguments": '{"q": 1}'},
            {"type": "function_call_output", "call_id": "c1", "output": "42"},
        ],
    }


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
    assert answer(response(refusal), "responses") | {} == answer(response(refusal), "responses")
    assert (
        answer(response(refusal), "responses")["status"],
        answer(response(refusal), "responses")["error"],
    ) == ("refused", "I will not.")
    cut = answer(
        response(
            said("half"), status="incomplete", incomplete_details={"reason": "max_output_tokens"}
        ),
        "responses",
    )
    assert (cut["status"], cut["finish_reason"]) == ("completed", "length")
    filtered = answer(
        response(status="incomplete", incomplete_details={"reason": "content_filter"}), "responses"
    )
    assert (filtered["status"], filtered["error"]) == ("filtered", "content filter")
    choice = {"message": {"content": ""}, "finish_reason": "content_filter"}
    assert answer(orjson.dumps({"choices": [choice]}), "chat")["status"] == "filtered"


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
        b'{"choices": [{}]}',
    ],
)
def test_what_is_no_answer_is_said_to_be_none(api: Any, raw: bytes) -> None:
    with pytest.raises(MalformedError):
        answer(raw, api)


@pytest.mark.parametrize(
    ("status", "code", "meaning"),
    [
        (401, "invalid_api_key", "stop"),
        (403, None, "stop"),
        (404, "model_not_found", "stop"),
        (429, "insufficient_quota", "stop"),
        (429, "rate_limit_exceeded", "again"),
        (408, None, "again"),
        (500, None, "again"),
        (529, "overloaded_error", "again"),
        (400, "content_filter", "filtered"),
        (400, "content_policy_violation", "filtered"),
        (400, "context_length_exceeded", "row"),
        (404, "not_recorded", "row"),
        (422, None, "row"),
    ],
)
def test_an_error_means_stop_again_filtered_or_this_row(
    status: int, code: str | None, meaning: str
) -> None:
    wrong = Refusal(
        status,
        json.dumps({"error": {"message": "secret words", "code": code, "type": "t"}}).encode(),
    )
    found = (
        "stop"
        if wrong.stops_everything
        else "filtered"
        if wrong.is_filter
        else "again"
        if wrong.is_transient
        else "row"
    )
    assert found == meaning
    assert "secret" not in str(wrong)


def test_an_error_without_a_body_is_told_by_its_status() -> None:
    for raw in (b"", b"<html>", b"[]", b'{"error": "text"}'):
        assert str(Refusal(502, raw)) == "status 502: error"
