"""Definitions of tools in every writing, tools told from calls, and hostile ones."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploysim_assets.logs.conversation import Message, ToolCall
from deploysim_assets.logs.conversations import items
from deploysim_assets.logs.files import log_files
from deploysim_assets.logs.openai_agents import read
from deploysim_assets.logs.tools import commit_in, definitions, inferred, tools_in
from deploysim_assets_tests.support import SHARED, needs_shared

SCHEMA = {"type": "object", "properties": {"q": {"type": "string"}}}
FUNCTION = {"name": "look_up", "description": "d", "parameters": SCHEMA}


@pytest.mark.parametrize(
    "written",
    [
        [{"type": "function", "function": FUNCTION}],
        [{"type": "function"} | FUNCTION],
        [FUNCTION],
        [{"name": "look_up", "description": "d", "input_schema": SCHEMA}],
        {"tools": [{"name": "look_up", "description": "d", "inputSchema": SCHEMA}]},
        {"jsonrpc": "2.0", "id": 1, "result": {"tools": [FUNCTION]}},
        [{"functionDeclarations": [FUNCTION]}],
        [{"toolSpec": {"name": "look_up", "description": "d", "inputSchema": {"json": SCHEMA}}}],
        [{"tool": {"json_schema": json.dumps({"type": "function", "function": FUNCTION})}}],
        [json.dumps({"type": "function", "function": FUNCTION})],
        [FUNCTION | {"parameters": json.dumps(SCHEMA)}],
        FUNCTION,
    ],
)
@pytest.mark.parametrize("as_text", [False, True])
def test_every_writing_is_the_same_tool(written: Any, as_text: bool) -> None:
    found = definitions(json.dumps(written) if as_text else written)
    assert found is not None
    [tool] = found
    assert (tool.name, tool.description, tool.read_only) == ("look_up", "d", None)
    assert json.loads(tool.parameters or "") == SCHEMA


@pytest.mark.parametrize(
    ("hints", "said"),
    [
        ({"readOnlyHint": True}, True),
        ({"readOnlyHint": False}, False),
        ({"readOnlyHint": "yes"}, None),
        ({}, None),
        ("readOnlyHint", None),
    ],
)
def test_a_tool_reads_only_where_its_definition_says_so(hints: Any, said: bool | None) -> None:
    [tool] = definitions([FUNCTION | {"annotations": hints}]) or []
    assert tool.read_only is said


def test_what_is_no_definition_is_passed_over() -> None:
    assert definitions(None, [], "prose", [1, None, {}], {"type": "function"}) is None
    assert tools_in({"tool_choice": "auto", "tools": []}) is None
    assert tools_in("no request") is None
    [hosted] = definitions([{"type": "web_search", "filters": {}}]) or []
    assert (hosted.name, hosted.parameters) == ("web_search", None)
    twice = definitions([FUNCTION, FUNCTION | {"description": "another"}]) or []
    assert [t.description for t in twice] == ["d"]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["name", "type", "tools", "function", "parameters", "result", "x"]),
                inner,
            )
        ),
        max_leaves=25,
    )
)
@settings(max_examples=150, deadline=None)
def test_any_value_is_read_without_an_error(value: Any) -> None:
    for tool in definitions(value) or []:
        assert tool.name
        if tool.parameters is not None:
            assert isinstance(json.loads(tool.parameters), dict)


def test_definitions_that_nest_without_end_or_count_without_end_are_bounded() -> None:
    nested: Any = FUNCTION
    for _ in range(5_000):
        nested = {"tools": [nested]}
    assert definitions(nested) is None
    many = definitions([FUNCTION | {"name": f"t{i}"} for i in range(5_000)])
    assert many is not None
    assert len(many) == 1_000


def _asks(*calls: tuple[str, str]) -> Message:
    return Message(role="assistant", tool_calls=[ToolCall(name=n, arguments=a) for n, a in calls])


def test_tools_told_from_calls_have_every_argument_with_its_types() -> None:
    found = inferred(
        [
            _asks(("b", '{"x": 1}'), ("a", "no JSON")),
            _asks(("b", '{"x": "1", "y": [], "z": null}'), ("a", "[1]")),
        ]
    )
    assert found is not None
    assert [(t.name, t.description, t.read_only) for t in found] == [
        ("b", None, None),
        ("a", None, None),
    ]
    assert json.loads(found[0].parameters or "") == {
        "type": "object",
        "properties": {
            "x": {"type": ["integer", "string"]},
            "y": {"type": "array"},
            "z": {"type": "null"},
        },
    }
    assert json.loads(found[1].parameters or "")["properties"] == {}
    assert inferred([Message(role="user", content="hi")]) is None


def test_the_commit_is_the_first_that_is_named() -> None:
    assert commit_in(None, "x", {"commit": ""}, {"base_commit": "abc"}, {"commit": "d"}) == "abc"
    assert commit_in({"commit": 7}) is None


def _trace(tmp_path: Path, *spans: dict[str, Any], **trace: Any) -> list[Any]:
    record = {"object": "trace", "id": "trace_1", "workflow_name": "w", "group_id": None} | trace
    lines = [
        {"object": "trace.span", "id": f"s{n}", "trace_id": "trace_1", "parent_id": None,
         "started_at": f"2026-05-01T10:00:0{n}Z", "ended_at": None, "span_data": span}
        for n, span in enumerate(spans)
    ]  # fmt: skip
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, [*lines, record])))
    return [found.item for found in items(log_files(tmp_path, "*"), read)]


def test_a_response_span_of_ones_own_processor_is_read_with_its_tools(tmp_path: Path) -> None:
    output = [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
        {"type": "function_call", "call_id": "c1", "name": "look_up", "arguments": '{"q": "x"}'},
    ]
    response = {"id": "r", "object": "response", "model": "m", "status": "completed",
                "instructions": "Be kind.", "output": output,
                "tools": [{"type": "function"} | FUNCTION]}  # fmt: skip
    asked = [{"role": "user", "content": "Hi"}]
    data = {"type": "response", "response_id": "r", "response": response, "input": asked}
    [item] = _trace(tmp_path, data, metadata={"training_allowed": True, "language": "en"})
    assert [(m.role, m.content) for m in item.messages] == [
        ("system", "Be kind."),
        ("user", "Hi"),
        ("assistant", None),
    ]
    assert item.messages[2].tool_calls[0].name == "look_up"
    assert (item.training_allowed, item.language, item.surface) == (True, "en", "w")
    assert (item.reported_model, [t.description for t in item.tools]) == ("m", ["d"])


def test_response_spans_that_hold_only_ids_are_rejected_and_say_why(tmp_path: Path) -> None:
    [item] = _trace(tmp_path, {"type": "response", "response_id": "r", "usage": None})
    assert "a model span without input and output" in item.reason


@needs_shared
def test_agentdojo_runs_have_the_tools_of_their_calls() -> None:
    from deploysim_assets.logs.agent_trajectories import read as runs

    [file] = log_files(SHARED / "data" / "agentdojo", "runs.parquet")
    for found in itertools.islice(items([file], runs), 300):
        item: Any = found.item
        called = {c.name for m in item.messages for c in m.tool_calls or ()}
        assert {t.name for t in item.tools or ()} == called
        assert item.tools_inferred is (True if called else None)
