"""The graders' quality by people's labels, for who gates or reports by it."""

from typing import Any

from deploysim_assets.storage.tables import Lake


def current_quality(
    lake: Lake, grader_ids: dict[str, str], *models: str
) -> dict[str, dict[str, Any]]:
    """Per behavior the newest quality of the grader identity in use, from the first of `models`
    that was labeled for it."""
    if not lake.current("grader_quality", None):
        return {}
    rows = [
        r
        for r in lake.rows("grader_quality", None)
        if not r["stale"] and grader_ids.get(r["behavior"]) == r["grader_id"]
    ]
    return {
        row["behavior"]: row
        for model in reversed(models)
        for row in rows
        if row["model_version"] == model
    }
