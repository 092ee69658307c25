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

_URL = re.compile(r"^[a-z][a-z0-9+.-]*://")


class LogFile(NamedTuple):
    """One file: its store, its path there, and its size in bytes."""

    store: Any
    path: str
    size: int

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
        LogFile(store, name, int(facts["size"]))
        for name, facts in sorted(found.items())
        if facts["type"] == "file"
    ]


def fingerprint(files: list[LogFile]) -> str:
    """A hash of names, sizes and what the store knows of their content: equal while no file
    came, went or changed."""
    facts = [(f.path, f.size, f.store.ukey(f.path)) for f in files]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
