"""The batch endpoint over HTTP, with recorded answers: split, killed between submit and collect,
collected once, and what failed in a batch put into another."""

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from deploysim_assets.endpoint.batches import BatchesPendingError, any_open, ask_batched, submitted
from deploysim_assets.endpoint.budget import Account, spent
from deploysim_assets.endpoint.client import Outcome, ask_all
from deploysim_assets.endpoint.wire import request_key
from deploysim_assets.project import Batches, Endpoint, Price
from deploysim_assets.storage.journal import open_journal
from deploysim_assets_tests.support import SHARED, needs_shared, recorded_server, wait_for

pytestmark = needs_shared
RECORDING = SHARED / "data" / "llmdrift" / "recorded.parquet"
MODEL, COUNT = "gpt-4-0613", 230
PRICES = {MODEL: Price(prompt=10, completion=30)}


def bodies() -> Iterator[dict[str, Any]]:
    frame = (
        pl.read_parquet(RECORDING)
        .filter((pl.col("model") == MODEL) & (pl.col("task") == "math_prime"))
        .head(COUNT)
    )
    for i, prompt in enumerate(frame["prompt"]):
        yield {"model": MODEL, "messages": [{"role": "user", "content": prompt}], "seed": i}


def batched(url: str, folder: Path, account: Account | None = None) -> Outcome:
    file = folder / "j.jsonl"
    with open_journal(file) as journal:
        return ask_batched(bodies, endpoint(url), journal, file, account=account or Account(PRICES))


def endpoint(url: str) -> Endpoint:
    return Endpoint(
        base_url=url,
        mode="batch",
        batches=Batches(max_requests=60, poll_seconds=0.1),
        max_concurrency=8,
    )


def answers(folder: Path) -> dict[str, str]:
    with open_journal(folder / "j.jsonl") as journal:
        return {
            key: journal.get(key)["content"]
            for body in bodies()
            if (key := request_key(body)) in journal
        }


def _submit_and_wait(url: str, folder: Path) -> None:
    try:
        batched(url, folder)
    except BatchesPendingError:
        signal.pause()


def test_batches_survive_a_kill_between_submit_and_collect(tmp_path: Path) -> None:
    online, wild = tmp_path / "online", tmp_path / "wild"
    online.mkdir()
    wild.mkdir()
    with recorded_server(RECORDING, "--error-rate", "0.05", "--batch-polls", "2") as server:
        with open_journal(online / "j.jsonl") as journal:
            ask_all(bodies, endpoint(server.base_url), journal)
        server.reset()
        process = multiprocessing.get_context("spawn").Process(
            target=_submit_and_wait, args=(server.base_url, wild)
        )
        process.start()
        file = wild / "j.jsonl"
        wait_for(lambda: len(submitted(file)[0]) == 4, 60, "the batches", 0.05)
        assert process.pid
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert server.stats()["batches"] == 4, "230 requests in files of 60 at most"
        with pytest.raises(BatchesPendingError, match="4 batches with 230 requests"):
            batched(server.base_url, wild)
        wait_for(lambda: not any_open(file, endpoint(server.base_url)), 120, "the provider", 0.1)
        account = Account(PRICES)
        with pytest.raises(BatchesPendingError, match="1 batches with"):
            batched(server.base_url, wild, account)
        wait_for(lambda: not any_open(file, endpoint(server.base_url)), 120, "the provider", 0.1)
        with contextlib.suppress(BatchesPendingError):
            batched(server.base_url, wild, account)
        wait_for(lambda: not any_open(file, endpoint(server.base_url)), 120, "the provider", 0.1)
        outcome = batched(server.base_url, wild, account)
        stats = server.stats()
        again = batched(server.base_url, wild)
    assert answers(wild) == answers(online)
    assert len(answers(wild)) == COUNT
    assert stats["batches"] in (5, 6), "about one in twenty failed, and was put in a batch again"
    assert (stats["served"], stats["duplicates"]) == (COUNT, 0), "nothing was answered twice"
    assert outcome.failures == {}
    assert file.read_text().count('"batched":true') == COUNT, "and nothing went online"
    assert account.money == pytest.approx(spent([file], PRICES)[1])
    whole = spent([online / "j.jsonl"], PRICES)[1]
    assert account.money == pytest.approx(whole / 2), "batches cost half"
    assert (again.asked, again.reused) == (0, COUNT)
