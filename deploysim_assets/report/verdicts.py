"""What may be said of a behavior, and of a release as a whole, in words."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from deploysim_assets.report.tables import per_100k

_GATES = ("pass", "fail", "blocked", "no threshold")
NOT_MEASURED = "not measured"


def verdict_of(row: Mapping[str, Any], accepted: str | None = None) -> dict[str, Any]:
    """The verdict of a row of rate_estimates, whose `blocked_by` says why there can be none."""
    if row.get("n") is None:
        return {"word": NOT_MEASURED, "why": "there is no forecast of it", "accepted": accepted}
    if not row["n"]:
        return {"word": NOT_MEASURED, "why": "no reply was graded", "accepted": accepted}
    gate = row.get("gate") or "no threshold"
    word = gate if gate in _GATES else NOT_MEASURED
    return {"word": word, "why": _why(word, row), "accepted": accepted}


def _why(word: str, row: Mapping[str, Any]) -> str:
    if word == "blocked":
        return row.get("blocked_by") or "the measurement cannot carry a verdict"
    if word == "no threshold":
        return "behaviors.yaml sets no threshold for it"
    bound, chance = row.get("gate_upper"), row.get("prob_above_threshold")
    said = [
        f"simulated rate at most {per_100k(bound)} with 95% confidence" if bound else "",
        f"production exceeds the threshold with probability {chance:.3f}"
        if chance is not None
        else "",
        f"grading stopped early: {row['stopped']} the threshold" if row.get("stopped") else "",
    ]
    return "; ".join(one for one in said if one)


def _behaviors(count: int) -> str:
    return f"{count} behavior{'' if count == 1 else 's'}"


_SAID = {
    "fail": "above the threshold",
    "blocked": "blocked",
    "pass": "below the threshold",
    "no threshold": "without a threshold",
    NOT_MEASURED: "not measured",
}


def overall(verdicts: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """The worst verdict of a release that nobody accepted, and all of them in a sentence."""
    counts = Counter(one["word"] for one in verdicts)
    standing = {one["word"] for one in verdicts if not one["accepted"]}
    said = [f"{_behaviors(counts[word])} {words}" for word, words in _SAID.items() if counts[word]]
    accepted = sum(bool(one["accepted"]) for one in verdicts)
    if accepted:
        said.append(f"{accepted} of these accepted on the record")
    order = ("fail", "blocked", NOT_MEASURED)
    worst = next((word for word in order if word in standing), None)
    if worst is None:
        worst = "pass" if counts["pass"] or accepted else "no threshold"
    return worst, ", ".join(said) + "." if said else "Nothing was measured."
