"""One small hand-made file of each log format, for the tests and the fuzzing of readers: all tell
the same dialog, as far as their format can.

Layouts, as looked up: Langfuse (its field reference of blob storage exports, buildTraceExport),
OpenTelemetry's GenAI conventions (semantic-conventions-genai, docs/gen-ai; v1.36 for the events),
OpenInference (spec/semantic_conventions.md, spec/llm_spans.md), LangSmith (langsmith-sdk,
schemas.RunBase), Helicone (HeliconeRequest of its export), LiteLLM (StandardLoggingPayload), MLflow
(Trace.to_dict, SpanAttributeKey), Inspect (EvalSample, chunked/format.py), LMSYS-Chat-1M and
WildChat-1M (their data set cards), OpenAI (BatchRequestInput, BatchRequestOutput), tau-bench
(EnvRunResult), the OpenAI Agents SDK (tracing/span_data.py, spans.py), SWE-agent
(types.HistoryItem), LLaMA-Factory's ShareGPT.
"""

import io
import json
import zipfile
from datetime import UTC, datetime
from typing import Any, cast

SYSTEM, ASKED = "Be kind.", "What is the weather in Oslo?"
THOUGHT, RAIN, REPLY = "I should look it up.", "rain, 8 degrees", "It rains in Oslo."
NAME, ARGUMENTS, CALL_ID = "weather", {"city": "Oslo"}, "call_1"
START, MODEL, USER, SESSION = "2026-05-01T10:00:00+00:00", "model-1", "user-7", "thread-9"
PIXEL = "data:image/png;base64,iVBORw0KGgo="
FOLLOW_UP, CLOSING = "And tomorrow?", "Sun."


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _lines(*records: Any) -> bytes:
    return b"\n".join(map(_json, records)) + b"\n"


CALL = {
    "id": CALL_ID,
    "type": "function",
    "function": {"name": NAME, "arguments": json.dumps(ARGUMENTS)},
}
CHAT: list[dict[str, Any]] = [
    {"role": "system", "content": SYSTEM},
    {"role": "user", "content": ASKED},
    {"role": "assistant", "content": None, "reasoning_content": THOUGHT, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": CALL_ID, "name": NAME, "content": RAIN},
]
ANSWER = {"role": "assistant", "content": REPLY}
CHOICE = {"index": 0, "finish_reason": "stop", "message": ANSWER}
COMPLETION = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1777629601,
              "model": MODEL, "choices": [CHOICE]}  # fmt: skip


SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
ABOUT, COMMIT = "The weather of a city.", "1f0c5a9e2b"
TOOL = {"name": NAME, "description": ABOUT, "parameters": SCHEMA}
OPENAI_TOOL = {"type": "function", "function": TOOL}
ANTHROPIC_TOOL = {"name": NAME, "description": ABOUT, "input_schema": SCHEMA}
MCP_TOOL = {"name": NAME, "description": ABOUT, "inputSchema": SCHEMA,
            "annotations": {"readOnlyHint": True}}  # fmt: skip


def openai_chat() -> dict[str, bytes]:
    """Anthropic's blocks and an image beside the chat interface's own messages."""
    blocks = [
        {"role": "user", "content": [{"type": "text", "text": ASKED},
                                     {"type": "image_url", "image_url": {"url": PIXEL}}]},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": THOUGHT, "signature": "s"},
            {"type": "tool_use", "id": CALL_ID, "name": NAME, "input": ARGUMENTS},
        ]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": CALL_ID, "content": [
                {"type": "text", "text": RAIN}]},
        ]},
        {"role": "assistant", "content": [{"type": "text", "text": REPLY}],
         "stop_reason": "end_turn"},
    ]  # fmt: skip
    line = {"user_id": USER, "started_at": START, "training_allowed": True, "model": MODEL}
    return {
        "chat.jsonl": _lines(
            line | {"conversation_id": "c1", "tools": [OPENAI_TOOL], "commit": COMMIT,
                    "messages": [*CHAT, ANSWER | {"finish_reason": "stop"}]},
            line | {"conversation_id": "c2", "messages": [CHAT[0], *blocks],
                    "tools": [ANTHROPIC_TOOL], "commit": COMMIT},
        )
    }  # fmt: skip


def agent_trajectories() -> dict[str, bytes]:
    run = {"id": "run-1", "suite": "chat", "model": MODEL, "messages": [*CHAT, ANSWER],
           "tools": {"tools": [MCP_TOOL]}, "base_commit": COMMIT}  # fmt: skip
    return {"runs.jsonl": _lines(run)}


def sharegpt() -> dict[str, bytes]:
    turns = [
        {"from": "system", "value": SYSTEM},
        {"from": "human", "value": ASKED},
        {"from": "function_call", "value": json.dumps({"name": NAME, "arguments": ARGUMENTS})},
        {"from": "observation", "value": RAIN},
        {"from": "gpt", "value": REPLY},
    ]
    return {"dump.json": _json([{"id": "s1", "conversations": turns}, {"conversations": turns}])}


def _frame(rows: list[dict[str, Any]]) -> bytes:
    import polars as pl

    held = io.BytesIO()
    pl.DataFrame(rows).write_parquet(held)
    return held.getvalue()


def wildchat() -> dict[str, bytes]:
    at = datetime(2026, 5, 1, 10, tzinfo=UTC)
    told = {"country": "Norway", "hashed_ip": USER, "language": "English", "toxic": False}
    turns = [
        told | {"role": "user", "content": ASKED, "timestamp": None},
        told | {"role": "assistant", "content": REPLY, "timestamp": at},
    ]
    row = {"conversation_hash": "h1", "model": MODEL, "timestamp": at, "conversation": turns,
           "turn": 1, "language": "English", "redacted": False}  # fmt: skip
    return {"train-0.parquet": _frame([row, row | {"conversation_hash": None}])}


def lmsys() -> dict[str, bytes]:
    turns = [{"content": ASKED, "role": "user"}, {"content": REPLY, "role": "assistant"}]
    row = {"conversation_id": "l1", "model": MODEL, "conversation": turns, "turn": 1,
           "language": "English", "openai_moderation": [], "redacted": False}  # fmt: skip
    return {"train-0.parquet": _frame([row])}


def langfuse() -> dict[str, bytes]:
    """The download of a trace, whose generations' inputs and outputs are JSON in texts, and a row
    of another as it is exported to blob storage."""
    trace = {"id": "lf1", "timestamp": START, "userId": USER, "sessionId": SESSION, "name": "chat",
             "metadata": {"surface": "web"}, "input": None, "output": None}  # fmt: skip
    first = {"id": "o1", "traceId": "lf1", "type": "GENERATION", "startTime": START,
             "model": MODEL, "input": json.dumps({"messages": CHAT[:2]}),
             "output": json.dumps(CHAT[2])}  # fmt: skip
    tool = {"id": "o2", "traceId": "lf1", "type": "TOOL", "input": "noise", "output": "noise"}
    offered = {"role": "tool", "content": OPENAI_TOOL}
    last = first | {"id": "o3", "startTime": "2026-05-01T10:00:02Z",
                    "input": json.dumps([*CHAT, offered]),
                    "output": json.dumps(ANSWER | {"finish_reason": "stop"})}  # fmt: skip
    download = {"trace": trace, "observations": [last, tool, first]}
    row = {"id": "o4", "trace_id": "lf2", "type": "GENERATION", "name": "chat",
           "start_time": "2026-05-02 10:00:00.000000", "user_id": USER, "session_id": None,
           "provided_model_name": MODEL,
           "input": json.dumps({"messages": CHAT, "tools": [OPENAI_TOOL]}),
           "output": json.dumps(ANSWER | {"finish_reason": "stop"})}  # fmt: skip
    return {
        "trace-lf1.json": json.dumps(download, indent=2).encode(),
        "observations_v2.jsonl": _lines(row),
    }


def _attribute(key: str, value: Any) -> dict[str, Any]:
    return {"key": key, "value": _any(value)}


def _any(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_any(v) for v in cast("list[Any]", value)]}}
    if isinstance(value, dict):
        held = cast("dict[str, Any]", value)
        return {"kvlistValue": {"values": [_attribute(k, v) for k, v in held.items()]}}
    return {"stringValue": value}


def _otlp(trace: str, name: str, at: int, attributes: dict[str, Any]) -> dict[str, Any]:
    return {
        "traceId": trace * 32,
        "spanId": name * 16,
        "name": "chat",
        "startTimeUnixNano": str((1777629600 + at) * 10**9),
        "attributes": [_attribute(k, v) for k, v in attributes.items()],
    }


def _resource(kind: str, records: list[Any]) -> dict[str, Any]:
    spans = kind == "resourceSpans"
    scope = {"scopeSpans" if spans else "scopeLogs": [{"spans" if spans else "logRecords":
                                                       records}]}  # fmt: skip
    return {kind: [{"resource": {"attributes": [_attribute("service.name", "chat")]}} | scope]}


_PARTS = [
    {"role": "user", "parts": [{"type": "text", "content": ASKED}]},
    {
        "role": "assistant",
        "parts": [
            {"type": "reasoning", "content": THOUGHT},
            {"type": "tool_call", "id": CALL_ID, "name": NAME, "arguments": ARGUMENTS},
        ],
    },
    {"role": "tool", "parts": [{"type": "tool_call_response", "id": CALL_ID, "response": RAIN}]},
]


def otel_genai() -> dict[str, bytes]:
    """Conventions of 2026 (attributes as JSON, two traces of one conversation), of 2025 (the
    details event, as a log record with structured attributes), and the events before them."""
    base = {"gen_ai.operation.name": "chat", "gen_ai.request.model": MODEL, "user.id": USER}
    new = base | {
        "gen_ai.conversation.id": SESSION,
        "gen_ai.system_instructions": json.dumps([{"type": "text", "content": SYSTEM}]),
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.tool.definitions": json.dumps([{"type": "function"} | TOOL]),
        "vcs.ref.head.revision": COMMIT,
        "gen_ai.input.messages": json.dumps(_PARTS),
        "gen_ai.output.messages": json.dumps(
            [{"role": "assistant", "parts": [{"type": "text", "content": REPLY}]}]
        ),
    }
    early = new | {"gen_ai.input.messages": json.dumps(_PARTS[:1]),
                   "gen_ai.output.messages": json.dumps(_PARTS[1:2])}  # fmt: skip
    spans = [_otlp("a", "1", 0, early), _otlp("b", "2", 2, new)]
    details = {
        "timeUnixNano": "1777629600000000000",
        "eventName": "gen_ai.client.inference.operation.details",
        "traceId": "c" * 32,
        "spanId": "3" * 16,
        "attributes": [
            _attribute(k, v)
            for k, v in (
                base
                | {
                    "gen_ai.input.messages": _PARTS,
                    "gen_ai.output.messages": [
                        {
                            "role": "assistant",
                            "parts": [{"type": "text", "content": REPLY}],
                            "finish_reason": "stop",
                        }
                    ],
                    "gen_ai.system_instructions": [{"type": "text", "content": SYSTEM}],
                }
            ).items()
        ],
    }
    events = [
        ("gen_ai.system.message", {"content": SYSTEM}),
        ("gen_ai.user.message", {"content": ASKED}),
        ("gen_ai.assistant.message", {"tool_calls": [CALL]}),
        ("gen_ai.tool.message", {"id": CALL_ID, "content": RAIN}),
        ("gen_ai.choice", {"index": 0, "finish_reason": "stop", "message": ANSWER}),
    ]
    logs = [
        {"timeUnixNano": str(1777629600 * 10**9 + n), "traceId": "d" * 32, "spanId": "4" * 16,
         "attributes": [_attribute("event.name", name)], "body": _any(body)}
        for n, (name, body) in enumerate(events)
    ]  # fmt: skip
    return {
        "traces.jsonl": _lines(_resource("resourceSpans", spans),
                               _resource("resourceSpans", [_otlp("d", "4", 0, base)])),
        "logs.jsonl": _lines(_resource("resourceLogs", [details]),
                             _resource("resourceLogs", logs)),
    }  # fmt: skip


def openinference() -> dict[str, bytes]:
    """Flattened attributes in OTLP, two traces of a session; and a span as the SDK prints it."""
    flat: dict[str, Any] = {
        "openinference.span.kind": "LLM",
        "llm.model_name": MODEL,
        "llm.finish_reason": "stop",
        "session.id": SESSION,
        "user.id": USER,
    }
    dialog = "llm.input_messages"
    call = "message.tool_calls.0.tool_call"
    flat |= {
        f"{dialog}.0.message.role": "system",
        f"{dialog}.0.message.content": SYSTEM,
        f"{dialog}.1.message.role": "user",
        f"{dialog}.1.message.contents.0.message_content.type": "text",
        f"{dialog}.1.message.contents.0.message_content.text": ASKED,
        f"{dialog}.2.message.role": "assistant",
        f"{dialog}.2.message.contents.0.message_content.type": "reasoning",
        f"{dialog}.2.message.contents.0.message_content.text": THOUGHT,
        f"{dialog}.2.{call}.id": CALL_ID,
        f"{dialog}.2.{call}.function.name": NAME,
        f"{dialog}.2.{call}.function.arguments": json.dumps(ARGUMENTS),
        f"{dialog}.3.message.role": "tool",
        f"{dialog}.3.message.name": NAME,
        f"{dialog}.3.message.tool_call_id": CALL_ID,
        f"{dialog}.3.message.content": RAIN,
        "llm.tools.0.tool.json_schema": json.dumps(OPENAI_TOOL),
        "llm.output_messages.0.message.role": "assistant",
        "llm.output_messages.0.message.content": REPLY,
    }
    early = {k: v for k, v in flat.items() if not k.startswith((f"{dialog}.2", f"{dialog}.3"))}
    spans = [_otlp("a", "1", 0, early), _otlp("b", "2", 2, flat)]
    nested: dict[str, Any] = {
        "name": "llm",
        "context": {"trace_id": "0x" + "c" * 32, "span_id": "0x" + "3" * 16},
        "start_time": START,
        "attributes": {
            "openinference.span.kind": "LLM",
            "llm.input_messages": [{"message.role": "user", "message.content": ASKED}],
            "llm.output_messages": [{"message.role": "assistant", "message.content": REPLY}],
        },
        "events": [],
    }
    return {"spans.jsonl": _lines(_resource("resourceSpans", spans), nested)}


def langsmith() -> dict[str, bytes]:
    """Two model runs and a chain of LangChain's messages below one thread."""

    def lc(kind: str, **fields: Any) -> dict[str, Any]:
        path = ["langchain", "schema", "messages", kind]
        return {"lc": 1, "type": "constructor", "id": path, "kwargs": fields}

    call = {"name": NAME, "args": ARGUMENTS, "id": CALL_ID, "type": "tool_call"}
    dialog = [
        lc("SystemMessage", content=SYSTEM),
        lc("HumanMessage", content=ASKED),
        lc("AIMessage", content=[{"type": "thinking", "thinking": THOUGHT}], tool_calls=[call],
           additional_kwargs={"tool_calls": [CALL]}),
        lc("ToolMessage", content=RAIN, tool_call_id=CALL_ID, name=NAME),
    ]  # fmt: skip
    reply = lc("AIMessage", content=REPLY, response_metadata={"finish_reason": "stop"})
    base = {
        "run_type": "llm", "trace_id": "t1", "parent_run_id": "r0", "session_id": "project-1",
        "extra": {"metadata": {"thread_id": SESSION, "user_id": USER, "ls_model_name": MODEL}},
    }  # fmt: skip
    runs = [
        base | {"id": "r2", "start_time": "2026-05-01T10:00:02", "inputs": {"messages": [dialog]},
                "outputs": {"generations": [[{"text": REPLY, "message": reply}]]}},
        base | {"id": "r1", "start_time": "2026-05-01T10:00:00",
                "inputs": {"messages": [dialog[:2]]},
                "outputs": {"generations": [[{"text": "", "message": dialog[2]}]]}},
        base | {"id": "r0", "run_type": "chain", "parent_run_id": None, "name": "agent",
                "start_time": "2026-05-01T10:00:00", "inputs": {"input": ASKED},
                "outputs": {"output": REPLY}},
        base | {"id": "r3", "run_type": "tool", "inputs": {"input": "Oslo"}, "outputs": {}},
    ]  # fmt: skip
    return {"runs.jsonl": _lines(*runs)}


def helicone() -> dict[str, bytes]:
    """Two requests of a session, to OpenAI's chat and to Anthropic's messages."""
    base = {
        "request_user_id": USER, "response_status": 200, "request_model": MODEL,
        "request_properties": {"Helicone-Session-Id": SESSION, "surface": "web"},
    }  # fmt: skip
    first = base | {
        "request_id": "q1", "request_created_at": START, "request_path": "/v1/chat/completions",
        "request_body": {"model": MODEL, "messages": CHAT[:2]},
        "response_body": COMPLETION | {"choices": [CHOICE | {"message": CHAT[2],
                                                             "finish_reason": "tool_calls"}]},
    }  # fmt: skip
    asked = [
        {"role": "user", "content": ASKED},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": THOUGHT, "signature": "s"},
            {"type": "tool_use", "id": CALL_ID, "name": NAME, "input": ARGUMENTS}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": CALL_ID, "content": RAIN}]},
    ]  # fmt: skip
    second = base | {
        "request_id": "q2", "request_created_at": "2026-05-01T10:00:02+00:00",
        "request_path": "/v1/messages",
        "request_body": {"model": MODEL, "system": SYSTEM, "messages": asked},
        "response_body": {"type": "message", "role": "assistant", "model": MODEL,
                          "content": [{"type": "text", "text": REPLY}], "stop_reason": "end_turn"},
    }  # fmt: skip
    failed = first | {"request_id": "q3", "response_status": 500, "request_properties": {}}
    return {"output.jsonl": _lines(second, first, failed)}


def litellm() -> dict[str, bytes]:
    base = {
        "call_type": "acompletion", "status": "success", "model": MODEL, "end_user": USER,
        "trace_id": SESSION, "metadata": {"requester_metadata": {"surface": "web"}},
        "model_parameters": {}, "hidden_params": {},
    }  # fmt: skip
    called = COMPLETION | {"choices": [CHOICE | {"message": CHAT[2]}]}
    first = base | {"id": "i1", "startTime": 1777629600.0, "messages": CHAT[:2],
                    "response": called}  # fmt: skip
    second = base | {"id": "i2", "startTime": 1777629602.0, "messages": CHAT,
                     "response": COMPLETION}  # fmt: skip
    other = base | {"id": "i3", "call_type": "aembedding", "messages": "text", "response": {}}
    return {"2026-05-01.jsonl": _lines(first, second, other)}


def mlflow() -> dict[str, bytes]:
    def span(name: str, at: int, **attributes: Any) -> dict[str, Any]:
        return {
            "name": name, "span_id": f"s{at}", "trace_id": "tr1",
            "parent_span_id": "s9" if name == "llm" else None,
            "start_time_unix_nano": (1777629600 + at) * 10**9,
            "attributes": {f"mlflow.{k}": json.dumps(v) for k, v in attributes.items()},
        }  # fmt: skip

    spans = [
        span("agent", 0, spanType="AGENT", spanInputs={"q": 1}, spanOutputs="x"),
        span("llm", 1, spanType="CHAT_MODEL", spanInputs={"model": MODEL, "messages": CHAT[:2]},
             spanOutputs=COMPLETION | {"choices": [CHOICE | {"message": CHAT[2]}]}),
        span("llm", 3, spanType="CHAT_MODEL", spanInputs={"model": MODEL, "messages": CHAT},
             spanOutputs=COMPLETION),
    ]  # fmt: skip
    about = {"mlflow.trace.user": USER, "mlflow.trace.session": SESSION}
    info = {"trace_id": "tr-1", "request_time": START, "trace_metadata": about, "tags": {}}
    return {"traces.jsonl": _lines({"info": info, "data": {"spans": spans}})}


def _inspect_sample() -> dict[str, Any]:
    call = {"id": CALL_ID, "function": NAME, "arguments": ARGUMENTS, "type": "function"}
    return {
        "id": "q1", "epoch": 1, "input": ASKED, "target": "rain", "started_at": START,
        "messages": [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": "attachment://a1"},
            {"role": "assistant", "content": [{"type": "reasoning", "reasoning": THOUGHT}],
             "tool_calls": [call]},
            {"role": "tool", "content": RAIN, "tool_call_id": CALL_ID, "function": NAME},
            {"role": "assistant", "content": REPLY, "source": "generate"},
        ],
        "output": {"model": MODEL, "choices": [{"message": {"role": "assistant", "content": REPLY},
                                                "stop_reason": "stop"}]},
        "attachments": {"a1": ASKED}, "metadata": {"base_commit": COMMIT},
        "events": [{"event": "model", "tools": [TOOL]}, {"event": "score"}],
    }  # fmt: skip


def inspect() -> dict[str, bytes]:
    """An archive with a sample whole and one in pieces, and the JSON form."""
    head = {"eval_id": "e1", "run_id": "u1", "task": "weather", "created": START, "model": MODEL}
    sample = _inspect_sample()
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.json", _json({"version": 2, "eval": head}))
        archive.writestr("samples/q1_epoch_1.json", _json(sample))
        parts = sample | {"id": "q2"}
        messages = cast("list[dict[str, Any]]", parts.pop("messages"))
        messages[1]["content"] = "attachment://0"
        del parts["attachments"]
        archive.writestr("samples/q2_epoch_1/sample.json", _json(parts))
        archive.writestr("samples/q2_epoch_1/messages/0.json", _json(messages[:3]))
        archive.writestr("samples/q2_epoch_1/messages/3.json", _json(messages[3:]))
        archive.writestr("samples/q2_epoch_1/attachments/0.json", _json([ASKED]))
    whole = {"version": 2, "status": "success", "eval": head, "samples": [_inspect_sample()]}
    return {"log.eval": held.getvalue(), "log.json": _json(whole | {"eval": head | {
        "eval_id": "e2"}})}  # fmt: skip


def openai_agents() -> dict[str, bytes]:
    """A trace's own record, what its spans are exported as, and a batch as it is sent."""
    trace = {"object": "trace", "id": "trace_1", "workflow_name": "weather", "group_id": SESSION,
             "metadata": {"user_id": USER, "commit": COMMIT}}  # fmt: skip

    def span(number: int, **data: Any) -> dict[str, Any]:
        return {"object": "trace.span", "id": f"span_{number}", "trace_id": "trace_1",
                "parent_id": None, "started_at": f"2026-05-01T10:00:0{number}+00:00",
                "ended_at": f"2026-05-01T10:00:0{number + 1}+00:00", "error": None,
                "span_data": data}  # fmt: skip

    config = {"tools": [OPENAI_TOOL]}
    spans = [
        span(1, type="generation", input=CHAT[:2], output=[CHAT[2]], model=MODEL, usage=None,
             model_config=config),
        span(2, type="function", name=NAME, input=json.dumps(ARGUMENTS), output=RAIN,
             mcp_data=None),
        span(3, type="generation", input=CHAT, output=[ANSWER], model=MODEL, usage=None,
             model_config=config),
        span(0, type="agent", name="Forecaster", tools=[NAME], handoffs=[], output_type="str"),
    ]  # fmt: skip
    return {"traces.jsonl": _lines({"data": [trace, *spans[:2]]}, *spans[2:])}


def openai_batch() -> dict[str, bytes]:
    """The input and output of a batch: OpenAI's chat, and its Responses."""
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": ASKED}]},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": THOUGHT}]},
        {"type": "function_call", "call_id": CALL_ID, "name": NAME,
         "arguments": json.dumps(ARGUMENTS)},
        {"type": "function_call_output", "call_id": CALL_ID, "output": RAIN},
    ]  # fmt: skip
    asked = [
        {"custom_id": "b1", "method": "POST", "url": "/v1/chat/completions",
         "body": {"model": MODEL, "messages": CHAT, "user": USER, "tools": [OPENAI_TOOL]}},
        {"custom_id": "b2", "method": "POST", "url": "/v1/responses",
         "body": {"model": MODEL, "instructions": SYSTEM, "input": items,
                  "tools": [{"type": "function"} | TOOL]}},
        {"custom_id": "b3", "method": "POST", "url": "/v1/chat/completions",
         "body": {"model": MODEL, "messages": CHAT}},
    ]  # fmt: skip
    said = [{"type": "message", "role": "assistant",
             "content": [{"type": "output_text", "text": REPLY}]}]  # fmt: skip
    responses = {"object": "response", "status": "completed", "model": MODEL, "output": said,
                 "created_at": 1777629601}  # fmt: skip
    answers = [
        {"id": "o2", "custom_id": "b2", "error": None,
         "response": {"status_code": 200, "request_id": "x", "body": responses}},
        {"id": "o1", "custom_id": "b1", "error": None,
         "response": {"status_code": 200, "request_id": "y", "body": COMPLETION}},
        {"id": "o3", "custom_id": "b3", "response": None, "error": {"code": "batch_expired"}},
    ]  # fmt: skip
    return {"input.jsonl": _lines(*asked), "output.jsonl": _lines(*answers)}


def tau_bench() -> dict[str, bytes]:
    """A user who goes on talking after the first answer."""
    more = [{"role": "user", "content": FOLLOW_UP}, {"role": "assistant", "content": CLOSING}]
    result: dict[str, Any] = {"task_id": 3, "trial": 0, "reward": 1.0, "info": {}}
    return {"results.json": _json([result | {"traj": [*CHAT, ANSWER, *more]},
                                   {"task_id": 4, "trial": 0, "reward": 0.0, "info": {},
                                    "traj": []}])}  # fmt: skip


def swe_agent() -> dict[str, bytes]:
    history = [
        {"role": "system", "content": SYSTEM, "agent": "main", "message_type": "system_prompt"},
        {"role": "user", "content": ASKED, "agent": "main", "message_type": "observation"},
        {"role": "assistant", "content": "", "thought": "", "action": "weather Oslo",
         "agent": "main", "tool_calls": [CALL], "message_type": "action",
         "thinking_blocks": [{"type": "thinking", "thinking": THOUGHT, "signature": "s"}]},
        {"role": "tool", "content": RAIN, "agent": "main", "message_type": "observation",
         "tool_call_ids": [CALL_ID]},
        {"role": "assistant", "content": REPLY, "action": "submit", "agent": "main",
         "message_type": "action", "tool_calls": None},
    ]  # fmt: skip
    run = {"environment": "main", "trajectory": [], "history": history,
           "info": {"exit_status": "submitted"},
           "replay_config": json.dumps({"env": {"repo": {"base_commit": COMMIT}}})}  # fmt: skip
    return {"run.traj": json.dumps(run, indent=2).encode()}


SAMPLES = {
    make.__name__: make
    for make in (
        agent_trajectories,
        helicone,
        inspect,
        langfuse,
        langsmith,
        litellm,
        lmsys,
        mlflow,
        openai_agents,
        openai_batch,
        openai_chat,
        openinference,
        otel_genai,
        sharegpt,
        swe_agent,
        tau_bench,
        wildchat,
    )
}
"""Format -> the files of its sample, by name."""
