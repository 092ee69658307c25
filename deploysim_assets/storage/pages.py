"""Pages that lie beside tables. They name flagged items by keyed ids, one item a line, so that a
withdrawal can take its lines out."""

import re
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path

from deploysim_assets.storage.tables import Lake
from deploysim_assets.storage.versions import being_written

_ID = re.compile(r'<td class="id">([^<]+)</td>')


def pages(lake: Lake) -> Iterator[Path]:
    """The pages of every version that is not just being written."""
    for _, _, folder in lake.places():
        for path in sorted(folder.glob("run=*/*.html")):
            if not being_written(path.parent):
                yield path


def without(text: str, ids: AbstractSet[str]) -> tuple[str, int]:
    """A page without the lines that name one of some ids, and how many these were."""
    lines = text.splitlines(keepends=True)
    kept = [line for line in lines if ids.isdisjoint(_ID.findall(line))]
    return "".join(kept), len(lines) - len(kept)
