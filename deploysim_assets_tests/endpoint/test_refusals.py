"""What an error means, in the shapes of the common servers, and what of it may be shown."""

import json
from typing import Any

import pytest

from deploysim_assets.endpoint.refusals import Refusal, masked


@pytest.mark.parametrize(
    ("status", "code", "meaning"),
    [
        (401, "invalid_api_key", "stop"),
        (403, None, "stop"),
        (404, "model_not_found", "stop"),
        (404, "DeploymentNotFound", "stop"),
        (404, None, "stop"),
        (307, None, "stop"),
        (429, "insufficient_quota", "stop"),
        (429, "rate_limit_exceeded", "again"),
        (408, None, "again"),
        (500, None, "again"),
        (503, None, "again"),
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
    error = {"message": "No.", "code": code, "type": "invalid_request_error"}
    wrong = Refusal(status, json.dumps({"error": error}).encode())
    found = (
        "stop"
        if wrong.stops_everything("m", "KEY")
        else "filtered"
        if wrong.is_filter
        else "again"
        if wrong.is_transient
        else "row"
    )
    assert found == meaning
    assert wrong.is_pushback == (status in (429, 503, 529))


SHAPES: dict[str, tuple[dict[str, Any], str]] = {
    "OpenAI": (
        {"error": {"message": "Bad.", "type": "invalid_request_error", "code": "bad_value"}},
        "status 400: bad_value: Bad.",
    ),
    "LiteLLM": (
        {"error": {"message": "litellm.BadRequestError: Bad.", "type": None, "code": "400"}},
        "status 400: BadRequestError: litellm.BadRequestError: Bad.",
    ),
    "vLLM": (
        {"error": {"message": "Bad.", "type": "BadRequestError", "code": 400}},
        "status 400: BadRequestError: Bad.",
    ),
    "vLLM of old": (
        {"object": "error", "message": "Bad.", "type": "BadRequestError", "code": 400},
        "status 400: BadRequestError: Bad.",
    ),
    "Azure": (
        {"error": {"code": "OperationNotSupported", "message": "Bad."}},
        "status 400: OperationNotSupported: Bad.",
    ),
    "Azure's gateway": ({"statusCode": 400, "message": "Bad."}, "status 400: Bad."),
    "FastAPI": ({"detail": "Bad."}, "status 400: Bad."),
    "FastAPI's validation": (
        {"detail": [{"loc": ["body", "seed"], "msg": "Input should be less", "input": "a secret"}]},
        "status 400: Input should be less",
    ),
    "Ollama": ({"error": "Bad."}, "status 400: Bad."),
    "Anthropic": (
        {"type": "error", "error": {"type": "invalid_request_error", "message": "Bad."}},
        "status 400: invalid_request_error: Bad.",
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_servers_own_message_is_what_is_said(shape: str) -> None:
    body, expected = SHAPES[shape]
    assert str(Refusal(400, json.dumps(body).encode())) == expected


@pytest.mark.parametrize("raw", [b"", b"<html>", b"[]", b"7", b'{"error": 7}', b'{"error": []}'])
def test_an_error_without_a_message_is_told_by_its_status(raw: bytes) -> None:
    assert str(Refusal(502, raw)) == "status 502: error"


def test_what_a_message_quotes_of_the_request_is_left_out() -> None:
    request = {
        "messages": [
            {"role": "user", "content": "My name is Odalys Brandt and I live at Elm Row 7."},
            {"role": "assistant", "tool_calls": [{"function": {"arguments": '{"q": "zzyx9"}'}}]},
        ]
    }
    for message in (
        "Invalid prompt: my name is Odalys Brandt and I live at elm row 7 is not allowed",
        "Cannot parse 'Odalys' here",
        'Cannot parse "zzyx9" here',
    ):
        shown = masked(message, request)
        assert "[...]" in shown
        assert not {"odalys", "brandt", "elm", "zzyx9"} & set(
            shown.lower().replace("'", "").split()
        )
    assert masked("maximum context length is 8192 tokens", request) == (
        "maximum context length is 8192 tokens"
    )
    assert len(masked("word " * 1000, None)) == 300


def test_neither_the_key_nor_what_a_terminal_would_obey_is_shown() -> None:
    raw = json.dumps({"error": {"message": "Wrong key sk-very-secret!\x1b[2J\nBye \u202e now"}})
    wrong = Refusal(401, raw.encode(), key="sk-very-secret")
    assert wrong.message == "Wrong key [...]! [2J Bye now"
    assert "secret" not in f"{wrong} {wrong.stops_everything('m', 'KEY')}"


def test_the_setting_to_look_at_is_named() -> None:
    def said(status: int, key: str | None = "MY_KEY", **error: Any) -> str:
        raw = json.dumps({"error": {"message": "No.", **error}}).encode()
        return Refusal(status, raw).stops_everything("gpt-9", key) or ""

    assert "check the value of MY_KEY, which api_key_env names" in said(401)
    assert "name the variable that holds its key in endpoint.api_key_env" in said(401, None)
    assert "has no such model (No.); see to it and run again (model 'gpt-9')" in said(
        404, type="NotFoundError"
    )
    assert "look at endpoint.base_url" in said(404)
    assert "has moved" in said(308)


def test_one_flagged_input_of_a_gateway_stops_nothing() -> None:
    meta = {"reasons": ["violence"], "flagged_input": "a secret"}
    raw = json.dumps({"error": {"code": 403, "message": "Moderated.", "metadata": meta}}).encode()
    wrong = Refusal(403, raw)
    assert wrong.is_filter
    assert wrong.stops_everything("m", "KEY") is None
    assert "secret" not in str(wrong)
