"""Mixed faults and SIGKILLs: the table in the end is that of an undisturbed run, and nothing is
billed twice but what was in flight."""

import asyncio
import json
import multiprocessing
import os
import random
import signal
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
from aiohttp import web

from deploysim_assets.endpoint.client import ask_all
from deploysim_assets.endpoint.completions import completion_row
from deploysim_assets.project import Endpoint
from deploysim_assets.schema import COMPLETIONS
from deploysim_assets.storage.journal import open_journal
from deploysim_assets_tests.support import serve, wait_for

COUNT, CONCURRENCY, KILLS = 900, 16, 5
FAULTS = ("throttle", "throttle with wait", "error", "overload", "hang", "drop", "truncate", "html")
_SAME = ("latency_ms", "requested_at")


def body(i: int) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": f"question {i}"}], "seed": i}


class Chaos:
    """A server that answers each request alike, once in three times after a fault."""

    def __init__(self, share: float) -> None:
        self.share = share
        self.rng = random.Random(5)
        self.answered: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()

    async def chat(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        await asyncio.sleep(0.005)
        asked = json.loads(raw)["messages"][0]["content"]
        whole = json.dumps(
            {
                "choices": [
                    {
                        "message": {"role": "assistant", "content": f"answer to {asked}"},
                        "finish_reason": "stop",
                    }
                ],
                "usage": {"prompt_tokens": len(asked), "completion_tokens": 7},
            }
        ).encode()
        if self.rng.random() < self.share:
            fault = self.rng.choice(FAULTS)
            self.faults[fault] += 1
            return await self._fault(fault, request, whole)
        self.answered[asked] += 1
        return web.Response(body=whole, content_type="application/json")

    async def _fault(self, fault: str, request: web.Request, whole: bytes) -> web.StreamResponse:
        if fault == "hang":
            await asyncio.sleep(3600)
        if fault == "drop":
            assert request.transport
            request.transport.close()
        if fault == "truncate":
            response = web.StreamResponse(
                headers={"content-length": str(len(whole)), "content-type": "application/json"}
            )
            await response.prepare(request)
            await response.write(whole[: len(whole) // 2])
            assert request.transport
            request.transport.close()
            return response
        if fault == "html":
            return web.Response(text="<html>busy</html>", content_type="text/html")
        status = {"throttle": 429, "throttle with wait": 429, "overload": 503}.get(fault, 500)
        headers = {"retry-after-ms": "50"} if fault == "throttle with wait" else {}
        return web.json_response(
            {"error": {"message": "no", "type": "fault"}}, status=status, headers=headers
        )


@contextmanager
def chaos(share: float) -> Generator[tuple[str, Chaos]]:
    server, app = Chaos(share), web.Application()
    app.router.add_post("/v1/chat/completions", server.chat)
    with serve(app) as url:
        yield url, server


def ask_for_all(url: str, folder: Path) -> None:
    """What candidate_completions does: ask, then write the table from the journal."""
    endpoint = Endpoint(
        base_url=url, max_concurrency=CONCURRENCY, timeout_seconds=1, max_retries=12
    )
    with open_journal(folder / "j.jsonl") as journal:
        outcome = ask_all(lambda: map(body, range(COUNT)), endpoint, journal)
        rows = [
            completion_row(str(i), "m", body(i), journal, outcome.failures) for i in range(COUNT)
        ]
    pl.DataFrame(rows, schema=COMPLETIONS).write_parquet(folder / "table.parquet")


def _start(url: str, folder: Path) -> Any:
    process = multiprocessing.get_context("spawn").Process(target=ask_for_all, args=(url, folder))
    process.start()
    return process


def test_thirty_percent_faults_and_five_kills_change_nothing_in_the_table(tmp_path: Path) -> None:
    calm, wild = tmp_path / "calm", tmp_path / "wild"
    calm.mkdir()
    wild.mkdir()
    with chaos(0.0) as (url, server):
        ask_for_all(url, calm)
        assert set(server.answered.values()) == {1}
    rng = random.Random(11)
    with chaos(0.3) as (url, server):
        for kill in range(KILLS):
            process = _start(url, wild)
            until = COUNT * (kill + rng.uniform(0.3, 0.9)) / (KILLS + 1)
            wait_for(
                lambda until=until: len(server.answered) >= until, 120, f"{until:.0f} answers", 0.01
            )
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            assert not (wild / "table.parquet").exists()
        process = _start(url, wild)
        process.join(120)
        assert process.exitcode == 0
        assert set(server.faults) == set(FAULTS)
        assert sum(server.faults.values()) > 0.25 * sum(server.answered.values())
        duplicates = sum(n - 1 for n in server.answered.values())
    expected, found = (
        pl.read_parquet(folder / "table.parquet").drop(_SAME) for folder in (calm, wild)
    )
    assert found.equals(expected)
    assert found["status"].value_counts().rows() == [("completed", COUNT)]
    assert duplicates <= KILLS * CONCURRENCY
