"""MCP over HTTP, of which no more of an answer is read than a limit lets through."""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from deploysim_assets.agents.extras import extra

_ENVELOPE = 1 << 20
_WORST_ESCAPE = 6
OVER = "byte limit"
"""What the SDK's error says of an answer that went over: its own words for an event of a stream."""


def wire_limit(max_bytes: int) -> int:
    """The bytes that an answer with a text of `max_bytes` may take: JSON may escape each one, an
    answer may hold the text twice (as structured content), and so much may stand around it, or be
    a page of the list of tools."""
    return 2 * _WORST_ESCAPE * max_bytes + _ENVELOPE


@contextlib.asynccontextmanager
async def limited_http(url: str, max_bytes: int) -> AsyncGenerator[Any]:
    """The SDK's transport to a server; an answer over the limit ends as an error that says OVER,
    and the connection goes on. Compressed answers are not read: a small one may be any size."""
    extra("mcp", "agents.connectors")
    import httpx2
    from mcp.client.streamable_http import streamable_http_client
    from mcp.shared._httpx_utils import create_mcp_http_client

    limit = wire_limit(max_bytes)

    class Limited(httpx2.AsyncByteStream):
        def __init__(self, stream: Any, most: int, error: type[Exception]) -> None:
            self._stream, self._left, self._error = stream, most, error

        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for chunk in self._stream:
                self._left -= len(chunk)
                if self._left < 0:
                    raise self._error(f"the answer exceeded the {limit} {OVER}")
                yield chunk

        async def aclose(self) -> None:
            await self._stream.aclose()

    class Transport(httpx2.AsyncHTTPTransport):
        async def handle_async_request(self, request: Any) -> Any:
            answer = await super().handle_async_request(request)
            streamed = answer.headers.get("content-type", "").startswith("text/event-stream")
            if streamed and request.method == "GET":  # lasts as long as the connection
                return answer
            packed = answer.headers.get("content-encoding", "identity") != "identity"
            error = httpx2.SSEError if streamed else httpx2.StreamError
            answer.stream = Limited(answer.stream, 0 if packed else limit, error)
            return answer

    usual = create_mcp_http_client().timeout
    async with (
        httpx2.AsyncClient(
            transport=Transport(), timeout=usual, headers={"accept-encoding": "identity"}
        ) as client,
        streamable_http_client(url, http_client=client, max_sse_event_size=limit) as streams,
    ):
        yield streams
