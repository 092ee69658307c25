"""What asking costs: estimates before, a running total, and a cap at which a run stops so that a
later one can go on."""

import contextlib
import hashlib
import math
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

import orjson

from deploysim_assets.endpoint.allotments import Granted, HostBudget, Needs
from deploysim_assets.endpoint.hosts import HostPace
from deploysim_assets.endpoint.sharing import Sharing
from deploysim_assets.endpoint.spending import Spending
from deploysim_assets.endpoint.sums import Sum
from deploysim_assets.project import Budget, Endpoint, Price, Project, ProjectError
from deploysim_assets.storage.journal import lines
from deploysim_assets.storage.journals import journal_files
from deploysim_assets.storage.objects import StoreError
from deploysim_assets.storage.sharing import shared_budget, shared_pace
from deploysim_assets.storage.sharing_there import (
    HOLDS,
    LONGEST,
    SharedThere,
    budget_there,
    pace_there,
)

_BYTES_PER_TOKEN = 4
_GUESSED_COMPLETION = 500
_AT_ONCE = 64
"""Requests whose cost is set aside with one look at what others spend."""


LOOK = 0.1
"""Seconds between two looks whether the other hosts are to be asked, or have answered."""


class BudgetError(ProjectError):
    """The cap was reached. What was answered is journalled; a run with a higher cap goes on from
    it."""


def _tokens_of(text: str | None) -> int:
    """Four bytes a token: near for English and code, and for scripts that take three bytes a
    character."""
    if not text:
        return 0
    return (len(text) if text.isascii() else len(text.encode())) // _BYTES_PER_TOKEN


def estimated_tokens(body: dict[str, Any]) -> tuple[int, int]:
    """Prompt and completion tokens of a request before it is sent: four bytes a token, and the
    request's own limit or 500."""
    prompt = sum(
        _tokens_of(m["content"]) for m in body["messages"] if isinstance(m.get("content"), str)
    )
    if tools := body.get("tools"):
        prompt += len(orjson.dumps(tools)) // _BYTES_PER_TOKEN
    limit = body.get("max_tokens") or body.get("max_completion_tokens")
    return prompt + 1, min(int(limit), _GUESSED_COMPLETION) if limit else _GUESSED_COMPLETION


def with_usage(prompt_tokens: int, found: dict[str, Any]) -> dict[str, Any]:
    """An answer with its tokens: those that the server reports, or where it reports none those
    estimated, of its request and of its texts, and marked so.

    `counted_tokens` is what a budget counts where that is more: the larger of what was reported and
    what the texts come to, so that a server that reports nothing is not free.
    """
    if found["status"] == "filtered" and found["content"] is None:
        return found  # a refused request: nothing was written
    written = (found["content"], found["reasoning"], *(c["arguments"] for c in found["tool_calls"]))
    texts = prompt_tokens, sum(map(_tokens_of, written))
    reported = found["prompt_tokens"], found["completion_tokens"]
    tokens = [text if said is None else said for said, text in zip(reported, texts, strict=True)]
    more: dict[str, Any] = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}
    if None in reported:
        more["usage_estimated"] = True
    if tokens[0] < texts[0] or tokens[1] < texts[1]:
        more["counted_tokens"] = [max(tokens[0], texts[0]), max(tokens[1], texts[1])]
    return found | more


def counted(answered: dict[str, Any]) -> tuple[int, int]:
    """Prompt and completion tokens of an answer as a budget counts them."""
    prompt, completion = answered.get("counted_tokens") or (
        answered["prompt_tokens"],
        answered["completion_tokens"],
    )
    return prompt, completion


def _cap(budget: Budget) -> Sum:
    return Sum(
        math.inf if budget.tokens is None else budget.tokens,
        math.inf if budget.money is None else budget.money,
    )


class Account:
    """Tokens and money of one endpoint: what earlier runs and other processes spend, what this one
    does, and the cap over all."""

    def __init__(
        self,
        prices: dict[str, Price],
        budget: Budget | None = None,
        spending: Spending | None = None,
        home: Path | None = None,
    ) -> None:
        """Without `spending`, nothing was spent before and nobody else spends; without `home` the
        endpoint's pace is this process's alone."""
        self._prices, self._home = prices, home
        self._spending = (spending or Spending(Sum)) if budget else None
        self._cap = _cap(budget) if budget else Sum()
        self.prompt_tokens = self.completion_tokens = 0
        self.money = 0.0
        self._reserved = Sum()

    def sharing(self, endpoint: Endpoint) -> tuple[Sharing | None, HostPace | None]:
        """A part of the endpoint's pace, of which all processes that ask it from the same home have
        one; and the part of this host, where the home is in a bucket."""
        if self._home is None:
            return None, None
        named = f"{endpoint.base_url.rstrip('/')} {endpoint.api_key_env or ''}"
        name = hashlib.sha256(named.encode()).hexdigest()[:16]
        there = pace_there(self._home, name)
        sharing = Sharing(shared_pace(self._home, name), among_hosts=there is not None)
        return sharing, HostPace(there, sharing) if there else None

    def price(self, model: str, prompt: int, completion: int, *, batched: bool = False) -> float:
        """Money for so many tokens of a model; 0 for one without a price."""
        found = self._prices.get(model)
        return found.of(prompt, completion, batched=batched) if found else 0.0

    def priced(self, model: str) -> bool:
        """Whether the project's price table names the model."""
        return model in self._prices

    def reserve(self, body: dict[str, Any]) -> None:
        """Set a request's estimate aside; BudgetError where it would pass the cap, StoreError where
        the home's bucket cannot be asked."""
        begun = time.monotonic()
        while not self.reserved(body):
            if self.allotted and (needs := self.needs()):
                with contextlib.suppress(StoreError):
                    self.granted(needs, *self.allotted.exchange(needs))
            self.check(begun)
            time.sleep(LOOK)

    def reserved(self, body: dict[str, Any]) -> bool:
        """The same; False where other hosts are to be asked first (`needs`)."""
        request = self._estimate(body)
        if (spending := self._spending) is not None:
            then = self._reserved.plus(request)
            if not spending.covers(then):
                spending.ask(self._cap, self._reserved, request, request.times(_AT_ONCE))
                if spending.waits:
                    return False
                if spending.lacks:
                    raise self._reached(spending)
        self._reserved = self._reserved.plus(request)
        return True

    @property
    def allotted(self) -> HostBudget | None:
        """The part of this host, where the home is in a bucket."""
        return self._spending.hosts if self._spending else None

    def needs(self) -> Needs | None:
        """What the processes of this host need of the budget, where this one is to ask the other
        hosts for it just now, by `allotted.exchange`."""
        allotted = self.allotted
        return allotted.needs(self._cap) if allotted and allotted.due() else None

    def granted(self, needs: Needs, found: Granted, until: float) -> list[str]:
        """Let the processes of this host have what other hosts left them; what is to be said."""
        if self.allotted:
            self.allotted.take(needs, found, until)
        return [
            f"{one.tokens:,.0f} tokens ({one.money:,.2f}) that a lost host, or a killed run of "
            "this one, had set aside count as spent"
            for one in found.lost
        ]

    def check(self, begun: float) -> None:
        """StoreError where this host has had no part of the budget for a minute."""
        if self.allotted is not None:
            cut_off(self.allotted.there, max(begun, self.allotted.until - HOLDS))

    def _estimate(self, body: dict[str, Any]) -> Sum:
        prompt, completion = estimated_tokens(body)
        return Sum(prompt + completion, self.price(body["model"], prompt, completion))

    def _reached(self, spending: Spending) -> BudgetError:
        name = spending.lacks
        cap, spent = getattr(self._cap, name), getattr(spending.spent, name)
        return BudgetError(
            f"deploysim.yaml: endpoint.budget.{name}: {cap:,.6g} is reached ({spent:,.6g} "
            "spent, the rest is set aside for requests under way); "
            "what was answered is kept: raise the cap and run again"
        )

    def renew(self) -> None:
        """Tell other processes what was spent, and leave them what is not under way."""
        if self._spending is not None:
            self._spending.renew(self._cap, self._reserved)

    def finish(self) -> None:
        """The same at the end of a run, where nobody waits any more."""
        if self.allotted is not None:
            self.allotted.give_up()
        self.renew()
        if self.allotted is not None:
            self.allotted.end(self._cap)

    def settle(self, body: dict[str, Any], answered: dict[str, Any] | None) -> None:
        """Take the estimate back, and charge what the answer really took."""
        self._reserved = self._reserved.minus(self._estimate(body))
        if answered:
            self._charge(body["model"], answered, batched=False)

    def settle_batched(self, model: str, answered: dict[str, Any]) -> None:
        """Charge an answer that came from a batch."""
        self._charge(model, answered, batched=True)

    def _charge(self, model: str, answered: dict[str, Any], *, batched: bool) -> None:
        reported = answered["prompt_tokens"], answered["completion_tokens"]
        self.prompt_tokens += reported[0]
        self.completion_tokens += reported[1]
        self.money += self.price(model, *reported, batched=batched)
        tokens = counted(answered)
        if self._spending is not None:
            self._spending.spend(Sum(sum(tokens), self.price(model, *tokens, batched=batched)))


def open_account(project: Project) -> Account:
    """The account of a project's endpoints, over what all its journals hold already spent and what
    other processes of the home spend just now."""
    budget, home = project.endpoint.budget, project.home
    if budget is None:
        return Account(project.prices, home=home)

    def before() -> Sum:
        return Sum(*spent(journal_files(home), project.prices, counted))

    return Account(project.prices, budget, spending_of(home, before), home)


def spending_of(home: Path, before: Callable[[], Sum]) -> Spending:
    """A process's hold on the budget of a home; `before` reads what its journals say was spent."""
    shared, there = shared_budget(home), budget_there(home)
    return Spending(before, shared, HostBudget(there, shared, before) if there else None)


def cut_off(there: SharedThere, since: float) -> None:
    """StoreError where the bucket has not been reached for so long that a run ends."""
    if (silent := time.monotonic() - since) > LONGEST:
        raise StoreError(
            f"{there.where}: could not be read and written for {silent:,.0f} s, so that this host "
            "may ask nothing more: other hosts may have its part of the pace and the budget by "
            "now. What was answered is kept: see that the bucket can be reached, and run again"
            + (f" (it said: {there.wrong})" if there.wrong else "")
        )


def _reported(row: dict[str, Any]) -> tuple[int, int]:
    return row["prompt_tokens"], row["completion_tokens"]


def spent(
    journals: Iterable[Path],
    prices: dict[str, Price],
    tokens_of: Callable[[dict[str, Any]], tuple[int, int]] = _reported,
) -> tuple[int, float]:
    """Tokens and money of everything that the journals hold, by default as the servers report
    them."""
    tokens, money = 0, 0.0
    for path in journals:
        for line in lines(path):
            row: dict[str, Any] = orjson.loads(line)
            if "prompt_tokens" not in row or row.get(
                "copied"
            ):  # copied: another partition paid for it
                continue
            used = tokens_of(row)
            tokens += sum(used)
            if price := prices.get(row.get("model", "")):
                money += price.of(*used, batched=bool(row.get("batched")))
    return tokens, money


class Spent(Protocol):
    """What a run was billed."""

    @property
    def prompt_tokens(self) -> int: ...
    @property
    def completion_tokens(self) -> int: ...
    @property
    def money(self) -> float: ...


def costs(run: Spent, journal: Path, prices: dict[str, Price]) -> dict[str, float]:
    """A partition's cost for its metadata: tokens and money of this run, and of all runs that
    its journal holds answers of."""
    tokens, money = spent([journal] if journal.exists() else [], prices)
    now = {
        "prompt_tokens": run.prompt_tokens,
        "completion_tokens": run.completion_tokens,
        "cost": run.money,
    }
    return now | {"tokens_of_all_runs": tokens, "cost_of_all_runs": money}
