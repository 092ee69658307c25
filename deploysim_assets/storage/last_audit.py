"""What the last full audit said, kept for reports to cite."""

import json
from pathlib import Path
from typing import Any

from deploysim_assets.storage import disk

LAST_AUDIT = "audit.json"


def save(home: Path, document: dict[str, Any]) -> None:
    """Keep what a full audit said."""
    disk.replace(home / LAST_AUDIT, json.dumps(document).encode())


def load(home: Path) -> dict[str, Any] | None:
    """What the last full audit said, or None."""
    try:
        return json.loads((home / LAST_AUDIT).read_bytes())
    except (FileNotFoundError, ValueError):
        return None
