"""Asking over real HTTP: concurrency, retries, refusals, malformed answers, dead endpoints and
secrets."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from deploysim_assets.endpoint import tries
from deploysim_assets.endpoint.client import EndpointError, Outcome, api_key, ask_all
from deploysim_assets.endpoint.wire import request_key
from deploysim_assets.project import Endpoint
from deploysim_assets.storage.journal import open_journal
from deploysim_assets_tests.support import serve

Handler = Callable[[dict[str, Any], "Seen"], Awaitable[web.Response]]


class Seen:
    """What the server saw."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.keys: set[str | None] = set()
        self.in_flight = self.peak = 0


@contextmanager
def serving(handler: Handler) -> Generator[tuple[str, Seen]]:
    seen, app = Seen(), web.Application()

    async def chat(request: web.Request) -> web.Response:
        body = await request.json()
        seen.bodies.append(body)
        seen.keys.add(request.headers.get("authorization"))
        seen.in_flight += 1
        seen.peak = max(seen.peak, seen.in_flight)
        try:
            return await handler(body, seen)
        finally:
            seen.in_flight -= 1

    app.router.add_post("/v1/chat/completions", chat)
    with serve(app) as url:
        yield url, seen


def completion(content: str, **message: Any) -> web.Response:
    choice = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": content, **message},
    }
    return web.json_response(
        {"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}
    )


def failure(status: int, **headers: str) -> web.Response:
    return web.json_response(
        {"error": {"message": "it says: secret words", "type": "some_kind"}},
        status=status,
        headers=headers,
    )


async def echo(body: dict[str, Any], seen: Seen) -> web.Response:
    await asyncio.sleep(0.02)
    return completion(body["messages"][0]["content"])


def request(i: int) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": f"question {i}"}], "seed": i}


def ask(
    path: Path, base_url: str, count: int, **settings: Any
) -> tuple[Outcome, dict[int, dict[str, Any]]]:
    endpoint = Endpoint(base_url=base_url, **({"max_concurrency": 8} | settings))
    with open_journal(path) as journal:
        outcome = ask_all(lambda: (request(i) for i in range(count)), endpoint, journal)
        return outcome, {
            i: journal.get(key) for i in range(count) if (key := request_key(request(i))) in journal
        }


def test_every_request_is_answered_within_the_concurrency(tmp_path: Path) -> None:
    with serving(echo) as (url, seen):
        outcome, answers = ask(tmp_path / "j", url, 100)
    assert {i: a["content"] for i, a in answers.items()} == {i: f"question {i}" for i in range(100)}
    assert (outcome.asked, outcome.reused, outcome.failures) == (100, 0, {})
    assert (outcome.prompt_tokens, outcome.completion_tokens) == (300, 200)
    assert 4 <= seen.peak <= 8


def test_a_rerun_asks_only_for_what_is_missing(tmp_path: Path) -> None:
    with serving(echo) as (url, seen):
        ask(tmp_path / "j", url, 30)
        outcome, answers = ask(tmp_path / "j", url, 50)
    assert (outcome.asked, outcome.reused, len(answers)) == (20, 30, 50)
    assert len(seen.bodies) == 50


def test_equal_requests_are_asked_once_also_while_in_flight(tmp_path: Path) -> None:
    with serving(echo) as (url, seen), open_journal(tmp_path / "j") as journal:
        outcome = ask_all(
            lambda: (request(i % 3) for i in range(60)), Endpoint(base_url=url), journal
        )
    assert len(seen.bodies) == 3
    assert (outcome.asked, outcome.reused) == (3, 57)


def test_throttling_and_server_errors_are_retried_and_retry_after_is_honored(
    tmp_path: Path,
) -> None:
    async def flaky(body: dict[str, Any], seen: Seen) -> web.Response:
        times = sum(b == body for b in seen.bodies)
        if times == 1:
            return failure(
                (429, 500, 503)[body["seed"] % 3],
                **{"retry-after": "1"} if body["seed"] % 3 == 0 else {},
            )
        return completion("at last")

    with serving(flaky) as (url, seen):
        outcome, answers = ask(tmp_path / "j", url, 12)
    assert outcome.failures == {}
    assert len(answers) == 12
    assert len(seen.bodies) == 24


def test_one_bad_request_is_a_failed_row_and_is_asked_again_by_the_next_run(tmp_path: Path) -> None:
    async def picky(body: dict[str, Any], seen: Seen) -> web.Response:
        return failure(400) if body["seed"] == 3 else completion("fine")

    with serving(picky) as (url, _):
        outcome, answers = ask(tmp_path / "j", url, 10)
        again, _ = ask(tmp_path / "j", url, 10)
    assert set(answers) == set(range(10)) - {3}
    assert list(outcome.failures.values()) == ["status 400: some_kind: it says: secret words"], (
        "the server's own message, without what it quotes of the request"
    )
    assert (again.asked, again.reused, len(again.failures)) == (0, 9, 1)


@pytest.mark.parametrize(
    "malformed", ["", "{", "[]", '{"choices": []}', '{"choices": [{"message": null}]}', "<html>"]
)
def test_a_200_that_is_no_completion_is_asked_again_and_then_failed(
    tmp_path: Path, malformed: str
) -> None:
    async def half(body: dict[str, Any], seen: Seen) -> web.Response:
        return (
            web.Response(text=malformed, content_type="application/json")
            if body["seed"] == 1
            else completion("fine")
        )

    with serving(half) as (url, seen):
        outcome, answers = ask(tmp_path / "j", url, 4, max_retries=2)
    assert set(answers) == {0, 2, 3}
    assert "no answer" in next(iter(outcome.failures.values()))
    assert sum(b["seed"] == 1 for b in seen.bodies) == 3, "the first try and two more"


def test_refusals_reasoning_and_tool_calls_are_carried(tmp_path: Path) -> None:
    async def various(body: dict[str, Any], seen: Seen) -> web.Response:
        if body["seed"] == 0:
            return completion("", refusal="I cannot help with that.")
        call = {"id": "c", "type": "function", "function": {"name": "browser", "arguments": "{}"}}
        return completion("text", reasoning_content="thought", tool_calls=[call])

    with serving(various) as (url, _):
        _, answers = ask(tmp_path / "j", url, 2)
    assert (answers[0]["status"], answers[0]["error"]) == ("refused", "I cannot help with that.")
    assert answers[1]["status"] == "completed"
    assert answers[1]["reasoning"] == "thought"
    assert answers[1]["tool_calls"] == [{"id": "c", "name": "browser", "arguments": "{}"}]


def test_a_refused_key_stops_at_once_and_is_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-very-secret")

    async def locked(body: dict[str, Any], seen: Seen) -> web.Response:
        return failure(401)

    with (
        serving(locked) as (url, seen),
        pytest.raises(
            EndpointError, match=r"refused the key .* check the value of MY_KEY"
        ) as caught,
    ):
        ask(tmp_path / "j", url, 500, api_key_env="MY_KEY")
    assert seen.keys == {"Bearer sk-very-secret"}
    assert len(seen.bodies) <= 16
    assert "sk-very-secret" not in str(caught.value)
    assert b"sk-very-secret" not in (tmp_path / "j").read_bytes()


def test_an_endpoint_that_stops_answering_stops_the_run_and_keeps_what_it_answered(
    tmp_path: Path,
) -> None:
    async def dies(body: dict[str, Any], seen: Seen) -> web.Response:
        return completion("fine") if len(seen.bodies) <= 40 else failure(500)

    with serving(dies) as (url, seen):
        with pytest.raises(EndpointError, match=r"requests failed .* what was answered is kept"):
            ask(tmp_path / "j", url, 5000, max_retries=0)
        assert len(seen.bodies) < 100
        with open_journal(tmp_path / "j") as journal:
            assert sum(request_key(request(i)) in journal for i in range(100)) == 40


def test_a_response_without_end_is_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tries, "_LARGEST", 100_000)

    async def endless(body: dict[str, Any], seen: Seen) -> web.Response:
        return web.Response(body=b" " * 10_000_000) if body["seed"] == 1 else completion("fine")

    with serving(endless) as (url, _):
        outcome, answers = ask(tmp_path / "j", url, 3, max_retries=1)
    assert set(answers) == {0, 2}
    assert "longer than 100,000 bytes" in next(iter(outcome.failures.values()))


def test_a_server_that_reports_an_impossible_usage_stops_the_run_with_its_reason(
    tmp_path: Path,
) -> None:
    async def negative(body: dict[str, Any], seen: Seen) -> web.Response:
        choice = {"message": {"content": "x"}, "finish_reason": "stop"}
        return web.json_response({"choices": [choice], "usage": {"prompt_tokens": -1}})

    with serving(negative) as (url, seen):
        with pytest.raises(EndpointError, match=r"a usage that cannot be: prompt_tokens -1"):
            ask(tmp_path / "j", url, 500)
        assert len(seen.bodies) < 60, "an answer that was paid for is not asked for again and again"


def test_an_error_of_ours_comes_alone_and_not_in_a_group(tmp_path: Path) -> None:
    def wrong(body: dict[str, Any], answer: dict[str, Any]) -> None:
        raise ValueError("of the caller")

    with (
        serving(echo) as (url, _),
        open_journal(tmp_path / "j") as journal,
        pytest.raises(ValueError, match="of the caller"),
    ):
        ask_all(lambda: map(request, range(50)), Endpoint(base_url=url), journal, wrong)


def test_nobody_listening_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(EndpointError, match=r"no answer from http://127\.0\.0\.1:9/v1"):
        ask(tmp_path / "j", "http://127.0.0.1:9/v1", 3, max_retries=0)


def test_a_key_is_needed_away_from_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    assert api_key(Endpoint(base_url="http://127.0.0.1:1/v1", api_key_env="MY_KEY"))
    with pytest.raises(EndpointError, match="the environment has no MY_KEY"):
        api_key(Endpoint(base_url="https://api.example.com/v1", api_key_env="MY_KEY"))


def test_the_key_of_a_request_is_its_whole_body() -> None:
    body = request(1)
    assert request_key(body) == request_key(json.loads(json.dumps(dict(reversed(body.items())))))
    assert (
        len(
            {
                request_key(body),
                request_key(body | {"seed": 2}),
                request_key(body | {"model": "n"}),
                request_key(body | {"tools": []}),
            }
        )
        == 4
    )
