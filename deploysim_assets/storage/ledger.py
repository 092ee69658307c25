"""The append-only ledger: registrations and sealed forecasts, each record holding the hash of the
one before.

With DEPLOYSIM_SIGNING_KEY, the path of an Ed25519 private key (PEM), each new record is signed,
too: a chain alone can be made anew by whoever holds the file.
"""

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
    """One line of the ledger. `hash` covers everything else of it; `previous` is the hash of the
    line before.

    `signature` is the Ed25519 signature of the hash, in hex, where the project signs.
    """

    seq: int
    at: datetime
    kind: str
    model_version: str
    body: dict[str, Any]
    previous: str
    hash: str
    signature: str | None = None


def canonical(value: Any) -> bytes:
    """Canonical JSON: sorted keys, no spaces, shortest floats. Equal values give equal bytes."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def digest(value: Any) -> str:
    """SHA-256 of a value's canonical JSON, in hex."""
    return hashlib.sha256(canonical(value)).hexdigest()


def _parse(line: bytes, path: Path, number: int) -> Record:
    try:
        fields = orjson.loads(line)
        unsigned = {k: v for k, v in fields.items() if k not in ("hash", "signature")}
        record = Record(
            at=datetime.fromisoformat(fields["at"]),
            **{k: v for k, v in fields.items() if k != "at"},
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ProjectError(
            f"{path}, line {number}: not a ledger record; restore the file from a copy"
        ) from None
    if digest(unsigned) != record.hash:
        raise ProjectError(
            f"{path}, line {number}: the record's hash does not match its content: it was "
            "changed after it was written"
        )
    return record


def _verified(record: Record, public_key: Path, path: Path) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    key = load_pem_public_key(public_key.read_bytes())
    if not isinstance(key, Ed25519PublicKey):
        raise ProjectError(f"{public_key}: not an Ed25519 public key")
    if record.signature is None:
        raise ProjectError(f"{path}, line {record.seq}: is not signed")
    try:
        key.verify(bytes.fromhex(record.signature), record.hash.encode())
    except (InvalidSignature, ValueError):
        raise ProjectError(
            f"{path}, line {record.seq}: the signature is not of the holder of {public_key}"
        ) from None


def _signed(record_hash: str) -> dict[str, str]:
    """The signature of a record, where the environment names a key."""
    name = os.environ.get("DEPLOYSIM_SIGNING_KEY")
    if not name:
        return {}
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(Path(name).read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as wrong:
        raise ProjectError(
            f"DEPLOYSIM_SIGNING_KEY: {name}: not a readable PEM key without password "
            f"({type(wrong).__name__})"
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ProjectError(
            f"DEPLOYSIM_SIGNING_KEY: {name}: not an Ed25519 private key; `openssl genpkey "
            "-algorithm ed25519` makes one"
        )
    return {"signature": key.sign(record_hash.encode()).hex()}


def read(home: Path, public_key: Path | None = None) -> list[Record]:
    """All records, with the chain verified, and every signature where a public key (PEM) is
    named; ProjectError names the first bad line."""
    path = home / LEDGER_FILE
    if not path.exists():
        return []
    records: list[Record] = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        record = _parse(line, path, number)
        if record.previous != (records[-1].hash if records else _GENESIS) or record.seq != number:
            raise ProjectError(
                f"{path}, line {number}: does not follow the line before; a record was removed, "
                "added or moved"
            )
        if public_key is not None:
            _verified(record, public_key, path)
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
        record_hash = digest(fields)
        signed = fields | {"hash": record_hash} | _signed(record_hash)
        file.write(canonical(signed) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    return _parse(canonical(signed), home / LEDGER_FILE, len(records) + 1)


def latest(home: Path, kind: str, model_version: str) -> Record | None:
    """The newest record of a kind for a model version, or None."""
    return next(
        (r for r in reversed(read(home)) if r.kind == kind and r.model_version == model_version),
        None,
    )
