"""What is known of the judge on each side that a release's report compares."""

from typing import Any

from deploysim_assets.assets.registration import Registration, graded_sides
from deploysim_assets.storage.tables import Lake

_NOTED = (
    "graded", "flags", "unsupported_flags", "signs_of_attack", "members", "self_agreement",
    "repeats",
)  # fmt: skip


def _drift_of(lake: Lake, grading_id: str, *models: str) -> list[dict[str, Any]]:
    """The rows of grader_drift of some releases under a grading."""
    return [
        row
        for model in models
        if lake.current("grader_drift", model)
        for row in lake.rows("grader_drift", model)
        if row["grading_id"] == grading_id
    ]


def judged_sides(lake: Lake, model: str) -> dict[str, dict[str, Any]]:
    """Per side (simulated, live, realized) what was noted of the judgements under the registered
    grading, and the rows of grader_drift beside it; empty where no judge graded."""
    if not lake.current("preregistration", model):
        return {}
    registered = Registration.load(lake, model)
    panel, live = registered.panel, registered.predecessor
    if panel.judge is None or all(b.grader == "rule" for b in panel.behaviors):
        return {}
    drift = _drift_of(lake, panel.grading_id, model, live)
    found: dict[str, dict[str, Any]] = {}
    for side, asset, key, _, facts in graded_sides(lake, registered):
        occasion = facts.get("sentinels", {}).get("occasion")
        found[side] = {name: facts[name] for name in _NOTED if name in facts} | {
            "drift": [
                row
                for row in drift
                if (row["source"], row["model_version"]) == (asset, key)
                and row["occasion"] == occasion
                and row["n"]  # sentinels that nobody could grade tell nothing
            ]
        }
    return found


def drifted_behaviors(lake: Lake, model: str) -> list[str] | None:
    """The behaviors on which the judge drifted on a side of a release's score; None where one of
    the sides was not watched."""
    sides = judged_sides(lake, model)
    if not sides or not all(facts["drift"] for facts in sides.values()):
        return None
    rows = (row for facts in sides.values() for row in facts["drift"])
    return sorted({row["behavior"] for row in rows if row["drifted"]})
