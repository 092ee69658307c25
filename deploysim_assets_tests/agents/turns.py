"""Prefixes and answers of agents, as the tests of this room make them."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from deploysim_assets.agents.moment import Affordance, Call, Moment
from deploysim_assets.agents.rollout import Rollout
from deploysim_assets.agents.simulator import SimulatorRequest, ToolSimulator
from deploysim_assets.project import Agents, Candidate

Reply = dict[str, Any]


def message(role: str, content: str | None = None, **fields: Any) -> dict[str, Any]:
    return {
        "role": role,
        "content": content,
        "tool_calls": [],
        "tool_call_id": None,
        "name": None,
        "reasoning": None,
    } | fields


def call(name: str, key: str | None = None, /, **arguments: Any) -> dict[str, Any]:
    return {"id": key, "name": name, "arguments": json.dumps(arguments)}


def called(*calls: dict[str, Any]) -> dict[str, Any]:
    return message("assistant", None, tool_calls=list(calls))


def result(key: str | None, content: str) -> dict[str, Any]:
    return message("tool", content, tool_call_id=key)


def tool(name: str, read_only: bool | None = None, /, **properties: str) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {n: {"type": t} for n, t in properties.items()},
        "required": list(properties),
        "additionalProperties": False,
    }
    return {
        "name": name,
        "description": f"It does {name}.",
        "parameters": json.dumps(schema),
        "read_only": read_only,
    }


def prefix(
    tools: Sequence[dict[str, Any]],
    *,
    steps: Sequence[dict[str, Any]] = (),
    messages: Sequence[dict[str, Any]] = (),
    **fields: Any,
) -> dict[str, Any]:
    return {
        "prefix_id": "ab" * 16,
        "conversation_key": "cd" * 16,
        "user_key": "ef" * 16,
        "language": "en",
        "messages": [*messages, message("user", "Please do it.")],
        "tools": list(tools),
        "commit": None,
        "clock": None,
        "production_completion": {
            "content": "Done.",
            "reasoning": None,
            "tool_calls": [],
            "finish_reason": "stop",
            "steps": [m | {"source": "production" if m["role"] == "tool" else None} for m in steps],
        },
    } | fields


def answer(content: str | None = None, *calls: dict[str, Any], **fields: Any) -> Reply:
    return {
        "status": "completed",
        "error": None,
        "content": content,
        "reasoning": None,
        "tool_calls": list(calls),
        "finish_reason": "tool_calls" if calls else "stop",
        "attachments": [],
        "prompt_tokens": 10,
        "completion_tokens": 2,
        "latency_ms": 100.0,
        "requested_at": datetime(2026, 1, 1, tzinfo=UTC).isoformat(),
    } | fields


def moment(of: dict[str, Any], what: dict[str, Any], *steps: dict[str, Any]) -> Moment:
    made = Call(what["id"], what["name"], what["arguments"])
    return Moment(of, steps, made, json.loads(what["arguments"]), {})


def rollout(
    of: dict[str, Any], settings: Agents, affordances: Sequence[Affordance], **params: Any
) -> Rollout:
    simulator = ToolSimulator(settings, affordances)
    candidate = Candidate(model="m", params=params)
    return Rollout(of, candidate, 7, simulator, lambda model, p, c, batched: 0.01)


def play(
    one: Rollout, candidate: Sequence[Reply], simulated: Callable[[Any], Reply] | None = None
) -> list[Any]:
    """Give a rollout its model's answers in order; returns the requests that it made."""
    asked: list[Any] = []
    answers = list(candidate)
    todo = [one.first()]
    while todo:
        request = todo.pop(0)
        asked.append(request)
        if isinstance(request, SimulatorRequest):
            assert simulated is not None
            todo += one.take(request, simulated(request))
        else:
            todo += one.take(request, answers.pop(0))
    assert not answers, "the turn ended before the model's last answer"
    return asked
