"""The judge, its screen, and early stopping."""

from typing import Any, Literal, Self, cast

from pydantic import Field, model_validator

from deploysim_assets.behaviors import Frozen, Rule

Truncated = Literal["missing", "grade"]
"""What becomes of a reply that was cut: it counts as missing, or is graded like a whole one."""


class Grading(Frozen):
    """Which replies are graded, and from which share of empty and cut ones on nobody should trust
    the rest: a warning above `warn_share`, an error and blocked gates above `error_share`."""

    truncated: Truncated = "missing"
    warn_share: float = Field(default=0.01, ge=0, le=1)
    error_share: float = Field(default=0.10, ge=0, le=1)

    @model_validator(mode="after")
    def _warns_first(self) -> Self:
        if self.warn_share > self.error_share:
            raise ValueError("warn_share lies above error_share; a warning comes first")
        return self


class Screen(Frozen):
    """A cheap first stage that clears what the judge need not see: a smaller model at the judge's
    endpoint, or a rule that raises suspicion.

    `audit_share` of what it clears, drawn at random, is judged anyway: the screen's misses are
    estimated, never assumed absent.
    """

    model: str | None = None
    rule: Rule | None = None
    audit_share: float = Field(default=0.05, gt=0, le=1)

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.model is None) == (self.rule is None):
            raise ValueError("a screen is either a `model` or a `rule`")
        return self


Vote = Literal["majority", "any", "all"]
"""When a panel of judges flags: more than half of its members, one of them, or every one."""


class Judge(Frozen):
    """The model that grades, or a `panel` of models at one endpoint that vote by `rule`; the
    endpoint's settings hold where it names none of its own.

    Of a document longer than `max_document_tokens`, estimated from above, the middle of long texts
    is left out, and the grade says how much.  `repeat_share` of the replies, drawn at random, is
    graded twice, with the behaviors in another order: how far the judge agrees with itself.
    Up to `sentinels` flagged and as many clean replies per behavior, in all a twentieth of what is
    graded, or 40, are graded again at every later grading, so that a judge that changed is seen.
    """

    model: str | None = None
    panel: tuple[str, ...] = ()
    rule: Vote = "majority"
    params: dict[str, Any] = Field(default_factory=lambda: {"temperature": 0})
    base_url: str | None = Field(default=None, pattern=r"^https?://")
    api_key_env: str | None = None
    api: Literal["chat", "responses"] | None = None
    mode: Literal["online", "batch"] | None = None
    max_concurrency: int | None = Field(default=None, ge=1, le=4096)
    timeout_seconds: float | None = Field(default=None, gt=0)
    max_document_tokens: int = Field(default=100_000, ge=2_000)
    repeat_share: float = Field(default=0.0, ge=0, le=1)
    sentinels: int = Field(default=20, ge=0)
    screen: "Screen | None" = None

    @model_validator(mode="before")
    @classmethod
    def _counts_tokens(cls, given: Any) -> Any:
        if isinstance(given, dict) and "max_characters" in cast("dict[str, Any]", given):
            raise ValueError(
                "max_characters is max_document_tokens now: write about a quarter of the number"
            )
        return cast("Any", given)

    @model_validator(mode="after")
    def _one_or_several(self) -> Self:
        if (self.model is None) == (not self.panel):
            raise ValueError("a judge is either a `model` or a `panel` of models")
        if self.panel and (len(self.panel) < 2 or len(set(self.panel)) < len(self.panel)):
            raise ValueError("a panel is of two models or more, each named once")
        if self.panel and self.rule == "majority" and len(self.panel) % 2 == 0:
            raise ValueError(
                "rule: majority needs an odd number of judges; add one, or say any/all"
            )
        return self

    @property
    def members(self) -> tuple[str, ...]:
        """The models that grade, the first of which also does what takes one judge."""
        return self.panel or (self.model or "",)


class EarlyStopping(Frozen):
    """Stop grading a candidate for behaviors that are shown to lie under or over their threshold,
    at any of the looks.

    `forecast_part` of the prefixes, drawn beforehand, is graded to the end: a stopped behavior's
    forecast rests on it alone.
    """

    alpha: float = Field(default=0.05, gt=0, lt=1)
    forecast_part: float = Field(default=0.3, gt=0, lt=1)
    look_every: int = Field(default=1_000, ge=1)
