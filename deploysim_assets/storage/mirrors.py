"""Which homes of this process are in a bucket: their folders, each with its mirror."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deploysim_assets.storage.mirror import Mirror

_opened: "dict[Path, Mirror]" = {}


def note(mirror: "Mirror") -> None:
    """From now on what is written into its folder is written to its bucket."""
    _opened[mirror.home] = mirror


def mirror_of(path: Path) -> "Mirror | None":
    """The mirror whose folder a path is or lies in; None on a disk."""
    if not _opened:
        return None
    return next((m for home, m in _opened.items() if path.is_relative_to(home)), None)
