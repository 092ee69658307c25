"""An aiohttp application on a thread of this process, for benchmarks and tests over real HTTP."""

import asyncio
import contextlib
import threading
from collections.abc import Generator

from aiohttp import web


@contextlib.contextmanager
def served(app: web.Application) -> Generator[int]:
    """Serve it on 127.0.0.1; gives the port."""
    ready, stop = threading.Event(), threading.Event()
    ports: list[int] = []

    async def run() -> None:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        ports.append(runner.addresses[0][1])
        ready.set()
        await asyncio.to_thread(stop.wait)
        await runner.cleanup()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    ready.wait()
    try:
        yield ports[0]
    finally:
        stop.set()
        thread.join()
