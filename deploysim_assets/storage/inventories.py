"""What a copy of a home says of itself: `copy.json`.

It is the first object of a copy and says that one was begun; at the very end the inventory stands
in its place: every file with its digest, bytes and permissions.
"""

import json
import uuid
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from deploysim_assets.project import CONFIG_FILE, ProjectError
from deploysim_assets.project.copies import COPY_FILE
from deploysim_assets.storage.ledger import Head, Record
from deploysim_assets.storage.locks import LOCKS
from deploysim_assets.storage.objects import Changed, Objects, State, sha256_of

FORMAT = 1
BEGUN, WHOLE = "begun", "whole"
_OTHER = "name an empty place, or take away what is there"


class File(NamedTuple):
    """A file of a home: its bytes, permissions and, where it is known beforehand, SHA-256."""

    bytes: int
    mode: int
    sha256: str = ""


class Contents(NamedTuple):
    """What is copied; `private` are the folders that their owner alone may enter, `apart` the files
    that the home has, or had where it is a copy itself, and that are in no copy."""

    files: dict[str, File]
    private: dict[str, int]
    records: list[Record]
    left_out: list[str]
    apart: list[str]

    @property
    def head(self) -> Head:
        """The end of the ledger."""
        return Head(len(self.records), self.records[-1].hash if self.records else "")


class Note(NamedTuple):
    """What `copy.json` says at a place. One that was only begun names its files and nothing else of
    them."""

    state: State
    whole: bool
    nonce: str
    head: Head
    config: str
    files: dict[str, File]
    private: dict[str, int]
    apart: list[str]


def counts(name: str, keep_out: Collection[str]) -> bool:
    """Whether a file belongs in a copy: not what is hidden, as partial files and Dagster's are,
    nor locks."""
    parts = name.split("/")
    hidden = any(part.startswith(".") for part in parts)
    return not hidden and parts[0] != LOCKS and name not in (COPY_FILE, *keep_out)


def note_at(place: Objects, keep_out: Collection[str]) -> Note | None:
    """What a place says of itself; ProjectError where that is not understood, or names what is in
    no copy."""
    try:
        held = place.get(COPY_FILE)
    except FileNotFoundError:
        return None
    try:
        said: dict[str, Any] = json.loads(held.content)
        whole = {BEGUN: False, WHOLE: True}[said["state"]]
        assert said["format"] == FORMAT
        files = {
            name: File(int(of[0]), int(of[1]) & 0o777, str(of[2])) if whole else File(0, 0)
            for name, of in said["files"].items()
        }
        private = {str(name): int(mode) & 0o777 for name, mode in said["private"].items()}
        records, digest = said["head"]
        head = Head(int(records), str(digest))
        nonce, config = str(said["nonce"]), str(said["config"])
        apart = [str(name) for name in said["apart"]]
        assert all(counts(name, keep_out) for name in files)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, AssertionError):
        raise ProjectError(
            f"{place.where}/{COPY_FILE}: not an inventory that is known; {_OTHER}"
        ) from None
    return Note(held.state, whole, nonce, head, config, files, private, apart)


def refuse_other(
    there: Objects, note: Note | None, lying: Mapping[str, int], home: Contents, config: str
) -> None:
    """ProjectError where the place holds anything but an earlier state of this home's copy."""
    if note is None:
        if lying:
            some = min(lying)
            raise ProjectError(f"{there.where}: holds what is no copy of a home ({some}); {_OTHER}")
        return
    records, digest = note.head
    chain = home.records
    if records > len(chain) or (records and chain[records - 1].hash != digest):
        raise ProjectError(
            f"{there.where}: holds a copy of another home, or of a later state of this one (its "
            f"ledger has {records} records, this one {len(chain)}); {_OTHER}"
        )
    if not records and note.config != config:
        raise ProjectError(
            f"{there.where}: holds a copy with another {CONFIG_FILE}, and no ledger tells whether "
            f"it is of this home; {_OTHER}"
        )
    strange = sorted(name for name in lying if name not in note.files)
    if note.whole:
        known = note.files
        strange += sorted(n for n, size in lying.items() if n in known and known[n].bytes != size)
    if strange:
        raise ProjectError(
            f"{there.where}: was changed since it was copied there ({strange[0]}): what is new in "
            f"it would be lost; {_OTHER}"
        )


def begin(
    there: Objects, note: Note | None, lying: Mapping[str, int], home: Contents, config: str
) -> str:
    """Say that a copy is under way, and which files are its own; returns what tells it from
    others."""
    nonce = uuid.uuid4().hex
    files: dict[str, list[Any]] = {name: [] for name in (*lying, *home.files)}
    content = _written(BEGUN, nonce, home, config, files)
    try:
        if note is None:
            there.create(COPY_FILE, content)
        else:
            there.swap(COPY_FILE, content, note.state)
    except (FileExistsError, Changed):
        raise _raced(there) from None
    return nonce


def finish(
    there: Objects, nonce: str, home: Contents, done: Mapping[str, File], keep_out: Collection[str]
) -> None:
    """Put the inventory in the place of the note that a copy was begun."""
    note = note_at(there, keep_out)
    if note is None or note.nonce != nonce:
        raise _raced(there)
    files = {name: list(file) for name, file in sorted(done.items())}
    try:
        config = done[CONFIG_FILE].sha256
        there.swap(COPY_FILE, _written(WHOLE, nonce, home, config, files), note.state)
    except Changed:
        raise _raced(there) from None


def digest_at(place: Objects, name: str) -> str:
    """SHA-256 of an object, in hex; nothing where there is none."""
    try:
        return sha256_of(place, name)
    except FileNotFoundError:
        return ""


def _written(
    state: str, nonce: str, home: Contents, config: str, files: Mapping[str, list[Any]]
) -> bytes:
    return json.dumps(  # not orjson: a name of a file need not be Unicode
        {
            "state": state,
            "format": FORMAT,
            "at": datetime.now(UTC).isoformat(),
            "nonce": nonce,
            "head": list(home.head),
            "config": config,
            "private": home.private,
            "apart": home.apart,
            "files": dict(files),
        }
    ).encode()


def _raced(there: Objects) -> ProjectError:
    return ProjectError(f"{there.where}: another copy to it began meanwhile; see to it, copy again")
