"""What became of the replies of each side of a release, by the counts beside its tables."""

from collections.abc import Mapping
from typing import Any

from deploysim_assets.assets.registration import Registration, graded_sides
from deploysim_assets.schema import BROKEN_OFF, GRADE_STATES, NOT_TOLD, UNANSWERED
from deploysim_assets.storage.ledger import Record
from deploysim_assets.storage.tables import Lake


def unanswered_share(graded: Mapping[str, Any], *, bounded: bool) -> float:
    """The share of prefixes whose reply is no answer, by the counts of a table of grades; without
    turns that were broken off where limits and gates hold whatever they would have come to."""
    counted = [state for state in UNANSWERED if not (bounded and state in BROKEN_OFF)]
    states = sum(graded.get(state, 0) for state in counted)
    return states / graded["prefixes"] if graded["prefixes"] else 0.0


def served_by_others(lake: Lake, registered: Registration) -> dict[str, int]:
    """Models that the server named as those that answered, where they are not the one that was
    asked (or a dated form of its name) -> answers."""
    model = registered.model_version
    if not lake.current("candidate_completions", model):
        return {}
    asked = _plain(registered.candidate.model)
    served: dict[str, int] = lake.stats("candidate_completions", model).get("served_by", {})
    return {n: c for n, c in served.items() if not _plain(n).startswith(asked)}


def _plain(model: str) -> str:
    return model.rpartition("/")[2].casefold()


def reply_funnel(
    lake: Lake, registered: Registration | None, forecast: Record | None
) -> dict[str, dict[str, Any]]:
    """The counts of replies by state that a release's report shows: `simulated` by it, as they were
    sealed with the forecast, `live` those of its predecessor, `realized` its own in production,
    under the registered grading."""
    if registered is None:
        return {}
    funnel: dict[str, dict[str, Any]] = {}
    sealed = forecast.body.get("funnel") if forecast else None
    for side, _, _, stats, counts in graded_sides(lake, registered, sealed):
        funnel[side] = {
            "prefixes": counts["prefixes"],
            "states": {state: counts.get(state, 0) for state in GRADE_STATES},
            "untold": 0,
        }
        if side != "simulated":  # of a table from before endings were counted nothing is known
            ends = stats.get("finish_reasons", {NOT_TOLD: counts["prefixes"]})
            funnel[side]["untold"] = ends.get(NOT_TOLD, 0)
        if side == "simulated" and (others := served_by_others(lake, registered)):
            funnel[side] |= {"asked_of": registered.candidate.model, "served_by_others": others}
        limit = registered.grading.error_share
        bounded = registered.broken_off is not None
        if side == "simulated" and unanswered_share(counts, bounded=bounded) > limit:
            funnel[side]["blocks"] = limit
    return funnel
