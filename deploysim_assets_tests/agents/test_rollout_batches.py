"""Rollouts through the batch endpoint: a round for each step, and the turns that they come to
online; what answers in place of the endpoint goes into no batch."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploysim_assets.agents.rollout import Rollout, follow_up, rolled_out
from deploysim_assets.benchmarks.rollouts import AgentChaos, prefixes, simulator
from deploysim_assets.endpoint.ask import ask
from deploysim_assets.endpoint.batches import BatchesPendingError
from deploysim_assets.endpoint.budget import Account
from deploysim_assets.endpoint.tries import UnansweredError
from deploysim_assets.endpoint.wire import Request, about
from deploysim_assets.project import Candidate, Endpoint
from deploysim_assets.storage.journal import open_journal
from deploysim_assets_tests.endpoint.test_batch_faults import Provider
from deploysim_assets_tests.support import serve

COUNT = 7


class AgentProvider(Provider):
    """The model and the simulator of the benchmark, behind batches."""

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        found = AgentChaos(0.0, 0)._answer(body)
        assert found is not None
        return found


def rows(url: str, file: Path, mode: str) -> tuple[list[dict[str, Any]], int]:
    """The turns, and after how many rounds there were."""
    by = simulator()

    def made() -> Iterator[Rollout]:
        return (
            Rollout(prefix, Candidate(model="m"), 7, by, lambda model, p, c, batched: 0.0)
            for prefix in prefixes(COUNT)
        )

    endpoint = Endpoint.model_validate({"base_url": url, "mode": mode})
    for rounds in range(100):
        with open_journal(file) as journal:
            try:
                outcome = ask(
                    lambda: (one.first() for one in made()),
                    endpoint, journal, file, follow_up, account=Account({}),
                )  # fmt: skip
            except BatchesPendingError:
                continue
            return [rolled_out(one, journal, outcome.failures) for one in made()], rounds
    raise AssertionError("the batches never end")


def test_turns_through_batches_are_those_online(tmp_path: Path) -> None:
    held = AgentProvider()
    with serve(held.app()) as url:
        online, _ = rows(url, tmp_path / "online" / "j.jsonl", "online")
        assert held.online > COUNT and not held.batches
        before = held.online
        batched, rounds = rows(url, tmp_path / "batch" / "j.jsonl", "batch")
        assert held.online == before and len(held.batches) == rounds
    timed = ("latency_ms", "requested_at")
    plain = [
        [{k: v for k, v in row.items() if k not in timed} for row in r] for r in (online, batched)
    ]
    assert plain[0] == plain[1]
    assert max(len(row["message"]["steps"]) for row in batched) > 4


@pytest.mark.parametrize("mode", ["online", "batch"])
def test_what_answers_in_place_of_the_endpoint_is_kept_and_billed_nothing(
    tmp_path: Path, mode: str
) -> None:
    held, looked = Provider(), list[str]()

    def live(name: str) -> Request:
        async def found() -> dict[str, Any]:
            looked.append(name)
            if name == "away":
                raise UnansweredError("away: no answer")
            return {"content": name}

        request = about("ab" * 16, {"look": name})
        request.live = found
        return request

    def after(request: dict[str, Any], answer: dict[str, Any]) -> list[Request] | None:
        return [live("here"), live("here"), live("away")] if "messages" in request else None

    first = {"model": "m", "seed": 1, "messages": [{"role": "user", "content": "hello"}]}
    file, account = tmp_path / "j.jsonl", Account({})
    with serve(held.app()) as url:
        endpoint = Endpoint.model_validate({"base_url": url, "mode": mode})
        for _ in range(3):
            with open_journal(file) as journal:
                try:
                    outcome = ask(
                        lambda: [about("ab" * 16, first)],
                        endpoint, journal, file, after, account=account,
                    )  # fmt: skip
                except BatchesPendingError:
                    continue
                assert [*outcome.failures.values()] == ["away: no answer"]
    assert looked.count("here") == 1, "the same is looked up once"
    assert looked.count("away") > 1, "what failed is looked up again by the next run"
    assert (account.prompt_tokens, account.completion_tokens) == (3, 2)
