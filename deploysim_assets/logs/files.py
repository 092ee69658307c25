"""Log files on this machine or on any fsspec store: listing, fingerprints, and reading with gzip
or zstd undone."""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportOptionalMemberAccess=false, reportArgumentType=false
# pyright: reportMissingTypeStubs=false, reportAttributeAccessIssue=false, reportUnknownParameterType=false

import contextlib
import hashlib
import io
import re
from collections.abc import Generator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

_SIGN_IN = re.compile(r"//[^/@]*@")
_URL = re.compile(r"^[a-z][a-z0-9+.-]*://")


class LogFile(NamedTuple):
    """One file: its store, its path there, its size in bytes, and its name in tables: relative to
    the home where it lies below it, else its URL."""

    store: Any
    path: str
    size: int
    name: str

    @contextlib.contextmanager
    def open(self) -> Generator[BinaryIO]:
        """The file's bytes, decompressed by its ending."""
        from fsspec.core import OpenFile
        from fsspec.utils import infer_compression

        with OpenFile(
            self.store, self.path, mode="rb", compression=infer_compression(self.path)
        ) as stream:
            yield cast(
                "BinaryIO", stream if hasattr(stream, "peek") else io.BufferedReader(stream)
            )  # zstandard's has no readline


def log_files(home: Path, pattern: str) -> list[LogFile]:
    """The files that a release's `logs.path` names, in a fixed order; a relative glob starts at
    the home, a URL is an fsspec one."""
    from fsspec.core import url_to_fs

    store, path = cast(
        "tuple[Any, str]", url_to_fs(pattern if _URL.match(pattern) else str(home / pattern))
    )
    found: dict[str, dict[str, Any]] = store.glob(path, detail=True)
    return [
        LogFile(store, path, int(facts["size"]), _name(store, path, home))
        for path, facts in sorted(found.items())
        if facts["type"] == "file"
    ]


def _name(store: Any, path: str, home: Path) -> str:
    from fsspec.implementations.local import LocalFileSystem

    if isinstance(store, LocalFileSystem):
        for below in (home.absolute(), home.resolve()):
            if Path(path).is_relative_to(below):
                return Path(path).relative_to(below).as_posix()
    return _SIGN_IN.sub("//", str(store.unstrip_protocol(path)))


def fingerprint(files: list[LogFile]) -> str:
    """A hash of names, sizes and what the store knows of their content: equal while no file
    came, went or changed."""
    facts = [(f.path, f.size, f.store.ukey(f.path)) for f in files]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
