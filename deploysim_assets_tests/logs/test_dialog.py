"""Messages and exchanges of many shapes, among them those that real exports surprised us with."""

import contextlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from deploysim_assets.logs.conversation import Conversation, Message
from deploysim_assets.logs.dialog import messages
from deploysim_assets.logs.exchange import answered, asked, exchange
from deploysim_assets.logs.parts import DialogError, attached, placeholder


def told(found: list[Message]) -> list[tuple[Any, ...]]:
    return [
        (m.role, m.content, *((c.name, json.loads(c.arguments)) for c in m.tool_calls or []))
        for m in found
    ]


RAIN = ("weather", {"city": "Oslo"})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        # OpenAI before tools
        ([{"role": "assistant", "content": None,
           "function_call": {"name": "weather", "arguments": '{"city": "Oslo"}'}},
          {"role": "function", "name": "weather", "content": "rain"}],
         [("assistant", None, RAIN), ("tool", "rain")]),
        # OpenAI's Responses: one reply told as several items, a tool of its own, and its result
        ([{"role": "user", "content": "?"},
          {"type": "reasoning", "summary": []},
          {"type": "web_search_call", "id": "w1", "status": "completed", "action": {"query": "q"}},
          {"type": "function_call", "call_id": "f1", "name": "weather",
           "arguments": '{"city": "Oslo"}'},
          {"type": "function_call_output", "call_id": "f1", "output": "rain"},
          {"type": "message", "role": "assistant",
           "content": [{"type": "output_text", "text": "Rain."}]}],
         [("user", "?"), ("assistant", None, ("web_search_call", {"action": {"query": "q"}}), RAIN),
          ("tool", "rain"), ("assistant", "Rain.")]),
        # Vercel's AI SDK
        ([{"role": "assistant", "content": [
            {"type": "tool-call", "toolCallId": "1", "toolName": "weather",
             "input": {"city": "Oslo"}}]},
          {"role": "tool", "content": [
              {"type": "tool-result", "toolCallId": "1", "toolName": "weather",
               "output": {"type": "text", "value": "rain"}}]},
          {"toolCallId": "2", "toolName": "weather", "input": '{"city": "Oslo"}'}],
         [("assistant", None, RAIN), ("tool", '{"type":"text","value":"rain"}'),
          ("assistant", None, RAIN)]),
        # Gemini
        ([{"role": "user", "parts": [{"text": "?"}]},
          {"role": "model", "parts": [{"functionCall": {"name": "weather",
                                                        "args": {"city": "Oslo"}}}]},
          {"role": "user", "parts": [{"functionResponse": {"name": "weather",
                                                           "response": {"r": 1}}}]}],
         [("user", "?"), ("assistant", None, RAIN), ("tool", '{"r":1}')]),
        # Langfuse on LangChain: a tool's result has the tool's name as its role, and the tools
        # that there are stand among the messages
        ([{"role": "user", "content": "?"},
          {"role": "weather", "content": "rain", "additional_kwargs": {}},
          {"role": "tool", "content": {"type": "function", "function": {"name": "weather",
                                                                        "parameters": {}}}}],
         [("user", "?"), ("tool", "rain")]),
        # Anthropic: a server's tool and its result within one reply
        ([{"role": "assistant", "content": [
            {"type": "text", "text": "Let me see."},
            {"type": "server_tool_use", "id": "1", "name": "weather", "input": {"city": "Oslo"}},
            {"type": "web_search_tool_result", "tool_use_id": "1", "content": [
                {"type": "text", "text": "rain"}]},
            {"type": "text", "text": "Rain."}]}],
         [("assistant", "Let me see.", RAIN), ("tool", "rain"), ("assistant", "Rain.")]),
    ],
)  # fmt: skip
def test_each_interface_says_the_same(given: list[Any], expected: list[Any]) -> None:
    assert told(messages(given)) == expected


@pytest.mark.parametrize(
    ("request_body", "expected"),
    [
        ({"contents": "Hi", "model": "m"}, [("user", "Hi")]),
        ({"contents": [{"parts": [{"text": "Hi"}]}],
          "systemInstruction": {"parts": [{"text": "Be kind."}]}},
         [("system", "Be kind."), ("user", "Hi")]),
        ({"system": [{"type": "text", "text": "Be kind."}],
          "messages": [{"role": "user", "content": "Hi"}]},
         [("system", "Be kind."), ("user", "Hi")]),
        ({"instructions": "Be kind.", "input": "Hi"}, [("system", "Be kind."), ("user", "Hi")]),
        ({"prompt": "Hi"}, [("user", "Hi")]),
        ('{"messages": [{"role": "user", "content": "Hi"}]}', [("user", "Hi")]),
        ('"[{\\"role\\": \\"user\\", \\"content\\": \\"Hi\\"}]"', [("user", "Hi")]),
        ('{"city": "Oslo"}', [("user", '{"city": "Oslo"}')]),
        ("[1, 2]", [("user", "[1, 2]")]),
        (None, []),
    ],
)  # fmt: skip
def test_requests_of_each_interface(request_body: Any, expected: list[Any]) -> None:
    """JSON that somebody wrote stays what somebody wrote."""
    assert told(asked(request_body)) == expected


@pytest.mark.parametrize(
    ("answer", "content", "reason"),
    [
        ({"choices": [{"message": {"role": "assistant", "content": "Hi"},
                       "finish_reason": "length"}]}, "Hi", "length"),
        ({"choices": [{"text": "Hi", "finish_reason": "stop"}]}, "Hi", "stop"),
        ({"candidates": [{"content": {"role": "model", "parts": [{"text": "Hi"}]},
                          "finishReason": "MAX_TOKENS"}]}, "Hi", "length"),
        ({"candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finish_reason": 1}]},
         "Hi", "stop"),
        ({"role": "assistant", "content": [{"type": "text", "text": "Hi"}],
          "stop_reason": "refusal"}, "Hi", "refusal"),
        ({"output": [{"type": "message", "role": "assistant",
                      "content": [{"type": "output_text", "text": "Hi"}]}],
          "status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}},
         "Hi", "length"),
        ({"choices": [{"message": {"role": "assistant", "content": None, "refusal": "No."},
                       "finish_reason": "stop"}]}, "No.", "refusal"),
        ({"generations": [[{"text": "Hi", "generation_info": {"finish_reason": "stop"}}]]},
         "Hi", "stop"),
        ("Hi", "Hi", None),
        ({"answer": "Hi"}, "Hi", None),
    ],
)  # fmt: skip
def test_answers_keep_why_they_end(answer: Any, content: str, reason: str | None) -> None:
    (found,) = answered(answer)
    assert (found.role, found.content, found.finish_reason) == ("assistant", content, reason)


def test_an_agents_state_is_not_said_twice() -> None:
    before = [{"role": "user", "content": "Hi"}]
    after = [*before, {"role": "assistant", "content": "Hello"}]
    assert told(exchange({"messages": before}, {"messages": after})) == [
        ("user", "Hi"),
        ("assistant", "Hello"),
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        "my-secret",
        ["role='user' content='my-secret'", "role='user' content='my-secret'"],
        [{"role": "my-secret", "content": "x"}],
        [{"role": "user", "content": 5}],
        [{"role": "assistant", "tool_calls": [{"name": None, "args": "my-secret"}]}],
        [{"role": "assistant", "tool_calls": "my-secret"}],
        [{"my-secret": "my-secret"}],
        [{"role": "user", "content": [["my-secret"]]}],
    ],
)
def test_an_unknown_shape_is_an_error_that_quotes_nothing(wrong: Any) -> None:
    with pytest.raises(DialogError) as said:
        messages(wrong)
    assert "my-secret" not in str(said.value)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}},
        {"type": "input_image", "image_url": "data:image/png;base64,aGk="},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
        {"type": "document", "source": {"type": "file", "file_id": "file_1"}},
        {"inlineData": {"mimeType": "image/png", "data": "aGk="}},
        {"type": "blob", "modality": "image", "mime_type": "image/png", "content": "aGk="},
        {"type": "uri", "modality": "video", "uri": "gs://bucket/cat.mp4"},
        {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}},
        {"type": "Никто", "x": [1]},
    ],
)
def test_what_is_no_text_is_a_placeholder_and_an_attachment(part: dict[str, Any]) -> None:
    found = messages([{"role": "user", "content": [{"type": "text", "text": "See:"}, part]}])
    text, shown = (found[0].content or "").split("\n")
    assert text == "See:"
    assert attached(found)
    assert "aGk" not in shown
    inline = {"input_image", "image", "blob"}
    if part.get("type") in inline or "inlineData" in part:
        assert shown.endswith("image/png sha256:8f434346648f6b96]"), "of the bytes, however sent"


@given(st.recursive(st.none() | st.text() | st.integers() | st.floats(), lambda x: st.lists(x)
                    | st.dictionaries(st.sampled_from(["role", "content", "type", "text", "parts",
                                                       "tool_calls", "function", "id", "data",
                                                       "source", "message", "messages"]), x),
                    max_leaves=12))  # fmt: skip
def test_any_value_is_messages_or_an_error_and_never_a_crash(value: Any) -> None:
    for read in (asked, answered, lambda v: messages([v])):
        with contextlib.suppress(DialogError):
            assert all(isinstance(m, Message) for m in read(value))
    assert placeholder(value, value).startswith("[")


def test_what_stands_beside_the_content_is_kept() -> None:
    (thought,) = messages([{"role": "assistant", "content": "a", "thinking": "why"}])
    (detailed,) = messages([{"role": "assistant", "content": "a", "reasoning_details": [
        {"type": "reasoning.text", "text": "why"}]}])  # fmt: skip
    (blocks,) = messages([{"role": "assistant", "content": "a", "thinking_blocks": [
        {"type": "thinking", "thinking": "why"}]}])  # fmt: skip
    assert [m.reasoning for m in (thought, detailed, blocks)] == ["why"] * 3
    (seen,) = messages([{"role": "user", "content": "a", "images": ["aGk="]}])
    assert seen.content is not None
    assert seen.content.startswith("a\n[image sha256:")


def test_a_result_that_stands_in_its_call_is_kept() -> None:
    call = {"type": "mcp_call", "id": "1", "name": "f", "arguments": "{}"}
    for held, said in (({"output": {"x": 1}}, '{"x":1}'), ({"error": "no"}, "no")):
        asked, given = messages([call | held])
        assert asked.tool_calls is not None
        assert (given.role, given.content, given.tool_call_id) == ("tool", said, "1")
    used = {"toolCallId": "1", "toolName": "f", "args": {}, "result": "r"}
    asked, given = messages([{"role": "assistant", "content": "", "parts": [
        {"type": "tool-invocation", "toolInvocation": used}]}])  # fmt: skip
    assert asked.tool_calls is not None
    assert (given.content, given.tool_call_id) == ("r", "1")


def test_calls_that_are_counted_keep_their_numbers() -> None:
    asked, given = messages([
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": 0, "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "content": "r", "tool_call_id": 0},
    ])  # fmt: skip
    assert asked.tool_calls is not None
    assert (asked.tool_calls[0].id, given.tool_call_id) == ("0", "0")
    with pytest.raises(DialogError, match="id: Input should be a text"):
        messages([{"role": "assistant", "tool_calls": [{"id": True, "name": "f"}]}])


def test_code_that_gemini_ran_is_a_call_and_its_result() -> None:
    asked, given, said = messages([{"role": "model", "parts": [
        {"executableCode": {"language": "PYTHON", "code": "print(1)"}},
        {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}},
        {"text": "One."}]}])  # fmt: skip
    assert asked.tool_calls is not None
    assert asked.tool_calls[0].name == given.name == "code_execution"
    assert asked.tool_calls[0].arguments == '{"language":"PYTHON","code":"print(1)"}'
    assert given.content == '{"outcome":"OUTCOME_OK","output":"1"}'
    assert (said.role, said.content) == ("assistant", "One.")


def test_a_thought_is_kept_in_full_and_in_its_summary() -> None:
    def thought(*summary: str) -> dict[str, Any]:
        parts = [{"type": "summary_text", "text": text} for text in summary]
        whole = [{"type": "reasoning_text", "text": text} for text in ("a", "a", "b")]
        return {"type": "reasoning", "content": whole, "summary": parts}

    assert messages([thought("short")])[0].reasoning == "a\na\nb\nshort"
    assert messages([thought("b")])[0].reasoning == "a\na\nb"
    assert messages([thought("short") | {"content": None}])[0].reasoning == "short"


def test_content_that_says_its_parts_again_is_taken_once() -> None:
    parts = [{"type": "text", "text": "Let me see."}, {"type": "text", "text": " Rain."}]
    (once,) = messages([{"role": "assistant", "content": "Let me see. Rain.", "parts": parts}])
    assert once.content == "Let me see.\n Rain."
    (both,) = messages([{"role": "assistant", "content": "Snow.", "parts": parts}])
    assert both.content == "Snow.\nLet me see.\n Rain."


@pytest.mark.parametrize("unit", [1, 10**3, 10**6, 10**9])
@pytest.mark.parametrize("written", [int, float, str])
def test_epochs_of_any_unit_are_the_same_time(unit: int, written: type) -> None:
    row = Conversation(line=1, started_at=written(1_784_000_000 * unit), messages=[])
    assert row.started_at == datetime(2026, 7, 14, 3, 33, 20, tzinfo=UTC)


@pytest.mark.parametrize("wrong", [10**30, float("inf"), float("nan"), "9" * 19 + "9" * 200, True])
def test_a_number_that_is_no_time_is_a_validation_error(wrong: object) -> None:
    with pytest.raises(ValidationError):
        Conversation(line=1, started_at=wrong, messages=[])  # pyright: ignore[reportArgumentType]
