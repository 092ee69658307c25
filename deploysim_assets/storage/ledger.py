"""The append-only ledger: what was promised, sealed, shown and withdrawn, each record holding the
hash of the one before.

One record is one object that is created and never replaced: `ledger/00000001.json`, a DSSE envelope
over an in-toto statement whose subject is the manifest that the record seals. Records of homes that
were upgraded stand before them in `ledger.jsonl` and verify by the rules of their time.
"""

import binascii
import gc
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from deploysim_assets.project import ProjectError, SealError
from deploysim_assets.storage import disk
from deploysim_assets.storage.mirrors import mirror_of
from deploysim_assets.storage.signing import (
    SIGNING_KEY,
    envelope,
    public_pem,
    signed_by,
    signing_key,
)
from deploysim_assets.storage.statements import canonical, digest, parsed, statement

LEDGER = "ledger"
LEDGER_FILE = "ledger.jsonl"
RECORD_TYPE = "urn:deploysim:ledger-record:v1"
UPGRADE = "upgrade"
KEY = "key"
_GENESIS = "0" * 64


class Record(NamedTuple):
    """One record. `hash` covers everything of it but its signatures; `previous` is the hash of the
    record before. `seals` holds what it vouches for: the path of a table version (or the name of
    what the body holds) -> the SHA-256 of its manifest."""

    seq: int
    at: datetime
    kind: str
    model_version: str
    body: dict[str, Any]
    previous: str
    hash: str
    seals: dict[str, str]
    path: Path
    envelope: dict[str, Any]


class Head(NamedTuple):
    """The end of the ledger: how many records there are, and the hash of the newest."""

    records: int
    hash: str


def _old_record(line: bytes, path: Path, number: int) -> Record:
    try:
        fields = orjson.loads(line)
        unsigned = {k: v for k, v in fields.items() if k not in ("hash", "signature")}
        names = ("seq", "kind", "model_version", "body", "previous", "hash")
        found = {name: fields[name] for name in names}
        at, signature = datetime.fromisoformat(fields["at"]), fields.get("signature")
    except (ValueError, TypeError, KeyError, AttributeError):
        raise SealError(
            f"{path}, line {number}: not a ledger record; restore the file from a copy"
        ) from None
    if digest(unsigned) != found["hash"]:
        raise SealError(
            f"{path}, line {number}: the record's hash does not match its content: it was changed "
            "after it was written"
        )
    return Record(at=at, seals={}, path=path, envelope={"signature": signature}, **found)


def _checked(found: dict[str, Any]) -> dict[str, Any]:
    """An envelope with the checksum over its payload and signatures: random damage to the newest
    record, that no other one names yet, is told from an honest one."""
    bare = {name: found[name] for name in ("payload", "payloadType", "signatures")}
    return bare | {"sha256": digest(bare)}


def _record(content: bytes, path: Path) -> Record:
    try:
        found: dict[str, Any] = orjson.loads(content)
        payload = binascii.a2b_base64(found["payload"], strict_mode=True)
        seals, fields = parsed(payload, RECORD_TYPE)
        at = datetime.fromisoformat(fields.pop("at"))
        if canonical(found) == content and _checked(found)["sha256"] == found["sha256"]:
            hashed = hashlib.sha256(payload).hexdigest()
            return Record(at=at, hash=hashed, seals=seals, path=path, envelope=found, **fields)
    except (ValueError, TypeError, KeyError, AttributeError):
        pass
    raise SealError(
        f"{path}: not a ledger record: it was changed after it was written, or cut; restore the "
        "file from a copy"
    )


_held: dict[Path, tuple[tuple[Any, ...], list[Record]]] = {}
"""What this process has verified, with the names, sizes and times of the files it was read from."""


def _marks(home: Path) -> tuple[tuple[str, int, int, int, int], ...]:
    # names as strings: sorting ten thousand paths took longer than reading them. The change time,
    # too: `touch` can set the other one back after an edit in place
    old = home / LEDGER_FILE
    stats = [(str(old), old.stat())] if old.exists() else []
    if (home / LEDGER).is_dir():
        with os.scandir(home / LEDGER) as found:
            entries = [entry for entry in found if not entry.name.startswith(".")]
        stats += [(e.path, e.stat()) for e in sorted(entries, key=lambda entry: entry.name)]
    return tuple((file, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for file, s in stats)


def read(home: Path) -> list[Record]:
    """All records with the chain verified, once per process and content; ProjectError names the
    first that does not follow from the one before."""
    if mirror := mirror_of(home):
        mirror.catch_up()
    marks = _marks(home)
    held = _held.get(home)
    if held is None or held[0] != marks:
        collects = gc.isenabled()
        gc.disable()  # none of the million objects is garbage, and looking took a third of the time
        try:
            records, faults = examine(home)
        finally:
            if collects:
                gc.enable()
        if faults:
            raise faults[0]
        held = _held[home] = (marks, records)
    return held[1]


def _files(marks: Iterable[tuple[str, int, int, int, int]]) -> Iterator[tuple[Path, bytes]]:
    for name, *_ in marks:
        try:
            with open(name, "rb", buffering=0) as file:  # noqa: PTH123 (ten thousand of them)
                content = file.readall()
        except OSError:
            content = b""
        yield Path(name), content


def _each(files: Iterable[tuple[Path, bytes]]) -> Iterator[Record | ProjectError]:
    """Every record as it lies there, or why one cannot be read."""
    for path, content in files:
        if path.name == LEDGER_FILE:
            for number, line in enumerate(content.splitlines(), 1):
                try:
                    yield _old_record(line, path, number)
                except ProjectError as wrong:
                    yield wrong
            continue
        try:
            record = _record(content, path)
        except ProjectError as wrong:
            yield wrong
            continue
        named = path.name == _name(record.seq)
        yield (
            record
            if named
            else SealError(f"{path}: holds record {record.seq}; it was renamed or added")
        )


def examine(home: Path) -> tuple[list[Record], list[ProjectError]]:
    """The records of a home that can be read, and every break of the chain, not only the first."""
    while True:
        marks = _marks(home)
        found = examine_files(_files(marks))
        # a listing may miss a record and have the next one where both came while it was made
        if not found[1] or _marks(home) == marks:
            return found


def examine_files(
    files: Iterable[tuple[Path, bytes]],
) -> tuple[list[Record], list[ProjectError]]:
    """The same of ledger files wherever they lie, oldest first."""
    records: list[Record] = []
    faults: list[ProjectError] = []
    previous, seq = _GENESIS, 1
    for found in _each(files):
        if isinstance(found, ProjectError):
            faults.append(found)
            continue
        if found.previous != previous or found.seq != seq:
            where = f"{found.path}, record {found.seq}"
            faults.append(
                SealError(
                    f"{where}: does not follow the record before; a record was removed, added or "
                    "moved; restore the ledger from a copy"
                )
            )
        records.append(found)
        previous, seq = found.hash, found.seq + 1
    return records, faults


def record_path(home: Path, seq: int) -> Path:
    """Where the record of a number lies."""
    return home / LEDGER / _name(seq)


def _name(seq: int) -> str:
    return f"{seq:08}.json"


def head(home: Path) -> Head:
    """The count of records and the hash of the newest: what a person keeps elsewhere, since only
    who kept it notices that a whole home was set back."""
    records = read(home)
    return Head(len(records), records[-1].hash if records else _GENESIS)


def there_since(records: list[Record], record: Record) -> datetime:
    """The earliest time at which a record can have been appended: no earlier than those that it
    follows, whatever the clock of its host said."""
    return max(one.at for one in records[: record.seq])


def signing_keys(records: list[Record]) -> list[tuple[int, str]]:
    """Who may sign, as the ledger itself says: the number of the record from which on a key holds,
    and the key (PEM)."""
    return [(r.seq, r.body["public_key"]) for r in records if r.kind == KEY]


def refuse_append(home: Path, kind: str) -> None:
    """ProjectError where a record of this kind must not be written now: the ledger does not hold,
    is an older one, or is signed by another key than the environment names."""
    _signer(home, kind, read(home))


def _signer(home: Path, kind: str, records: list[Record]) -> str | None:
    """The public key (PEM) of who will sign the next record, None for nobody; ProjectError where a
    record of this kind must not be written now."""
    old = (home / LEDGER_FILE).exists() and not any(r.kind == UPGRADE for r in records)
    if old and kind != UPGRADE:
        raise ProjectError(
            f"{home}: was written by an earlier deploysim; run `deploysim upgrade` first"
        )
    key = signing_key()
    named = public_pem(key) if key else None
    known = signing_keys(records)
    if known and named != known[-1][1]:
        held = f"the key named by {SIGNING_KEY} is another" if named else f"{SIGNING_KEY} is unset"
        raise ProjectError(
            f"{home / LEDGER}: its records are signed, but {held}; name the key that signed the "
            "last record, or go over to another with `deploysim audit rotate-key`"
        )
    return named


def append(
    home: Path,
    kind: str,
    model_version: str,
    body: dict[str, Any],
    seals: Mapping[str, str] | None = None,
    at: datetime | None = None,
) -> Record:
    """Append a record, forced to disk; ProjectError where the ledger so far does not hold.

    `seals` names the manifests it vouches for (without any, its subject is its own body). Of two
    writers at once one is first, and the other's record follows it: the chain cannot fork.
    """
    subjects = dict(seals or {f"{kind}/{model_version}" if model_version else kind: digest(body)})
    while True:
        records = read(home)
        signer = _signer(home, kind, records)
        if signer and not signing_keys(records) and kind != KEY:
            append(home, KEY, "", {"public_key": signer})
            continue
        predicate = {
            "seq": len(records) + 1,
            "at": (at or datetime.now(UTC)).isoformat(),
            "kind": kind,
            "model_version": model_version,
            "body": body,
            "previous": records[-1].hash if records else _GENESIS,
        }
        content = canonical(_checked(envelope(statement(subjects, RECORD_TYPE, predicate))))
        path = record_path(home, len(records) + 1)
        try:
            disk.create(path, content)
        except FileExistsError:
            continue
        return _record(content, path)


def latest(home: Path, kind: str, model_version: str) -> Record | None:
    """The newest record of a kind for a model version, or None."""
    mine = (r for r in reversed(read(home)) if r.kind == kind and r.model_version == model_version)
    return next(mine, None)


def is_signed(record: Record, pem: str) -> bool:
    """Whether a record is signed by the holder of a public key (PEM text)."""
    old: str | None = record.envelope.get("signature")
    if "payload" in record.envelope:
        return signed_by(record.envelope, pem)
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    key = load_pem_public_key(pem.encode())
    if old is None or not isinstance(key, Ed25519PublicKey):
        return False
    try:
        key.verify(bytes.fromhex(old), record.hash.encode())
    except (InvalidSignature, ValueError):
        return False
    return True
