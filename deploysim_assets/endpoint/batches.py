"""The provider's batch endpoint: requests go up as files, answers come down within a day; ids
are journalled so that a restart re-attaches."""

import io
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from deploysim_assets.endpoint.budget import Account
from deploysim_assets.endpoint.client import FollowUp, Outcome, api_key, ask_all
from deploysim_assets.endpoint.wire import (
    PATHS,
    MalformedError,
    Refusal,
    answer,
    filtered,
    request_key,
    sent_body,
)
from deploysim_assets.project import Endpoint
from deploysim_assets.storage.journal import BATCHES, Journal, lines, open_journal

_FINISHED = ("completed", "expired", "cancelled", "failed")
_WINDOW = "24h"


class BatchesPendingError(Exception):
    """Batches are with the provider. Nothing failed: come back for their answers."""

    def __init__(self, open_batches: int, requests: int) -> None:
        super().__init__(
            f"{open_batches} batches with {requests:,} requests are with the provider; their "
            "answers are collected when they are done"
        )


class Batch(NamedTuple):
    """A batch that was submitted: the provider's id and the keys of its requests."""

    id: str
    requests: list[str]


def batches_file(journal_file: Path) -> Path:
    """Where the batches of a journal are written down."""
    return journal_file.with_name(journal_file.name.removesuffix(".jsonl") + BATCHES)


def submitted(journal_file: Path) -> tuple[list[Batch], set[str]]:
    """The batches of a journal whose answers were not collected yet, and the keys of all
    requests that ever were in one."""
    open_batches: dict[str, Batch] = {}
    keys: set[str] = set()
    path = batches_file(journal_file)
    for line in lines(path) if path.exists() else ():
        row = orjson.loads(line)
        if row["state"] == "submitted":
            open_batches[row["batch"]] = Batch(row["batch"], row["requests"])
            keys.update(row["requests"])
        else:
            open_batches.pop(row["batch"], None)
    return list(open_batches.values()), keys


def _client(endpoint: Endpoint) -> Any:
    import openai

    return openai.OpenAI(
        base_url=endpoint.base_url,
        api_key=api_key(endpoint),
        max_retries=endpoint.max_retries,
        timeout=endpoint.timeout_seconds,
    )


def any_open(journal_file: Path, endpoint: Endpoint) -> bool:
    """Whether the provider still works on a batch of this journal: one cheap request per batch."""
    open_batches, _ = submitted(journal_file)
    with _client(endpoint) as client:
        return any(
            client.batches.retrieve(batch.id).status not in _FINISHED for batch in open_batches
        )


def _chunks(
    requests: Iterable[dict[str, Any]], endpoint: Endpoint
) -> Iterator[tuple[list[str], bytes]]:
    """Files of requests within the provider's limits of count and size."""
    keys: list[str] = []
    file = io.BytesIO()
    for body in requests:
        key = request_key(body)
        row = (
            orjson.dumps(
                {
                    "custom_id": key,
                    "method": "POST",
                    "url": f"/v1{PATHS[endpoint.api]}",
                    "body": sent_body(body, endpoint.api),
                }
            )
            + b"\n"
        )
        if keys and (
            len(keys) >= endpoint.batches.max_requests
            or file.tell() + len(row) > endpoint.batches.max_megabytes * 1e6
        ):
            yield keys, file.getvalue()
            keys, file = [], io.BytesIO()
        keys.append(key)
        file.write(row)
    if keys:
        yield keys, file.getvalue()


def _submit(
    client: Any, endpoint: Endpoint, record: Journal, requests: Iterable[dict[str, Any]]
) -> tuple[int, int]:
    count = total = 0
    for keys, content in _chunks(requests, endpoint):
        file = client.files.create(file=("requests.jsonl", content), purpose="batch")
        batch = client.batches.create(
            input_file_id=file.id, endpoint=f"/v1{PATHS[endpoint.api]}", completion_window=_WINDOW
        )
        record.put(
            {
                "key": request_key({"submitted": batch.id}),
                "state": "submitted",
                "batch": batch.id,
                "requests": keys,
            }
        )
        record.sync()
        count, total = count + 1, total + len(keys)
    return count, total


def _collect(
    client: Any,
    endpoint: Endpoint,
    batch: Batch,
    journal: Journal,
    account: Account,
    models: dict[str, str],
) -> tuple[bool, int]:
    """Journal a finished batch's answers; whether it is finished, and how many came. Failed rows
    stay unanswered."""
    found = client.batches.retrieve(batch.id)
    if found.status not in _FINISHED:
        return False, 0
    asked = set(batch.requests)
    came = 0
    for file in filter(None, (found.output_file_id, found.error_file_id)):
        for line in client.files.content(file).content.split(b"\n"):
            if not line.strip():
                continue
            row: dict[str, Any] = orjson.loads(line)
            key: str = row["custom_id"]
            if key not in asked or key in journal:
                continue
            read = _row(row.get("response") or {}, endpoint)
            if read is None:
                continue
            at = {"latency_ms": None, "requested_at": _moment(found.created_at), "batched": True}
            journal.put({"key": key, "model": models.get(key, "")} | read | at)
            account.settle_batched(models.get(key, ""), read)
            came += 1
    journal.sync()
    return True, came


def _row(response: dict[str, Any], endpoint: Endpoint) -> dict[str, Any] | None:
    """The answer in a row of a batch's output, or None for a row to be asked for again."""
    raw = orjson.dumps(response.get("body"))
    if response.get("status_code") != 200:
        wrong = Refusal(int(response.get("status_code") or 500), raw)
        return filtered(wrong) if wrong.is_filter else None
    try:
        return answer(raw, endpoint.api)
    except MalformedError:
        return None


def _moment(epoch: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(epoch))


def ask_batched(
    requests: Callable[[], Iterable[dict[str, Any]]],
    endpoint: Endpoint,
    journal: Journal,
    journal_file: Path,
    follow_up: FollowUp = lambda request, answer: None,
    *,
    account: Account,
    log: Callable[[str], None] | None = None,
) -> Outcome:
    """`ask_all` through the batch endpoint: submits what is missing, and collects on a later call.

    Raises BatchesPendingError while the provider works.  What failed in a batch, or expired with
    it, is asked for online, as are follow-ups: each request is batched once.
    """
    with _client(endpoint) as client, open_journal(batches_file(journal_file)) as record:
        open_batches, batched = submitted(journal_file)
        models = {request_key(body): body["model"] for body in requests()} if open_batches else {}
        waiting = came = 0
        for batch in open_batches:
            finished, answered = _collect(client, endpoint, batch, journal, account, models)
            came += answered
            if finished:
                record.put(
                    {
                        "key": request_key({"collected": batch.id}),
                        "state": "collected",
                        "batch": batch.id,
                    }
                )
                record.sync()
            else:
                waiting += len(batch.requests)
        if waiting:
            raise BatchesPendingError(sum(1 for _ in submitted(journal_file)[0]), waiting)

        def new() -> Iterator[dict[str, Any]]:
            seen: set[str] = set()
            for body in requests():
                key = request_key(body)
                if key not in batched and key not in journal and key not in seen:
                    seen.add(key)
                    account.reserve(body)
                    yield body

        count, total = _submit(client, endpoint, record, new())
        if count:
            raise BatchesPendingError(count, total)
    outcome = ask_all(requests, endpoint, journal, follow_up, account=account, log=log)
    return outcome._replace(asked=outcome.asked + came, reused=outcome.reused - came)
