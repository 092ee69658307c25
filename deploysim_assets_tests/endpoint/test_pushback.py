"""A server that asks for less is waited for, with few requests, words about it, and an end."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from deploysim_assets.endpoint import client, tries
from deploysim_assets.endpoint.client import ask_all
from deploysim_assets.endpoint.errors import EndpointError
from deploysim_assets.endpoint.wire import request_key
from deploysim_assets.project import Endpoint
from deploysim_assets.storage.journal import open_journal
from deploysim_assets_tests.endpoint.test_client import (
    Seen,
    ask,
    completion,
    echo,
    failure,
    request,
    serving,
)


@pytest.mark.parametrize("status", [429, 503])
def test_an_outage_is_outlasted_with_few_requests(tmp_path: Path, status: int) -> None:
    begun = time.monotonic()

    async def down(body: dict[str, Any], seen: Seen) -> web.Response:
        return failure(status) if time.monotonic() < begun + 5 else completion("fine")

    with serving(down) as (url, seen):
        outcome, answers = ask(tmp_path / "j", url, 40, max_retries=1)
    assert (len(answers), outcome.failures) == (40, {})
    assert len(seen.bodies) - 40 < 60, "8,040 requests were sent in 2.6 s"


def test_after_an_outage_the_pace_is_what_it_was(tmp_path: Path) -> None:
    begun = time.monotonic()

    async def down(body: dict[str, Any], seen: Seen) -> web.Response:
        if 0.3 < time.monotonic() - begun < 3:
            return failure(503)
        return await echo(body, seen)

    with serving(down) as (url, _):
        start = time.monotonic()
        _, answers = ask(tmp_path / "j", url, 1_000, max_concurrency=32)
    assert len(answers) == 1_000
    # 4 s where nothing else runs; at the pace of the outage's end it would take minutes
    assert time.monotonic() - start < 60, "1,000 requests of 20 ms, 32 at once, and 3 s of outage"


def test_no_answer_for_long_ends_the_run_with_what_it_has(tmp_path: Path) -> None:
    async def dies(body: dict[str, Any], seen: Seen) -> web.Response:
        return completion("fine") if len(seen.bodies) <= 20 else failure(503)

    with serving(dies) as (url, _):
        start = time.monotonic()
        with pytest.raises(EndpointError, match=r"no answer for [123] s: it answers status 503"):
            ask(tmp_path / "j", url, 500, max_wait_seconds=1.5, timeout_seconds=1)
        assert time.monotonic() - start < 60
    with open_journal(tmp_path / "j") as journal:
        assert sum(request_key(request(i)) in journal for i in range(500)) == 20


def test_a_wait_longer_than_the_limit_ends_the_run_once_nothing_is_under_way(
    tmp_path: Path,
) -> None:
    async def closed(body: dict[str, Any], seen: Seen) -> web.Response:
        if body["seed"] == 3:
            return failure(429, **{"retry-after": "3600"})
        await asyncio.sleep(1.5)
        return completion("fine")

    with serving(closed) as (url, seen):
        start = time.monotonic()
        with pytest.raises(EndpointError, match=r"asks to wait 3,600 s .*max_wait_seconds"):
            ask(tmp_path / "j", url, 100)
        assert time.monotonic() - start < 60
        asked = len(seen.bodies)
    with open_journal(tmp_path / "j") as journal:
        kept = sum(request_key(request(i)) in journal for i in range(100))
    assert kept == asked - 1, "what was under way is paid for"
    assert kept >= 1


def test_a_long_wait_is_followed_and_said_with_its_cause_and_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_WORTH_SAYING", 0.5)
    monkeypatch.setattr(client, "_LOOK_EVERY", 0.2)
    said: list[str] = []

    async def later(body: dict[str, Any], seen: Seen) -> web.Response:
        return failure(429, **{"retry-after": "2"}) if len(seen.bodies) == 1 else completion("fine")

    with serving(later) as (url, seen), open_journal(tmp_path / "j") as journal:
        start = time.monotonic()
        endpoint = Endpoint(base_url=url, max_concurrency=1)
        ask_all(lambda: map(request, range(3)), endpoint, journal, log=said.append)
        assert time.monotonic() - start >= 2
        assert len(seen.bodies) == 4
    [told] = [line for line in said if "waiting" in line]
    assert "it asks to wait 2 s (status 429: some_kind: it says: secret words)" in told
    assert "goes on in 2 s; the run ends after 900 s without an answer" in told


def test_one_request_that_is_always_refused_for_its_rate_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tries, "BACKOFF_FIRST", 0.001)
    monkeypatch.setattr(tries, "BACKOFF_LONGEST", 0.02)

    async def too_large(body: dict[str, Any], seen: Seen) -> web.Response:
        return failure(429) if body["seed"] == 0 else await echo(body, seen)

    with serving(too_large) as (url, _):
        outcome, answers = ask(tmp_path / "j", url, 600, max_concurrency=4)
    assert len(answers) == 599
    assert list(outcome.failures) == [request_key(request(0))]


def test_random_refusals_do_not_stop_the_others(tmp_path: Path) -> None:
    async def some(body: dict[str, Any], seen: Seen) -> web.Response:
        first = sum(b == body for b in seen.bodies) == 1
        return failure(429) if first and body["seed"] % 5 == 0 else await echo(body, seen)

    with serving(some) as (url, _):
        start = time.monotonic()
        outcome, answers = ask(tmp_path / "j", url, 400, max_concurrency=16)
    assert (len(answers), outcome.failures) == (400, {})
    assert time.monotonic() - start < 60
