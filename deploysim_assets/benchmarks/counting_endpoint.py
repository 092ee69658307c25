"""The synthetic world's endpoint behind a door that counts what is asked and can be held shut, and
a webhook that keeps what it is told."""

import asyncio
import contextlib
import sys
import threading
from collections.abc import Generator
from typing import Any

from deploysim_assets.benchmarks.served import served
from deploysim_assets.cli.demo import synthetic_endpoint


class Endpoint:
    """The synthetic world behind a door that counts, and opens after `seconds`; beyond `free`
    requests it stays shut until `released`."""

    def __init__(self) -> None:
        self.seconds, self.asked, self.base_url = 0.0, 0, ""
        self.free, self.released = sys.maxsize, threading.Event()


@contextlib.contextmanager
def counting_endpoint(seed: int) -> Generator[Endpoint]:
    """The synthetic world's endpoint, over HTTP and counted."""
    import aiohttp
    from aiohttp import web

    found = Endpoint()
    with synthetic_endpoint(seed) as upstream:

        async def chat(request: web.Request) -> web.Response:
            body = await request.read()
            found.asked += 1
            is_held = found.asked > found.free
            await asyncio.sleep(found.seconds)
            if is_held:
                await asyncio.to_thread(found.released.wait)
            async with (
                aiohttp.ClientSession() as session,
                session.post(f"{upstream}/chat/completions", data=body) as answer,
            ):
                return web.Response(
                    status=answer.status,
                    body=await answer.read(),
                    content_type="application/json",
                )

        app = web.Application()
        app.router.add_post("/v1/chat/completions", chat)
        with served(app) as port:
            found.base_url = f"http://127.0.0.1:{port}/v1"
            try:
                yield found
            finally:
                found.released.set()


@contextlib.contextmanager
def receiver() -> Generator[tuple[str, list[dict[str, Any]]]]:
    """A webhook over HTTP: its address, and what was posted to it."""
    from aiohttp import web

    posted: list[dict[str, Any]] = []

    async def take(request: web.Request) -> web.Response:
        posted.append(await request.json())
        return web.Response(text="ok")

    app = web.Application()
    app.router.add_post("/hook", take)
    with served(app) as port:
        yield f"http://127.0.0.1:{port}/hook", posted
