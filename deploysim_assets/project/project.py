"""Everything deploysim.yaml says, as one frozen model."""

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, model_validator

from deploysim_assets.behaviors import COUNTED_BESIDE, Behavior, Frozen
from deploysim_assets.project.agents import Agents
from deploysim_assets.project.deidentification import Deidentification
from deploysim_assets.project.endpoint import Endpoint, Price
from deploysim_assets.project.errors import ProjectError
from deploysim_assets.project.grading import EarlyStopping, Grading, Judge
from deploysim_assets.project.measures import Awareness, Elicitation, Exploration, SelfReplay
from deploysim_assets.project.releases import Release
from deploysim_assets.project.running import Compute, Running, Storage
from deploysim_assets.project.sampling import Eligibility, Sampling

CONFIG_FILE = "deploysim.yaml"


class Automation(Frozen):
    """How often the daemon looks for new logs and for work that is due."""

    poll_seconds: int = Field(default=30, ge=1)


class Freshness(Frozen):
    """After how many days the UI warns: of a deployed release whose logs stopped growing, and of a
    forecast that does not know its predecessor's newer prefixes. Unset, it never does."""

    logs_days: float | None = Field(default=None, gt=0)
    forecast_days: float | None = Field(default=None, gt=0)


Owner = Annotated[
    str, StringConstraints(pattern=r"^(team:[A-Za-z0-9_.-]+|[^@\s:]+@[^@\s]+\.[A-Za-z]{2,})$")
]
"""An address (ann@example.com) or a team (team:safety)."""


class Project(Frozen):
    """Everything deploysim.yaml says, checked. `home` is the folder it lies in, and where the
    lake and the ledger are."""

    home: Path
    releases: tuple[Release, ...] = Field(min_length=1)
    endpoint: Endpoint
    judge: Judge | None = None
    grading: Grading = Grading()
    prices: dict[str, Price] = Field(default_factory=dict)
    behaviors: tuple[Behavior, ...] = Field(min_length=1)
    sampling: Sampling = Sampling()
    eligibility: Eligibility = Eligibility()
    deidentification: Deidentification = Deidentification()
    automation: Automation = Automation()
    dagster: Running = Running()
    compute: Compute = Compute()
    storage: Storage = Storage()
    agents: Agents | None = None
    self_replay: SelfReplay | None = None
    early_stopping: EarlyStopping | None = None
    elicitation: Elicitation | None = None
    awareness: Awareness | None = None
    exploration: Exploration | None = None
    challenging_prompts: str | None = None
    owners: tuple[Owner, ...] = ()
    freshness: Freshness = Freshness()
    min_precision: float = Field(default=0.3, ge=0, le=1)
    novelty_rate: float = Field(default=0.05, gt=0, lt=1)

    @model_validator(mode="after")
    def _registry_holds_together(self) -> Self:
        names = [r.model_version for r in self.releases]
        for i, release in enumerate(self.releases):
            key = f"releases[{i}]"
            if release.model_version in names[:i]:
                raise ValueError(
                    f"{key}.model_version: {release.model_version!r} stands twice; the registry "
                    "holds each release once"
                )
            if release.predecessor is not None and release.predecessor not in names:
                raise ValueError(
                    f"{key}.predecessor: {release.predecessor!r} is no release of this file; "
                    f"name one of {names}, or null"
                )
            if release.predecessor is None and release.candidate is not None:
                raise ValueError(
                    f"{key}.candidate: a candidate needs a predecessor whose traffic it replays; "
                    "name it, or drop `candidate`"
                )
        self._refuse_what_cannot_be()
        self._refuse_cycles()
        for i, release in enumerate(self.releases):
            if release.predecessor is not None and release.predecessor not in names[:i]:
                raise ValueError(
                    f"releases[{i}].predecessor: {release.predecessor!r} comes later; list "
                    "releases in release order"
                )
        seen: set[str] = set()
        for i, behavior in enumerate(self.behaviors):
            if behavior.name.casefold() in seen:
                raise ValueError(
                    f"behaviors[{i}].name: {behavior.name!r} stands twice (upper and lower case "
                    "are one); rename or drop one"
                )
            seen.add(behavior.name.casefold())
            if behavior.name.casefold() in COUNTED_BESIDE:
                raise ValueError(
                    f"behaviors[{i}].name: {behavior.name!r} is the name of a column that "
                    "behaviors are counted beside (upper and lower case are one); choose another"
                )
            if behavior.grader == "judge" and self.judge is None:
                raise ValueError(
                    f"judge: missing, but behavior {behavior.name!r} has grader: judge; add "
                    f"`judge: {{model: ...}}`"
                )
        return self

    def _refuse_what_cannot_be(self) -> None:
        if self.early_stopping and (
            self.sampling.strata or (self.judge and self.judge_endpoint().mode == "batch")
        ):
            raise ValueError(
                "early_stopping: looks at results on the way, so it needs a self-weighting "
                "stream and answers at once; "
                "drop sampling.strata and the judge's mode: batch, or drop early_stopping"
            )
        if self.early_stopping and self.judge and self.judge.screen:
            raise ValueError(
                "early_stopping: not together with judge.screen: both decide which replies the "
                "judge sees; drop one"
            )
        if (self.awareness or self.exploration) and self.judge is None:
            raise ValueError(
                "awareness, exploration: need a `judge`, whose endpoint they ask at; add `judge: "
                "{model: ...}`"
            )
        policy = self.deidentification
        if (self.agents is not None and self.agents.reads_outside) and (
            policy.surrogate_key == "run" or policy.replacement == "placeholders"
        ):
            raise ValueError(
                "agents.repository, agents.connectors: what they answer must get the surrogates of "
                "the conversation that asks, which `deidentification.surrogate_key: run` throws "
                "away and placeholders, numbered anew in each text, do not have; set "
                "surrogate_key: project and replacement: surrogates, or drop them"
            )
        if self.deidentification.ner and (why := self.deidentification.unreachable(self.home)):
            raise ValueError(why)
        if self.endpoint.budget and self.endpoint.budget.money and not self.prices:
            raise ValueError(
                "prices: missing, but endpoint.budget.money needs them; add `prices: {model: "
                "{prompt: ..., completion: ...}}` per million tokens"
            )

    def _refuse_cycles(self) -> None:
        before = {r.model_version: r.predecessor for r in self.releases}
        for start in before:
            path: list[str] = [start]
            while (following := before[path[-1]]) is not None:
                if following in path:
                    raise ValueError(
                        "releases: predecessors form a cycle "
                        f"({' -> '.join([*path, following])}); break it"
                    )
                path.append(following)

    def release(self, model_version: str) -> Release:
        """The registry's entry of a model version; ProjectError where there is none."""
        for release in self.releases:
            if release.model_version == model_version:
                return release
        known = ", ".join(r.model_version for r in self.releases)
        raise ProjectError(
            f"{self.home / CONFIG_FILE}: releases: no model version {model_version!r}; there "
            f"are: {known}"
        )

    @property
    def replays_agents_of_the_live_model(self) -> bool:
        """Whether simulated turns can be held against real ones."""
        return self.agents is not None and self.self_replay is not None

    def part(self, *names: str) -> dict[str, Any]:
        """Some settings as content, for the manifest of a table that goes by them."""
        return self.model_dump(mode="json", by_alias=True, include=set(names))

    def predecessor(self, candidate: str) -> str:
        """The deployed model whose traffic the candidate replays; ProjectError for a release
        without one."""
        found = self.release(candidate).predecessor
        if found is None:
            raise ProjectError(
                f"{self.home / CONFIG_FILE}: releases: {candidate!r} has no predecessor, so "
                "there is no traffic to forecast it from; "
                "forecast a later release, or name its predecessor"
            )
        return found

    def candidates_of(self, model_version: str) -> list[str]:
        """The releases that replay this model's traffic, in release order."""
        return [r.model_version for r in self.releases if r.predecessor == model_version]

    @property
    def sentinels(self) -> int:
        """Sentinels per behavior and verdict; 0 where the judge is not watched."""
        return self.judge.sentinels if self.judge else 0

    @property
    def uses_batches(self) -> bool:
        """Whether any endpoint is asked through its batch interface."""
        return "batch" in (self.endpoint.mode, self.judge_endpoint().mode if self.judge else None)

    def judge_endpoint(self) -> Endpoint:
        """The endpoint with the judge's own settings put over it."""
        assert self.judge is not None
        own = {
            name: getattr(self.judge, name)
            for name in (
                "base_url",
                "api_key_env",
                "api",
                "mode",
                "max_concurrency",
                "timeout_seconds",
            )
        }
        return self.endpoint.model_copy(update={k: v for k, v in own.items() if v is not None})
