"""Which conversations may be used, and which turns are drawn."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from deploysim_assets.behaviors import Frozen


class Strata(Frozen):
    """A stratified design: which traffic is looked at more closely than its share.

    `by` names the column; depth counts user turns (1, 2-4, 5+); risk reads a number from the
    source's `risk_column`, cut at `risk_cuts`; tools is what the deployed model's turn did: write
    where it called a tool that may write, read where it only called others, none without a call.
    `proportional` of the prefixes follow the traffic,
    the rest go to the strata in `shares`, whose weights sum to 1.
    """

    by: Literal["surface", "language", "depth", "risk", "tools"]
    shares: dict[str, Annotated[float, Field(gt=0, le=1)]] = Field(min_length=1)
    proportional: float = Field(default=0.3, ge=0.3, le=1)
    risk_column: str | None = None
    risk_cuts: tuple[float, ...] = (0.5,)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if abs(sum(self.shares.values()) - 1) > 1e-6:
            raise ValueError(f"shares sum to {sum(self.shares.values()):g}; make them sum to 1")
        if (self.by == "risk") != (self.risk_column is not None):
            raise ValueError("`risk_column` goes with by: risk, and only there")
        if list(self.risk_cuts) != sorted(set(self.risk_cuts)):
            raise ValueError("risk_cuts must rise")
        return self


class Sampling(Frozen):
    """Uniform sampling over eligible user turns. Turns are ranked by a keyed hash of (seed,
    conversation, turn).

    `max_per_user` caps what one user can contribute; the forecast is then one of the capped
    traffic, and the record says so. With `strata` each row carries its inclusion weight, and all
    rates are weighted by it.
    """

    max_prefixes: int = Field(default=20_000, ge=1)
    seed: int = 0
    max_per_user: int | None = Field(default=None, ge=1)
    strata: Strata | None = None


class Eligibility(Frozen):
    """Which conversations may be used. Consent is not among the settings: it must be true,
    always."""

    allow_temporary: bool = False
    allow_attachments: bool = False
    exclude_surfaces: tuple[str, ...] = ()
    exclude_users: tuple[str, ...] = ()
    max_messages: int = Field(default=1_000, ge=2)
    max_characters: int = Field(default=1_000_000, ge=1)
