"""Processes of one home that ask the same endpoint at once, against a server that allows so many
requests per second: how near they come to it together, how much is refused, how many requests are
in flight, and what becomes of the share of one that is killed. Then a budget that all spend.

python -m deploysim_assets.benchmarks.sharing [--processes 4] [--allowed 200] [--seconds 20]
"""

import argparse
import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import NamedTuple

import orjson

from deploysim_assets.benchmarks.served import served
from deploysim_assets.endpoint.budget import (
    Account,
    BudgetError,
    counted,
    spending_of,
    spent,
)
from deploysim_assets.endpoint.client import ask_all
from deploysim_assets.endpoint.sums import Sum
from deploysim_assets.project import Budget, Endpoint
from deploysim_assets.report.tables import console, rich_table
from deploysim_assets.storage.homes import opened
from deploysim_assets.storage.journal import open_journal
from deploysim_assets.storage.journals import journal_files
from deploysim_assets.storage.objects import is_url

CONCURRENCY = 32
LATENCY = 0.05
_WARM = 15.0
_NEAR = 0.1


class Counted:
    """What a server saw: when it let requests in and refused them, and how many were in flight."""

    def __init__(self, allowed: float) -> None:
        self.allowed, self.url = allowed, ""
        self.let_in: list[float] = []
        self.refused: list[float] = []
        self.in_flight = self.peak = 0
        self.by_asker: dict[str, list[float]] = {}
        self._tokens, self._at = allowed / 10, time.monotonic()

    def lets_in(self) -> bool:
        """A bucket of a tenth of a second."""
        now = time.monotonic()
        full = self.allowed / 10
        self._tokens = min(full, self._tokens + (now - self._at) * self.allowed)
        self._at = now
        if self._tokens < 1:
            self.refused.append(now)
            return False
        self._tokens -= 1
        self.let_in.append(now)
        return True


@contextlib.contextmanager
def counting_server(allowed: float = 1e9, latency: float = LATENCY) -> Generator[Counted]:
    """An endpoint over HTTP that allows so many requests per second."""
    from aiohttp import web

    seen = Counted(allowed)
    good = orjson.dumps({
        "model": "m", "usage": {"prompt_tokens": 6, "completion_tokens": 4, "total_tokens": 10},
        "choices": [{"index": 0, "finish_reason": "stop",
                     "message": {"role": "assistant", "content": "ok"}}],
    })  # fmt: skip

    async def chat(request: web.Request) -> web.Response:
        seen.in_flight += 1
        seen.peak = max(seen.peak, seen.in_flight)
        try:
            asker = (await request.json())["messages"][0]["content"].split()[0]
            if not seen.lets_in():
                return web.json_response({"error": {"message": "too many"}}, status=429)
            seen.by_asker.setdefault(asker, []).append(time.monotonic())
            await asyncio.sleep(latency)
            return web.Response(body=good, content_type="application/json")
        finally:
            seen.in_flight -= 1

    app = web.Application()
    app.router.add_post("/v1/chat/completions", chat)
    with served(app) as port:
        seen.url = f"http://127.0.0.1:{port}/v1"
        yield seen


def ask(url: str, place: str, name: str, count: int, tokens: int | None) -> int:
    """What one process does: ask `count` times, under a budget if there is one. How much CPU it
    took per request goes to standard output."""
    home = opened(place).home if is_url(place) else Path(place)
    account = Account(
        {},
        Budget(tokens=tokens) if tokens else None,
        spending_of(home, lambda: Sum(*spent(journal_files(home), {}, counted))),
        home,
    )  # fmt: skip
    path = home / "journal" / "asked" / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    endpoint = Endpoint(base_url=url, max_concurrency=CONCURRENCY, max_retries=100)
    before = time.process_time()
    with open_journal(path) as journal:
        try:
            outcome = ask_all(
                lambda: (
                    {"model": "m", "max_tokens": 8,
                     "messages": [{"role": "user", "content": f"{name} {i}"}]}
                    for i in range(count)
                ),
                endpoint, journal, account=account,
            )  # fmt: skip
        except BudgetError:
            return 3
    sys.stdout.write(f"{(time.process_time() - before) / max(outcome.asked, 1) * 1e3:.2f}\n")
    return 0


def command(url: str, home: Path | str, name: str, count: int, tokens: int = 0) -> list[str]:
    """The command line of one process."""
    return [
        sys.executable, "-m", "deploysim_assets.benchmarks.sharing", "ask", url, str(home), name,
        str(count), str(tokens),
    ]  # fmt: skip


class Found(NamedTuple):
    """Requests let in per second and refused, of all, and the most in flight."""

    rate: float
    refused: float
    peak: int


def steady(seen: Counted, start: float, end: float) -> Found:
    """What a server saw between two times."""
    let_in = sum(start <= t <= end for t in seen.let_in)
    refused = sum(start <= t <= end for t in seen.refused)
    return Found(let_in / (end - start), refused / max(let_in + refused, 1), seen.peak)


def _until(seconds: float) -> None:
    threading.Event().wait(max(0.0, seconds - time.monotonic()))


def together(processes: int, allowed: float, seconds: float, folder: Path) -> dict[str, Found]:
    """All at once for a time, and then without the one that is killed."""
    found: dict[str, Found] = {}
    with counting_server(allowed) as seen:
        run = [
            subprocess.Popen(  # noqa: S603 (our own)
                command(seen.url, folder, f"p{i}", int(4 * allowed * seconds)),
                stdout=subprocess.DEVNULL,
            )
            for i in range(processes)
        ]
        try:
            while len(seen.by_asker) < processes:
                time.sleep(0.05)
            began = time.monotonic() + _WARM
            _until(began + seconds)
            found["together"] = steady(seen, began, began + seconds)
            shares = [sum(began <= t for t in at) / seconds for at in seen.by_asker.values()]
            console().print(f"each: {[round(s) for s in shares]}/s", style="dim")
            run[0].kill()
            began = time.monotonic() + _WARM
            _until(began + seconds / 2)
            found["one killed"] = steady(seen, began, began + seconds / 2)
        finally:
            for one in run:
                one.kill()
                one.wait()
    return found


def budgeted(processes: int, tokens: int, folder: Path) -> int:
    """Tokens that several processes spent together under one budget."""
    with counting_server() as seen:
        run = [
            subprocess.Popen(command(seen.url, folder, f"b{i}", 3_000, tokens))  # noqa: S603 (our own)
            for i in range(processes)
        ]
        ends = [one.wait() for one in run]
    assert ends == [3] * processes, "all met the cap"
    return int(spent(journal_files(folder), {}, counted)[0])


def main() -> None:
    """Print the table."""
    if sys.argv[1:2] == ["ask"]:
        url, home, name, count, tokens = sys.argv[2:]
        raise SystemExit(ask(url, home, name, int(count), int(tokens) or None))
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--allowed", type=float, default=200)
    parser.add_argument("--seconds", type=float, default=20)
    asked = parser.parse_args()
    os.environ.pop("OPENAI_API_KEY", None)
    found: dict[str, Found] = {}
    for number in (1, asked.processes):
        with tempfile.TemporaryDirectory() as folder:
            for name, one in together(number, asked.allowed, asked.seconds, Path(folder)).items():
                if number > 1 or name == "together":
                    found[f"{number} processes, {name}"] = one
    rows = [
        [name, f"{f.rate:,.0f}/s", f"{f.rate / asked.allowed:.0%}", f"{f.refused:.1%}", f.peak]
        for name, f in found.items()
    ]
    title = f"A server that allows {asked.allowed:,.0f} requests a second"
    header = ("", "let in", "of its limit", "refused", "most in flight")
    console().print(rich_table(title, header, [list(map(str, row)) for row in rows]))
    with tempfile.TemporaryDirectory() as folder:
        used = budgeted(asked.processes, 20_000, Path(folder))
    console().print(f"a budget of 20,000 tokens: {used:,} spent by {asked.processes} processes")
    far = [name for name, f in found.items() if abs(f.rate / asked.allowed - 1) > _NEAR]
    if far or used > 20_000 or max(f.peak for f in found.values()) > CONCURRENCY:
        raise SystemExit("not within the pace or the budget")


if __name__ == "__main__":
    main()
