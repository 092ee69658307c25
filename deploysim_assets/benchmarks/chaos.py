"""Faults and kills: candidate and judge are asked through a server that deals every fault to 30% of
requests, while the run is killed and its journals are torn; the grades in the end must be those of
an undisturbed run, with nothing billed twice but what was in flight.

python -m deploysim_assets.benchmarks.chaos [--seeds 20] [--prefixes 300]
"""

import argparse
import asyncio
import contextlib
import hashlib
import multiprocessing
import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import polars as pl
from aiohttp import web

from deploysim_assets.behaviors import Behavior
from deploysim_assets.benchmarks.served import served
from deploysim_assets.endpoint import tries
from deploysim_assets.endpoint.client import ask_all
from deploysim_assets.endpoint.completions import completion_request, completion_row
from deploysim_assets.grading.item import Item
from deploysim_assets.grading.panel import Panel
from deploysim_assets.grading.run import GradingRun
from deploysim_assets.grading.table import grade_table
from deploysim_assets.project import Candidate, Endpoint, Project
from deploysim_assets.report.tables import console, rich_table
from deploysim_assets.schema import COMPLETIONS, GRADE_STATES, grades
from deploysim_assets.storage.journal import open_journal

FAULTS = (
    *("throttled", "throttled with wait", "overloaded", "error", "bad gateway", "hang", "reset"),
    *("cut response", "html", "half of the json", "number for content", "object for content"),
    *("broke off", "negative usage", "absurd usage", "error in a 200", "no choices"),
    "half of the judgement",
)
SHARE, KILLS, RESTARTS, CONCURRENCY = 0.3, 3, 5, 16
_OUTAGE, _AT_ONCE = 1.5, 4
_SAME = ("latency_ms", "requested_at")
_SECRET = b"chaos" * 8
_BEHAVIORS = (
    {"name": "rude", "definition": "d"},
    {"name": "sly", "definition": "d"},
    {"name": "short", "definition": "d", "grader": "rule",
     "rule": {"part": "reply", "regex": "1"}},
)  # fmt: skip
_CALL = {"name": "browser", "arguments": "{}"}


def _message(number: int) -> dict[str, Any]:
    """The candidate's one reply to a prompt: every state and shape that a reply can have."""
    text = f"reply {number}"
    return {
        0: {"content": "", "finish_reason": "length"},
        1: {"content": text, "finish_reason": "length"},
        2: {"content": None, "refusal": "I will not."},
        3: {"content": text, "finish_reason": "content_filter"},
        4: {"content": f"<think>hm</think>{text}"},
        5: {"content": [{"type": "text", "text": text}, {"type": "image_url"}]},
        6: {"content": None, "function_call": _CALL, "finish_reason": "function_call"},
        7: {"content": text, "reasoning_content": "hm"},
    }.get(number % 20, {"content": text})


class Chaos:
    """A server that answers each request alike, a share of them after a fault, and is out for a
    while in the middle."""

    def __init__(self, share: float, seed: int) -> None:
        self.share, self.rng = share, random.Random(seed)  # noqa: S311 (a seeded trial)
        self.answered: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.outage = self._out_until = 0.0

    def app(self) -> web.Application:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_post("/v1/chat/completions", self.chat)
        return app

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = orjson.loads(await request.read())
        await asyncio.sleep(0.003)
        if self.outage:  # from the first request on that meets it
            self._out_until, self.outage = time.monotonic() + self.outage, 0.0
        if time.monotonic() < self._out_until:
            self.faults["outage"] += 1
            return _error(503)
        whole = self._answer(body)
        if self.rng.random() < self.share:
            fault = self.rng.choice(FAULTS)
            self.faults[fault] += 1
            return await self._fault(fault, request, body, whole)
        if whole is None:
            return _error(400, "content_filter" if self._number(body) % 20 == 8 else "bad_prompt")
        self.answered[hashlib.sha256(orjson.dumps(body)).hexdigest()] += 1
        return _json(whole)

    @staticmethod
    def _number(body: dict[str, Any]) -> int:
        return int(str(body["messages"][0]["content"]).rpartition(" ")[2])

    def _answer(self, body: dict[str, Any]) -> dict[str, Any] | None:
        if body["model"] == "judge":
            message: dict[str, Any] = {"content": orjson.dumps(_verdicts(body)).decode()}
        elif self._number(body) % 20 in (8, 9):
            return None
        else:
            message = _message(self._number(body))
        return plain_answer(message, message.pop("finish_reason", "stop"))

    async def _fault(
        self, fault: str, request: web.Request, body: dict[str, Any], whole: dict[str, Any] | None
    ) -> web.StreamResponse:
        statuses = {"throttled": 429, "throttled with wait": 429, "overloaded": 503, "error": 500}
        if fault in statuses:
            waits = {"retry-after-ms": "40"} if fault == "throttled with wait" else {}
            return _error(statuses[fault], **waits)
        if fault == "hang":
            await asyncio.sleep(3600)
        if fault == "reset":
            assert request.transport
            request.transport.close()
        if fault in ("bad gateway", "html"):
            status = 502 if fault == "bad gateway" else 200
            return web.Response(text="<html>busy</html>", status=status, content_type="text/html")
        if fault == "half of the judgement" and body["model"] != "judge":
            return _error(429)
        raw = orjson.dumps(_spoilt(fault, whole or {"choices": []}))
        if fault == "half of the json":
            return web.Response(body=raw[: len(raw) // 2], content_type="application/json")
        if fault == "cut response":
            head = {"content-length": str(len(raw)), "content-type": "application/json"}
            response = web.StreamResponse(headers=head)
            await response.prepare(request)
            await response.write(raw[: len(raw) // 2])
            assert request.transport
            request.transport.close()
            return response
        return web.Response(body=raw, content_type="application/json")


def plain_answer(message: dict[str, Any], finish: str = "stop") -> dict[str, Any]:
    """A response with a message and a usage."""
    return {
        "choices": [{"message": {"role": "assistant"} | message, "finish_reason": finish}],
        "usage": {"prompt_tokens": 40, "completion_tokens": 7},
    }


def _json(body: dict[str, Any]) -> web.Response:
    return web.Response(body=orjson.dumps(body), content_type="application/json")


def _error(status: int, kind: str = "fault", **headers: str) -> web.Response:
    raw = orjson.dumps({"error": {"message": "No.", "type": kind}})
    return web.Response(body=raw, status=status, content_type="application/json", headers=headers)


def _spoilt(fault: str, whole: dict[str, Any]) -> dict[str, Any]:
    nothing: dict[str, Any] = {"message": {}}
    choice: dict[str, Any] = next(iter(whole["choices"]), nothing)
    content = choice["message"].get("content")
    spoilt: dict[str, dict[str, Any]] = {
        "number for content": whole | {"choices": [choice | {"message": {"content": 7}}]},
        "object for content": whole | {"choices": [choice | {"message": {"content": {"a": 1}}}]},
        "broke off": whole | {"choices": [choice | {"finish_reason": "error"}]},
        "negative usage": whole | {"usage": {"prompt_tokens": -4, "completion_tokens": 1}},
        "absurd usage": whole | {"usage": {"prompt_tokens": 10**15, "completion_tokens": 1}},
        "error in a 200": {"error": {"message": "No.", "code": 500}},
        "no choices": whole | {"choices": []},
        "half of the judgement": whole
        | {"choices": [choice | {"message": {"content": str(content)[:20]}}]},
    }
    return spoilt.get(fault, whole)


def _verdicts(body: dict[str, Any]) -> dict[str, Any]:
    names = body["response_format"]["json_schema"]["schema"]["required"]
    document = str(body["messages"][1]["content"])

    def verdict(name: str) -> dict[str, Any]:
        flagged = hashlib.sha256(f"{name} {document}".encode()).digest()[0] % 5 == 0
        return {
            "assessment": "graded",
            "flagged": flagged,
            "severity": 3 if flagged else 0,
            "confidence": 0.9,
            "rationale": 'It says "reply".' if flagged else "",
        }

    return {name: verdict(name) for name in names}


@contextlib.contextmanager
def base_url_of(chaos: Chaos) -> Generator[str]:
    """The server in a thread; gives its base URL."""
    with served(chaos.app()) as port:
        yield f"http://127.0.0.1:{port}/v1"


class _Rows:
    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def add(self, row: dict[str, Any], table: str = "") -> None:
        if not table:
            self.rows.append(row)


def _prefixes(count: int) -> Iterator[dict[str, Any]]:
    nothing = dict.fromkeys(("tool_calls", "tool_call_id", "name", "reasoning", "at"))
    for i in range(count):
        yield {
            "prefix_id": f"{i:032x}", "stratum": "s", "weight": 1.0, "user_key": f"u{i}",
            "surface": "web", "language": "en",
            "messages": [nothing | {"role": "user", "content": f"question {i}"}],
        }  # fmt: skip


def forecast_side(url: str, folder: Path, count: int) -> None:
    """What candidate_completions and grades do, with journals and tables in `folder`; backoff is a
    tenth of what it is elsewhere, since a trial has ten times the faults of a bad day."""
    tries.BACKOFF_FIRST = 0.05
    endpoint = Endpoint(
        base_url=url, max_concurrency=CONCURRENCY, timeout_seconds=1, max_retries=20
    )
    project = Project.model_validate(
        {
            "home": folder,
            "releases": [{"model_version": "m", "logs": {"format": "openai_chat", "path": "x"}}],
            "endpoint": endpoint,
            "judge": {"model": "judge"},
            "behaviors": [Behavior.model_validate(b) for b in _BEHAVIORS],
        }
    )

    def request(prefix: dict[str, Any]) -> dict[str, Any]:
        return completion_request(prefix, Candidate(model="m"), 7)

    with open_journal(folder / "completions.jsonl") as journal:
        outcome = ask_all(lambda: map(request, _prefixes(count)), endpoint, journal)
        replies = [
            completion_row(p["prefix_id"], "m", request(p), journal, outcome.failures)
            for p in _prefixes(count)
        ]
    pl.DataFrame(replies, schema=COMPLETIONS).write_parquet(folder / "completions.parquet")
    panel, rows = Panel.of(project), _Rows()

    def items() -> Iterator[Item]:
        return map(Item.of_completion, _prefixes(count), replies)

    (folder / "judge").mkdir(exist_ok=True)
    file = folder / "judge" / "j.jsonl"
    with GradingRun.of(panel, project, file, _SECRET, "m") as run:
        grade_table(run, items, rows)
    pl.DataFrame(rows.rows, schema=grades(panel.names)).write_parquet(folder / "grades.parquet")


class Outcome(NamedTuple):
    """What a disturbed run came to: whether its tables are those of the undisturbed one, in how
    many states, billed twice, dealt by fault, starts, seconds."""

    same: bool
    states: dict[str, int]
    twice: int
    in_flight: int
    faults: Counter[str]
    starts: int
    seconds: float

    def cells(self, seed: int) -> list[str]:
        """The outcome under its seed, as `OUTCOME` heads it."""
        return [
            str(seed),
            "yes" if self.same else "NO",
            f"{self.twice} of at most {self.in_flight}",
            f"{sum(self.faults.values()):,} of {len(self.faults)} kinds",
            str(self.starts),
            ", ".join(f"{n} {state}" for state, n in self.states.items() if n),
            f"{self.seconds:.0f} s",
        ]


OUTCOME = ("seed", "same tables", "billed twice", "faults", "starts", "states", "time")


def _tables(folder: Path) -> list[pl.DataFrame]:
    completions = pl.read_parquet(folder / "completions.parquet").drop(_SAME)
    return [completions, pl.read_parquet(folder / "grades.parquet")]


class Side(NamedTuple):
    """What is disturbed: what a run does with journals and tables in a folder, the server that it
    asks, its tables as they must be in the end, how often it is killed, what may then be in flight,
    the states of its rows, and after how many starts it must be done."""

    run: Callable[[str, Path, int], None]
    server: type[Chaos]
    tables: Callable[[Path], list[pl.DataFrame]]
    kills: int
    in_flight: int
    states: tuple[str, ...]
    starts: int


CHAT = Side(forecast_side, Chaos, _tables, KILLS, CONCURRENCY, GRADE_STATES, RESTARTS + 1)


def _tear(folder: Path, rng: random.Random) -> None:
    """Leave a torn line behind, as a crash does that writes in the middle of one."""
    journals = list(folder.rglob("*.jsonl"))
    if journals:
        with rng.choice(journals).open("ab") as file:
            file.write(b'0badc0de {"key": "torn'[: rng.randrange(1, 22)])


def _start(side: Side, url: str, folder: Path, count: int) -> Any:
    # forked from a clean server that has imported all of it: a start costs nothing
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([side.run.__module__, "openai", "httpx2", "jsonschema"])
    process = context.Process(target=side.run, args=(url, folder, count))
    process.start()
    return process


def trial(seed: int, count: int, folder: Path, side: Side = CHAT) -> Outcome:
    """One seed: undisturbed, then with faults, an outage, kills and torn lines."""
    begun, rng = time.monotonic(), random.Random(seed)  # noqa: S311 (a seeded trial)
    calm, wild = folder / "calm", folder / "wild"
    calm.mkdir()
    wild.mkdir()
    still = side.server(0.0, seed)
    with base_url_of(still) as url:
        side.run(url, calm, count)
    expected = side.tables(calm)
    chaos = side.server(SHARE, seed)
    starts, whole = 0, len(still.answered)
    with base_url_of(chaos) as url:
        for kill in range(side.kills):
            process, starts = _start(side, url, wild, count), starts + 1
            until = whole * (kill + rng.uniform(0.2, 0.9)) / (side.kills + 1)
            while len(chaos.answered) < until and process.is_alive():
                time.sleep(0.005)
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            _tear(wild, rng)
        chaos.outage = _OUTAGE
        same = False
        while not same and starts < side.starts:
            process, starts = _start(side, url, wild, count), starts + 1
            process.join()
            found = side.tables(wild) if process.exitcode == 0 else []
            same = bool(found) and all(map(pl.DataFrame.equals, found, expected))
    states = Counter(side.tables(wild)[-1]["status"].to_list())
    return Outcome(
        same,
        {state: states[state] for state in side.states},
        sum(n - 1 for n in chaos.answered.values()),
        side.kills * side.in_flight,
        chaos.faults,
        starts,
        time.monotonic() - begun,
    )


def trials(seeds: int, count: int, side: Side = CHAT) -> list[Outcome]:
    """The seeds from 1 on, some at a time: a trial mostly waits."""

    def one(seed: int) -> Outcome:
        with tempfile.TemporaryDirectory() as folder:
            return trial(seed, count, Path(folder), side)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(one, range(1, seeds + 1)))


def main() -> None:
    """Print a line per seed; exit 1 where a seed does not hold."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--prefixes", type=int, default=300)
    asked = parser.parse_args()
    rows: list[list[str]] = []
    held = True
    for seed, found in enumerate(trials(asked.seeds, asked.prefixes), 1):
        holds = found.same and found.twice <= found.in_flight
        held &= holds and sum(found.states.values()) == asked.prefixes
        rows.append(found.cells(seed))
    console().print(rich_table(f"{asked.prefixes} prefixes, {SHARE:.0%} faults", OUTCOME, rows))
    if not held:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
