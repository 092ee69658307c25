"""Log files on this machine or on any fsspec store: listing, fingerprints, and reading with gzip
or zstd undone."""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportOptionalMemberAccess=false, reportArgumentType=false
# pyright: reportMissingTypeStubs=false, reportAttributeAccessIssue=false, reportUnknownParameterType=false

import contextlib
import glob
import gzip
import hashlib
import io
import lzma
import re
import shutil
import tempfile
import time
import zipfile
import zlib
from collections.abc import Generator
from pathlib import Path
from typing import Any, NamedTuple, cast

from zstandard import ZstdDecompressor, ZstdError

from deploysim_assets.project import ProjectError

BINARY = (b"PAR1", b"PK\x03\x04")
"""How Parquet files and zip archives begin: they have no lines."""

_CHUNK = 1 << 20
_ZSTD_CHUNK = 16 << 10
_DAMAGE = (EOFError, gzip.BadGzipFile, zlib.error, ZstdError, lzma.LZMAError, zipfile.BadZipFile)


def is_damage(wrong: Exception) -> bool:
    """Whether a file was cut short or overwritten, and not merely out of reach just now."""
    return isinstance(wrong, _DAMAGE) or (type(wrong) is OSError and wrong.errno is None)  # bz2's


_SECRET = re.compile(
    r"(?i)(?<=[?&])(x-amz-[\w-]+|x-goog-[\w-]+|sig|signature|[\w-]*token|[\w-]*key[\w-]*)=[^&]*&?"
)
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
    def raw(self) -> Generator[io.BufferedReader]:
        """The file's bytes as they lie there, up to its size when it was listed: a log that grows
        meanwhile is read as one state of it."""
        with self.store.open(self.path, "rb") as stream:
            yield io.BufferedReader(_UpTo(stream, self.size), _CHUNK)

    @contextlib.contextmanager
    def _as(self, said: "Digest", *, whole: bool) -> Generator[io.BufferedReader]:
        """The file's bytes; ProjectError where those that were read are not what is `said` of them,
        also of a file that was changed and put back meanwhile. What is not read from its start to
        its end (Parquet, archives; anything if `whole`) is read from a copy without a name."""
        with self.raw() as stream:
            hashed = _Hashed(stream)
            if whole or stream.peek(4)[:4] in BINARY:
                with tempfile.TemporaryFile() as copy:
                    shutil.copyfileobj(cast("Any", hashed), copy, _CHUNK)
                    self._hold(hashed, said)
                    copy.seek(0)
                    yield cast("io.BufferedReader", copy)
                return
            try:
                yield io.BufferedReader(hashed, _CHUNK)
            except Exception as wrong:
                if is_damage(wrong):
                    self._hold(hashed, said)
                raise
            self._hold(hashed, said)

    def _hold(self, hashed: "_Hashed", said: "Digest") -> None:
        if hashed.digest() != said:
            raise ProjectError(
                f"{self.path}: was changed while it was read; logs may grow, but what stands there "
                "stays: run again"
            )

    @contextlib.contextmanager
    def open(self, said: "Digest | None" = None) -> Generator[io.BufferedReader]:
        """The file's bytes, decompressed by its ending; with `said`, ProjectError where what was
        read of it was not that."""
        from fsspec.compression import compr
        from fsspec.utils import infer_compression

        compression = infer_compression(self.path)
        with self._as(said, whole=compression == "zip") if said else self.raw() as stream:
            if compression is None:
                yield stream
                return
            with (
                _Zstd(stream)
                if compression == "zstd"
                else compr[compression](stream, mode="rb") as inside
            ):
                yield io.BufferedReader(_Kept(inside), _CHUNK)


class _UpTo(io.RawIOBase):
    """The first `size` bytes of a stream."""

    def __init__(self, stream: Any, size: int) -> None:
        self._stream, self._size, self._at = stream, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        read = self._stream.read(min(len(buffer), max(0, self._size - self._at)))
        buffer[: len(read)] = read
        self._at += len(read)
        return len(read)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = self._stream.seek(start + offset)
        return self._at


class _Hashed(io.RawIOBase):
    """A stream, and the digest of what came through it."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._hash, self._read = stream, hashlib.sha256(), 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        read = self._stream.readinto(buffer)
        self._hash.update(buffer[:read])
        self._read += read
        return read

    def digest(self) -> "Digest":
        """Of the whole stream: what was not asked for is read now."""
        while self.read(_CHUNK):
            pass
        return Digest(self._hash.hexdigest(), self._read)


class _Kept(io.RawIOBase):
    """A decompressed stream that hands on all that came before a defect, and only then raises it:
    a reader that asks for much at once would lose it."""

    def __init__(self, inside: Any) -> None:
        self._read = getattr(inside, "read1", inside.read)
        self._defect: Exception | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._defect:
            raise self._defect
        taken = 0
        try:
            while taken < len(buffer) and (found := self._read(len(buffer) - taken)):
                buffer[taken : taken + len(found)] = found
                taken += len(found)
        except Exception as wrong:
            if not taken:
                raise
            self._defect = wrong
        return taken


class _Zstd(io.RawIOBase):
    """What a zstandard file holds, over all its frames. zstandard's own reader, which fsspec takes,
    stops after the first frame and says nothing where a file breaks off."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._frame, self._held = stream, ZstdDecompressor().decompressobj(), b""
        self._begun = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._held:
            if self._frame.eof:
                rest = self._frame.unused_data
                self._frame, self._begun = ZstdDecompressor().decompressobj(), False
            else:
                rest = b""
            chunk = rest or self._stream.read(_ZSTD_CHUNK)
            if not chunk:
                if self._begun:
                    raise EOFError("the last frame is not whole")
                return 0
            self._begun = True
            self._held = self._frame.decompress(chunk)
        taken = self._held[: len(buffer)]
        self._held = self._held[len(taken) :]
        buffer[: len(taken)] = taken
        return len(taken)


def _local(store: Any) -> bool:
    from fsspec.implementations.local import LocalFileSystem

    return isinstance(store, LocalFileSystem)


def log_files(folder: Path, pattern: str, home: Path | None = None) -> list[LogFile]:
    """The files that a pattern names, in a fixed order; a relative glob starts at `folder`, a URL
    is an fsspec one. Without another `home` the folder is the home."""
    from fsspec.core import url_to_fs

    store, path = cast(
        "tuple[Any, str]",
        url_to_fs(
            pattern if _URL.match(pattern) else str(Path(glob.escape(str(folder))) / pattern)
        ),
    )
    store.invalidate_cache()  # else a store that lists once never shows what came later
    found: dict[str, dict[str, Any]] = store.glob(path, detail=True)
    return [
        LogFile(store, path, int(facts["size"]), _name(store, path, home or folder))
        for path, facts in sorted(found.items())
        if facts["type"] == "file"
    ]


def _name(store: Any, path: str, home: Path) -> str:
    # a name that is no UTF-8 could stand in no table
    path = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    if _local(store):
        for below in (home.absolute(), home.resolve()):
            if Path(path).is_relative_to(below):
                return Path(path).relative_to(below).as_posix()
    return _SECRET.sub("", _SIGN_IN.sub("//", str(store.unstrip_protocol(path))))


class Digest(NamedTuple):
    """What a log file holds: SHA-256 and number of its bytes."""

    sha256: str
    bytes: int


_digests: dict[tuple[Any, ...], Digest] = {}
_RECENT = 2_000_000_000
"""Nanoseconds within which a file may change again without a new time stamp."""


def digest(file: LogFile) -> Digest:
    """SHA-256 of the first `size` bytes of a file, as it was listed: what is appended later is no
    part of it.

    A file whose place, size, times and inode are as they were is not read again by this process.
    """
    mark = _mark(file)
    if mark is not None and mark in _digests:
        return _digests[mark]
    whole = hashlib.sha256()
    with file.raw() as stream:
        while chunk := stream.read(_CHUNK):
            whole.update(chunk)
        found = Digest(whole.hexdigest(), stream.tell())
    if mark is not None and mark == _mark(file):
        _digests[mark] = found
    return found


def _mark(file: LogFile) -> tuple[Any, ...] | None:
    """What changes whenever a file's content does; None where the file changed just now, so that
    its times cannot tell. The change time is in it because `touch` can set the other back."""
    if not _local(file.store):
        return (file.path, file.size, repr(file.store.info(file.path)))
    facts = Path(file.path).stat()
    if time.time_ns() - max(facts.st_mtime_ns, facts.st_ctime_ns) < _RECENT:
        return None
    return (file.path, file.size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino)


def facts(file: LogFile) -> dict[str, Any]:
    """A log file as the tables that were made of it name it: {file, sha256, bytes, lines}. Lines
    are those of the text inside; null for Parquet and archives, and after damage those before."""
    found = digest(file)
    return {"file": file.name, **found._asdict(), "lines": _lines(file)}


def _lines(file: LogFile) -> int | None:
    lines, last = 0, b""
    try:
        with file.open() as stream:
            if stream.peek(4)[:4] in BINARY:
                return None
            while chunk := stream.read(_CHUNK):
                lines += chunk.count(b"\n")
                last = chunk[-1:]
    except Exception as wrong:
        if not is_damage(wrong):
            raise
    return lines + (last not in (b"", b"\n"))


def fingerprint(files: list[LogFile]) -> str:
    """A hash of the names and contents of files: equal while no file came, went or changed,
    wherever the home lies and whatever the file system says of their times."""
    named = [(f.name, *digest(f)) for f in files]
    return hashlib.sha256(repr(named).encode()).hexdigest()[:16]
