"""Named objects in a folder or in a bucket, with one set of meanings for both: what storage needs
of either. A bucket is reached through obstore, with the credentials that the environment holds."""

import contextlib
import hashlib
import os
import re
import uuid
from collections.abc import Generator, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol
from urllib.parse import quote, unquote_to_bytes, urlsplit

from deploysim_assets.project import ProjectError
from deploysim_assets.storage import disk
from deploysim_assets.storage.locks import SWAP, swapping

if TYPE_CHECKING:
    from obstore import ObjectMeta, PutResult
    from obstore.store import ObjectStore, RetryConfig

SCHEMES = ("s3", "gs", "az")
BLOCK = 8 << 20
"""Bytes that are read or sent at once; S3 wants 5 MiB at least of each part of an upload."""
_PARTS_AT_ONCE = 4
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")
_PLAIN = "/=.,_-~@+:()"
"""What stands in a key as it is; all else is written as %XX, so that no store need take it."""
_WRITER = "deploysimput"  # Azure takes identifiers only

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


def objects_at(place: str) -> Objects:
    """The objects in a folder, or at s3://bucket/prefix, gs://bucket/prefix or
    az://container/prefix; ProjectError where the place is neither."""
    return Bucket(place) if is_url(place) else Folder(Path(place).resolve())


def _checked(name: str) -> str:
    parts = name.split("/")
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise ProjectError(f"{name!r}: not a name that an object can have")
    return name


class Folder:
    """The files below a folder."""

    def __init__(self, root: Path) -> None:
        self.root, self.where = root, str(root)

    def _path(self, name: str) -> Path:
        return self.root / _checked(name)

    def get(self, name: str) -> Held:
        """See Objects."""
        path = self._path(name)
        try:
            content = disk.read(path)
        except (IsADirectoryError, NotADirectoryError):
            raise FileNotFoundError(name) from None
        return Held(content, _digest_of(content))

    def get_range(self, name: str, start: int, size: int) -> bytes:
        """See Objects."""
        with self._path(name).open("rb") as file:
            file.seek(start)
            found = file.read(size)
        if not found:
            raise StoreError(f"{self._path(name)}: has no byte {start}")
        return found

    def size(self, name: str) -> int:
        """See Objects."""
        return self._path(name).stat().st_size

    def create(self, name: str, content: bytes) -> State:
        """See Objects."""
        disk.create(self._path(name), content)
        return _digest_of(content)

    def swap(self, name: str, content: bytes, state: State) -> State:
        """See Objects."""
        path = self._path(name)
        with swapping(self.root):
            try:
                now = self.get(name).state
            except FileNotFoundError:
                raise Changed(name) from None
            if now != state:
                raise Changed(name)
            disk.replace(path, content)
        return _digest_of(content)

    def send(self, name: str, blocks: Iterable[bytes], mode: int = 0o644) -> None:
        """See Objects."""
        disk.replace_by(self._path(name), blocks, mode)

    def list(self, below: str = "") -> list[Found]:
        """See Objects."""
        found: list[Found] = []
        for folder, _, names in os.walk(self.root / below):
            for name in names:
                path = Path(folder, name)
                named = path.relative_to(self.root).as_posix()
                partial = name.startswith(".") and name.endswith(".partial")
                if path.is_file() and not partial and named != SWAP:
                    found.append(Found(named, path.stat().st_size))
        return sorted(found)

    def delete(self, name: str) -> None:
        """See Objects."""
        self._path(name).unlink(missing_ok=True)


def _digest_of(content: bytes) -> State:
    return {"sha256": hashlib.sha256(content).hexdigest()}


class Bucket:
    """The objects below a URL. What a server may have done before it failed to answer is looked up:
    each create-only put and swap carries its writer's mark in the object's metadata."""

    retry: "ClassVar[RetryConfig | None]" = None
    """How often and how long a request is tried again; by default ten times in three minutes."""

    def __init__(self, url: str, store: "ObjectStore | None" = None) -> None:
        self.where = url.rstrip("/")
        self._store = store or _opened(url)

    def get(self, name: str) -> Held:
        """See Objects."""
        import obstore

        with _clear(self.where, name):
            found = obstore.get(self._store, _key(name))
            return Held(bytes(found.bytes()), _state(found.meta))

    def get_range(self, name: str, start: int, size: int) -> bytes:
        """See Objects."""
        import obstore

        with _clear(self.where, name):
            return bytes(obstore.get_range(self._store, _key(name), start=start, length=size))

    def size(self, name: str) -> int:
        """See Objects."""
        import obstore

        with _clear(self.where, name):
            return obstore.head(self._store, _key(name))["size"]

    def create(self, name: str, content: bytes) -> State:
        """See Objects."""
        import obstore
        from obstore.exceptions import AlreadyExistsError, BaseError

        mark = {_WRITER: uuid.uuid4().hex}
        try:
            done = obstore.put(self._store, _key(name), content, mode="create", attributes=mark)
            return _state(done)
        except AlreadyExistsError:
            # ours, where a request was tried again after its first try had done it
            if (mine := self._written_by(name, mark)) is None:
                raise FileExistsError(name) from None
        except (BaseError, OSError) as wrong:
            if (mine := self._written_by(name, mark)) is None:
                raise _failed(self.where, name, wrong) from None
        return mine

    def swap(self, name: str, content: bytes, state: State) -> State:
        """See Objects."""
        import obstore
        from obstore.exceptions import BaseError, PreconditionError

        mark = {_WRITER: uuid.uuid4().hex}
        mode = {"e_tag": state["e_tag"]} | (
            {"version": state["version"]} if "version" in state else {}
        )
        try:
            done = obstore.put(self._store, _key(name), content, mode=mode, attributes=mark)  # pyright: ignore[reportArgumentType]
            return _state(done)
        except (PreconditionError, FileNotFoundError):
            if (mine := self._written_by(name, mark)) is None:
                raise Changed(name) from None
        except (BaseError, OSError) as wrong:
            if (mine := self._written_by(name, mark)) is None:
                raise _failed(self.where, name, wrong) from None
        return mine

    def _written_by(self, name: str, mark: Mapping[str, str]) -> State | None:
        import obstore

        try:
            with _clear(self.where, name):
                found = obstore.get(self._store, _key(name), options={"head": True})
                return _state(found.meta) if mark.items() <= found.attributes.items() else None
        except FileNotFoundError:
            return None

    def sent(self, name: str, blocks: Iterable[bytes]) -> State:
        """The same as `send`; which content is there then."""
        """See Objects."""
        import obstore

        come = iter(blocks)
        begun = b""
        for block in come:
            begun += block
            if len(begun) > BLOCK:
                break
        with _clear(self.where, name, missing=False):
            if len(begun) <= BLOCK:  # an upload in parts has one at least
                return _state(obstore.put(self._store, _key(name), begun, use_multipart=False))
            return _state(
                obstore.put(
                    self._store,
                    _key(name),
                    chain((begun,), come),
                    chunk_size=BLOCK,
                    max_concurrency=_PARTS_AT_ONCE,
                )
            )

    def send(self, name: str, blocks: Iterable[bytes], mode: int = 0o644) -> None:  # noqa: ARG002
        """See Objects."""
        self.sent(name, blocks)

    def seen(self, below: str = "") -> dict[str, Seen]:
        """All objects (below a name), each with its bytes and which content it has."""
        import obstore

        found: dict[str, Seen] = {}
        with _clear(self.where, below, missing=False):
            for some in obstore.list(self._store, _key(below) if below else None):
                found |= {_name(one["path"]): Seen(one["size"], _state(one)) for one in some}
        # consoles of stores make an empty object for a folder
        folders = folders_of(found) if any(not one.bytes for one in found.values()) else ()
        return {n: one for n, one in found.items() if one.bytes or n not in folders}

    def states(self, below: str = "") -> dict[str, State]:
        """The same without the bytes."""
        return {name: one.state for name, one in self.seen(below).items()}

    def list(self, below: str = "") -> list[Found]:
        """See Objects."""
        return sorted(Found(name, one.bytes) for name, one in self.seen(below).items())

    def delete(self, name: str) -> None:
        """See Objects."""
        import obstore

        try:
            with _clear(self.where, name):
                obstore.delete(self._store, _key(name))
        except FileNotFoundError:
            pass


def _state(meta: "ObjectMeta | PutResult") -> State:
    held = {"e_tag": meta["e_tag"], "version": meta["version"]}
    return {name: found for name, found in held.items() if found}


def _key(name: str) -> str:
    # bytes: names of files need not be Unicode
    return quote(os.fsencode(_checked(name)), safe=_PLAIN)


def _name(key: str) -> str:
    return os.fsdecode(unquote_to_bytes(key))


def _opened(url: str) -> "ObjectStore":
    scheme = url.partition(":")[0].lower()
    if scheme not in SCHEMES:
        known = ", ".join(f"{one}://" for one in SCHEMES)
        raise ProjectError(f"{scheme}://...: not a store that is known; name a folder, or {known}")
    parts = urlsplit(url)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ProjectError(
            f"{scheme}://...: holds more than a bucket and a prefix; credentials come from the "
            "environment alone, and `?` and `#` do not belong in a prefix"
        )
    if not parts.netloc:
        raise ProjectError(f"{url}: names no bucket; write {scheme}://BUCKET/PREFIX")
    try:
        from obstore.exceptions import BaseError
        from obstore.store import from_url
    except ModuleNotFoundError:
        raise ProjectError(f"{url}: a bucket needs `pip install 'deploysim[bucket]'`") from None
    try:
        return from_url(url.rstrip("/"), retry_config=Bucket.retry)
    except (BaseError, ValueError) as wrong:
        raise _failed(url, "", wrong) from None


@contextlib.contextmanager
def _clear(where: str, name: str, *, missing: bool = True) -> Generator[None]:
    """Say what a store says in one clear line. `missing` lets FileNotFoundError through, which
    else tells that there is no such bucket."""
    from obstore.exceptions import BaseError

    try:
        yield
    except FileNotFoundError as wrong:
        if missing:
            raise FileNotFoundError(name) from None
        raise _failed(where, name, wrong) from None
    except (BaseError, OSError, ValueError) as wrong:
        raise _failed(where, name, wrong) from None


def _failed(where: str, name: str, wrong: Exception) -> StoreError:
    # a query may hold a signature
    said = re.sub(r"(?<=\w)\?\S+", "", str(wrong).partition("\n")[0])[:300]
    place = f"{where}/{name}" if name else where
    return StoreError(
        f"{place}: {type(wrong).__name__}: {said}; see that the bucket is there, and that the "
        "environment names its credentials (AWS_*, GOOGLE_*, AZURE_*)"
    )
