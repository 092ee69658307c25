"""What asking costs: estimates before, a running total, and a cap at which a run stops so that a
later one can go on."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

import orjson

from deploysim_assets.project import Budget, Price, Project, ProjectError
from deploysim_assets.storage.journal import lines
from deploysim_assets.storage.journals import journal_files

_BYTES_PER_TOKEN = 4
_GUESSED_COMPLETION = 500


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


class Account:
    """Tokens and money of one endpoint: what earlier runs spent, what this one does, and the cap
    over both."""

    def __init__(
        self,
        prices: dict[str, Price],
        budget: Budget | None = None,
        *,
        spent_tokens: int = 0,
        spent_money: float = 0.0,
    ) -> None:
        self._prices, self._budget = prices, budget
        self._before = spent_tokens, spent_money
        self.prompt_tokens = self.completion_tokens = 0
        self.money = 0.0
        self._counted_tokens, self._counted_money = 0, 0.0
        self._reserved_tokens, self._reserved_money = 0, 0.0

    def price(self, model: str, prompt: int, completion: int, *, batched: bool = False) -> float:
        """Money for so many tokens of a model; 0 for one without a price."""
        found = self._prices.get(model)
        return found.of(prompt, completion, batched=batched) if found else 0.0

    def priced(self, model: str) -> bool:
        """Whether the project's price table names the model."""
        return model in self._prices

    def reserve(self, body: dict[str, Any]) -> None:
        """Set a request's estimate aside; BudgetError where it would pass the cap."""
        prompt, completion = estimated_tokens(body)
        money = self.price(body["model"], prompt, completion)
        if self._budget:
            tokens_then = (
                self._before[0] + self._counted_tokens + self._reserved_tokens + prompt + completion
            )
            money_then = self._before[1] + self._counted_money + self._reserved_money + money
            self._check("tokens", self._budget.tokens, tokens_then)
            self._check("money", self._budget.money, money_then)
        self._reserved_tokens += prompt + completion
        self._reserved_money += money

    def _check(self, name: str, cap: float | None, then: float) -> None:
        if cap is not None and then > cap:
            spent = (
                self._before[0] + self._counted_tokens
                if name == "tokens"
                else self._before[1] + self._counted_money
            )
            raise BudgetError(
                f"deploysim.yaml: endpoint.budget.{name}: {cap:,.6g} is reached ({spent:,.6g} "
                "spent, the rest is set aside for requests under way); "
                "what was answered is kept: raise the cap and run again"
            )

    def settle(self, body: dict[str, Any], answered: dict[str, Any] | None) -> None:
        """Take the estimate back, and charge what the answer really took."""
        prompt, completion = estimated_tokens(body)
        self._reserved_tokens -= prompt + completion
        self._reserved_money -= self.price(body["model"], prompt, completion)
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
        self._counted_tokens += sum(tokens)
        self._counted_money += self.price(model, *tokens, batched=batched)


def open_account(project: Project) -> Account:
    """The account of a project's endpoints, with what all its journals hold already spent."""
    budget = project.endpoint.budget
    if budget is None:
        return Account(project.prices)
    tokens, money = spent(journal_files(project.home), project.prices, counted)
    return Account(project.prices, budget, spent_tokens=tokens, spent_money=money)


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
