"""One request through all its tries: what is waited for, what is tried again, and what fails."""

import asyncio
import random
import time
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import orjson

from deploysim_assets.endpoint.answers import MalformedError, UsageError, answer
from deploysim_assets.endpoint.errors import EndpointError
from deploysim_assets.endpoint.pacing import Pace, retry_after
from deploysim_assets.endpoint.refusals import Refusal, filtered
from deploysim_assets.endpoint.wire import PATHS, sent_body
from deploysim_assets.project import Endpoint

BACKOFF_FIRST, BACKOFF_LONGEST = 0.5, 30.0
_STATUS_FROM = 300
_LARGEST = 64_000_000
_PASSED_OVER = 20
"""So often a request is pushed back while others are answered, as one is that is larger than a
minute's allowance: the endpoint is there, and will never take it."""


class UnansweredError(Exception):
    """A request failed for good; the argument says how, without a word of the request."""


class Tries:
    """Sends requests to one endpoint at its pace."""

    def __init__(
        self,
        endpoint: Endpoint,
        key: str,
        session: Any,
        errors: tuple[type[Exception], ...],
        pace: Pace,
    ) -> None:
        """`session` is an aiohttp.ClientSession with headers and time-out, `errors` what it raises
        where there is no answer."""
        self.endpoint, self.pace = endpoint, pace
        self.tally: Counter[str] = Counter()
        self.sending = 0
        self._key, self._session, self._errors = key, session, errors
        self._url = f"{endpoint.base_url.rstrip('/')}{PATHS[endpoint.api]}"

    async def answered(self, body: dict[str, Any]) -> dict[str, Any]:
        """The answer to a request; UnansweredError where it fails for good, EndpointError where
        every other would.

        A pushback (429, 503) is waited for and uses up no try; errors of the server and of the
        connection and malformed answers do.
        """
        content = orjson.dumps(sent_body(body, self.endpoint.api))
        tries = pushed = passed_over = 0
        while True:
            heard = self.pace.heard
            requested_at, start = datetime.now(UTC), time.perf_counter()
            wait = -1.0  # not pushed back
            await self.pace.enter()
            self.sending += 1
            try:
                start = time.perf_counter()
                status, headers, raw = await self._send(content)
                latency = time.perf_counter() - start
                if status < _STATUS_FROM:
                    found = answer(raw, self.endpoint.api)
                    self.pace.answered(latency, headers)
                    return found | {
                        "latency_ms": latency * 1e3,
                        "requested_at": requested_at.isoformat(),
                    }
                wrong = Refusal(status, raw, body, self._key)
                said, wait = str(wrong), self._take(wrong, headers)
                if wrong.is_filter:
                    latency = (time.perf_counter() - start) * 1e3
                    at = {"latency_ms": latency, "requested_at": requested_at.isoformat()}
                    return filtered(wrong) | at
                self._judge(wrong, body)
            except UsageError as none:
                raise UnansweredError(str(none)) from None
            except MalformedError as none:
                said = str(none)
            except self._errors as none:
                self.pace.overloaded()
                said = f"{type(none).__name__}: no answer from {self.endpoint.base_url}"
            finally:
                self.sending -= 1
                self.pace.leave()
            self.tally["retries"] += 1
            if wait < 0:
                tries += 1
            else:
                pushed += 1
                passed_over += self.pace.heard != heard
            if tries > self.endpoint.max_retries or passed_over > _PASSED_OVER:
                self.tally["retries"] -= 1
                raise UnansweredError(said)
            if wait <= 0:
                longest = min(BACKOFF_FIRST * 2 ** (tries + pushed - 1), BACKOFF_LONGEST)
                await asyncio.sleep(longest * random.uniform(0.5, 1))  # noqa: S311 (jitter)

    async def _send(self, content: bytes) -> tuple[int, Any, bytes]:
        async with self._session.post(self._url, data=content, allow_redirects=False) as response:
            chunks: list[bytes] = []
            size = 0
            async for chunk in response.content.iter_any():  # a read has no limit
                chunks.append(chunk)
                size += len(chunk)
                if size > _LARGEST:
                    raise MalformedError(f"the response is longer than {_LARGEST:,} bytes")
            return response.status, response.headers, b"".join(chunks)

    def _take(self, wrong: Refusal, headers: Any) -> float:
        """Tell the pace of an error; returns the seconds that a pushback asks for, 0 where it
        asks for none, and -1 where it is no pushback."""
        wait = retry_after(headers)
        if wrong.status == 429:
            self.pace.throttled(wait)
        elif wrong.is_transient:
            self.pace.overloaded(wait)
        else:
            self.pace.hear()
        if not wrong.is_pushback:
            return -1.0
        self.pace.pushed_back(wait, str(wrong))
        return wait

    def _judge(self, wrong: Refusal, body: dict[str, Any]) -> None:
        if why := wrong.stops_everything(body["model"], self.endpoint.api_key_env):
            raise EndpointError(f"{self.endpoint.base_url} {why}")
        if not wrong.is_transient:
            raise UnansweredError(str(wrong))
