"""The score of a release as one summary, as it was sealed with its report."""

from typing import Any

from deploysim_assets.storage.tables import Lake


def scored_summary(lake: Lake, model: str, version: str) -> dict[str, Any]:
    """The summary of a version of a release's score. One of before summaries were kept beside it is
    summed up here, which loads the statistics."""
    kept = lake.stats("calibration_report", model, version).get("summary")
    if kept is not None:
        return kept
    from deploysim_assets.forecast.summary import summarize

    return summarize(list(lake.rows("calibration_report", model, version)))
