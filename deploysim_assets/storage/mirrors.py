"""Which homes of this process are in a bucket: their folders, each with its mirror."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from deploysim_assets.storage.bucket_leases import Leases
from deploysim_assets.storage.objects import Objects


class JournalsThere(Protocol):
    """What a journal asks of the bucket that its home is in."""

    def open(self, path: Path) -> int:
        """Bring a journal down before it is written; how many bytes of it went."""
        ...

    def send(self, path: Path, limit: int) -> int:
        """Bring it up as far as a byte; how many bytes that were."""
        ...


class Mirrored(Protocol):
    """What the rest of storage asks of a home in a bucket. `Mirror` says how it is done; it stands
    on disk, ledger, locks and journals, which therefore know this alone."""

    @property
    def home(self) -> Path:
        """The folder in which this host works on it."""
        ...

    @property
    def leases(self) -> Leases:
        """Locks among hosts."""
        ...

    @property
    def hasty(self) -> Objects:
        """The bucket, whose requests are not tried again for long: for what soon comes again."""
        ...

    @property
    def journals(self) -> JournalsThere:
        """Its journals."""
        ...

    def name(self, path: Path) -> str:
        """The name of a file's object."""
        ...

    def create(self, path: Path, content: bytes) -> None:
        """See disk.create."""
        ...

    def replace(self, path: Path, content: bytes, mode: int) -> None:
        """See disk.replace."""
        ...

    def swap(self, path: Path, content: bytes) -> None:
        """See disk.swap."""
        ...

    def sent(self, paths: Iterable[Path]) -> None:
        """See disk.written."""
        ...

    def rewritten(self, path: Path) -> None:
        """See disk.rewritten."""
        ...

    def gone(self, path: Path) -> None:
        """Take an object, or all below a folder, away."""
        ...

    def clear_left_behind(self) -> None:
        """Take away what killed hosts sent in part."""
        ...

    def quiet(self) -> AbstractContextManager[None]:
        """Nothing comes down on this host meanwhile."""
        ...

    def catch_up(self) -> None:
        """Fetch the ledger's records that are new."""
        ...

    def pull(self) -> None:
        """Bring the folder to what the bucket holds."""
        ...


_opened: dict[Path, Mirrored] = {}


def note(mirror: Mirrored) -> None:
    """From now on what is written into its folder is written to its bucket."""
    _opened[mirror.home] = mirror


def mirror_of(path: Path) -> Mirrored | None:
    """The mirror whose folder a path is or lies in; None on a disk."""
    if not _opened:
        return None
    return next((m for home, m in _opened.items() if path.is_relative_to(home)), None)
