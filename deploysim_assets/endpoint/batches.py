"""The provider's batch endpoint: requests go up as files, answers come down within a day; what was
submitted is written down before and after, so that a restart re-attaches."""

import asyncio
import contextlib
import io
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import orjson

from deploysim_assets.endpoint.answers import MalformedError, answer
from deploysim_assets.endpoint.batch_provider import FINISHED, LostError, Provider
from deploysim_assets.endpoint.batch_records import (
    BATCH_TRIES,
    Asked,
    Batch,
    Intent,
    Record,
    Writer,
    batches_file,
    submitted,
)
from deploysim_assets.endpoint.budget import Account, estimated_tokens, with_usage
from deploysim_assets.endpoint.client import Outcome, ask_all
from deploysim_assets.endpoint.errors import EndpointError
from deploysim_assets.endpoint.refusals import Refusal, filtered, masked
from deploysim_assets.endpoint.tries import UnansweredError
from deploysim_assets.endpoint.wire import (
    PATHS,
    FollowUp,
    following,
    live_answer,
    request_key,
    sent_body,
    subject_of,
)
from deploysim_assets.project import Endpoint
from deploysim_assets.storage.journal import Journal, open_journal

__all__ = ["Batch", "BatchesPendingError", "any_open", "ask_batched", "batches_file", "submitted"]

Log = Callable[[str], None]


class BatchesPendingError(Exception):
    """Batches are with the provider. Nothing failed: come back for their answers."""

    def __init__(self, open_batches: int, requests: int) -> None:
        super().__init__(
            f"{open_batches} batches with {requests:,} requests are with the provider; their "
            "answers are collected when they are done"
        )


def any_open(journal_file: Path, *endpoints: Endpoint) -> bool:
    """Whether a provider still works on a batch of this journal: one cheap request per batch, at
    that of the `endpoints` which it went to.
    One that it has lost is not worked on: the next run says so."""
    by_url = {endpoint.base_url: endpoint for endpoint in reversed(endpoints)}

    def works_on(batch: Batch) -> bool:
        with Provider(by_url.get(batch.url or "", endpoints[0])) as provider:
            try:
                return provider.retrieve(batch.id).status not in FINISHED
            except LostError:
                return False

    return any(works_on(batch) for batch in submitted(journal_file)[0])


def _chunks(
    requests: Iterable[dict[str, Any]], endpoint: Endpoint
) -> Iterator[tuple[dict[str, Asked], bytes]]:
    """Files of requests within the provider's limits of count and size."""
    keys: dict[str, Asked] = {}
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
            keys, file = {}, io.BytesIO()
        keys[key] = _asked(body)
        file.write(row)
    if keys:
        yield keys, file.getvalue()


def _asked(body: dict[str, Any]) -> Asked:
    return Asked(body["model"], estimated_tokens(body)[0], subject_of(body).get("about"))


def _resolve(provider: Provider, intents: Iterable[Intent], writer: Writer, say: Log) -> None:
    """Find out of each intent whether its batch was created before the run that wrote it ended."""
    for intent in intents:
        try:
            batch = provider.of_intent(intent)
        except LostError:
            raise EndpointError(
                f"an earlier run ended while it created a batch of {len(intent.requests):,} "
                "requests, and the provider lists no batches: look there whether it has one; "
                f"`deploysim batches drop {intent.id}` has its requests asked again"
            ) from None
        if batch is None:
            writer.dropped(intent.id)
        else:
            say(f"batch {batch}: created by a run that ended before it knew; re-attached")
            writer.submitted(batch, intent.id, intent.requests)


class _Collected(NamedTuple):
    """What came of a finished batch: answers, requests without one and why, and those of them that
    no other try would answer."""

    answers: dict[str, dict[str, Any]]
    failed: dict[str, str]
    for_good: set[str]


def _read_batch(provider: Provider, found: Any, batch: Batch, endpoint: Endpoint) -> _Collected:
    collected = _Collected({}, dict.fromkeys(batch.requests, _reason(found)), set())
    for file in filter(None, (found.output_file_id, found.error_file_id)):
        for line in provider.content(file).split(b"\n"):
            try:
                row: dict[str, Any] = orjson.loads(line)
                key: str = row["custom_id"]
            except (ValueError, KeyError, TypeError):
                continue  # its request is among those without an answer
            if key in collected.failed:
                _take_row(row, key, endpoint, collected)
    return collected


def _take_row(row: dict[str, Any], key: str, endpoint: Endpoint, collected: _Collected) -> None:
    response, error = row.get("response"), row.get("error")
    try:
        if not isinstance(response, dict):
            code = cast("dict[str, Any]", error)["code"] if isinstance(error, dict) else "no answer"
            collected.failed[key] = f"its batch gave none: {code}"
            return
        response = cast("dict[str, Any]", response)
        raw, status = orjson.dumps(response.get("body")), int(response.get("status_code") or 500)
        if status == 200:
            read = answer(raw, endpoint.api)
        elif (wrong := Refusal(status, raw)).is_filter:
            read = filtered(wrong)
        else:
            collected.failed[key] = f"in its batch: {wrong}"
            if not wrong.is_transient:
                collected.for_good.add(key)
            return
    except (MalformedError, ValueError, KeyError, TypeError) as wrong:
        said = str(wrong) if isinstance(wrong, MalformedError) else "its line cannot be read"
        collected.failed[key] = f"in its batch: {said}"
        return
    collected.answers[key] = read
    del collected.failed[key]


def _reason(found: Any) -> str:
    """The batch's status and what the provider says of it."""
    errors: list[Any] = getattr(found.errors, "data", None) or []
    said = "; ".join(
        masked(f"{e.code or ''}: {e.message or ''}".strip(": "), None) for e in errors[:3]
    )
    return f"its batch is {found.status}{f' ({said})' if said else ', without its answer'}"


def _collect(
    provider: Provider,
    endpoint: Endpoint,
    batch: Batch,
    journal: Journal,
    account: Account,
    asked: dict[str, Asked],
    writer: Writer,
    say: Log,
) -> int | None:
    """Journal a finished batch's answers and return how many came; None while the provider works.
    EndpointError where it has lost the batch, or somebody cancelled it."""
    try:
        found = provider.retrieve(batch.id)
    except LostError:
        raise EndpointError(
            f"batch {batch.id} with {len(batch.requests):,} requests: the provider has no such "
            f"batch any more; `deploysim batches drop {batch.id}` has its requests asked again"
        ) from None
    if found.status not in FINISHED:
        return None
    collected = _read_batch(provider, found, batch, endpoint)
    at = {"latency_ms": None, "requested_at": _moment(found.created_at), "batched": True}
    came = 0
    for key, read in collected.answers.items():
        if key in journal:
            continue
        model, prompt, about = asked.get(key, Asked())
        whole = with_usage(prompt, read)
        subject = {"about": about} if about else {}
        journal.put({"key": key, "model": model, **subject} | whole | at)
        account.settle_batched(model, whole)
        came += 1
    journal.sync()
    if found.status == "cancelled" and collected.failed:
        raise EndpointError(
            f"batch {batch.id} was cancelled with {len(collected.failed):,} requests unanswered; "
            f"`deploysim batches drop {batch.id}` has them asked again"
        )
    writer.collected(batch.id, collected.failed, collected.for_good)
    if collected.failed:
        first = next(iter(collected.failed.values()))
        say(
            f"batch {batch.id}: {found.status}; {came:,} answers came, "
            f"{len(collected.failed):,} requests have none: {first}"
        )
    return came


def _moment(epoch: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(epoch))


def _unanswered(
    requests: Callable[[], Iterable[dict[str, Any]]], journal: Journal, follow_up: FollowUp
) -> Iterator[dict[str, Any] | None]:
    """Down the chain of each request and its follow-ups: None for every answer that is there, and
    the first requests that have none."""
    seen: set[str] = set()
    for first in requests():
        to_see = [first]
        while to_see:
            body = to_see.pop()
            if (key := request_key(body)) in journal:
                yield None
                to_see += reversed(following(body, follow_up(body, journal.get(key))))
            elif key not in seen:
                seen.add(key)
                yield body


def _look(
    requests: Callable[[], Iterable[dict[str, Any]]], journal: Journal, follow_up: FollowUp
) -> dict[str, str]:
    """Journal what answers in place of the endpoint, until only requests to it are left; returns
    what failed and why."""
    failures: dict[str, str] = {}

    async def answer_all(bodies: list[dict[str, Any]]) -> None:
        for body in bodies:
            answers, key = live_answer(body), request_key(body)
            assert answers is not None
            try:
                journal.put({"key": key, **subject_of(body)} | await answers())
            except UnansweredError as wrong:
                failures[key] = str(wrong)

    while found := [
        body
        for body in _unanswered(requests, journal, follow_up)
        if body is not None and live_answer(body) and request_key(body) not in failures
    ]:
        asyncio.run(answer_all(found))
    return failures


def _submit(
    provider: Provider, endpoint: Endpoint, writer: Writer, requests: Iterable[dict[str, Any]]
) -> tuple[int, int]:
    count = total = 0
    for keys, content in _chunks(requests, endpoint):
        intent = secrets.token_hex(12)
        writer.intent(intent, keys, endpoint.base_url)
        writer.submitted(provider.create(intent, content), intent, list(keys))
        count, total = count + 1, total + len(keys)
    return count, total


def _unheard(_: str) -> None:
    pass


def ask_batched(
    requests: Callable[[], Iterable[dict[str, Any]]],
    endpoint: Endpoint,
    journal: Journal,
    journal_file: Path,
    follow_up: FollowUp = lambda request, answer: None,
    *,
    account: Account,
    log: Log | None = None,
) -> Outcome:
    """`ask_all` through the batch endpoint: submits what is missing, and collects on a later call.

    Raises BatchesPendingError while the provider works.  What a batch gave no answer to is asked
    for in another, three times in all, as are follow-ups; what then has none is in
    `Outcome.failures`, or is asked for online where `batches.fallback` says so.  EndpointError
    where the provider lost a batch, or where no request has an answer.
    """
    say = log or _unheard
    with (
        Provider(endpoint) as provider,
        open_journal(batches_file(journal_file)) as file,
        contextlib.ExitStack() as ending,
    ):
        ending.callback(account.finish)
        writer = Writer(file)
        record = Record.load(journal_file)
        known = record.open or record.intents
        asked = _what_is_asked(requests, journal, follow_up) if known else {}

        def is_here(one: Batch | Intent) -> bool:
            # of one journal's requests some may go elsewhere: the judge's own endpoint
            return one.url in (None, endpoint.base_url) or not asked.keys().isdisjoint(one.requests)

        _resolve(provider, filter(is_here, record.intents.values()), writer, say)
        came = waiting = open_batches = 0
        record = Record.load(journal_file)
        charged_by = asked | record.asked
        for batch in filter(is_here, record.open.values()):
            answers = _collect(provider, endpoint, batch, journal, account, charged_by, writer, say)
            came += answers or 0
            waiting += len(batch.requests) if answers is None else 0
            open_batches += answers is None
        account.renew()
        record = Record.load(journal_file)
        if waiting:
            raise BatchesPendingError(open_batches, waiting)
        given_up = _look(requests, journal, follow_up)

        def new() -> Iterator[dict[str, Any]]:
            for body in _unanswered(requests, journal, follow_up):
                if body is None or live_answer(body):
                    continue
                key = request_key(body)
                if record.tries[key] >= BATCH_TRIES:
                    given_up[key] = record.reasons.get(key, "its batches gave no answer")
                else:
                    account.reserve(body)
                    yield body

        count, total = _submit(provider, endpoint, writer, new())
        if count:
            raise BatchesPendingError(count, total)
    if given_up and endpoint.batches.fallback == "online":
        say(f"{len(given_up):,} requests that {BATCH_TRIES} batches did not answer go online")
        outcome = ask_all(requests, endpoint, journal, follow_up, account=account, log=log)
        return outcome._replace(asked=outcome.asked + came, reused=outcome.reused - came)
    answered = sum(body is None for body in _unanswered(requests, journal, follow_up))
    if given_up and not answered:
        raise EndpointError(
            f"{endpoint.base_url}: no batch gave an answer: {next(iter(given_up.values()))}; mend "
            "that and run again with --fresh, or set batches.fallback: online"
        )
    return Outcome(
        answered - came,
        came,
        given_up,
        0,
        account.prompt_tokens,
        account.completion_tokens,
        account.money,
    )


def _what_is_asked(
    requests: Callable[[], Iterable[dict[str, Any]]], journal: Journal, follow_up: FollowUp
) -> dict[str, Asked]:
    return {
        request_key(body): _asked(body)
        for body in _unanswered(requests, journal, follow_up)
        if body is not None and not live_answer(body)
    }


def drop_batch(journal_file: Path, name: str) -> int:
    """Expect nothing more of a batch or an intent of this journal; returns the number of requests
    that may be asked again, 0 where the journal has no such batch."""
    record = Record.load(journal_file)
    found = record.open.get(name) or record.intents.get(name)
    if found is None:
        return 0
    with open_journal(batches_file(journal_file)) as file:
        Writer(file).dropped(name)
    return len(found.requests)
