"""Recorded runs of AgentDojo as turns of an agent, and the model that they were recorded from as an
endpoint that answers step by step."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from aiohttp import web

from deploysim_assets.benchmarks.agentdojo_rules import as_calls
from deploysim_assets.benchmarks.backtest import AGENTDOJO

CHAINS = (*AGENTDOJO, ("meta-llama_Llama-3-70b-chat-hf", "meta-llama_Llama-3.3-70B-Instruct"))
"""Versions in order: each one after the first is a candidate on the traffic of the one before."""

LEFT = "recording_ends_here"
"""The call with which the server ends a turn that left its recording: a tool that every prefix
declares and nothing answers."""

_INJECTED = "<INFORMATION>"
_BLOCK = re.compile(r"<INFORMATION>.*?(?:</INFORMATION>|\Z)", re.DOTALL)
_SENT_AT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+")
_WRITTEN = re.compile(r"\\n|\\|['\"]|\s+")


class Scenario(NamedTuple):
    """What was put to every model: a user's task in a suite, and the instruction injected."""

    suite: str
    user_task: str
    injection: str

    @property
    def cluster(self) -> str:
        """Runs on one task are not independent."""
        return f"{self.suite} {self.user_task}"


class Run(NamedTuple):
    """A recorded run: system message and user turn, and the turn (schema.REPLY) after them.
    `carried_out` is the benchmark's own check of the environment's state."""

    model: str
    scenario: Scenario
    opening: list[dict[str, Any]]
    turn: dict[str, Any]
    carried_out: bool


Runs = Mapping[tuple[str, Scenario], Run]


def _message(role: str, content: str | None, **more: Any) -> dict[str, Any]:
    empty: dict[str, Any] = {
        "reasoning": None,
        "tool_calls": [],
        "tool_call_id": None,
        "name": None,
    }
    return {"role": role, "content": content} | empty | more


def _turn(messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    steps: list[dict[str, Any]] = []
    for message in messages:
        if message["role"] == "assistant":
            calls = as_calls(message)
            steps.append(_message("assistant", message["content"], tool_calls=calls, source=None))
        else:
            # the agent was told an error in place of the result
            content = message.get("error") or message["content"] or ""
            steps.append(
                _message("tool", content, tool_call_id=message["tool_call_id"], source="production")
            )
    last: Mapping[str, Any] = {}
    if steps and steps[-1]["role"] == "assistant":
        last = steps.pop()
    return {
        "content": last.get("content"),
        "reasoning": None,
        "tool_calls": last.get("tool_calls") or [],
        "finish_reason": "stop" if last else None,
        "steps": steps,
    }


def recorded_runs(folder: Path, models: Sequence[str]) -> dict[tuple[str, Scenario], Run]:
    """The attacked runs of some models that came to their end, by model and scenario."""
    frame = pl.read_parquet(folder / "runs.parquet").filter(
        pl.col("injection_succeeded").is_not_null()
        & pl.col("error").is_null()
        & pl.col("model").is_in(list(models))
    )
    found: dict[tuple[str, Scenario], Run] = {}
    for row in frame.iter_rows(named=True):
        messages: list[dict[str, Any]] = json.loads(row["messages"])
        if [m["role"] for m in messages[:2]] == ["system", "user"] and len(messages) > 2:
            scenario = Scenario(row["suite"], row["user_task"], row["injection_task"])
            opening = [_message(m["role"], m["content"]) for m in messages[:2]]
            found[row["model"], scenario] = Run(
                row["model"], scenario, opening, _turn(messages[2:]), row["injection_succeeded"]
            )
    return found


def alike(given: str, recorded: str) -> bool:
    """Whether two results of a call are one to the model that reads them: equal but for what
    differs between recordings of one scenario. That is the wording of the injection (whom it
    addresses, who signs it), how a result was written down (blanks, quotes), and the moment at
    which something was sent."""

    def plain(text: str) -> str:
        text = _WRITTEN.sub("", _SENT_AT.sub("then", _BLOCK.sub(_INJECTED, text)))
        return "" if text == "None" else text

    return plain(given) == plain(recorded)


def tools_of(runs: Iterable[Run]) -> list[dict[str, Any]]:
    """The tools of some runs, inferred from their calls, and the one that ends a recording."""
    names = {
        call["name"]
        for run in runs
        for step in (*run.turn["steps"], run.turn)
        for call in step["tool_calls"]
    }
    nothing = {"description": None, "parameters": None, "read_only": None}
    return [{"name": name} | nothing for name in (*sorted(names), LEFT)]


_ONE_MOMENT = datetime(2024, 1, 1, tzinfo=UTC)
"""The runs carry no times, and each is left out of what is known of itself: none is later."""


def prefix_of(live: Run, tools: list[dict[str, Any]]) -> dict[str, Any]:
    """The live model's run as a prefix. Its system message names the scenario, which the server
    needs, since many scenarios begin alike."""
    name = "/".join(live.scenario)
    first = live.opening[0]
    return {
        "prefix_id": f"{live.model} {name}".replace("/", " "),
        "conversation_key": name,
        "user_key": live.scenario.cluster,
        "language": "en",
        "messages": [first | {"content": f"{first['content']}\n[{name}]"}, *live.opening[1:]],
        "tools": tools,
        "commit": None,
        "clock": _ONE_MOMENT,
        "production_completion": live.turn,
    }


class RecordedAgents:
    """Recorded models behind the chat interface: the next recorded step while what was said, called
    and answered is what the recording has, else a call of LEFT."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self.served = self.left = 0

    def app(self) -> web.Application:
        """The server."""
        app = web.Application(client_max_size=1 << 28)
        app.router.add_post("/v1/chat/completions", self._chat)
        return app

    async def _chat(self, asked: web.Request) -> web.Response:
        body = await asked.json()
        message = self.next_step(body["model"], body["messages"])
        if message is None:
            wrong = {"message": "no such recording", "type": "invalid_request_error"}
            return web.json_response({"error": wrong}, status=404)
        calls = message["tool_calls"]
        sent = {"role": "assistant", "content": message["content"], "refusal": None}
        if calls:
            sent["tool_calls"] = [
                {
                    "id": call["id"],
                    "type": "function",
                    "function": {"name": call["name"], "arguments": call["arguments"]},
                }
                for call in calls
            ]
        finish = "tool_calls" if calls else "stop"
        choice = {"index": 0, "message": sent, "finish_reason": finish}
        used = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        return web.json_response(
            {
                "id": f"chatcmpl-{self.served}",
                "object": "chat.completion",
                "created": 0,
                "model": body["model"],
                "choices": [choice],
                "usage": used,
            }
        )

    def next_step(
        self, model: str, messages: Sequence[Mapping[str, Any]]
    ) -> Mapping[str, Any] | None:
        """What the model wrote next in its recording; None where there is none of it."""
        named = re.search(r"\[([^\[\]]*)\]\s*\Z", messages[0]["content"])
        parts = named[1].split("/") if named else []
        run = self._runs.get((model, Scenario(*parts))) if len(parts) == 3 else None
        if run is None:
            return None
        self.served += 1
        whole = [*run.turn["steps"], _message("assistant", run.turn["content"], **_last(run))]
        so_far = messages[2:]
        here = len(so_far) < len(whole) and all(map(_matches, so_far, whole))
        if here and whole[len(so_far)]["role"] == "assistant":
            return whole[len(so_far)]
        self.left += 1
        return _message(
            "assistant", None, tool_calls=[{"id": "left", "name": LEFT, "arguments": "{}"}]
        )


def _last(run: Run) -> dict[str, Any]:
    return {"tool_calls": run.turn["tool_calls"]}


def _matches(given: Mapping[str, Any], recorded: Mapping[str, Any]) -> bool:
    if given["role"] != recorded["role"]:
        return False
    if given["role"] == "tool":
        return alike(given["content"] or "", recorded["content"] or "")
    calls: list[Mapping[str, Any]] = given.get("tool_calls") or []
    sent = [(c["function"]["name"], c["function"]["arguments"]) for c in calls]
    return sent == [(c["name"], c["arguments"]) for c in recorded["tool_calls"]]
