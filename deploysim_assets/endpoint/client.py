"""Asks an OpenAI-compatible endpoint many things: durably, within its limits and the budget."""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import orjson

from deploysim_assets.endpoint.budget import Account, BudgetError, estimated_tokens
from deploysim_assets.endpoint.pacing import Pace, retry_after
from deploysim_assets.endpoint.progress import Progress, Reporter
from deploysim_assets.endpoint.wire import (
    PATHS,
    MalformedError,
    Refusal,
    answer,
    filtered,
    request_key,
    sent_body,
)
from deploysim_assets.project import Endpoint, ProjectError
from deploysim_assets.storage.journal import Journal

_FAILURES_IN_A_ROW = 20
_THROTTLES = 200
_BACKOFF_FIRST, _BACKOFF_LONGEST = 0.5, 30.0
_STATUS_FROM = 400

FollowUp = Callable[[dict[str, Any], dict[str, Any]], dict[str, Any] | None]


class EndpointError(ProjectError):
    """The endpoint cannot be used as configured, or has stopped answering. What was answered is
    journalled; a rerun goes on from it."""


class Outcome(NamedTuple):
    """What asking came to: requests answered from the journal, answered now, failed, retried,
    and what was billed now."""

    reused: int = 0
    asked: int = 0
    failures: dict[str, str] = {}  # noqa: RUF012 (never changed)
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    money: float = 0.0

    def plus(self, other: "Outcome") -> "Outcome":
        """Both together, of requests asked in turn."""
        sums = {
            name: getattr(self, name) + getattr(other, name)
            for name in self._fields
            if name != "failures"
        }
        return Outcome(failures=self.failures | other.failures, **sums)


def api_key(endpoint: Endpoint) -> str:
    """The key from the environment; an endpoint on this machine may do without. ProjectError
    names the variable, never a value."""
    name = endpoint.api_key_env
    if name and (value := os.environ.get(name)):
        return value
    if name and urlsplit(endpoint.base_url).hostname not in ("127.0.0.1", "localhost", "::1"):
        raise EndpointError(
            f"deploysim.yaml: endpoint.api_key_env: the environment has no {name}; set it to the "
            f"key of {endpoint.base_url}"
        )
    return "none"


class _Unanswered(Exception):
    """A request failed for good; the argument says how, without a word of the provider's."""


class _Run:
    """The state that the workers of one `ask_all` share."""

    def __init__(
        self,
        endpoint: Endpoint,
        journal: Journal,
        follow_up: FollowUp,
        account: Account,
        http: Any,
        url: str,
        headers: dict[str, str],
    ) -> None:
        self.endpoint, self.journal, self.follow_up, self.account = (
            endpoint,
            journal,
            follow_up,
            account,
        )
        self.pace = Pace(endpoint.max_concurrency)
        self.failures: dict[str, str] = {}
        self.in_a_row = 0
        self.tally: Counter[str] = Counter()
        self.in_flight: dict[str, asyncio.Future[None]] = {}
        self._http, self._url, self._headers = http, url, headers

    async def complete(self, body: dict[str, Any] | None) -> None:
        """Ask for a request and for the follow-ups that its answers call for."""
        while body is not None:
            key = request_key(body)
            if (twin := self.in_flight.get(key)) is not None:
                await twin
            if key in self.journal:
                self.tally["reused"] += 1
            elif key not in self.failures:
                await self._ask(key, body)
            body = self.follow_up(body, self.journal.get(key)) if key in self.journal else None

    async def _ask(self, key: str, body: dict[str, Any]) -> None:
        self.account.reserve(body)
        self.in_flight[key] = done = asyncio.get_running_loop().create_future()
        found: dict[str, Any] | None = None
        try:
            found = await self._answered(body)
            self.journal.put({"key": key, "model": body["model"]} | found)
            self.in_a_row = 0
            self.tally["asked"] += 1
        except _Unanswered as wrong:
            self.failures[key] = str(wrong)
            self.in_a_row += 1
            if self.in_a_row >= _FAILURES_IN_A_ROW + self.endpoint.max_concurrency:
                self.give_up()
        finally:
            self.account.settle(body, found)
            del self.in_flight[key]
            done.set_result(None)

    async def _answered(self, body: dict[str, Any]) -> dict[str, Any]:
        """One request through all its tries. 429s are the pace's business and do not use up
        tries, unless there is no end to them."""
        content = orjson.dumps(sent_body(body, self.endpoint.api))
        tries = throttles = 0
        while True:
            requested_at, start = datetime.now(UTC), time.perf_counter()
            said, throttled = "", False
            await self.pace.enter()
            try:
                start = time.perf_counter()
                async with asyncio.timeout(self.endpoint.timeout_seconds):
                    response = await self._http.send(
                        self._http.build_request(
                            "POST", self._url, content=content, headers=self._headers
                        )
                    )
                found = self._read(response, time.perf_counter() - start)
            except Refusal as wrong:
                found = self._judge(wrong, body)
                said, throttled = str(wrong), wrong.status == 429
            except MalformedError as wrong:
                found, said, throttled = None, str(wrong), False
            except Exception as wrong:
                if not _is_connection(wrong):
                    raise
                self.pace.overloaded()
                found, said, throttled = (
                    None,
                    f"{type(wrong).__name__}: no answer from {self.endpoint.base_url}",
                    False,
                )
            finally:
                self.pace.leave()
            if found is not None:
                latency = (time.perf_counter() - start) * 1e3
                return found | {"latency_ms": latency, "requested_at": requested_at.isoformat()}
            tries, throttles = tries + (not throttled), throttles + throttled
            if tries > self.endpoint.max_retries or throttles > _THROTTLES:
                raise _Unanswered(said)
            self.tally["retries"] += 1
            if not throttled:
                longest = min(_BACKOFF_FIRST * 2 ** (tries - 1), _BACKOFF_LONGEST)
                await asyncio.sleep(longest * random.uniform(0.5, 1))  # noqa: S311 (jitter)

    def _read(self, response: Any, latency: float) -> dict[str, Any]:
        if response.status_code >= _STATUS_FROM:
            wait, wrong = (
                retry_after(response.headers),
                Refusal(response.status_code, response.content),
            )
            if wrong.status == 429:
                self.pace.throttled(wait)
            elif wrong.is_transient:
                self.pace.overloaded(wait)
            raise wrong
        found = answer(response.content, self.endpoint.api)
        self.pace.answered(latency, response.headers)
        return found

    def _judge(self, wrong: Refusal, body: dict[str, Any]) -> dict[str, Any] | None:
        """What an error status means: stop everything, fail this request, a filter's verdict, or
        None for another try."""
        if why := wrong.stops_everything:
            mend = (
                f"check the value of {self.endpoint.api_key_env}"
                if wrong.status in (401, 403)
                else f"see to it and run again (model {body['model']!r})"
            )
            raise EndpointError(f"{self.endpoint.base_url} {why}; {mend}") from None
        if wrong.is_filter:
            return filtered(wrong)
        if not wrong.is_transient:
            raise _Unanswered(str(wrong)) from None
        return None

    def give_up(self) -> None:
        said, times = Counter(self.failures.values()).most_common(1)[0]
        raise EndpointError(
            f"{self.endpoint.base_url}: the last {self.in_a_row} requests failed ({times} x "
            f"{said}); what was answered is kept: mend the endpoint and run again"
        )


def _is_connection(wrong: Exception) -> bool:
    import aiohttp
    import httpx2

    return isinstance(
        wrong,
        TimeoutError | httpx2.TransportError | httpx2.DecodingError | aiohttp.ClientError | OSError,
    )


def _count(
    requests: Iterable[dict[str, Any]], journal: Journal, account: Account, reporter: Reporter
) -> int:
    """How many requests there are, and what those that the journal does not hold may come to."""
    total = missing = prompt = completion = 0
    money, models = 0.0, set[str]()
    for body in requests:
        total += 1
        if request_key(body) in journal:
            continue
        tokens = estimated_tokens(body)
        missing, prompt, completion = missing + 1, prompt + tokens[0], completion + tokens[1]
        money += account.price(body["model"], *tokens)
        models.add(body["model"])
    if missing:
        unpriced = sorted(m for m in models if not account.priced(m))
        cost = (
            f"about {money:,.2f}" if not unpriced else f"no price known for {', '.join(unpriced)}"
        )
        reporter.note(
            f"{total:,} requests, {missing:,} to ask: about {prompt:,} prompt and {completion:,} "
            f"completion tokens, {cost}"
        )
    return total


async def _ask_all(
    run: _Run, requests: Iterator[dict[str, Any]], total: int, reporter: Reporter
) -> None:
    started = time.monotonic()

    def progress() -> Progress:
        done = run.tally["asked"] + run.tally["reused"] + len(run.failures)
        return Progress(
            done,
            total,
            run.pace.in_flight,
            run.tally["retries"],
            run.account.money,
            time.monotonic() - started,
        )

    async def work() -> None:
        for body in requests:
            await run.complete(body)
            reporter.update(progress)

    stopped: list[BudgetError] = []

    async def guarded() -> None:
        try:
            await work()
        except BudgetError as cap:  # what is under way is paid for: let it come in
            stopped.append(cap)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(run.endpoint.max_concurrency, max(total, 1))):
                group.create_task(guarded())
    except BaseExceptionGroup as several:
        # several workers meet the same dead endpoint; one of their errors says it
        ours = several.subgroup(ProjectError)
        raise (ours.exceptions[0] if ours else several) from None
    finally:
        reporter.close()
    if stopped:
        raise stopped[0]


def ask_all(
    requests: Callable[[], Iterable[dict[str, Any]]],
    endpoint: Endpoint,
    journal: Journal,
    follow_up: FollowUp = lambda request, answer: None,
    *,
    account: Account | None = None,
    log: Callable[[str], None] | None = None,
) -> Outcome:
    """Ask for every answer that the journal does not hold yet; answers are read from the journal.

    `requests` are chat-completion bodies, called for twice: to count, and to ask.
    `follow_up(request, answer)` may return one more request, as for an answer to be repaired; it
    must decide alike on every run.  A request that fails for good is in `Outcome.failures` by its
    key and will be asked again by the next run.  Raises EndpointError on a refused key, an unknown
    model or a used-up quota, and after so many failures in a row that the endpoint must be down;
    BudgetError at the account's cap.
    """
    account, reporter = account or Account({}), Reporter(log)
    total = _count(requests(), journal, account, reporter)
    run = asyncio.run(
        _with_client(requests, endpoint, journal, follow_up, account, reporter, total)
    )
    if run.failures and not run.tally["asked"] and not run.tally["reused"]:
        run.give_up()
    return Outcome(
        run.tally["reused"],
        run.tally["asked"],
        run.failures,
        run.tally["retries"],
        account.prompt_tokens,
        account.completion_tokens,
        account.money,
    )


async def _with_client(
    requests: Callable[[], Iterable[dict[str, Any]]],
    endpoint: Endpoint,
    journal: Journal,
    follow_up: FollowUp,
    account: Account,
    reporter: Reporter,
    total: int,
) -> _Run:
    import openai

    limits = openai.DefaultAioHttpClient(
        timeout=endpoint.timeout_seconds, limits=_limits(endpoint.max_concurrency)
    )
    # the SDK's client knows the address and the headers; its request loop and its models cost three
    # times the rest of a request
    async with openai.AsyncOpenAI(
        base_url=endpoint.base_url, api_key=api_key(endpoint), http_client=limits
    ) as client:
        headers = {
            k: v
            for k, v in (client.default_headers | client.auth_headers).items()
            if isinstance(v, str)
        }
        url = f"{endpoint.base_url.rstrip('/')}{PATHS[endpoint.api]}"
        run = _Run(endpoint, journal, follow_up, account, limits, url, headers)
        try:
            await _ask_all(run, iter(requests()), total, reporter)
        finally:
            journal.sync()
        return run


def _limits(connections: int) -> Any:
    import httpx2

    return httpx2.Limits(max_connections=connections, max_keepalive_connections=connections)
