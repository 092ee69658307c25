"""Rollouts under faults and kills, and what a step costs.

Candidate and simulator are asked through a server that deals every fault to 30% of requests while
the run is killed five times and its journal is torn: the turns in the end must be those of an
undisturbed run, with nothing billed twice but what was in flight.  Then the CPU of a step is
measured beside a bare loop that sends the same requests.

python -m deploysim_assets.benchmarks.rollouts [--seeds 5] [--rollouts 200]
"""

import argparse
import asyncio
import hashlib
import json
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import polars as pl

from deploysim_assets.agents.functions import Functions
from deploysim_assets.agents.moment import Moment, TurnRequest
from deploysim_assets.agents.recorded import Recorded
from deploysim_assets.agents.rollout import Rollout, follow_up, rolled_out
from deploysim_assets.agents.simulator import ToolSimulator
from deploysim_assets.benchmarks.chaos import (
    CONCURRENCY,
    OUTCOME,
    SHARE,
    Chaos,
    Side,
    plain_answer,
    trials,
)
from deploysim_assets.benchmarks.endpoint import answers_with, in_own_process
from deploysim_assets.endpoint import tries
from deploysim_assets.endpoint.client import ask_all
from deploysim_assets.project import Agents, Candidate, Endpoint
from deploysim_assets.report.tables import console, rich_table
from deploysim_assets.schema import COMPLETIONS, REPLY_STATES
from deploysim_assets.storage.journal import open_journal

KILLS, STEPS = 5, 12
STARTS = KILLS + 15
"""An answer whose usage cannot be fails its turn until the next run: one request in 30."""
_PARALLEL = 3
_SETTINGS = Agents.model_validate(
    {
        "caps": {"steps": STEPS},
        "simulator": {"model": "tools"},
        "tools": {"get_closed": {"affordances": []}},
    }
)
_NAMES = ("get_recorded", "get_written", "send_note", "get_notes", "get_closed")


def _tool(name: str) -> dict[str, Any]:
    properties = {"id": {"type": "integer"}}
    schema = {"type": "object", "properties": properties, "required": ["id"]}
    parameters = json.dumps(schema)
    return {"name": name, "description": None, "parameters": parameters, "read_only": None}


_TOOLS = [_tool(name) for name in _NAMES]


def _message(role: str, content: str | None, **fields: Any) -> dict[str, Any]:
    nothing: dict[str, Any] = {"tool_calls": [], "tool_call_id": None, "name": None}
    return nothing | {"role": role, "content": content, "reasoning": None} | fields


def prefixes(count: int) -> Iterator[dict[str, Any]]:
    """Prefixes whose real turn read one thing."""
    call = {"id": "r", "name": "get_recorded", "arguments": '{"id": 1}'}
    for i in range(count):
        steps = [
            _message("assistant", None, tool_calls=[call], source=None),
            _message("tool", f"recorded {i}", tool_call_id="r", source="production"),
        ]
        yield {
            "prefix_id": f"{i:032x}", "conversation_key": f"{i:032x}", "user_key": f"u{i}",
            "language": "en", "messages": [_message("user", f"question {i}")], "tools": _TOOLS,
            "commit": None, "clock": None,
            "production_completion": {"content": "Done.", "tool_calls": [], "steps": steps},
        }  # fmt: skip


def _draw(*parts: object) -> int:
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=4).digest())


class AgentChaos(Chaos):
    """A candidate of up to a dozen steps and more, and a simulator's model that now and then says
    nothing; alike on every run."""

    @staticmethod
    def _number(body: dict[str, Any]) -> int:
        content = str(body["messages"][0]["content"])
        if body["model"] == "tools":
            shown = orjson.loads(body["messages"][1]["content"])
            content = str(shown["conversation"][0]["content"])
        return int(content.rpartition(" ")[2])

    def _answer(self, body: dict[str, Any]) -> dict[str, Any] | None:
        number = self._number(body)
        if body["model"] == "tools":
            asked = body["messages"][1]["content"]
            empty = _draw(asked) % 60 == 0
            said = "I cannot." if empty else json.dumps({"result": f"r{_draw(asked)}"})
            return plain_answer({"content": said})
        step = sum(m["role"] == "assistant" for m in body["messages"])
        if number % 20 == 8 and step:
            return None  # refused by a filter in the middle of the turn
        if step < _draw("length", number) % (STEPS + 2):
            return plain_answer({"content": None, "tool_calls": _calls(number, step)})
        text = f"reply {number}"
        ends = {0: ("", "stop"), 1: (text, "length"), 2: (text, "content_filter")}
        return plain_answer(
            {"content": ends.get(number % 10, (text, "stop"))[0]},
            ends.get(number % 10, (text, "stop"))[1],
        )


def _calls(number: int, step: int) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = []
    for i in range(1 + _draw("calls", number, step) % _PARALLEL):
        drawn = _draw("call", number, step, i)
        names = [*_NAMES[:4] * 16, "get_closed", "get_unknown"]
        arguments = "{" if drawn % 31 == 0 else json.dumps({"id": drawn % 3})
        function = {"name": names[drawn % len(names)], "arguments": arguments}
        calls.append({"id": f"c{i}", "type": "function", "function": function})
    return calls


def _send(arguments: dict[str, Any], state: dict[str, Any], moment: Moment) -> str:
    del moment
    state["notes"] = [*state.get("notes", []), arguments["id"]]
    return "sent"


def _notes(arguments: dict[str, Any], state: dict[str, Any], moment: Moment) -> list[int]:
    del arguments, moment
    return state.get("notes", [])


def simulator(settings: Agents = _SETTINGS) -> ToolSimulator:
    """Recording, functions with a state, then the model."""
    functions = Functions({"send_note": _send, "get_notes": _notes})
    return ToolSimulator(settings, [Recorded(settings), functions])


def _rollout(prefix: dict[str, Any], by: ToolSimulator) -> Rollout:
    return Rollout(prefix, Candidate(model="m"), 7, by, lambda model, p, c, batched: 0.0)


def roll_out(url: str, folder: Path, count: int) -> None:
    """What candidate_completions does, with journal and table in `folder`."""
    tries.BACKOFF_FIRST = 0.05
    endpoint = Endpoint(
        base_url=url, max_concurrency=CONCURRENCY, timeout_seconds=1, max_retries=20
    )
    by = simulator()
    with open_journal(folder / "completions.jsonl") as journal:
        outcome = ask_all(
            lambda: (_rollout(prefix, by).first() for prefix in prefixes(count)),
            endpoint,
            journal,
            follow_up,
        )
        rows: list[dict[str, Any]] = []
        for prefix in prefixes(count):
            row = rolled_out(_rollout(prefix, by), journal, outcome.failures)
            rows.append(row | {"prefix_id": prefix["prefix_id"], "model_version": "m"})
    pl.DataFrame(rows, schema=COMPLETIONS).write_parquet(folder / "completions.parquet")


def _tables(folder: Path) -> list[pl.DataFrame]:
    return [pl.read_parquet(folder / "completions.parquet").drop("latency_ms", "requested_at")]


ROLLOUTS = Side(roll_out, AgentChaos, _tables, KILLS, CONCURRENCY * _PARALLEL, REPLY_STATES, STARTS)


class StepCost(NamedTuple):
    """CPU milliseconds per step of rollouts, and of a bare loop over the same requests."""

    steps: int
    ours: float
    bare: float


def _serve(pipe: Connection) -> None:
    call = {"name": "get_recorded", "arguments": '{"id": 1}'}
    said = {"content": None, "tool_calls": [{"id": "c", "type": "function", "function": call}]}
    body = orjson.dumps(plain_answer(said, "tool_calls"))
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    answers_with(head % len(body) + body, pipe)


async def _bare(url: str, bodies: list[dict[str, Any]]) -> None:
    import aiohttp

    todo = iter(bodies)
    async with aiohttp.ClientSession() as session:

        async def work() -> None:
            for body in todo:
                async with session.post(f"{url}/chat/completions", json=body) as response:
                    await response.json()

        await asyncio.gather(*(work() for _ in range(CONCURRENCY)))


def step_cost(count: int) -> StepCost:
    """Roll out `count` turns of a dozen steps that the recording answers, then send the same
    requests bare. Journal and rows are part of a step."""
    by, bodies = simulator(), list[dict[str, Any]]()

    def noted(request: dict[str, Any], answer: dict[str, Any]) -> list[TurnRequest] | None:
        bodies.append(request)
        return follow_up(request, answer)

    def run(number: int) -> None:
        with tempfile.TemporaryDirectory() as folder, open_journal(Path(folder) / "j.jsonl") as j:
            endpoint = Endpoint(base_url=url, max_concurrency=CONCURRENCY)
            made = list(prefixes(number))
            outcome = ask_all(lambda: (_rollout(p, by).first() for p in made), endpoint, j, noted)
            for prefix in made:
                rolled_out(_rollout(prefix, by), j, outcome.failures)

    with in_own_process(_serve) as url:
        run(max(count // 10, 1))
        bodies.clear()
        start = time.process_time()
        run(count)
        ours = time.process_time() - start
        asyncio.run(_bare(url, bodies[: len(bodies) // 10]))
        start = time.process_time()
        asyncio.run(_bare(url, bodies))
        bare = time.process_time() - start
    return StepCost(len(bodies), ours / len(bodies) * 1e3, bare / len(bodies) * 1e3)


def main() -> None:
    """Print a line per seed and the cost of a step; exit 1 where a seed does not hold, or a step
    costs more than 1 ms beside its request."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rollouts", type=int, default=200)
    asked = parser.parse_args()
    rows: list[list[str]] = []
    held = True
    for seed, found in enumerate(trials(asked.seeds, asked.rollouts, ROLLOUTS), 1):
        held &= found.same and found.twice <= found.in_flight
        rows.append(found.cells(seed))
    title = f"{asked.rollouts} rollouts of up to {STEPS} steps, {SHARE:.0%} faults, {KILLS} kills"
    console().print(rich_table(title, OUTCOME, rows))
    cost = step_cost(asked.rollouts)
    beside = cost.ours - cost.bare
    said = [[f"{cost.steps:,}", f"{cost.ours:.2f} ms", f"{cost.bare:.2f} ms", f"{beside:.2f} ms"]]
    header = ("steps", "CPU of a step", "of a bare request", "beside it")
    console().print(rich_table("What a step costs, journal and row included", header, said))
    if not held or beside > 1:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
