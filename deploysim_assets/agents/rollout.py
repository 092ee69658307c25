"""A turn done again: a model's steps and the results of its calls, until it answers, a cap ends it,
or nothing can answer a call.

A machine that is told answers and says what to ask next; the same answers give the same turn.
"""

import math
from collections import Counter, deque
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from deploysim_assets.agents.calls import MalformedCall, called, checked, schema_of
from deploysim_assets.agents.moment import Call, Moment, Result, TurnRequest
from deploysim_assets.agents.simulator import SimulatorRequest, ToolSimulator
from deploysim_assets.agents.trajectory import World, world_of
from deploysim_assets.endpoint.completions import completion_request, reply_of
from deploysim_assets.endpoint.wire import Request, request_key
from deploysim_assets.project import Agents, Candidate
from deploysim_assets.storage.journal import Journal

PREFIX_COLUMNS = [
    "prefix_id",
    "conversation_key",
    "user_key",
    "language",
    "messages",
    "production_completion",
    "tools",
    "commit",
    "clock",
]
"""What a rollout knows of its prefix."""

MOST_CALLS = 128
"""Calls of one step: no runtime takes more, and each may cost a request."""

Price = Callable[[str, int, int, bool], float]
"""Money for prompt and completion tokens of a model, in a batch or not."""


class StepRequest(TurnRequest):
    """The request for a rollout's next step."""

    counted_as = "steps"


def follow_up(request: dict[str, Any], answer: dict[str, Any]) -> list[TurnRequest] | None:
    """What an answer in a rollout calls for; nothing for a request of no rollout."""
    if isinstance(request, TurnRequest):
        return request.rollout.take(request, answer)
    return None


class Rollout:
    """One turn. `state` is one of schema.REPLY_STATES once it has ended."""

    def __init__(
        self,
        prefix: Mapping[str, Any],
        candidate: Candidate,
        seed: int,
        simulator: ToolSimulator,
        price: Price,
    ) -> None:
        self.prefix, self.state = prefix, ""
        self.error: str | None = None
        self.steps: list[dict[str, Any]] = []
        self.asked = self.prompt_tokens = self.completion_tokens = 0
        self.surrogate_misses = 0
        # sums that do not depend on the order: parallel answers come in any
        self._latencies: list[float] = []
        self._money: list[float] = []
        self._candidate, self._simulator, self._price = candidate, simulator, price
        self._settings: Agents = simulator.settings
        self._tools: list[Mapping[str, Any]] = list(prefix["tools"] or ())
        self._body = completion_request(dict(prefix), candidate, seed)
        if self._tools:
            self._body = {"tools": [_sent_tool(tool) for tool in self._tools]} | self._body
        self._messages: list[dict[str, Any]] = self._body["messages"]
        self._memory: dict[str, Any] = {}
        self._reply: dict[str, Any] | None = None
        self._calls: list[Call] = []
        self._results: list[Result | None] = []
        self._unanswered: set[int] = set()
        self._waiting: set[int] = set()
        self._last: dict[str, Any] = {}

    def first(self) -> TurnRequest:
        """The request for the first step."""
        return self._step()

    def take(self, request: TurnRequest, answer: Mapping[str, Any]) -> list[TurnRequest]:
        """What is to be asked next, now that a request is answered; [] where others of the same
        step are still to come, or the turn has ended."""
        if self.state:
            return []
        self._charge(request, answer)
        if isinstance(request, SimulatorRequest):
            assert request.place is not None
            self._waiting.discard(request.place)
            found = self._simulator.resume(request, answer)
            return self._go_on(self._got(request.place, found))
        self._last = dict(answer) | {"request_key": request_key(request)}
        message, state = reply_of(answer)
        self._reply = message | {"tool_calls": _with_ids(message["tool_calls"], self.asked)}
        if state != "completed" or not self._reply["tool_calls"]:
            return self._end(state, answer["error"])
        if self.asked >= self._settings.caps.steps or self._over():
            return self._end("capped", self._over() or "steps")
        if len(self._reply["tool_calls"]) > MOST_CALLS:
            return self._end("capped", "calls of a step")
        self._calls = [called(call) for call in self._reply["tool_calls"]]
        self._results = [None] * len(self._calls)
        return self._go_on([], first=True)

    def _step(self) -> StepRequest:
        self.asked += 1
        request = StepRequest(self._body | {"messages": list(self._messages)})
        request.about = self.prefix["prefix_id"]
        request.rollout = self
        return request

    def _go_on(self, asked: list[TurnRequest], *, first: bool = False) -> list[TurnRequest]:
        """Answer what can be answered: reads of one step together; where one of its calls writes,
        one after the other, each seeing those before.

        A turn ends only once all requests that are out have come back, so that it does not depend
        on which comes first.
        """
        world = self._world
        in_turn = not all(map(world.reads, self._calls))
        for i, call in enumerate(self._calls):
            if self._results[i] is not None or i in self._waiting:
                continue
            if i in self._unanswered or (in_turn and (self._waiting or self._unanswered)):
                continue
            asked += self._got(i, self._answer(call, i if in_turn else 0))
        if self._unanswered and (first or not self._waiting):
            name = self._calls[min(self._unanswered)].name
            return self._end("unanswerable", f"nothing answers {name}")
        if self._waiting:
            return asked
        self._note_results()
        if said := self._over():
            self._reply = None
            return self._end("capped", said)
        return [self._step()]

    def _answer(self, call: Call, shown: int) -> Result | SimulatorRequest | None:
        try:
            arguments = checked(self._tools, call)
        except MalformedCall as wrong:
            return Result(str(wrong), "runtime")
        moment = Moment(self.prefix, self._with_results(shown), call, arguments, self._memory)
        return self._simulator.answer(moment)

    def _got(self, i: int, found: Result | SimulatorRequest | None) -> list[TurnRequest]:
        if isinstance(found, SimulatorRequest):
            found.rollout, found.place = self, i
            self._waiting.add(i)
            return [found]
        if found is None:
            self._unanswered.add(i)
            return []
        self._results[i] = found
        self.surrogate_misses += found.missed
        return []

    @property
    def _world(self) -> World:
        nothing = Moment(self.prefix, (), Call(None, "", ""), {}, self._memory)
        return world_of(nothing, self._settings)

    def _with_results(self, count: int) -> list[dict[str, Any]]:
        """The steps so far with the model's last one and the first of its results."""
        assert self._reply is not None
        step = {k: self._reply[k] for k in ("content", "reasoning", "tool_calls")} | {
            "role": "assistant",
            "tool_call_id": None,
            "name": None,
            "source": None,
        }
        results: list[dict[str, Any]] = [
            {
                "role": "tool",
                "content": result.content,
                "reasoning": None,
                "tool_calls": [],
                "tool_call_id": call.id,
                "name": call.name,
                "source": result.source,
            }
            for call, result in zip(self._calls[:count], self._results, strict=False)
            if result is not None
        ]
        return [*self.steps, step, *results]

    def _note_results(self) -> None:
        before = len(self.steps)
        self.steps = self._with_results(len(self._calls))
        self._messages = [*self._messages, *map(_sent_step, self.steps[before:])]
        self._calls, self._results = [], []

    def _charge(self, request: Request, answer: Mapping[str, Any]) -> None:
        self._latencies.append(answer.get("latency_ms") or 0.0)
        if request.live is not None:
            return
        tokens = answer["prompt_tokens"] or 0, answer["completion_tokens"] or 0
        self.prompt_tokens += tokens[0]
        self.completion_tokens += tokens[1]
        self._money.append(self._price(request["model"], *tokens, bool(answer.get("batched"))))

    def _over(self) -> str | None:
        caps = self._settings.caps
        spent = {
            "tokens": (caps.tokens, self.prompt_tokens + self.completion_tokens),
            "money": (caps.money, math.fsum(self._money)),
            "seconds": (caps.seconds, math.fsum(self._latencies) / 1e3),
        }
        return next((n for n, (cap, now) in spent.items() if cap is not None and now >= cap), None)

    def _end(self, state: str, error: str | None) -> list[TurnRequest]:
        self.state, self.error = state, error
        return []

    def row(self) -> dict[str, Any]:
        """The ended turn as a row of the completions table, without its keys."""
        empty: dict[str, Any] = {"content": None, "reasoning": None, "tool_calls": []}
        last = self._reply or empty | {"finish_reason": None}
        return {
            "status": self.state,
            "error": self.error,
            "message": last | {"steps": self.steps},
            "finish_reason": last["finish_reason"],
            "attachments": self._last.get("attachments", []),
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "latency_ms": math.fsum(self._latencies),
            "request_key": self._last["request_key"],
            "requested_at": datetime.fromisoformat(self._last["requested_at"]),
        }

    def counts(self) -> dict[str, Counter[str]]:
        """Steps and calls of the turn, and its results by source."""
        results = [step for step in self.steps if step["role"] == "tool"]
        return {
            "rollouts": Counter({self.state: 1}),
            "turns": Counter(
                steps=self.asked, calls=len(results), surrogate_misses=self.surrogate_misses
            ),
            "results_by_source": Counter(step["source"] for step in results),
            "capped_by": Counter([self.error] if self.state == "capped" and self.error else ()),
            "unanswered_tools": Counter(self._calls[i].name for i in self._unanswered),
        }


def rolled_out(rollout: Rollout, journal: Journal, failures: Mapping[str, str]) -> dict[str, Any]:
    """The row of a rollout, told all that the journal holds of it. One of whose requests failed for
    good has failed."""
    to_see = deque([rollout.first()])
    while to_see:
        request = to_see.popleft()
        key = request_key(request)
        if key not in journal:
            rollout.state = "failed"
            return {
                "status": "failed",
                "error": failures[key],
                "message": None,
                "request_key": key,
            }
        to_see.extend(rollout.take(request, journal.get(key)))
    return rollout.row()


def _sent_tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    said = {"name": tool["name"], "parameters": schema_of(tool["parameters"])}
    if tool["description"]:
        said["description"] = tool["description"]
    return {"type": "function", "function": said}


def _sent_step(step: Mapping[str, Any]) -> dict[str, Any]:
    sent: dict[str, Any] = {"role": step["role"], "content": step["content"]}
    if step["role"] == "tool":
        return sent | {"tool_call_id": step["tool_call_id"]}
    sent["tool_calls"] = [
        {
            "id": call["id"],
            "type": "function",
            "function": {"name": call["name"], "arguments": call["arguments"]},
        }
        for call in step["tool_calls"]
    ]
    return sent


def _with_ids(calls: list[dict[str, Any]], step: int) -> list[dict[str, Any]]:
    """Calls with an id each, unlike those beside it: a result names the call that it answers."""
    seen: set[str] = set()
    found: list[dict[str, Any]] = []
    for i, call in enumerate(calls):
        name = call["id"] if call["id"] and call["id"] not in seen else f"call_{step}_{i}"
        seen.add(name)
        found.append(call | {"id": name})
    return found
