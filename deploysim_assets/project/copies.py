"""What a copy of a home says of itself."""

import json
from pathlib import Path

from deploysim_assets.project.errors import ProjectError

COPY_FILE = "copy.json"
"""In a copy of a home: that it was begun, or the inventory of a whole one."""

KEY_FILE = "deploysim.keys.json"
"""Kept apart: in no copy and no bucket."""
WORKED_IN = ".bucket"
"""In the folder in which a host works on a home in a bucket: the bucket's URL."""


def kept_apart(home: Path) -> frozenset[str]:
    """Files that the home had which a copy was made of, and that are in no copy (its keys); none
    where `home` is no copy. ProjectError in one that is not whole: answers that were paid for may
    not be there yet."""
    note = home / COPY_FILE
    try:
        said = json.loads(note.read_bytes())
        whole, apart = said["state"] == "whole", frozenset[str](said["apart"])
    except FileNotFoundError:
        return frozenset()
    except (ValueError, KeyError, TypeError):
        whole, apart = False, frozenset[str]()
    if not whole:
        raise ProjectError(
            f"{home}: a copy of a home that was begun and is not whole; run the same "
            "`deploysim home copy` again"
        )
    return apart
