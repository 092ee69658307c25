"""Asks an OpenAI-compatible endpoint for many chat completions, each journalled before it counts."""

import asyncio
import hashlib
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import orjson

from deploysim_assets.endpoint.journal import Journal
from deploysim_assets.project import Endpoint, ProjectError

_FAILURES_IN_A_ROW = 20
_MALFORMED_TRIES = 3


class EndpointError(ProjectError):
    """The endpoint cannot be used as configured, or has stopped answering. What was answered is journalled; a rerun goes on from it."""


class Outcome(NamedTuple):
    """What asking came to: requests answered from the journal, answered now, failed, and the tokens that were billed now."""

    reused: int
    asked: int
    failures: dict[str, str]
    prompt_tokens: int
    completion_tokens: int


class _Malformed(Exception):
    """A response with status 200 that is no chat completion."""


def request_key(body: dict[str, Any]) -> str:
    """SHA-256 over everything that determines the answer: the request's whole body."""
    return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()


def api_key(endpoint: Endpoint) -> str:
    """The key from the environment; an endpoint on this machine may do without. ProjectError names the variable, never a value."""
    name = endpoint.api_key_env
    if name and (value := os.environ.get(name)):
        return value
    if name and urlsplit(endpoint.base_url).hostname not in ("127.0.0.1", "localhost", "::1"):
        raise EndpointError(f"deploysim.yaml: endpoint.api_key_env: the environment has no {name}; set it to the key of {endpoint.base_url}")
    return "none"


def _answer(key: str, raw: bytes, requested_at: datetime, latency_ms: float) -> dict[str, Any]:
    try:
        body: dict[str, Any] = orjson.loads(raw)
        choice: dict[str, Any] = body["choices"][0]
        usage: dict[str, Any] = body.get("usage") or {}
        message: dict[str, Any] = choice["message"]
        calls: list[dict[str, Any]] = message.get("tool_calls") or []
        refusal = message.get("refusal") or ("content filter" if choice.get("finish_reason") == "content_filter" else None)
        return {
            "key": key,
            "status": "refused" if refusal else "completed",
            "error": refusal,
            "content": message.get("content"),
            "reasoning": message.get("reasoning") or message.get("reasoning_content"),
            "tool_calls": [{"id": c.get("id"), "name": c["function"]["name"], "arguments": c["function"]["arguments"]} for c in calls],
            "finish_reason": choice.get("finish_reason"),
            "prompt_tokens": int(usage.get("prompt_tokens") or 0),
            "completion_tokens": int(usage.get("completion_tokens") or 0),
            "latency_ms": latency_ms,
            "requested_at": requested_at.isoformat(),
        }
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as wrong:
        raise _Malformed(f"the response is no chat completion ({type(wrong).__name__})") from None


class _Run:
    """The state that the workers of one `ask_all` share."""

    def __init__(self, endpoint: Endpoint, journal: Journal, follow_up: Callable[[dict[str, Any], dict[str, Any]], dict[str, Any] | None]) -> None:
        self.endpoint, self.journal, self.follow_up = endpoint, journal, follow_up
        self.failures: dict[str, str] = {}
        self.in_a_row = 0
        self.tally: Counter[str] = Counter()
        self.in_flight: dict[str, asyncio.Future[None]] = {}

    async def complete(self, client: Any, body: dict[str, Any] | None) -> None:
        """Ask for a request and for the follow-ups that its answers call for."""
        while body is not None:
            key = request_key(body)
            if (twin := self.in_flight.get(key)) is not None:
                await twin
            if key in self.journal:
                self.tally["reused"] += 1
            elif key not in self.failures:
                await self._ask(client, key, body)
            body = self.follow_up(body, self.journal.get(key)) if key in self.journal else None

    async def _ask(self, client: Any, key: str, body: dict[str, Any]) -> None:
        self.in_flight[key] = done = asyncio.get_running_loop().create_future()
        try:
            answer = await self._send(client, key, body)
            self.journal.put(answer)
            self.in_a_row = 0
            self.tally["asked"] += 1
            for tokens in ("prompt_tokens", "completion_tokens"):
                self.tally[tokens] += answer[tokens]
        except _Malformed as wrong:
            self._failed(key, str(wrong))
        finally:
            del self.in_flight[key]
            done.set_result(None)

    async def _send(self, client: Any, key: str, body: dict[str, Any]) -> dict[str, Any]:
        import httpx2
        import openai

        for attempt in range(_MALFORMED_TRIES):
            requested_at, start = datetime.now(UTC), time.perf_counter()
            try:
                # the raw response: building the SDK's models would cost more than everything else here
                response = await client.post("/chat/completions", cast_to=httpx2.Response, body=body)
                return _answer(key, response.content, requested_at, (time.perf_counter() - start) * 1e3)
            except _Malformed:
                if attempt == _MALFORMED_TRIES - 1:
                    raise
            except (openai.AuthenticationError, openai.PermissionDeniedError) as wrong:
                raise EndpointError(
                    f"{self.endpoint.base_url} refused the key (status {wrong.status_code}); check the value of {self.endpoint.api_key_env}"
                ) from None
            except openai.APIStatusError as wrong:
                raise _Malformed(f"status {wrong.status_code}: {_kind(wrong)}") from None
            except openai.APIConnectionError as wrong:
                raise _Malformed(f"{type(wrong).__name__}: no answer from {self.endpoint.base_url}") from None
        raise AssertionError("unreachable")

    def _failed(self, key: str, error: str) -> None:
        self.failures[key] = error
        self.in_a_row += 1
        if self.in_a_row >= _FAILURES_IN_A_ROW + self.endpoint.max_concurrency:
            self.give_up()

    def give_up(self) -> None:
        said, times = Counter(self.failures.values()).most_common(1)[0]
        raise EndpointError(
            f"{self.endpoint.base_url}: the last {self.in_a_row} requests failed ({times} x {said}); what was answered is kept: mend the endpoint and run again"
        )


def _kind(wrong: Any) -> str:
    """The provider's error type, not its message: a message may quote the request."""
    body: Any = wrong.body
    found = body.get("type") or body.get("code") if isinstance(body, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    return found if isinstance(found, str) else type(wrong).__name__


async def _ask_all(run: _Run, requests: Iterator[dict[str, Any]], workers: int) -> None:
    import openai

    http = openai.DefaultAioHttpClient(timeout=run.endpoint.timeout_seconds)
    async with openai.AsyncOpenAI(
        base_url=run.endpoint.base_url,
        api_key=api_key(run.endpoint),
        max_retries=run.endpoint.max_retries,
        timeout=run.endpoint.timeout_seconds,
        http_client=http,
    ) as client:

        async def work() -> None:
            for body in requests:
                await run.complete(client, body)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(workers):
                    group.create_task(work())
        except BaseExceptionGroup as group:
            # several workers meet the same dead endpoint; one of their errors says it
            stopped = group.subgroup(EndpointError)
            raise (stopped.exceptions[0] if stopped else group) from None


def ask_all(
    requests: Iterable[dict[str, Any]],
    endpoint: Endpoint,
    journal: Journal,
    follow_up: Callable[[dict[str, Any], dict[str, Any]], dict[str, Any] | None] = lambda request, answer: None,
) -> Outcome:
    """Ask for every chat completion that the journal does not hold yet, `max_concurrency` at a time; answers are read from the journal.

    `follow_up(request, answer)` may return one more request, as for an answer to be repaired; it must decide alike on every run.
    The SDK retries 408, 409, 429 and 5xx with backoff and honors Retry-After.  A request that fails for good is in
    `Outcome.failures` by its key and will be asked again by the next run.  Raises EndpointError on a refused key, and after so
    many failures in a row that the endpoint must be down.
    """
    run = _Run(endpoint, journal, follow_up)
    asyncio.run(_ask_all(run, iter(requests), endpoint.max_concurrency))
    journal.sync()
    if run.failures and not run.tally["asked"] and not run.tally["reused"]:
        run.give_up()
    return Outcome(run.tally["reused"], run.tally["asked"], run.failures, run.tally["prompt_tokens"], run.tally["completion_tokens"])
