"""The two interfaces: what is sent."""

from typing import Any

from deploysim_assets.endpoint.wire import sent_body

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
