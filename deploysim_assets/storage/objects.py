"""Named objects, with one set of meanings wherever they lie: what storage needs of a folder
(folders.py) or a bucket (buckets.py)."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar, NamedTuple, Protocol

from deploysim_assets.project import ProjectError

BLOCK = 8 << 20
"""Bytes that are read or sent at once; S3 wants 5 MiB at least of each part of an upload."""
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")

State = Mapping[str, str]
"""Which content of an object was read; opaque, and good for `swap` on the same object."""


class StoreError(ProjectError):
    """A bucket cannot be reached, or does not do what is asked."""

    exit_code: ClassVar[int] = 69


class Changed(Exception):
    """An object is not, or no longer, what was read: another writer was first."""


class Found(NamedTuple):
    """An object in a listing, with its bytes."""

    name: str
    size: int


class Seen(NamedTuple):
    """An object in a bucket's listing."""

    bytes: int
    state: State


class Held(NamedTuple):
    """An object that was read."""

    content: bytes
    state: State


class Objects(Protocol):
    """Objects by name: parts between slashes, none of them empty, `.` or `..`. A reader sees an
    object whole or not at all, and once written to all. `StoreError` where a bucket fails."""

    where: str
    """The folder or URL, as people know it."""

    def get(self, name: str) -> Held:
        """An object; FileNotFoundError where there is none."""
        ...

    def get_range(self, name: str, start: int, size: int) -> bytes:
        """`size` bytes from a place in an object on, fewer where it ends; StoreError where it has
        none there, FileNotFoundError where there is no object."""
        ...

    def size(self, name: str) -> int:
        """An object's bytes; FileNotFoundError where there is none."""
        ...

    def create(self, name: str, content: bytes) -> State:
        """Write an object that must not be there yet: of several writers one wins, the others get
        FileExistsError."""
        ...

    def swap(self, name: str, content: bytes, state: State) -> State:
        """Put a content in place of the one that was read: of several writers one wins, the others
        get Changed, as they do where the object is gone. Equal contents may count as one."""
        ...

    def send(self, name: str, blocks: Iterable[bytes], mode: int = 0o644) -> None:
        """Write an object, or put it in place of another, block by block; an error while they come
        leaves all as it was. `mode` is of a file on a disk."""
        ...

    def list(self, below: str = "") -> list[Found]:
        """All objects (below a name, as below a folder), by name."""
        ...

    def delete(self, name: str) -> None:
        """Take an object away; one that is gone is no error."""
        ...


def blocks_of(objects: Objects, name: str) -> Iterator[bytes]:
    """An object's bytes, a block in memory at a time; FileNotFoundError where there is none."""
    size = objects.size(name)
    for start in range(0, size, BLOCK):
        yield objects.get_range(name, start, min(BLOCK, size - start))


def sha256_of(objects: Objects, name: str) -> str:
    """SHA-256 of an object's bytes, in hex; FileNotFoundError where there is none."""
    total = hashlib.sha256()
    for block in blocks_of(objects, name):
        total.update(block)
    return total.hexdigest()


def folders_of(names: Iterable[str]) -> set[str]:
    """The folders that some objects would lie in."""
    return {name[: slash.start()] for name in names for slash in re.finditer("/", name)}


def is_url(place: str) -> bool:
    """Whether a place is named by a URL, and is no folder."""
    return _URL.match(place) is not None


def checked(name: str) -> str:
    """A name that an object can have; ProjectError for another."""
    parts = name.split("/")
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise ProjectError(f"{name!r}: not a name that an object can have")
    return name
