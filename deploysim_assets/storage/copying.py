"""A home copied to another place, a folder or a bucket; a copy says itself whether it is whole.

`copy.json` is the first object of it and says that a copy was begun; at the very end the inventory
stands in its place: every file with its digest, bytes and permissions.
"""

import contextlib
import hashlib
import json
import os
import uuid
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from deploysim_assets.project import CONFIG_FILE, ProjectError, SealError
from deploysim_assets.project.file import COPY_FILE
from deploysim_assets.storage.ledger import LEDGER, LEDGER_FILE, Head, Record, examine_files
from deploysim_assets.storage.locks import LOCKS, alone, nobody_asks
from deploysim_assets.storage.manifests import MANIFEST
from deploysim_assets.storage.objects import (
    BLOCK,
    Changed,
    Folder,
    Objects,
    State,
    StoreError,
    blocks_of,
    objects_at,
    sha256_of,
)
from deploysim_assets.storage.tables import WRITING
from deploysim_assets.storage.withdrawals import open_mark

FORMAT = 1
BEGUN, WHOLE = "begun", "whole"
_AT_ONCE = 16
_NOT_LINKED = ("lake", "ledger", "journal", "verdicts")
_TELL_EVERY = 1_000
_OTHER = "name an empty place, or take away what is there"

Vouch = Callable[[list[Record], Collection[str], Callable[[str], bytes]], Mapping[str, str]]
"""Records, names of all files and how to read one -> the digest that each file of a table must
have; SealError where one is missing, or is not what the ledger seals."""


class File(NamedTuple):
    """A file of a home: its bytes, permissions and, where it is known beforehand, SHA-256."""

    bytes: int
    mode: int
    sha256: str = ""


class Copied(NamedTuple):
    """What a copy came to: files sent, found there, and taken away, since the home has them no
    longer; bytes of all; the ledger's head; what in the home is no part of a copy."""

    sent: int
    there: int
    gone: int
    bytes: int
    head: Head
    left_out: list[str]


class _Home(NamedTuple):
    """What is copied; `private` are the folders that their owner alone may enter."""

    files: dict[str, File]
    private: dict[str, int]
    records: list[Record]
    left_out: list[str]


class _Note(NamedTuple):
    """What `copy.json` says at a place."""

    state: State
    said: dict[str, Any]


def copy_home(
    source: str, target: str, vouch: Vouch, keep_out: Collection[str], tell: Callable[[str], None]
) -> Copied:
    """Copy a home from a folder, or a whole copy from a bucket, to a folder or a bucket. Killed at
    any moment it can be run again: what is there and equal is not sent again.

    `keep_out` names files that belong in no copy. ProjectError, before anything is changed, where a
    run is asking, the home does not hold, or the target holds something else or a later state.
    """
    try:
        return _copied(objects_at(source), objects_at(target), vouch, keep_out, tell)
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
        note = _note(there)
        lying = {f.name: f.size for f in there.list() if _counts(f.name, keep_out)}
        _refuse_other(there, note, lying, home, _sha256(here, CONFIG_FILE))
        nonce = _begin(there, note, lying, home, here)
        if isinstance(there, Folder):
            _make_ready(there.root, home.private)
        done = _carried(here, there, home, lying, tell)
        gone = sorted(set(lying) - set(home.files))
        for name in gone:
            _take_away(there, name)
        _finish(there, nonce, home, {name: file for name, (file, _) in done.items()})
    sent = sum(was_sent for _, was_sent in done.values())
    total = sum(file.bytes for file, _ in done.values())
    return Copied(sent, len(done) - sent, len(gone), total, _head(home), home.left_out)


def _head(home: _Home) -> Head:
    return Head(len(home.records), home.records[-1].hash if home.records else "")


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


def _note(place: Objects) -> _Note | None:
    try:
        held = place.get(COPY_FILE)
    except FileNotFoundError:
        return None
    try:
        said: dict[str, Any] = json.loads(held.content)
        whole = said["format"] == FORMAT and said["state"] in (BEGUN, WHOLE)
        assert isinstance(said["files"], dict) and len(said["head"]) == 2
    except (ValueError, KeyError, TypeError, AssertionError):
        said, whole = {}, False
    if not whole:
        raise ProjectError(f"{place.where}/{COPY_FILE}: not an inventory that is known; {_OTHER}")
    return _Note(held.state, said)


def _counts(name: str, keep_out: Collection[str]) -> bool:
    """Whether a file belongs in a copy: not what is hidden, as partial files and Dagster's are,
    nor locks."""
    parts = name.split("/")
    hidden = any(part.startswith(".") for part in parts)
    return not hidden and parts[0] != LOCKS and name not in (COPY_FILE, *keep_out)


def _home(here: Objects, keep_out: Collection[str], vouch: Vouch) -> _Home:
    """The home with what is known of its files, once its ledger and tables hold."""
    private: dict[str, int] = {}
    left_out: list[str] = []
    note = _note(here)
    if note is not None and note.said["state"] != WHOLE:
        raise ProjectError(f"{here.where}: a copy that is not whole; make it again, to its end")
    if isinstance(here, Folder):
        open_mark(here.root)
        files, private, left_out = _of_folder(here.root, keep_out)
    elif note is None:
        raise ProjectError(f"{here.where}: holds no copy of a home ({COPY_FILE} is not there)")
    else:
        listed = note.said["files"].items()
        files = {n: File(size, mode & 0o777, sha) for n, (size, mode, sha) in listed}
        private = note.said["private"]

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
    return _Home(files, private, records, left_out)


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
        if WRITING in names and MANIFEST not in names:  # no version yet, or never
            folders.clear()
            continue
        mode = place.stat().st_mode & 0o777
        if not mode & 0o077:
            private[below] = mode
        for name in names:
            path, inside = place / name, (place / name).relative_to(root).as_posix()
            if not _counts(inside, keep_out):
                left_out += [] if inside == COPY_FILE else [inside]
            elif path.is_file():
                stat = path.stat()
                files[inside] = File(stat.st_size, stat.st_mode & 0o777)
    return files, private, sorted(left_out)


def _refuse_other(
    there: Objects, note: _Note | None, lying: Mapping[str, int], home: _Home, config: str
) -> None:
    """ProjectError where the place holds anything but an earlier state of this home's copy."""
    if note is None:
        if lying:
            some = min(lying)
            raise ProjectError(f"{there.where}: holds what is no copy of a home ({some}); {_OTHER}")
        return
    records, digest = note.said["head"]
    chain = home.records
    if records > len(chain) or (records and chain[records - 1].hash != digest):
        raise ProjectError(
            f"{there.where}: holds a copy of another home, or of a later state of this one (its "
            f"ledger has {records} records, this one {len(chain)}); {_OTHER}"
        )
    if not records and note.said["config"] != config:
        raise ProjectError(
            f"{there.where}: holds a copy with another {CONFIG_FILE}, and no ledger tells whether "
            f"it is of this home; {_OTHER}"
        )
    known = note.said["files"]
    strange = sorted(name for name in lying if name not in known)
    if note.said["state"] == WHOLE:
        strange += sorted(n for n, size in lying.items() if n in known and known[n][0] != size)
    if strange:
        raise ProjectError(
            f"{there.where}: was changed since it was copied there ({strange[0]}): what is new in "
            f"it would be lost; {_OTHER}"
        )


def _begin(
    there: Objects, note: _Note | None, lying: Mapping[str, int], home: _Home, here: Objects
) -> str:
    """Say that a copy is under way, and which files are its own."""
    nonce = uuid.uuid4().hex
    files: dict[str, list[int]] = {name: [] for name in (*lying, *home.files)}
    content = _noted(BEGUN, nonce, home, _sha256(here, CONFIG_FILE), files)
    try:
        if note is None:
            there.create(COPY_FILE, content)
        else:
            there.swap(COPY_FILE, content, note.state)
    except (FileExistsError, Changed):
        raise _raced(there) from None
    return nonce


def _noted(state: str, nonce: str, home: _Home, config: str, files: Mapping[str, Any]) -> bytes:
    return json.dumps(  # not orjson: a name of a file need not be Unicode
        {
            "state": state,
            "format": FORMAT,
            "at": datetime.now(UTC).isoformat(),
            "nonce": nonce,
            "head": list(_head(home)),
            "config": config,
            "private": home.private,
            "files": dict(files),
        }
    ).encode()


def _finish(there: Objects, nonce: str, home: _Home, done: Mapping[str, File]) -> None:
    """Put the inventory in the place of the note that a copy was begun."""
    note = _note(there)
    if note is None or note.said["nonce"] != nonce:
        raise _raced(there)
    content = _noted(WHOLE, nonce, home, done[CONFIG_FILE].sha256, dict(sorted(done.items())))
    try:
        there.swap(COPY_FILE, content, note.state)
    except Changed:
        raise _raced(there) from None


def _raced(there: Objects) -> ProjectError:
    return ProjectError(f"{there.where}: another copy to it began meanwhile; see to it, copy again")


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
    home: _Home,
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
        mine = _sha256(here, name)
        if file.sha256 not in ("", mine):
            raise _differs(here, name)
        if _sha256(there, name) == mine:
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
            raise _differs(here, name)

    try:
        there.send(name, blocks(), file.mode)
    except FileNotFoundError:
        raise _differs(here, name) from None
    digest = total.hexdigest()
    if _sha256(there, name) != digest:
        raise StoreError(f"{there.where}/{name}: is not what was sent; copy again")
    return File(size, file.mode, digest), True


def _sha256(place: Objects, name: str) -> str:
    try:
        return sha256_of(place, name)
    except FileNotFoundError:
        return ""


def _differs(place: Objects, name: str) -> SealError:
    return SealError(
        f"{place.where}/{name}: is missing, or is not as it was written; `deploysim audit ledger` "
        "says what else does not hold. An earlier whole copy is left as it is: restore from it"
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
