"""The score of a release as one summary, as it was sealed with its report."""

from collections.abc import Sequence
from typing import Any

from deploysim_assets.storage.tables import Lake


def scored_summary(lake: Lake, model: str, scored: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The summary of a release's score, {} without one. A report of before summaries were kept
    beside it is summed up here, which loads the statistics."""
    if not scored:
        return {}
    kept = lake.stats("calibration_report", model).get("summary")
    if kept is not None:
        return kept
    from deploysim_assets.forecast.summary import summarize

    return summarize(list(scored))
