"""Endpoints, batches, prices and budgets."""

from typing import Literal, Self

from pydantic import Field, model_validator

from deploysim_assets.behaviors import Frozen


class Price(Frozen):
    """What a model costs, per million tokens, in whatever currency the budget is meant in."""

    prompt: float = Field(ge=0)
    completion: float = Field(ge=0)
    batch_factor: float = Field(default=0.5, gt=0, le=1)

    def of(self, prompt: int, completion: int, *, batched: bool = False) -> float:
        """The price of so many tokens."""
        return (
            (prompt * self.prompt + completion * self.completion)
            / 1e6
            * (self.batch_factor if batched else 1.0)
        )


class Budget(Frozen):
    """Caps on what all runs of the project together may spend at the endpoint."""

    tokens: int | None = Field(default=None, ge=1)
    money: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _caps_something(self) -> Self:
        if self.tokens is None and self.money is None:
            raise ValueError("name a cap in tokens or in money")
        return self


class Batches(Frozen):
    """How requests are cut into the provider's batches, how often these are asked after, and what
    becomes of requests that three batches did not answer: they fail, or are asked online."""

    max_requests: int = Field(default=50_000, ge=1)
    max_megabytes: float = Field(default=100, gt=0)
    poll_seconds: float = Field(default=60, gt=0)
    fallback: Literal["fail", "online"] = "fail"


class Endpoint(Frozen):
    """An OpenAI-compatible server and how hard it may be driven: up to `max_concurrency` requests
    at once, fewer where it pushes back.

    A run that gets no answer at all for `max_wait_seconds` (or for one request's time-out, where
    that is longer) ends with what it has.  `mode: batch` goes through the provider's batch
    endpoint: cheaper, done within a day.
    """

    base_url: str = Field(pattern=r"^https?://")
    api_key_env: str | None = None
    api: Literal["chat", "responses"] = "chat"
    mode: Literal["online", "batch"] = "online"
    batches: Batches = Batches()
    max_concurrency: int = Field(default=32, ge=1, le=4096)
    timeout_seconds: float = Field(default=120, gt=0)
    max_retries: int = Field(default=8, ge=0)
    max_wait_seconds: float = Field(default=900, gt=0)
    budget: Budget | None = None
