"""What asking costs: CPU per request of ours (journal and table included), of AsyncOpenAI and of
bare aiohttp, side by side in one run.

python -m deploysim_assets.benchmarks.endpoint [--requests 4000] [--plot pace.png] [--memory]
"""

import argparse
import asyncio
import contextlib
import importlib.util
import json
import multiprocessing
import resource
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from deploysim_assets.endpoint import client as client_module
from deploysim_assets.endpoint.client import Outcome, ask_all
from deploysim_assets.endpoint.completions import completion_request, completion_row
from deploysim_assets.endpoint.pacing import Pace
from deploysim_assets.project import Candidate, Endpoint
from deploysim_assets.report.tables import console, rich_table
from deploysim_assets.schema import COMPLETIONS
from deploysim_assets.storage.journal import open_journal

_CONCURRENCY = 32
_BODY = json.dumps(
    {
        "id": "x", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant",
        "content": "word " * 100}}],
        "usage": {"prompt_tokens": 300, "completion_tokens": 100, "total_tokens": 400},
    }
).encode()  # fmt: skip
_GOOD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(_BODY)
    + _BODY
)
_THROTTLED = (
    b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nContent-Length: "
    b'30\r\n\r\n{"error": {"type": "requests"}}'
)[:-1]


class _LeanServer(asyncio.Protocol):
    """Answers every POST alike, after `latency`; with `allowed` > 0, that many per window of 100
    ms and 429 for the rest."""

    latency, allowed = 0.0, 0
    taken: ClassVar[deque[float]] = deque()
    good = _GOOD
    served = refused = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._buffer = transport, b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._buffer) < end + 4 + length:
                return
            self._buffer = self._buffer[end + 4 + length :]
            asyncio.get_running_loop().call_later(
                self.latency, self._transport.write, self._reply()
            )

    @classmethod
    def _reply(cls) -> bytes:
        now = time.monotonic()
        while cls.taken and cls.taken[0] <= now - 0.1:
            cls.taken.popleft()
        if cls.allowed and len(cls.taken) >= cls.allowed:
            cls.refused += 1
            return _THROTTLED
        cls.taken.append(now)
        cls.served += 1
        return cls.good


def _serve(pipe: Connection, latency: float, allowed: int) -> None:
    _LeanServer.latency, _LeanServer.allowed = latency, allowed
    answers_with(_GOOD, pipe)


def answers_with(response: bytes, pipe: Connection) -> None:
    """Serve one response to everything until the pipe says stop; sends the port through it."""
    _LeanServer.good = response

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(_LeanServer, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await asyncio.to_thread(pipe.recv)

    asyncio.run(run())


@contextlib.contextmanager
def lean_server(latency: float = 0.0, allowed: int = 0) -> Generator[str]:
    """The server in a process of its own; gives its base URL."""
    with in_own_process(_serve, latency, allowed) as url:
        yield url


@contextlib.contextmanager
def in_own_process(serve: Callable[..., None], *arguments: Any) -> Generator[str]:
    """A server that is given one end of a pipe and `arguments`; gives its base URL."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=serve, args=(there, *arguments), daemon=True
    )
    process.start()
    try:
        yield f"http://127.0.0.1:{here.recv()}/v1"
    finally:
        here.send("stop")
        process.join(5)


def _prefix(i: int) -> dict[str, Any]:
    message = dict.fromkeys(("tool_calls", "tool_call_id", "name", "reasoning", "at")) | {
        "role": "user",
        "content": f"{'hello ' * 200}{i}",
    }
    return {"prefix_id": f"{i:032x}", "messages": [message]}


def ours(base_url: str, folder: Path, count: int, concurrency: int = _CONCURRENCY) -> Outcome:
    """Prefixes -> requests -> answers -> journal -> Parquet, as candidate_completions does it."""
    candidate, endpoint = (
        Candidate(model="m"),
        Endpoint(base_url=base_url, max_concurrency=concurrency),
    )

    def bodies() -> Iterator[dict[str, Any]]:
        return (completion_request(_prefix(i), candidate, 7) for i in range(count))

    with open_journal(folder / "j.jsonl") as journal:
        outcome = ask_all(bodies, endpoint, journal)
        for start in range(0, count, 2_000):
            some = range(start, min(start + 2_000, count))
            rows = [
                completion_row(
                    _prefix(i)["prefix_id"],
                    "m",
                    completion_request(_prefix(i), candidate, 7),
                    journal,
                    outcome.failures,
                )
                for i in some
            ]
            pl.DataFrame(rows, schema=COMPLETIONS).write_parquet(
                folder / f"part-{start:07}.parquet"
            )
    return outcome


async def _drive(count: int, one: Callable[[dict[str, Any]], Coroutine[Any, Any, None]]) -> None:
    bodies = (completion_request(_prefix(i), Candidate(model="m"), 7) for i in range(count))

    async def work() -> None:
        for body in bodies:
            await one(body)

    await asyncio.gather(*(work() for _ in range(_CONCURRENCY)))


async def _sdk(base_url: str, count: int, *, aiohttp: bool) -> None:
    import openai

    http = openai.DefaultAioHttpClient() if aiohttp else None
    async with openai.AsyncOpenAI(base_url=base_url, api_key="k", http_client=http) as client:

        async def one(body: dict[str, Any]) -> None:
            await client.chat.completions.create(**body)

        await _drive(count, one)


async def _bare(base_url: str, count: int) -> None:
    import aiohttp

    async with aiohttp.ClientSession() as session:

        async def one(body: dict[str, Any]) -> None:
            async with session.post(f"{base_url}/chat/completions", json=body) as response:
                await response.json()

        await _drive(count, one)


async def _inspect(base_url: str, count: int) -> None:
    library: Any = importlib.import_module("inspect_ai.model")
    model: Any = library.get_model(
        "openai/m",
        base_url=base_url,
        api_key="k",
        config=library.GenerateConfig(max_connections=_CONCURRENCY),
    )

    async def one(body: dict[str, Any]) -> None:
        await model.generate(body["messages"][0]["content"])

    await _drive(count, one)


def _cost(run: Callable[[int], object], count: int) -> tuple[float, float]:
    """CPU milliseconds per request and requests per second, after a tenth of them as warm-up."""
    run(count // 10)
    cpu, wall = time.process_time(), time.perf_counter()
    run(count)
    return (time.process_time() - cpu) / count * 1e3, count / (time.perf_counter() - wall)


def compare(count: int) -> None:
    """CPU per request, side by side."""
    with lean_server() as url, tempfile.TemporaryDirectory() as folder:

        def run_ours(n: int) -> None:
            place = Path(folder) / str(n)
            place.mkdir()
            ours(url, place, n)

        loops: dict[str, Callable[[int], object]] = {
            "AsyncOpenAI": lambda n: asyncio.run(_sdk(url, n, aiohttp=False)),
            "AsyncOpenAI over aiohttp": lambda n: asyncio.run(_sdk(url, n, aiohttp=True)),
            "bare aiohttp": lambda n: asyncio.run(_bare(url, n)),
            "deploysim, with journal and Parquet": run_ours,
        }
        if importlib.util.find_spec("inspect_ai"):
            loops["inspect_ai, its model alone"] = lambda n: asyncio.run(_inspect(url, n))
        costs = {name: _cost(loop, count) for name, loop in loops.items()}
    base = costs["AsyncOpenAI"][0]
    rows = [
        [name, f"{cpu:.3f} ms", f"{cpu / base:.2f}x", f"{rate:,.0f}"]
        for name, (cpu, rate) in costs.items()
    ]
    console().print(
        rich_table(
            f"{count:,} requests, {_CONCURRENCY} at a time, no latency",
            ("", "CPU per request", "of AsyncOpenAI", "requests/s"),
            rows,
        )
    )


def with_latency(count: int, ceiling: int) -> None:
    """How near to ceiling/latency the requests come at 200 ms."""
    with lean_server(latency=0.2) as url, tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        ours(url, Path(folder), count, ceiling)
        rate = count / (time.perf_counter() - start)
    best = ceiling / 0.2
    rows = [[f"{rate:,.0f}/s", f"{best:,.0f}/s", f"{rate / best:.0%}"]]
    console().print(
        rich_table(
            f"{count:,} requests at 200 ms, ceiling {ceiling}",
            ("reached", "ceiling/latency", "share"),
            rows,
        )
    )


def pacing(seconds: float, plot: Path | None, allowed: int = 50) -> tuple[float, float]:
    """Drive a server that allows so many requests in 100 ms; returns the share of its limit reached
    and of requests refused after two seconds."""
    events: list[tuple[float, bool]] = []
    started = time.monotonic()

    class Watched(Pace):
        def answered(self, latency: float, headers: Any) -> None:
            events.append((time.monotonic() - started, True))
            super().answered(latency, headers)

        def throttled(self, wait: float = 0.0) -> None:
            events.append((time.monotonic() - started, False))
            super().throttled(wait)

    real, client_module.Pace = client_module.Pace, Watched
    try:
        with (
            lean_server(latency=0.02, allowed=allowed) as url,
            tempfile.TemporaryDirectory() as folder,
        ):
            started = time.monotonic()
            ours(url, Path(folder), int(seconds * 9.6 * allowed), 64)
    finally:
        client_module.Pace = real
    end = max(t for t, good in events if good)
    steady = [(t, good) for t, good in events if 2 <= t <= end]
    share = sum(good for _, good in steady) / ((end - 2) * 10 * allowed)
    refused = sum(not good for _, good in steady) / len(steady)
    rows = [[f"{share:.1%}", f"{refused:.1%}"]]
    console().print(
        rich_table(
            f"A server that allows {allowed} requests in 100 ms, after 2 s",
            ("of its limit used", "refused"),
            rows,
        )
    )
    if plot:
        _plot(events, end, plot)
    return share, refused


def _plot(events: list[tuple[float, bool]], end: float, path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    width = 0.1
    bins = [i * width for i in range(int(end / width) + 2)]
    figure, axis = plt.subplots(figsize=(8, 3), layout="constrained")
    axis.hist(
        [[t for t, good in events if good], [t for t, good in events if not good]],
        bins=bins,
        stacked=True,
        label=["answered", "refused"],
    )
    axis.axhline(50, color="black", linewidth=0.8, label="allowed")
    axis.set(
        xlabel="seconds",
        ylabel="requests per 100 ms",
        title="Adaptive pace against a limit that no header tells",
    )
    axis.legend(loc="lower right")
    figure.savefig(path, dpi=120)
    plt.close(figure)
    console().print(f"plot: {path}")


def memory(count: int) -> float:
    """Growth of resident memory in MB between the first 10,000 requests and the last."""
    seen: list[int] = []
    page = resource.getpagesize()

    def watch() -> None:
        while not stop.wait(0.2):
            seen.append(int(Path("/proc/self/statm").read_text().split()[1]) * page)

    stop = threading.Event()
    with lean_server() as url, tempfile.TemporaryDirectory() as folder:
        ours(url, Path(folder), 10_000)
        (Path(folder) / "j.jsonl").unlink()
        thread = threading.Thread(target=watch)
        thread.start()
        before = int(Path("/proc/self/statm").read_text().split()[1]) * page
        ours(url, Path(folder), count)
        stop.set()
        thread.join()
    grown = (max(seen) - before) / 1e6
    console().print(
        rich_table(
            f"{count:,} requests",
            ("resident memory above that after 10,000",),
            [[f"{grown:,.0f} MB"]],
        )
    )
    return grown


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=4_000)
    parser.add_argument("--plot", type=Path, default=Path("pace.png"))
    parser.add_argument(
        "--memory", action="store_true", help="100,000 requests: takes some minutes"
    )
    asked = parser.parse_args()
    compare(asked.requests)
    with_latency(asked.requests * 4, 128)
    pacing(12, asked.plot)
    if asked.memory:
        memory(100_000)


if __name__ == "__main__":
    main()
