"""The stratified design that earlier grades propose: at which traffic to look more closely."""

from typing import Any, NamedTuple

import polars as pl

from deploysim_assets.project import Project
from deploysim_assets.storage.tables import Lake

_PROPORTIONAL = 0.3


class Proposal(NamedTuple):
    """Shares per stratum of column `by`, learned from `replies` graded replies of `model`, and what
    they multiply the behaviors' mean relative variance by."""

    by: str
    model: str
    replies: int
    traffic: dict[str, float]
    shares: dict[str, float]
    variance: float

    @property
    def setting(self) -> str:
        """The line for deploysim.yaml."""
        import json

        shares = json.dumps(self.shares, ensure_ascii=False)
        return f"strata: {{by: {self.by}, shares: {shares}, proportional: {_PROPORTIONAL}}}"


def propose_shares(project: Project, lake: Lake) -> Proposal | None:
    """Neyman shares by the newest release whose production was graded; None where there is none,
    it shows one stratum alone, or nothing was flagged.

    A stratum's rate is shrunk by one event towards the rate of all, so that a small one without a
    flag is not left out for ever.
    """
    from deploysim_assets.forecast.planner import neyman_shares

    graded = [
        r.model_version
        for r in project.releases
        if lake.current("production_grades", r.model_version)
    ]
    if not graded:
        return None
    found = _counts(project, lake, graded[-1])
    traffic = {row["stratum"]: row["turns"] for row in found}
    whole, replies = sum(traffic.values()), sum(row["rows"] for row in found)
    rates: list[dict[str, float]] = []
    for behavior in project.behaviors:
        name = behavior.name
        if not found or f"{name} n" not in found[0]:
            continue
        k = sum(row[f"{name} k"] for row in found)
        n = sum(row[f"{name} n"] for row in found)
        if not k:
            continue
        pooled = k / n
        rates.append(
            {
                row["stratum"]: (row[f"{name} k"] + 1) / (row[f"{name} n"] + 1 / pooled)
                for row in found
            }
        )
    if len(traffic) < 2 or not rates:
        return None
    shares = {stratum: turns / whole for stratum, turns in traffic.items()}
    proposed = neyman_shares(shares, rates, _PROPORTIONAL)
    by = project.sampling.strata.by if project.sampling.strata else "surface"
    return Proposal(by, graded[-1], replies, shares, proposed.shares, proposed.variance)


def _counts(project: Project, lake: Lake, model: str) -> list[dict[str, Any]]:
    """Per stratum the turns of the traffic, graded rows, and per behavior graded and flagged ones,
    under the grading that most rows have."""
    grades = lake.scan("production_grades", model)
    columns = set(grades.collect_schema().names())
    names = [b.name for b in project.behaviors if b.name in columns]
    counted = grades.group_by("grading_id", "stratum").agg(
        pl.len().alias("rows"),
        pl.col("weight").sum().alias("turns"),
        *(pl.col(name).count().alias(f"{name} n") for name in names),
        *(pl.col(name).sum().alias(f"{name} k") for name in names),
    )
    rows = counted.sort("grading_id", "stratum").collect().to_dicts()
    sizes: dict[str, int] = {}
    for row in rows:
        sizes[row["grading_id"]] = sizes.get(row["grading_id"], 0) + row["rows"]
    most = max(sizes, key=lambda one: sizes[one], default="")
    return [row for row in rows if row["grading_id"] == most]


def lines_of(proposal: Proposal | None) -> list[str]:
    """The proposal as sentences."""
    if proposal is None:
        return []
    moved = ", ".join(
        f"{stratum} {share:.0%} (traffic {proposal.traffic[stratum]:.0%})"
        for stratum, share in proposal.shares.items()
    )
    return [
        f"By {proposal.replies:,} graded replies of {proposal.model}, Neyman shares by "
        f"{proposal.by}: {moved}; the rates' variance is {proposal.variance:.2f} times that of a "
        "draw that follows the traffic.",
        f"Below `sampling:` in deploysim.yaml: {proposal.setting}",
    ]
