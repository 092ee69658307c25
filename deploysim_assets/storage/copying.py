"""A home copied to another place, a folder or a bucket: what is copied of it, and how."""

import contextlib
import hashlib
import os
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from deploysim_assets.project import CONFIG_FILE, ProjectError, SealError
from deploysim_assets.project.copies import COPY_FILE
from deploysim_assets.storage import disk
from deploysim_assets.storage.buckets import Bucket, objects_at
from deploysim_assets.storage.folders import Folder
from deploysim_assets.storage.homes import is_worked_in, opened
from deploysim_assets.storage.inventories import (
    Contents,
    File,
    begin,
    counts,
    digest_at,
    finish,
    note_at,
    refuse_other,
)
from deploysim_assets.storage.ledger import LEDGER, LEDGER_FILE, Head, Record, examine_files
from deploysim_assets.storage.locks import LOCKS, alone, nobody_asks
from deploysim_assets.storage.manifests import MANIFEST
from deploysim_assets.storage.objects import (
    BLOCK,
    Objects,
    StoreError,
    blocks_of,
)
from deploysim_assets.storage.versions import WRITING
from deploysim_assets.storage.withdrawals import open_mark

_AT_ONCE = 16
_NOT_LINKED = ("lake", "ledger", "journal", "verdicts")
_TELL_EVERY = 1_000

Vouch = Callable[[list[Record], Collection[str], Callable[[str], bytes]], Mapping[str, str]]
"""Records, names of all files and how to read one -> the digest that each file of a table must
have; SealError where one is missing, or is not what the ledger seals."""


class Copied(NamedTuple):
    """What a copy came to: files sent, found there, and taken away, since the home has them no
    longer; bytes of all; the ledger's head; what in the home is no part of a copy."""

    sent: int
    there: int
    gone: int
    bytes: int
    head: Head
    left_out: list[str]


def copy_home(
    source: str, target: str, vouch: Vouch, keep_out: Collection[str], tell: Callable[[str], None]
) -> Copied:
    """Copy a home from a folder, or a whole copy from a bucket, to a folder or a bucket. Killed at
    any moment it can be run again: what is there and equal is not sent again.

    `keep_out` names files that belong in no copy. ProjectError, before anything is changed, where a
    run is asking, the home does not hold, or the target holds something else or a later state.
    """
    try:
        here, there = objects_at(source), objects_at(target)
        if isinstance(there, Bucket) and is_worked_in(there):
            raise ProjectError(f"{target}: hosts work in it; name an empty place")
        if isinstance(here, Bucket) and is_worked_in(here):
            here = Folder(opened(source).home)
        return _copied(here, there, vouch, keep_out, tell)
    except OSError as wrong:
        raise ProjectError(
            f"{wrong.filename or target}: {wrong.strerror or type(wrong).__name__}; what was "
            "copied is kept: mend that, and run the same again"
        ) from wrong


def _copied(
    here: Objects,
    there: Objects,
    vouch: Vouch,
    keep_out: Collection[str],
    tell: Callable[[str], None],
) -> Copied:
    _refuse_nested(here, there)
    if isinstance(here, Folder) and not (here.root / CONFIG_FILE).is_file():
        raise ProjectError(f"{here.where}: there is no {CONFIG_FILE}: not a home")
    with _held(here), _held(there):
        home = _home(here, keep_out, vouch)
        note = note_at(there, keep_out)
        lying = {f.name: f.size for f in there.list() if counts(f.name, keep_out)}
        config = digest_at(here, CONFIG_FILE)
        refuse_other(there, note, lying, home, config)
        nonce = begin(there, note, lying, home, config)
        if isinstance(there, Folder):
            _make_ready(there.root, home.private)
        done = _carried(here, there, home, lying, tell)
        gone = sorted(set(lying) - set(home.files))
        for name in gone:
            _take_away(there, name)
        finish(there, nonce, home, {name: file for name, (file, _) in done.items()}, keep_out)
    sent = sum(was_sent for _, was_sent in done.values())
    total = sum(file.bytes for file, _ in done.values())
    return Copied(sent, len(done) - sent, len(gone), total, home.head, home.left_out)


def _refuse_nested(here: Objects, there: Objects) -> None:
    one, other = f"{here.where}/", f"{there.where}/"
    if one.startswith(other) or other.startswith(one):
        raise ProjectError(f"{there.where}: lies in what is copied, or holds it; name another")


@contextlib.contextmanager
def _held(place: Objects) -> Generator[None]:
    """Nobody writes tables or answers in a folder meanwhile."""
    if not isinstance(place, Folder):
        yield
        return
    what = "copy again"
    with alone(place.root, what), nobody_asks(place.root, what):
        yield


def _home(here: Objects, keep_out: Collection[str], vouch: Vouch) -> Contents:
    """The home with what is known of its files, once its ledger and tables hold."""
    note = note_at(here, keep_out)
    if note is not None and not note.whole:
        raise ProjectError(f"{here.where}: a copy that is not whole; make it again, to its end")
    apart = set(note.apart) if note else set[str]()
    if isinstance(here, Folder):
        open_mark(here.root)
        files, private, left_out = _of_folder(here.root, keep_out)
        apart |= {name for name in keep_out if (here.root / name).exists()}
    elif note is None:
        raise ProjectError(f"{here.where}: holds no copy of a home ({COPY_FILE} is not there)")
    else:
        files, private, left_out = dict(note.files), note.private, list[str]()

    def read(name: str) -> bytes:
        # one request: size and content
        content = here.get(name).content
        known = files[name].sha256
        if known and hashlib.sha256(content).hexdigest() != known:
            raise _differs(here, name)
        return content

    chain = [n for n in files if n == LEDGER_FILE or n.startswith(f"{LEDGER}/")]
    chain.sort(key=lambda name: (name != LEDGER_FILE, name))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        contents = dict(zip(chain, pool.map(read, chain), strict=True))
        named = [n for n in files if n.startswith("lake/") and n.endswith(f"/{MANIFEST}")]
        contents |= zip(named, pool.map(read, named), strict=True)
    records, faults = examine_files((Path(name), contents[name]) for name in chain)
    if faults:
        raise faults[0]
    for name, digest in vouch(records, files, lambda n: contents.get(n) or read(n)).items():
        if files[name].sha256 not in ("", digest):
            raise _differs(here, name)
        files[name] = files[name]._replace(sha256=digest)
    if isinstance(here, Folder):
        _refuse_damaged(here, files)
    return Contents(files, private, records, left_out, sorted(apart))


def _refuse_damaged(here: Folder, files: Mapping[str, File]) -> None:
    """SealError where a file of a table is not as it was written. Noticed later, an earlier copy
    would already be begun over, and it may be the last good one."""
    known = {here.root / name: name for name, file in files.items() if file.sha256}
    for path, digest in disk.sha256_of_all(known).items():
        if digest != files[known[path]].sha256:
            raise _differs(here, known[path])


def _of_folder(
    root: Path, keep_out: Collection[str]
) -> tuple[dict[str, File], dict[str, int], list[str]]:
    files: dict[str, File] = {}
    private: dict[str, int] = {}
    left_out: list[str] = []
    for folder, folders, names in os.walk(root):
        place = Path(folder)
        below = place.relative_to(root).as_posix()
        for name in [*folders]:
            path, inside = place / name, (place / name).relative_to(root).as_posix()
            if path.is_symlink() and inside.split("/")[0] in _NOT_LINKED:
                raise ProjectError(
                    f"{path}: a link to a folder, of which a copy would hold nothing; put the "
                    "folder itself there"
                )
            if path.is_symlink() or name.startswith(".") or inside == LOCKS:
                left_out += [] if inside == LOCKS else [inside]
                folders.remove(name)
        if MANIFEST not in names and any(
            name.startswith(WRITING) for name in names
        ):  # no version yet, or never
            folders.clear()
            continue
        mode = place.stat().st_mode & 0o777
        if not mode & 0o077:
            private[below] = mode
        for name in names:
            path, inside = place / name, (place / name).relative_to(root).as_posix()
            if not counts(inside, keep_out):
                left_out += [] if inside == COPY_FILE else [inside]
            elif path.is_file():
                stat = path.stat()
                files[inside] = File(stat.st_size, stat.st_mode & 0o777)
    return files, private, sorted(left_out)


def _make_ready(root: Path, private: Mapping[str, int]) -> None:
    """Folders that nobody else may enter, before anything is put into them; and what a kill left
    half written goes."""
    for name, mode in sorted(private.items()):
        folder = root / name
        if not folder.resolve().is_relative_to(root):
            raise ProjectError(f"{root / COPY_FILE}: names {name!r}, which lies elsewhere")
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(mode)
    for left in root.rglob(".*.partial"):
        left.unlink()


def _carried(
    here: Objects,
    there: Objects,
    home: Contents,
    lying: Mapping[str, int],
    tell: Callable[[str], None],
) -> dict[str, tuple[File, bool]]:
    """Every file as it lies at the target at last, and whether it was sent. Large ones one by one:
    several of their parts are under way at once."""

    def one(name: str) -> tuple[File, bool]:
        return _carry(here, there, name, home.files[name], lying.get(name))

    small = sorted(name for name, file in home.files.items() if file.bytes <= BLOCK)
    large = sorted(set(home.files) - set(small))
    done: dict[str, tuple[File, bool]] = {}
    for name, found in _each(one, small, large):
        done[name] = found
        if len(done) % _TELL_EVERY == 0:
            tell(f"{len(done):,} of {len(home.files):,} files")
    return done


def _each(
    one: Callable[[str], tuple[File, bool]], small: Iterable[str], large: Iterable[str]
) -> Iterator[tuple[str, tuple[File, bool]]]:
    pool = ThreadPoolExecutor(_AT_ONCE)
    try:
        under_way = [(name, pool.submit(one, name)) for name in small]
        for name, future in under_way:
            yield name, future.result()
    finally:
        pool.shutdown(cancel_futures=True)
    for name in large:
        yield name, one(name)


def _carry(
    here: Objects, there: Objects, name: str, file: File, lies: int | None
) -> tuple[File, bool]:
    """A file brought to the target, and read there again."""
    if lies == file.bytes:
        mine = file.sha256 or digest_at(here, name)
        if digest_at(there, name) == mine:
            if isinstance(there, Folder):
                (there.root / name).chmod(file.mode)
            return file._replace(sha256=mine), False
    total, size = hashlib.sha256(), 0

    def blocks() -> Iterator[bytes]:
        nonlocal size
        for block in blocks_of(here, name):
            total.update(block)
            size += len(block)
            yield block
        if file.sha256 not in ("", total.hexdigest()):
            raise _differs(here, name, there)

    try:
        there.send(name, blocks(), file.mode)
    except FileNotFoundError:
        raise _differs(here, name, there) from None
    digest = total.hexdigest()
    if digest_at(there, name) != digest:
        raise StoreError(f"{there.where}/{name}: is not what was sent; copy again")
    return File(size, file.mode, digest), True


def _differs(place: Objects, name: str, begun: Objects | None = None) -> SealError:
    mend = "an earlier whole copy is left as it is: restore from it"
    if begun is not None:
        mend = f"the copy begun at {begun.where} is not whole: mend that, and run the same again"
    return SealError(
        f"{place.where}/{name}: is missing, or is not as it was written; `deploysim audit ledger` "
        f"says what else does not hold; {mend}"
    )


def _take_away(there: Objects, name: str) -> None:
    """A file that the home has no longer, with the folders that it leaves empty: an empty one would
    pass for a version of a table."""
    there.delete(name)
    if isinstance(there, Folder):
        with contextlib.suppress(OSError):
            for folder in Path(name).parents:
                if folder != Path():
                    (there.root / folder).rmdir()
