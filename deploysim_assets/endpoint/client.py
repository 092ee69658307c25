"""Asks an OpenAI-compatible endpoint many things: durably, within its limits and the budget."""

import asyncio
import functools
import os
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

from deploysim_assets.endpoint.budget import (
    LOOK,
    Account,
    BudgetError,
    estimated_tokens,
    with_usage,
)
from deploysim_assets.endpoint.errors import EndpointError, api_key
from deploysim_assets.endpoint.hosts import HostPace
from deploysim_assets.endpoint.meeting import meet
from deploysim_assets.endpoint.pacing import Pace
from deploysim_assets.endpoint.progress import Progress, Reporter
from deploysim_assets.endpoint.sharing import EVERY
from deploysim_assets.endpoint.tries import Tries, UnansweredError
from deploysim_assets.endpoint.wire import (
    FollowUp,
    Request,
    following,
    live_answer,
    request_key,
    subject_of,
)
from deploysim_assets.project import Endpoint, ProjectError
from deploysim_assets.storage.journal import Journal

_FAILURES_IN_A_ROW = 20
_WORTH_SAYING = 30.0
_LOOK_EVERY = 1.0


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


class _Run:
    """The state that the workers of one `ask_all` share."""

    def __init__(
        self,
        tries: Tries,
        journal: Journal,
        follow_up: FollowUp,
        account: Account,
        hosts: HostPace | None,
    ) -> None:
        self.tries, self.journal, self.follow_up = tries, journal, follow_up
        self.account, self.hosts = account, hosts
        self.endpoint = tries.endpoint
        self.failures: dict[str, str] = {}
        self.in_a_row = 0
        self.tally = tries.tally
        self.in_flight: dict[str, asyncio.Future[None]] = {}
        self.done = 0
        self.parts: Counter[str] = Counter()

    async def complete(self, body: dict[str, Any]) -> None:
        """Ask for a request and for the follow-ups that its answers call for."""
        while True:
            key = request_key(body)
            if (twin := self.in_flight.get(key)) is not None:
                await twin
            if key in self.journal:
                self.tally["reused"] += 1
            elif key not in self.failures:
                await (self._ask if live_answer(body) is None else self._look)(key, body)
            if isinstance(body, Request) and body.counted_as:
                self.parts[body.counted_as] += 1
            if key not in self.journal:
                return
            next_ones = following(body, self.follow_up(body, self.journal.get(key)))
            if len(next_ones) != 1:
                break
            body = next_ones[0]
        # what is under way beside one that meets a cap is paid for: let it come in
        ends = await asyncio.gather(*map(self.complete, next_ones), return_exceptions=True)
        for wrong in ends:
            if wrong is not None:
                raise wrong

    async def _look(self, key: str, body: dict[str, Any]) -> None:
        """Journal what answers in place of the endpoint."""
        self.in_flight[key] = done = asyncio.get_running_loop().create_future()
        try:
            answers = live_answer(body)
            assert answers is not None
            self.journal.put({"key": key, **subject_of(body)} | await answers())
            self.tally["asked"] += 1
        except UnansweredError as wrong:
            self.failures[key] = str(wrong)
        finally:
            del self.in_flight[key]
            done.set_result(None)

    async def _ask(self, key: str, body: dict[str, Any]) -> None:
        self.in_flight[key] = done = asyncio.get_running_loop().create_future()
        try:
            while not self.account.reserved(body):  # noqa: ASYNC110 (others here may have asked)
                await asyncio.sleep(LOOK)
            await self._answer(key, body)
        finally:
            del self.in_flight[key]
            done.set_result(None)

    async def _answer(self, key: str, body: dict[str, Any]) -> None:
        found: dict[str, Any] | None = None
        try:
            found = with_usage(estimated_tokens(body)[0], await self.tries.answered(body))
            self.journal.put({"key": key, "model": body["model"], **subject_of(body)} | found)
            self.in_a_row = 0
            self.tally["asked"] += 1
        except UnansweredError as wrong:
            self.failures[key] = str(wrong)
            self.in_a_row += 1
            if self.in_a_row >= _FAILURES_IN_A_ROW + self.endpoint.max_concurrency:
                self.give_up()
        finally:
            self.account.settle(body, found)

    async def renew(self) -> None:
        """Hold on to a part of the pace and of the budget, also while nothing is answered."""
        while True:
            await asyncio.sleep(EVERY)
            self.tries.pace.renew()
            self.account.renew()

    def give_up(self) -> None:
        said, times = Counter(self.failures.values()).most_common(1)[0]
        raise EndpointError(
            f"{self.endpoint.base_url}: the last {self.in_a_row} requests failed ({times} x "
            f"{said}); what was answered is kept: mend the endpoint and run again"
        )

    def waiting(self) -> str:
        """Why nothing goes on and until when, where nothing has for a while; EndpointError where
        that has become too long."""
        pace, url = self.tries.pace, self.endpoint.base_url
        paused, silent = pace.paused_for, pace.silent_for
        # an answer may take as long as its time-out, so shorter silence tells nothing
        longest = max(self.endpoint.max_wait_seconds, self.endpoint.timeout_seconds)
        too_long = not self.tries.sending and silent + paused > longest
        if silent > longest or too_long:
            cause = f": {pace.cause}" if paused or pace.cause else ""
            raise EndpointError(
                f"{url}: no answer for {silent:,.0f} s{cause}; "
                f"{'waiting on would pass' if silent <= longest else 'that is'} the limit of "
                f"{longest:,.0f} s (endpoint.max_wait_seconds). What was answered is kept: run "
                "again later, or raise the limit"
            )
        if max(paused, silent) < _WORTH_SAYING:
            return ""
        what = (
            f"{pace.cause}; goes on in {paused:,.0f} s"
            if paused
            else f"no answer for {silent:,.0f} s"
        )
        return f"{url}: waiting: {what}; the run ends after {longest:,.0f} s without an answer"


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
        return Progress(
            run.done,
            total,
            run.tries.sending,
            run.tally["retries"],
            run.account.money,
            time.monotonic() - started,
            run.waiting(),
            dict(run.parts),
        )

    async def watch() -> None:
        """Workers that wait tell nothing: say why they do, and end the run in time."""
        often = min(_LOOK_EVERY, run.endpoint.max_wait_seconds / 10)
        while True:
            await asyncio.sleep(often)
            if said := run.waiting():
                reporter.waits(said)
            reporter.update(progress)

    async def work() -> None:
        for body in requests:
            await run.complete(body)
            run.done += 1
            reporter.update(progress)

    stopped: list[BudgetError] = []

    async def guarded() -> None:
        try:
            await work()
        except BudgetError as cap:  # what is under way is paid for: let it come in
            stopped.append(cap)

    try:
        async with asyncio.TaskGroup() as group:
            count = min(run.endpoint.max_concurrency, max(total, 1))
            workers = [group.create_task(guarded()) for _ in range(count)]
            beside = [
                group.create_task(watch()),
                group.create_task(run.renew()),
                group.create_task(meet(run.hosts, run.tries.pace, run.account, reporter.note)),
            ]
            await asyncio.wait(workers)
            for task in beside:
                task.cancel()
    except BaseExceptionGroup as several:
        # several workers meet the same dead endpoint; one of their errors says it
        raise _one_of(several.subgroup(ProjectError) or several) from None
    finally:
        reporter.close()
    if stopped:
        raise stopped[0]


def _one_of(several: BaseExceptionGroup[BaseException]) -> BaseException:
    """An error that is no group, out of a group."""
    first = several.exceptions[0]
    return (
        _one_of(cast("BaseExceptionGroup[BaseException]", first))
        if isinstance(first, BaseExceptionGroup)
        else first
    )


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
    `follow_up(request, answer)` may return one more request, as for an answer to be repaired, or
    several that are asked together; it must decide alike on every run.  A request that fails for
    good is in `Outcome.failures` by its key and will be asked again by the next run.  Raises
    EndpointError on a refused key, an unknown model or a used-up quota, and after so many failures
    in a row that the endpoint must be down; BudgetError at the account's cap.
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


def _proxy(url: str) -> str | None:
    """The proxy that the environment names for an address. aiohttp would look it up in a thread
    for each request, which costs as much as the request."""
    from urllib.request import getproxies, proxy_bypass

    parts = urlsplit(url)
    if proxy_bypass(parts.netloc):
        return None
    found = getproxies()
    return found.get(parts.scheme) or found.get("all")


@functools.cache
def _certificates(*_named: str | None) -> ssl.SSLContext:
    """The certificates that are trusted, read once for what SSL_CERT_FILE and SSL_CERT_DIR name:
    it takes longer than all the rest that a client needs."""
    import httpx2

    return httpx2.create_ssl_context()


async def _with_client(
    requests: Callable[[], Iterable[dict[str, Any]]],
    endpoint: Endpoint,
    journal: Journal,
    follow_up: FollowUp,
    account: Account,
    reporter: Reporter,
    total: int,
) -> _Run:
    import aiohttp
    import httpx2
    import openai

    # the SDK knows the headers and the certificates; its request loop, its models and its client
    # cost four times the rest of a request
    key = api_key(endpoint)
    context = _certificates(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
    sdk = openai.AsyncOpenAI(
        base_url=endpoint.base_url, api_key=key, http_client=httpx2.AsyncClient(verify=context)
    )
    headers = {
        k: v for k, v in (sdk.default_headers | sdk.auth_headers).items() if isinstance(v, str)
    }
    await sdk.close()
    connector = aiohttp.TCPConnector(limit=endpoint.max_concurrency, ssl=context)
    async with aiohttp.ClientSession(
        connector=connector,
        headers=headers,
        timeout=aiohttp.ClientTimeout(total=endpoint.timeout_seconds),
        proxy=_proxy(endpoint.base_url),
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as session:
        sharing, hosts = account.sharing(endpoint)
        pace = Pace(endpoint.max_concurrency, sharing=sharing)
        errors = (aiohttp.ClientError, TimeoutError, OSError)
        run = _Run(Tries(endpoint, key, session, errors, pace), journal, follow_up, account, hosts)
        try:
            await _ask_all(run, iter(requests()), total, reporter)
        finally:
            journal.sync()
            if hosts:
                hosts.end(pace, time.monotonic())
            pace.stop_sharing()
            account.finish()
        return run
