"""What more a project may measure."""

from pydantic import Field

from deploysim_assets.behaviors import Frozen


class SelfReplay(Frozen):
    """A deployed model answers fresh prefixes of its own traffic: what the simulation gets wrong
    when neither model nor traffic moves.

    Its results teach the error model before a first forecast is scored, and split later errors by
    their causes.
    """

    max_prefixes: int = Field(default=5_000, ge=1)


class Elicitation(Frozen):
    """Ask the candidate again for up to `prefixes` flagged prefixes of each behavior, `repeats`
    times each."""

    prefixes: int = Field(default=50, ge=1)
    repeats: int = Field(default=20, ge=2, le=1_000)


class Awareness(Frozen):
    """Measure evaluation awareness by an independent `detector` model, on `sample` prefixes and on
    a set of evaluation trajectories.

    `evaluation_set` is a path or glob of openai_chat conversations that end in a reply of the
    model.
    """

    detector: str
    sample: int = Field(default=2_000, ge=1)
    evaluation_set: str | None = None


class Exploration(Frozen):
    """Ask the judge what is undesired in `sample` replies beyond the named behaviors."""

    sample: int = Field(default=500, ge=1)
