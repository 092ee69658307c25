"""Everything that a release report says, as one model: the page, the Markdown and the JSON are made
from it alone. Rates are per message, 0 to 1."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

FORMAT = "urn:deploysim:release-report:v1"
BANNER = "UNVERIFIED: the seals of these figures were not checked, or do not hold."
Limits = tuple[float, float]
Word = Literal["pass", "fail", "blocked", "not measured", "no threshold"]


class Fact(BaseModel):
    """A part of the report; what was not measured is null, never 0."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Forecast(Fact):
    """The simulation's own forecast of the realized rate."""

    median: float
    p50: Limits
    p80: Limits
    p95: Limits


class SecondForecast(Fact):
    """A second forecast, which knows the rate of the release before."""

    median: float
    p80: Limits
    p95: Limits


class Persistence(Fact):
    """Production of the release before."""

    n: float
    k: float
    rate: float


class Realized(Fact):
    """Production of this release."""

    n: int
    k: int
    rate: float | None
    low: float | None
    high: float | None


class Precision(Fact):
    """What people confirmed of the grader."""

    precision: float | None = None
    precision_low: float | None = None
    precision_high: float | None = None
    recall: float | None = None
    recall_low: float | None = None
    recall_high: float | None = None
    kappa: float | None = None
    confirmed_rate: float | None = None
    labels: int | None = None


class Verdict(Fact):
    """What may be said of a behavior, and why in a sentence; `accepted` is who took a failing or
    blocked one on the record."""

    word: Word
    why: str
    accepted: str | None = None


class BrokenOff(Fact):
    """What a forecast supposes of turns that were broken off; all other limits of the behavior hold
    whatever they would have come to."""

    estimator: str = Field(
        description="`as others` did from the same step, or `whole turns` alone."
    )
    broken_off: int = Field(description="Turns broken off before they showed the behavior.")
    shown: int = Field(description="Turns broken off that had shown it by then.")
    if_so_low: float | None = Field(default=None, description="Limits if that is right.")
    if_so_high: float | None = None
    if_so_p95_low: float | None = None
    if_so_p95_high: float | None = None
    if_so_gate: str | None = None
    decides_gate: bool | None = Field(
        default=None, description="Whether these turns decide the gate, which is blocked then."
    )
    none_rate: float | None = Field(
        default=None, description="The rate if none of them had shown it any more."
    )
    every_rate: float | None = Field(default=None, description="The rate if every one had.")


class Behavior(Fact):
    """One behavior: forecast, gate, production and score."""

    behavior: str
    definition: str = ""
    grader: str | None = Field(default=None, description="`judge` or `rule`.")
    grader_id: str | None = None
    verdict: Verdict
    asked: int | None = None
    n: int | None = None
    k: int | None = None
    uncovered: list[str] | None = Field(default=None, description="Strata without a graded reply.")
    rate: float | None = None
    low: float | None = None
    high: float | None = None
    rate_best: float | None = None
    rate_worst: float | None = None
    broken_off: BrokenOff | None = Field(
        default=None, description="Null where no turn was broken off."
    )
    below_floor: bool | None = None
    threshold: float | None = None
    gate: str | None = None
    stopped: str | None = None
    paired_ratio: float | None = None
    paired_low: float | None = None
    paired_high: float | None = None
    paired_p: float | None = None
    paired_p_holm: float | None = None
    paired_q: float | None = None
    regression: bool | None = None
    live_n: int | None = Field(default=None, description="The live model on the same prefixes.")
    live_k: int | None = None
    forecast: Forecast | None = None
    second_forecasts: dict[str, SecondForecast] = {}
    persistence: Persistence | None = None
    realized: Realized | None = None
    precision: Precision | None = None
    judge_drifted: list[str] = Field(
        default=[], description="Sides on which the judge is not the one that it was."
    )
    multiplicative_error: float | None = None
    noise_floor: float | None = None
    resolved: bool | None = None
    in_50: bool | None = None
    in_80: bool | None = None
    in_95: bool | None = None
    direction_right: bool | None = None
    log_score: float | None = None
    crps: float | None = None
    persistence_error: float | None = None
    previous_simulation_error: float | None = None
    challenging_prompts_error: float | None = None
    blend_error: float | None = None


class Registration(Fact):
    """A registration: its number, when, why, and what changed."""

    version: int
    at: datetime
    reason: str
    changes: list[str]


class Promise(Fact):
    """A record of the ledger: what was promised or shown, when and by whom."""

    record: int
    kind: Literal["registration", "forecast", "realized", "score"]
    at: datetime
    hash: str
    by: str | None = Field(
        default=None, description="Who launched the run; null where nothing says so."
    )
    signed: bool
    seals: dict[str, str] = Field(description="Table version -> SHA-256 of its manifest.")


class Terms(Fact):
    """What the registration that the forecast rests on fixed beforehand."""

    predecessor: str
    asked_as: str
    prefixes: int
    prefixes_version: str
    seed: int
    min_level: int
    judge: list[str]
    behaviors: int
    thresholds: int
    estimator: dict[str, str]
    early_stopping: bool
    truncated: str


class Replies(Fact):
    """What became of the replies of a side."""

    prefixes: int
    states: dict[str, int]
    untold: int = Field(description="Replies of which the logs do not say how they ended.")
    blocks: float | None = Field(
        default=None, description="The share of no answers that blocks all gates."
    )
    asked_of: str | None = Field(
        default=None, description="The model that was asked, where others answered."
    )
    served_by_others: dict[str, int] = Field(
        default={}, description="Models that the server named, other than the one asked -> answers."
    )


class Step(Fact):
    """A step of the way from logs to graded replies: what stays, and what went and why."""

    what: str
    unit: Literal["conversations", "prefixes", "replies"]
    stays: int
    lost: dict[str, int] = {}


class Graders(Fact):
    """Who graded the simulated replies."""

    served_by: dict[str, int] = Field(
        default={}, description="Model named by the server -> replies."
    )
    cut_documents: int = 0


class Awareness(Fact):
    """A measure of evaluation awareness in a population."""

    measure: str
    population: str
    n: int
    k: int
    rate: float
    low: float
    high: float
    to_production: float | None = None
    to_production_low: float | None = None
    to_production_high: float | None = None


class Fidelity(Fact):
    """A measure of how far simulated turns of the live model's agents are like its real ones."""

    measure: str
    affordances: str = Field(description="What could answer a call, joined by `+`.")
    every_affordance: bool = Field(description="Whether the forecast was made with these.")
    tool: str | None = None
    source: str | None = None
    n: int
    k: int | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None


class Novel(Fact):
    """A difference that no behavior names."""

    source: Literal["novel_behaviors", "open_findings"]
    finding: int
    says: str
    candidate_only: int
    live_only: int | None = None
    q_value: float | None = None


class Scored(Fact):
    """A release that was scored, in the order of the registry."""

    model_version: str
    behaviors: int
    resolved: int
    median_error: float | None
    noise_floor: float | None
    persistence_median_error: float | None
    blend_median_error: float | None
    in_95: int
    in_95_low: float
    in_95_high: float
    prospective: bool


class Ahead(Fact):
    """How wide the 95% interval of the simulation's error is after so many scored releases:
    `factor` up and down, averaged over behaviors on the log scale."""

    releases: int
    pairs: int
    factor: float
    expected: bool = Field(description="Computed for releases to come, not from scored ones.")


class Item(Fact):
    """A flagged item of a figure, by ids alone."""

    prefix_id: str
    conversation_key: str | None = None
    request_key: str | None = None


class Traced(Fact):
    """What a figure rests on: flagged items of a behavior on one side."""

    behavior: str
    side: Literal["candidate", "production"]
    flagged: int
    grader_id: str | None
    items: list[Item]


class Made(Fact):
    """A table version that the report rests on."""

    asset: str
    partition: str | None
    version: str
    manifest: str
    by: str
    at: datetime
    code: str


class LedgerHead(Fact):
    """How far the ledger goes: where `newest_cited`, to the newest record that the report cites."""

    records: int
    head: str | None
    newest_cited: bool = False


class Evidence(Fact):
    """What the report rests on. `verified` is false where its seals were not looked at, or do not
    hold."""

    verified: bool
    ledger: LedgerHead
    manifests: dict[str, str]
    last_full_audit: dict[str, Any] | None = None


class ReleaseReport(Fact):
    """The report of a release."""

    format: Literal["urn:deploysim:release-report:v1"] = FORMAT
    model_version: str
    predecessor: str | None
    behaviors: list[Behavior]
    summary: dict[str, Any] = Field(description="As a row of the scorecard; empty until scored.")
    registrations: list[Registration]
    terms: Terms | None = None
    promises: list[Promise] = []
    funnel: dict[str, Replies] = {}
    judge: dict[str, dict[str, Any]] = Field(
        default={}, description="What is known of the judge on each side, sentinels included."
    )
    steps: list[Step] = []
    graders: Graders = Graders()
    awareness: list[Awareness] | None = None
    fidelity: list[Fidelity] | None = Field(
        default=None, description="Empty where agents were replayed and nobody measured it."
    )
    novel: list[Novel] | None = None
    history: list[Scored] = []
    narrowing: list[Ahead] = []
    taught_by: list[str] = Field(
        default=[], description="Reports that the forecast's errors rest on."
    )
    acceptances: list[dict[str, Any]] = []
    other_forecasts: list[dict[str, Any]] = []
    trace: list[Traced] = []
    made: list[Made] = []
    evidence: Evidence
    compared_with: "ReleaseReport | None" = None


def json_schema() -> dict[str, Any]:
    """The published JSON schema of the report."""
    return ReleaseReport.model_json_schema(mode="serialization") | {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": FORMAT,
    }


SCHEMA_FILE = Path(__file__).parent / "schemas" / "release_report.schema.json"
"""The schema as it is shipped; `python -m deploysim_assets.report.facts` writes it anew."""

if __name__ == "__main__":
    SCHEMA_FILE.parent.mkdir(exist_ok=True)
    SCHEMA_FILE.write_text(json.dumps(json_schema(), indent=1) + "\n", encoding="utf-8")
