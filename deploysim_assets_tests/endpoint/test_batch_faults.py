"""What can go wrong with batches, over HTTP: nothing is paid for twice, asked online unasked, stuck
or told in a stack trace."""

import contextlib
import json
import multiprocessing
import os
import signal
import time
import uuid
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from deploysim_assets.endpoint.batch_records import Asked, Record, Writer, batches_file
from deploysim_assets.endpoint.batches import (
    BatchesPendingError,
    any_open,
    ask_batched,
    drop_batch,
    submitted,
)
from deploysim_assets.endpoint.budget import Account
from deploysim_assets.endpoint.client import Outcome
from deploysim_assets.endpoint.errors import EndpointError
from deploysim_assets.endpoint.wire import Request, about, request_key
from deploysim_assets.project import Batches, Endpoint
from deploysim_assets.storage.journal import journal_file, lines, open_journal
from deploysim_assets_tests.end_to_end.test_empty_replies import write_project
from deploysim_assets_tests.endpoint.test_client import request
from deploysim_assets_tests.support import serve, wait_for

COUNT = 6


class Provider:
    """Batches that are done at once; `fault` says what becomes of the next one."""

    name = "batch"

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.asked: Counter[str] = Counter()
        self.fault: dict[int, str] = {}
        self.online = 0
        self.lists = True
        self.hold_reply = False

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self.chat)
        app.router.add_post("/v1/files", self.upload)
        app.router.add_get("/v1/files/{id}/content", self.content)
        app.router.add_post("/v1/batches", self.create)
        app.router.add_get("/v1/batches", self.listed)
        app.router.add_get("/v1/batches/{id}", self.get)
        return app

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        text = body["messages"][0]["content"]
        self.asked[text] += 1
        return {
            "choices": [{"message": {"content": f"to {text}"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 2},
        }

    async def chat(self, req: web.Request) -> web.Response:
        self.online += 1
        return web.json_response(self.answer(await req.json()))

    async def upload(self, req: web.Request) -> web.Response:
        form = await req.post()
        name = f"file-{uuid.uuid4().hex[:8]}"
        self.files[name] = form["file"].file.read()  # type: ignore[union-attr]
        return web.json_response({"id": name, "object": "file"})

    async def content(self, req: web.Request) -> web.Response:
        return web.Response(body=self.files[req.match_info["id"]])

    async def create(self, req: web.Request) -> web.Response:
        body = await req.json()
        fault = self.fault.get(len(self.batches), "")
        batch: dict[str, Any] = {
            "id": f"{self.name}_{len(self.batches)}", "object": "batch", "errors": None,
            "created_at": int(time.time()), "status": "completed", "metadata": body["metadata"],
        }  # fmt: skip
        lines = self.files[body["input_file_id"]].decode().splitlines()
        if fault in ("failed", "expired", "cancelled"):
            said = {"code": "token_limit_exceeded", "message": "Enqueued token limit reached."}
            batch |= {"status": fault, "errors": {"data": [said]} if fault == "failed" else None}
            lines = [] if fault == "failed" else lines[:2]
        rows = [self.row(json.loads(line), fault) for line in lines]
        batch["output_file_id"] = f"out-{batch['id']}"
        self.files[batch["output_file_id"]] = "\n".join(rows).encode()
        self.batches[batch["id"]] = batch
        while self.hold_reply:
            await asyncio_sleep()
        return web.json_response(batch)

    def row(self, line: dict[str, Any], fault: str) -> str:
        first = line["body"]["seed"] == 0
        response: dict[str, Any] = {"status_code": 200, "body": self.answer(line["body"])}
        if first and fault == "unreadable":
            return '{"custom_id": "' + line["custom_id"][:9]
        if first and fault == "bad request":
            response = {"status_code": 400, "body": {"error": {"message": "Too long."}}}
        if first and fault == "no response":
            return json.dumps({"custom_id": line["custom_id"], "response": None, "error": {}})
        if first and fault == "strange":
            response = {"status_code": "soon", "body": 7}
        if first and fault == "empty":
            response["body"]["choices"][0]["message"]["content"] = 17
        return json.dumps({"custom_id": line["custom_id"], "response": response, "error": None})

    async def listed(self, req: web.Request) -> web.Response:
        if not self.lists:
            return web.json_response({"detail": "Not Found"}, status=404)
        newest = list(self.batches.values())[::-1]
        return web.json_response({"object": "list", "data": newest, "has_more": False})

    async def get(self, req: web.Request) -> web.Response:
        batch = self.batches.get(req.match_info["id"])
        if batch is None:
            return web.json_response({"error": {"message": "No such batch."}}, status=404)
        return web.json_response(batch)


async def asyncio_sleep() -> None:
    import asyncio

    await asyncio.sleep(0.05)


@contextmanager
def provider(**faults: str) -> Generator[tuple[str, Provider]]:
    held = Provider()
    held.fault = {int(number.removeprefix("batch_")): fault for number, fault in faults.items()}
    with serve(held.app()) as url:
        yield url, held


def ask(url: str, folder: Path, said: list[str] | None = None, **batches: Any) -> Outcome:
    """Until nothing is pending any more."""
    file = folder / "j.jsonl"
    endpoint = Endpoint(
        base_url=url, mode="batch", batches=Batches(**batches), max_retries=0, timeout_seconds=5
    )
    for _ in range(5):
        try:
            with open_journal(file) as journal:
                return ask_batched(
                    lambda: map(request, range(COUNT)),
                    endpoint,
                    journal,
                    file,
                    account=Account({}),
                    log=said.append if said is not None else None,
                )
        except BatchesPendingError:
            continue
    raise AssertionError("the batches never end")


@pytest.mark.parametrize(
    "fault", ["failed", "expired", "unreadable", "no response", "strange", "empty"]
)
def test_what_a_batch_did_not_answer_goes_into_another_and_never_online(
    tmp_path: Path, fault: str
) -> None:
    said: list[str] = []
    with provider(batch_0=fault) as (url, held):
        outcome = ask(url, tmp_path, said)
    assert (outcome.failures, held.online, len(held.batches)) == ({}, 0, 2)
    [told] = said
    assert "requests have none" in told
    if fault == "failed":
        assert "failed (token_limit_exceeded: Enqueued token limit reached.)" in told
        assert set(held.asked.values()) == {1}


def test_after_three_batches_a_request_has_failed_and_only_the_setting_asks_it_online(
    tmp_path: Path,
) -> None:
    always = {f"batch_{i}": "unreadable" for i in range(9)}
    with provider(**always) as (url, held):
        outcome = ask(url, tmp_path)
        assert (len(held.batches), held.online) == (3, 0)
        assert list(outcome.failures) == [request_key(request(0))]
        assert (outcome.asked + outcome.reused) == COUNT - 1
        again = ask(url, tmp_path)
        assert (len(held.batches), again.asked, len(again.failures)) == (3, 0, 1)
        online = ask(url, tmp_path, fallback="online")
        assert (held.online, online.asked, online.failures) == (1, 1, {})


def test_a_request_that_no_try_would_answer_is_not_put_into_another_batch(tmp_path: Path) -> None:
    with provider(batch_0="bad request") as (url, held):
        outcome = ask(url, tmp_path)
    assert len(held.batches) == 1
    assert list(outcome.failures.values()) == ["in its batch: status 400: Too long."]


def test_where_no_batch_gives_an_answer_the_run_says_the_providers_reason(tmp_path: Path) -> None:
    always = {f"batch_{i}": "failed" for i in range(9)}
    with (
        provider(**always) as (url, held),
        pytest.raises(EndpointError, match=r"no batch gave an answer: .*token_limit_exceeded"),
    ):
        ask(url, tmp_path)
    assert (len(held.batches), held.online) == (3, 0)


def test_a_lost_batch_is_an_error_and_can_be_dropped(tmp_path: Path) -> None:
    with provider() as (url, held):
        with pytest.raises(BatchesPendingError), open_journal(tmp_path / "j.jsonl") as journal:
            ask_batched(
                lambda: map(request, range(COUNT)),
                Endpoint(base_url=url, mode="batch"),
                journal,
                tmp_path / "j.jsonl",
                account=Account({}),
            )
        held.batches.clear()
        assert not any_open(tmp_path / "j.jsonl", Endpoint(base_url=url)), "a sensor is not stuck"
        with pytest.raises(
            EndpointError, match=r"no such batch any more; `deploysim batches drop batch_0`"
        ):
            ask(url, tmp_path)
        assert drop_batch(tmp_path / "j.jsonl", "batch_9") == 0
        assert drop_batch(tmp_path / "j.jsonl", "batch_0") == COUNT
        assert submitted(tmp_path / "j.jsonl") == ([], set())
        assert ask(url, tmp_path).failures == {}


def test_the_command_line_lists_and_drops_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from click.testing import CliRunner

    from deploysim_assets.cli.commands import main

    write_project(tmp_path, "http://127.0.0.1:9/v1")
    monkeypatch.setenv("DEPLOYSIM_HOME", str(tmp_path))
    journal = journal_file(tmp_path, "candidate_completions", "new")
    journal.parent.mkdir(parents=True)
    with open_journal(batches_file(journal)) as file:
        Writer(file).submitted("batch_7", "feed", [request_key(request(0))])
        Writer(file).intent("beef", {request_key(request(1)): Asked("m", 1)}, "http://x/v1")
    listed = CliRunner().invoke(main, ["batches", "list"]).output.splitlines()
    assert listed[0] == "batch_7  candidate_completions[new]  1 requests"
    assert listed[1].startswith("beef  candidate_completions[new]  1 requests; a run ended")
    for name in ("batch_7", "beef"):
        done = CliRunner().invoke(main, ["batches", "drop", name])
        assert done.output == f"{name} is dropped: 1 requests may be asked again\n"
    again = CliRunner().invoke(main, ["batches", "drop", "batch_7"])
    assert again.exit_code == 64
    assert "no open batch of this project" in again.output
    assert Record.load(journal)[:2] == ({}, {})


def test_a_cancelled_batch_is_not_paid_for_again_by_itself(tmp_path: Path) -> None:
    with provider(batch_0="cancelled") as (url, held):
        with pytest.raises(EndpointError, match=r"was cancelled with 4 requests unanswered"):
            ask(url, tmp_path)
        assert len(held.batches) == 1
        assert drop_batch(tmp_path / "j.jsonl", "batch_0") == COUNT
        outcome = ask(url, tmp_path)
    assert (outcome.failures, outcome.asked + outcome.reused) == ({}, COUNT)
    assert max(held.asked.values()) == 1, "what it had answered was kept"


def _submit(url: str, folder: Path) -> None:
    ask(url, folder)


@pytest.mark.parametrize("lists", [True, False])
def test_a_kill_while_a_batch_is_created_does_not_pay_for_it_again(
    tmp_path: Path, lists: bool
) -> None:
    with provider() as (url, held):
        held.hold_reply, held.lists = True, lists
        process = multiprocessing.get_context("spawn").Process(target=_submit, args=(url, tmp_path))
        process.start()
        wait_for(lambda: bool(held.batches), 60, "the batch", 0.05)
        assert process.pid
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        held.hold_reply = False
        assert submitted(tmp_path / "j.jsonl")[0] == [], "nobody wrote the id down"
        [intent] = Record.load(tmp_path / "j.jsonl").intents
        if not lists:
            with pytest.raises(EndpointError, match=rf"`deploysim batches drop {intent}`"):
                ask(url, tmp_path)
            assert drop_batch(tmp_path / "j.jsonl", intent) == COUNT
            return
        said: list[str] = []
        outcome = ask(url, tmp_path, said)
    assert (len(held.batches), outcome.asked) == (1, COUNT)
    assert set(held.asked.values()) == {1}
    assert "re-attached" in said[0]


def test_an_intent_that_was_never_carried_out_is_submitted_anew(tmp_path: Path) -> None:
    keys = [request_key(request(i)) for i in range(COUNT)]
    with open_journal(batches_file(tmp_path / "j.jsonl")) as file:
        # as an earlier deploysim wrote it: without where, and what of
        Writer(file)._put("intent", "feed", intent="feed", requests=keys, at=time.time())
    with provider() as (url, held):
        outcome = ask(url, tmp_path)
    assert (len(held.batches), outcome.asked) == (1, COUNT)


def test_who_collects_need_not_be_who_asked(tmp_path: Path) -> None:
    """Two panels, or a replay and its discriminator, share a journal, and the one that is asked
    first finds the other's batch."""
    file = tmp_path / "j.jsonl"
    mine, other = (
        [about(f"{name}{i}" * 8, {"model": name, "seed": 1, "messages": [{"content": f"{i}"}]})
         for i in range(2)]
        for name in ("a", "b")
    )  # fmt: skip

    def run(requests: list[Request], url: str, account: Account) -> None:
        with open_journal(file) as journal, contextlib.suppress(BatchesPendingError):
            ask_batched(
                lambda: requests, Endpoint(base_url=url, mode="batch"), journal, file,
                account=account,
            )  # fmt: skip

    prices = Account({})
    with provider() as (url, held), provider() as (elsewhere, apart):
        apart.name = "apart"
        run(other, url, prices)
        run([about("c" * 16, other[0] | {"model": "c"})], elsewhere, prices)
        run(mine, url, prices)
        assert {batch.id for batch in submitted(file)[0]} == {"apart_0", "batch_1"}
        assert not any_open(file, Endpoint(base_url=url), Endpoint(base_url=elsewhere))
        run(mine, url, prices)
        assert [batch.id for batch in submitted(file)[0]] == ["apart_0"], "not this provider's"
    kept = [orjson.loads(line) for line in lines(file)]
    assert {(row["model"], row["about"]) for row in kept} == {
        (name, f"{name}{i}" * 8) for name in "ab" for i in range(2)
    }
    assert (prices.prompt_tokens, prices.completion_tokens) == (4 * 3, 4 * 2)
    assert (len(held.batches), len(apart.batches)) == (2, 1)


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (401, '{"error": {"message": "Bad key."}}', "refused the key"),
        (404, '{"detail": "Not Found"}', "look at endpoint.base_url"),
        (500, "<html>", "answers status 500"),
        (200, "<html>busy</html>", "what is no batch"),
        (200, '{"id"', "what is no batch"),
    ],
)
def test_errors_of_the_batch_interface_are_sentences(
    tmp_path: Path, status: int, body: str, said: str
) -> None:
    async def wrong(req: web.Request) -> web.Response:
        return web.Response(text=body, status=status, content_type="application/json")

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", wrong)
    with serve(app) as url, pytest.raises(EndpointError, match=said):
        ask(url, tmp_path)


def test_records_of_before_intents_are_read(tmp_path: Path) -> None:
    with open_journal(batches_file(tmp_path / "j.jsonl")) as file:
        for state, batch in (("submitted", "b1"), ("submitted", "b2"), ("collected", "b1")):
            row = {"key": request_key({state: batch}), "state": state, "batch": batch}
            file.put(row | ({"requests": [batch]} if state == "submitted" else {}))
    open_batches, keys = submitted(tmp_path / "j.jsonl")
    assert ([b.id for b in open_batches], keys) == (["b2"], {"b1", "b2"})
