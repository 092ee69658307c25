"""The budget: a run stops at its cap within what was in flight, and goes on when the cap is
raised."""

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from deploysim_assets.endpoint.budget import (
    Account,
    BudgetError,
    counted,
    estimated_tokens,
    open_account,
    spent,
    with_usage,
)
from deploysim_assets.endpoint.client import Outcome, ask_all
from deploysim_assets.endpoint.spending import Spending
from deploysim_assets.endpoint.sums import Sum
from deploysim_assets.project import Budget, Endpoint, Price, Project
from deploysim_assets.storage.journal import journal_file, open_journal, set_aside
from deploysim_assets_tests.endpoint.test_client import Seen, echo, request, serving

PRICES = {"m": Price(prompt=1_000, completion=2_000)}
PER_ANSWER = 3 + 2  # tokens, as the test server counts them
CONCURRENCY = 8


def after(tokens: float) -> Spending:
    return Spending(lambda: Sum(tokens))


def small(i: int) -> dict[str, Any]:
    return request(i) | {"max_tokens": 2}


def ask(
    path: Path, url: str, account: Account, said: list[str] | None = None, count: int = 400
) -> Outcome:
    with open_journal(path) as journal:
        log = said.append if said is not None else None
        return ask_all(
            lambda: map(small, range(count)),
            Endpoint(base_url=url, max_concurrency=CONCURRENCY),
            journal,
            account=account,
            log=log,
        )


def test_a_run_stops_at_its_cap_and_goes_on_when_it_is_raised(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    with serving(echo) as (url, seen):
        with pytest.raises(
            BudgetError,
            match=r"endpoint.budget.tokens: 500 is reached .* raise the cap and run again",
        ):
            ask(path, url, Account({}, Budget(tokens=500)))
        tokens, _ = spent([path], {})
        assert 500 - 2 * CONCURRENCY * PER_ANSWER <= tokens <= 500, (
            "within one round of requests of the cap"
        )
        answered = len(seen.bodies)
        with pytest.raises(BudgetError):
            ask(path, url, Account({}, Budget(tokens=500), after(tokens)))
        assert len(seen.bodies) <= answered + 1, (
            "a run that starts at the cap asks for nothing more"
        )
        outcome = ask(path, url, Account({}, Budget(tokens=5_000), after(tokens)))
        assert outcome.asked + outcome.reused == 400
        assert len(seen.bodies) == 400, "nothing was asked for twice"


def test_money_is_counted_by_the_price_table_and_capped_alike(tmp_path: Path) -> None:
    with serving(echo) as (url, _):
        account = Account(PRICES)
        ask(tmp_path / "a.jsonl", url, account, count=10)
        assert account.money == pytest.approx(10 * (3 * 1_000 + 2 * 2_000) / 1e6)
        with pytest.raises(BudgetError, match=r"endpoint.budget.money"):
            ask(tmp_path / "b.jsonl", url, Account(PRICES, Budget(money=0.5)))
        assert spent([tmp_path / "b.jsonl"], PRICES)[1] <= 0.5


def test_the_estimate_is_said_before_the_run(tmp_path: Path) -> None:
    said: list[str] = []
    with serving(echo) as (url, _):
        ask(tmp_path / "j.jsonl", url, Account(PRICES), said, count=20)
        ask(tmp_path / "j.jsonl", url, Account({}), said, count=25)
    prompt = estimated_tokens(small(1))[0]
    assert said[0].startswith("20 requests, 20 to ask")
    assert "about 40 completion tokens" in said[0] or "40 completion tokens, about" in said[0]
    assert prompt >= 2
    assert said[1].startswith("25 requests, 5 to ask")
    assert "no price known for m" in said[1]


def test_an_account_opens_with_what_all_journals_hold_also_those_set_aside(tmp_path: Path) -> None:
    config = {
        "home": tmp_path,
        "releases": [{"model_version": "m1", "logs": {"format": "openai_chat", "path": "x"}}],
        "endpoint": {"base_url": "http://127.0.0.1:1/v1", "budget": {"tokens": 100}},
        "prices": {"m": {"prompt": 1_000, "completion": 2_000}},
        "behaviors": [
            {
                "name": "b",
                "definition": "d",
                "grader": "rule",
                "rule": {"part": "reply", "regex": "x"},
            }
        ],
    }
    with serving(echo) as (url, _):
        ask(journal_file(tmp_path, "grades", "m1"), url, Account({}), count=6)
        set_aside(journal_file(tmp_path, "grades", "m1"))
        ask(journal_file(tmp_path, "candidate_completions", "m2"), url, Account({}), count=4)
        account = open_account(Project.model_validate(config))
        with pytest.raises(BudgetError, match="50 spent"):
            for i in range(100):
                account.reserve(small(i))


def test_answers_of_another_partition_are_taken_over_and_not_billed(tmp_path: Path) -> None:
    with serving(echo) as (url, seen):
        ask(tmp_path / "one.jsonl", url, Account(PRICES), count=30)
        account = Account(PRICES)
        outcome = ask(tmp_path / "two.jsonl", url, account, count=40)
        assert len(seen.bodies) == 40
    assert (outcome.asked, outcome.reused, account.money) == (10, 30, pytest.approx(10 * 0.007))
    (tmp_path / "one.jsonl").unlink()
    with open_journal(tmp_path / "two.jsonl") as journal:
        assert journal.get(next(iter_key(3)))["content"] == "question 3", (
            "the answer is in the partition's own journal now"
        )


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": 0, "completion_tokens": 0}])
def test_a_server_that_reports_no_usage_is_not_free(tmp_path: Path, usage: Any) -> None:
    async def silent(body: dict[str, Any], seen: Seen) -> web.Response:
        choice = {"message": {"content": "word " * 80}, "finish_reason": "stop"}
        return web.json_response({"choices": [choice], "usage": usage})

    path = tmp_path / "j.jsonl"
    with serving(silent) as (url, seen):
        with pytest.raises(BudgetError, match="endpoint.budget.tokens: 2,000 is reached"):
            ask(path, url, Account({}, Budget(tokens=2_000)))
        assert 15 <= len(seen.bodies) <= 20 + CONCURRENCY, "a reply of 400 bytes counts 100 tokens"
        counted_before, _ = spent([path], {}, counted)
        with pytest.raises(BudgetError):
            ask(path, url, Account({}, Budget(tokens=2_000), after(counted_before)))
    with open_journal(path) as journal:
        kept = journal.get(next(iter_key(0)))
    estimated = usage in (None, {})
    assert kept.get("usage_estimated", False) is estimated
    assert kept["completion_tokens"] == (100 if estimated else 0), "what was reported is kept"


def test_of_what_is_reported_and_what_the_texts_come_to_the_larger_counts(tmp_path: Path) -> None:
    answer: dict[str, Any] = {
        "status": "completed", "content": "é" * 40, "reasoning": "x" * 40,
        "tool_calls": [{"arguments": "y" * 40}], "prompt_tokens": 3, "completion_tokens": 500,
    }  # fmt: skip
    assert counted(with_usage(7, answer)) == (7, 500)
    assert counted(with_usage(2, answer | {"completion_tokens": 1})) == (3, 20 + 10 + 10)


def iter_key(i: int) -> Any:
    from deploysim_assets.endpoint.wire import request_key

    yield request_key(small(i))
