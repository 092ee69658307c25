"""A bucket's objects, through obstore, with the credentials that the environment holds."""

import contextlib
import os
import re
import uuid
from collections.abc import Generator, Iterable, Mapping
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import quote, unquote_to_bytes, urlsplit

from deploysim_assets.project import ProjectError
from deploysim_assets.storage.folders import Folder
from deploysim_assets.storage.objects import (
    BLOCK,
    Changed,
    Found,
    Held,
    Objects,
    Seen,
    State,
    StoreError,
    checked,
    folders_of,
    is_url,
)

if TYPE_CHECKING:
    from obstore import ObjectMeta, PutMode, PutResult, UpdateVersion
    from obstore.store import ObjectStore, RetryConfig

SCHEMES = ("s3", "gs", "az")
_PARTS_AT_ONCE = 4
_HASTY: "RetryConfig" = {"max_retries": 2, "retry_timeout": timedelta(seconds=4)}
_PLAIN = "/=.,_-~@+:()"
"""What stands in a key as it is; all else is written as %XX, so that no store need take it."""
_WRITER = "deploysimput"  # Azure takes identifiers only


def objects_at(place: str) -> Objects:
    """The objects in a folder, or at s3://bucket/prefix, gs://bucket/prefix or
    az://container/prefix; ProjectError where the place is neither."""
    return Bucket(place) if is_url(place) else Folder(Path(place).resolve())


class Bucket:
    """The objects below a URL. What a server may have done before it failed to answer is looked up:
    each create-only put and swap carries its writer's mark in the object's metadata."""

    retry: "ClassVar[RetryConfig | None]" = None
    """How often and how long a request is tried again; by default ten times in three minutes."""

    def __init__(self, url: str, store: "ObjectStore | None" = None) -> None:
        self.where = url.rstrip("/")
        self._store = store or _opened(url)

    def hasty(self) -> "Bucket":
        """The same, whose requests are not tried again for long."""
        return Bucket(self.where, _opened(self.where, _HASTY))

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
        from obstore.exceptions import AlreadyExistsError

        return self._put(name, content, "create", AlreadyExistsError, FileExistsError(name))

    def swap(self, name: str, content: bytes, state: State) -> State:
        """See Objects."""
        from obstore.exceptions import PreconditionError

        mode: UpdateVersion = {"e_tag": state["e_tag"]}
        if "version" in state:
            mode["version"] = state["version"]
        refused = PreconditionError, FileNotFoundError
        return self._put(name, content, mode, refused, Changed(name))

    def _put(
        self,
        name: str,
        content: bytes,
        mode: "PutMode",
        refused: type[Exception] | tuple[type[Exception], ...],
        lost: Exception,
    ) -> State:
        """Write under a condition; `lost` where it is `refused`."""
        import obstore
        from obstore.exceptions import BaseError

        mark = {_WRITER: uuid.uuid4().hex}
        try:
            done = obstore.put(self._store, _key(name), content, mode=mode, attributes=mark)
            return _state(done)
        except (BaseError, OSError) as wrong:
            # ours, where a request was tried again after its first try had done it
            if (mine := self._written_by(name, mark)) is None:
                raise (
                    lost if isinstance(wrong, refused) else _failed(self.where, name, wrong)
                ) from None
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
    return quote(os.fsencode(checked(name)), safe=_PLAIN)


def _name(key: str) -> str:
    return os.fsdecode(unquote_to_bytes(key))


def _opened(url: str, retry: "RetryConfig | None" = None) -> "ObjectStore":
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
        return from_url(url.rstrip("/"), retry_config=retry or Bucket.retry)
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
