"""The append-only ledger: registrations and sealed forecasts, each record holding the hash of the one before."""

import fcntl
import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from deploysim_assets.project import ProjectError

LEDGER_FILE = "ledger.jsonl"
_GENESIS = "0" * 64


class Record(NamedTuple):
    """One line of the ledger. `hash` covers everything else of it; `previous` is the hash of the line before."""

    seq: int
    at: datetime
    kind: str
    model_version: str
    body: dict[str, Any]
    previous: str
    hash: str


def canonical(value: Any) -> bytes:
    """Canonical JSON: sorted keys, no spaces, shortest floats. Equal values give equal bytes."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def digest(value: Any) -> str:
    """SHA-256 of a value's canonical JSON, in hex."""
    return hashlib.sha256(canonical(value)).hexdigest()


def _parse(line: bytes, path: Path, number: int) -> Record:
    try:
        fields = orjson.loads(line)
        unsigned = {k: v for k, v in fields.items() if k != "hash"}
        record = Record(at=datetime.fromisoformat(fields["at"]), **{k: v for k, v in fields.items() if k != "at"})
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ProjectError(f"{path}, line {number}: not a ledger record; restore the file from a copy") from None
    if digest(unsigned) != record.hash:
        raise ProjectError(f"{path}, line {number}: the record's hash does not match its content: it was changed after it was written")
    return record


def read(home: Path) -> list[Record]:
    """All records, with the chain verified; ProjectError names the first line that does not hold."""
    path = home / LEDGER_FILE
    if not path.exists():
        return []
    records: list[Record] = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        record = _parse(line, path, number)
        if record.previous != (records[-1].hash if records else _GENESIS) or record.seq != number:
            raise ProjectError(f"{path}, line {number}: does not follow the line before; a record was removed, added or moved")
        records.append(record)
    return records


def append(home: Path, kind: str, model_version: str, body: dict[str, Any]) -> Record:
    """Append a record and force it to disk; ProjectError where the ledger so far does not hold."""
    with (home / LEDGER_FILE).open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        records = read(home)
        fields = {
            "seq": len(records) + 1,
            "at": datetime.now(UTC).isoformat(),
            "kind": kind,
            "model_version": model_version,
            "body": body,
            "previous": records[-1].hash if records else _GENESIS,
        }
        signed = fields | {"hash": digest(fields)}
        file.write(canonical(signed) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    return _parse(canonical(signed), home / LEDGER_FILE, len(records) + 1)


def latest(home: Path, kind: str, model_version: str) -> Record | None:
    """The newest record of a kind for a model version, or None."""
    return next((r for r in reversed(read(home)) if r.kind == kind and r.model_version == model_version), None)
