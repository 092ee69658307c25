"""The few things that storage asks of a disk, none of which a bucket could not do: create an object
that is not there yet, replace one whole, read, hash and list. In a home that is in a bucket what
is written goes there first."""

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Generator, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from deploysim_assets.storage.mirrors import mirror_of

_READ_AT_ONCE = 1 << 20


def _forced(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _whole(path: Path, content: Iterable[bytes], mode: int) -> Generator[Path]:
    """The content under a name of its own beside `path`, on disk, and gone afterwards."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
    partial = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.writelines(content)
            file.flush()
            os.fsync(descriptor)
        yield partial
    finally:
        partial.unlink(missing_ok=True)


def create(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write an object that must not be there yet; of several writers one wins, the others get
    FileExistsError. It is whole and forced to disk when it appears."""
    if mirror := mirror_of(path):
        mirror.create(path, content)
        return
    with _whole(path, (content,), mode) as partial:
        os.link(partial, path)
    _forced(path.parent)


def replace(path: Path, content: bytes, mode: int | None = None) -> None:
    """Put an object in place of another, whole and forced to disk; its permissions stay."""
    if mode is None:
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    if mirror := mirror_of(path):
        mirror.replace(path, content, mode)
        return
    replace_by(path, (content,), mode)


def swap(path: Path, content: bytes) -> None:
    """The same of an object that no other host may have replaced since it was last read here;
    ProjectError where one has."""
    if mirror := mirror_of(path):
        mirror.swap(path, content)
        return
    replace(path, content)


def written(paths: Iterable[Path]) -> None:
    """Say that files were written, and forced to disk, by other means: they go to the home's bucket
    where it has one."""
    paths = list(paths)
    if paths and (mirror := mirror_of(paths[0])):
        mirror.sent(paths)


def rewritten(path: Path) -> None:
    """The same of a file that may be this host's alone."""
    if mirror := mirror_of(path):
        mirror.rewritten(path)


def replace_by(path: Path, blocks: Iterable[bytes], mode: int) -> None:
    """Put a content that comes block by block in place of another, on the disk alone; an error
    while it comes leaves all as it was."""
    with _whole(path, blocks, mode) as partial:
        partial.replace(path)
    _forced(path.parent)


def read(path: Path) -> bytes:
    """An object's bytes; FileNotFoundError where there is none."""
    return path.read_bytes()


def files(folder: Path) -> list[Path]:
    """All files below a folder, in a fixed order."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def names(folder: Path) -> list[Path]:
    """What lies directly in a folder, in a fixed order."""
    return sorted(folder.iterdir())


def remove(folder: Path) -> None:
    """Remove a folder with all that is in it; one that is gone already is no error."""
    if mirror := mirror_of(folder):
        mirror.gone(folder)
    shutil.rmtree(folder, ignore_errors=True)


def unlink(path: Path) -> None:
    """Remove an object; one that is gone already is no error."""
    if mirror := mirror_of(path):
        mirror.gone(path)
    path.unlink(missing_ok=True)


def force(paths: Iterable[Path]) -> None:
    """Force files and then the folders that they lie in to disk."""
    files = list(paths)
    for path in files:
        _forced(path)
    for folder in {path.parent for path in files}:
        _forced(folder)


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex; FileNotFoundError where it is gone."""
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def copy_start(source: BinaryIO, target: BinaryIO, size: int) -> None:
    """Copy the first `size` bytes of a file to where another one stands."""
    while size and (block := source.read(min(size, _READ_AT_ONCE))):
        target.write(block)
        size -= len(block)


def sha256_of_start(path: Path, size: int) -> str:
    """SHA-256 of the first `size` bytes of a file."""
    total, left = hashlib.sha256(), size
    with path.open("rb") as file:
        while left and (block := file.read(min(left, _READ_AT_ONCE))):
            total.update(block)
            left -= len(block)
    return total.hexdigest()


def sha256_of_all(paths: Iterable[Path]) -> Mapping[Path, str | None]:
    """SHA-256 of many files, on all cores (hashing lets go of the interpreter); None for a file
    that is gone or cannot be read."""

    def one(path: Path) -> str | None:
        try:
            return sha256(path)
        except OSError:
            return None

    files = list(paths)
    if len(files) < 2:
        return {path: one(path) for path in files}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(files, pool.map(one, files), strict=True))
