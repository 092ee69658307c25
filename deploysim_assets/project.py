"""deploysim.yaml -> frozen models: releases, log sources, behaviors, graders, endpoints,
policies."""

import importlib.util
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from deploysim_assets.behaviors import Behavior, Frozen, Rule, Values

CONFIG_FILE = "deploysim.yaml"
KEY_PATTERN = r"^[A-Za-z0-9._-]+$"


class ProjectError(Exception):
    """The project's files cannot be used as they are; the message names file, key, what is wrong
    and the mend."""


class LogSource(Frozen):
    """Where a release's production logs lie: a format known to `deploysim_assets.logs`, and a glob
    relative to the home or an fsspec URL.

    `since` and `until` bound the time in which the release was the deployed one: conversations
    outside them are a failed check. `consent_basis` states in words why every conversation of this
    source may be used although the source carries no consent of its own; an explicit no stays a no.
    `model_names` are the names under which the source itself knows the release.
    """

    format: str
    path: str
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    consent_basis: str | None = Field(default=None, min_length=10)
    model_names: tuple[str, ...] = ()


class Candidate(Frozen):
    """How the release is asked before it ships: its name at the endpoint, and request parameters
    passed on as they are.

    A parameter set to null is left out of the request, also the `seed` that deploysim would
    otherwise send.
    """

    model: str
    params: dict[str, Any] = Field(default_factory=dict)


class Release(Frozen):
    """One model version: a partition. With a predecessor it is a candidate before its logs land,
    and a deployed model after."""

    model_version: str = Field(pattern=KEY_PATTERN)
    predecessor: str | None = None
    logs: LogSource
    candidate: Candidate | None = None

    @property
    def asked_as(self) -> Candidate:
        """The candidate's request settings; without a `candidate` entry the model version is the
        model's name."""
        return self.candidate or Candidate(model=self.model_version)


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
    """How requests are cut into the provider's batches, and how often these are asked after."""

    max_requests: int = Field(default=50_000, ge=1)
    max_megabytes: float = Field(default=100, gt=0)
    poll_seconds: float = Field(default=60, gt=0)


class Endpoint(Frozen):
    """An OpenAI-compatible server and how hard it may be driven: up to `max_concurrency` requests
    at once, fewer where it pushes back.

    `mode: batch` goes through the provider's batch endpoint: cheaper, done within a day.
    """

    base_url: str = Field(pattern=r"^https?://")
    api_key_env: str | None = None
    api: Literal["chat", "responses"] = "chat"
    mode: Literal["online", "batch"] = "online"
    batches: Batches = Batches()
    max_concurrency: int = Field(default=32, ge=1, le=4096)
    timeout_seconds: float = Field(default=120, gt=0)
    max_retries: int = Field(default=8, ge=0)
    budget: Budget | None = None


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


class Judge(Frozen):
    """The model that grades; the endpoint's settings hold where it names none of its own.

    Of a document longer than `max_characters` the middle is left out, and the grade says how much.
    """

    model: str
    params: dict[str, Any] = Field(default_factory=lambda: {"temperature": 0})
    base_url: str | None = Field(default=None, pattern=r"^https?://")
    api_key_env: str | None = None
    api: Literal["chat", "responses"] | None = None
    mode: Literal["online", "batch"] | None = None
    max_concurrency: int | None = Field(default=None, ge=1, le=4096)
    timeout_seconds: float | None = Field(default=None, gt=0)
    max_characters: int = Field(default=400_000, ge=1_000)
    screen: "Screen | None" = None


class Strata(Frozen):
    """A stratified design: which traffic is looked at more closely than its share.

    `by` names the column; depth counts user turns (1, 2-4, 5+); risk reads a number from the
    source's `risk_column`, cut at `risk_cuts`.  `proportional` of the prefixes follow the traffic,
    the rest go to the strata in `shares`, whose weights sum to 1.
    """

    by: Literal["surface", "language", "depth", "risk"]
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


EVERY_LANGUAGE = "*"


class Ner(Frozen):
    """The models of level 2: language (as the logs name it, or "*" for all, also unnamed) ->
    folder, relative to the home."""

    engine: Literal["spacy", "transformers", "gliner"]
    models: dict[str, str] = Field(min_length=1)


class Deidentification(Frozen):
    """The level every conversation must be scanned at: 0 patterns and secrets, 1 plus gazetteer, 2
    plus statistical NER.

    With `languages`, conversations in others, and those whose log names none, are quarantined.
    `replacement` puts realistic surrogates or numbered placeholders.  `surrogate_key: run` draws a
    fresh key per run, so that not even the keeper of the key file can tell which surrogate an
    identifier got; the texts then change with every run.
    """

    min_level: Literal[0, 1, 2] = 2
    languages: Values = None
    ner: Ner | None = None
    replacement: Literal["surrogates", "placeholders"] = "surrogates"
    surrogate_key: Literal["project", "run"] = "project"

    def unreachable(self, home: Path) -> str | None:
        """Why this installation cannot scan at `min_level`, with the mend; None where it can."""
        if self.min_level < 2:
            return None
        if self.ner is None:
            return (
                "deidentification.ner: missing, but min_level 2 needs a model that finds names; "
                "name one (`ner: {engine: spacy, models: {en: path}}`), "
                "or set `deidentification: {min_level: 0}` to accept in writing that names stay"
            )
        module = self.ner.engine
        if importlib.util.find_spec(module) is None:
            return (
                f"deidentification.ner.engine: {module} is not installed; `pip install "
                f"'deploysim[{module}]'`"
            )
        missing = [
            f"{language}: {path}"
            for language, path in self.ner.models.items()
            if not (home / path).is_dir()
        ]
        return (
            f"deidentification.ner.models: no such folder ({', '.join(missing)}); models are "
            "never downloaded, put one there"
            if missing
            else None
        )

    def at(self, home: Path) -> Self:
        """The same policy with the folders of its models made absolute."""
        if self.ner is None:
            return self
        models = {language: str(home / path) for language, path in self.ner.models.items()}
        return self.model_copy(update={"ner": self.ner.model_copy(update={"models": models})})


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


class EarlyStopping(Frozen):
    """Stop grading a candidate for behaviors that are shown to lie under or over their threshold,
    at any of the looks.

    `forecast_part` of the prefixes, drawn beforehand, is graded to the end: a stopped behavior's
    forecast rests on it alone.
    """

    alpha: float = Field(default=0.05, gt=0, lt=1)
    forecast_part: float = Field(default=0.3, gt=0, lt=1)
    look_every: int = Field(default=1_000, ge=1)


class Automation(Frozen):
    """How often the daemon looks for new logs and for work that is due."""

    poll_seconds: int = Field(default=30, ge=1)


class Project(Frozen):
    """Everything deploysim.yaml says, checked. `home` is the folder it lies in, and where the
    lake and the ledger are."""

    home: Path
    releases: tuple[Release, ...] = Field(min_length=1)
    endpoint: Endpoint
    judge: Judge | None = None
    prices: dict[str, Price] = Field(default_factory=dict)
    behaviors: tuple[Behavior, ...] = Field(min_length=1)
    sampling: Sampling = Sampling()
    eligibility: Eligibility = Eligibility()
    deidentification: Deidentification = Deidentification()
    automation: Automation = Automation()
    self_replay: SelfReplay | None = None
    early_stopping: EarlyStopping | None = None
    elicitation: Elicitation | None = None
    awareness: Awareness | None = None
    exploration: Exploration | None = None
    challenging_prompts: str | None = None
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
