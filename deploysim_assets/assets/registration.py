"""A registration as the ledger and the lake hold it: what every later asset and report reads."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple, Self

from deploysim_assets.grading.panel import Panel
from deploysim_assets.project import Agents, Candidate, EarlyStopping, Grading
from deploysim_assets.storage import ledger
from deploysim_assets.storage.tables import Lake


class Registration(NamedTuple):
    """A candidate's registration as the lake holds it. Later assets read the table versions that
    it names, not newer ones.

    `broken_off` says how rates are estimated where turns were broken off; None where the
    registration says nothing of it: such turns are missing then, as they were when it was made.
    """

    model_version: str
    predecessor: str
    prefixes_version: str
    panel: Panel
    candidate: Candidate
    seed: int
    challenging_prompts: dict[str, Any]
    early_stopping: EarlyStopping | None
    grading: Grading
    agents: Agents | None
    broken_off: str | None
    record_hash: str
    registered_at: datetime

    @classmethod
    def load(cls, lake: Lake, candidate: str) -> Self:
        """The current registration; ProjectError where the candidate was never registered."""
        row = lake.scan("preregistration", candidate).collect().row(0, named=True)
        body = json.loads(row["body"])
        return cls._of(body, row["record_hash"], row["registered_at"])

    @classmethod
    def of(cls, record: ledger.Record) -> Self:
        """The registration that a record of the ledger holds."""
        return cls._of(record.body, record.hash, record.at)

    @classmethod
    def _of(cls, body: dict[str, Any], record_hash: str, registered_at: datetime) -> Self:
        return cls(
            body["model_version"],
            body["predecessor"],
            body["prefixes"]["version"],
            Panel.from_record(body["panel"]),
            Candidate.model_validate(body["candidate"]),
            body["sampling"]["seed"],
            body["challenging_prompts"],
            EarlyStopping.model_validate(body["early_stopping"])
            if body["early_stopping"]
            else None,
            Grading.model_validate(body.get("grading", {})),
            Agents.model_validate(body["agents"]) if "agents" in body else None,
            body.get("estimator", {}).get("broken_off"),
            record_hash,
            registered_at,
        )


class GradedSide(NamedTuple):
    """A side of a release's comparison: simulated, live or realized; the table that its grades are
    in, the facts beside it, and those of its registered grading."""

    side: str
    asset: str
    key: str
    stats: dict[str, Any]
    facts: dict[str, Any]


def graded_sides(
    lake: Lake, registered: Registration, sealed: dict[str, Any] | None = None
) -> Iterator[GradedSide]:
    """The sides of a release that are graded under its registered grading; with the facts that were
    `sealed` with a forecast in place of those beside the newest simulated grades."""
    model, live = registered.model_version, registered.predecessor
    sides = {
        "simulated": ("grades", model),
        "live": ("production_grades", live),
        "realized": ("production_grades", model),
    }
    for side, (asset, key) in sides.items():
        if side == "simulated" and sealed is not None:
            stats = sealed
        else:
            stats = lake.stats(asset, key) if lake.current(asset, key) else {}
        facts = stats.get("gradings", {}).get(registered.panel.grading_id)
        if facts is not None:
            yield GradedSide(side, asset, key, stats, facts)
