"""in-toto statements, the form in which manifests and ledger records are written down, so that
tools that are not ours can read and sign them."""

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"


def canonical(value: Any) -> bytes:
    """Canonical JSON: sorted keys, no spaces, shortest floats. Equal values give equal bytes."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def digest(value: Any) -> str:
    """SHA-256 of a value's canonical JSON, in hex."""
    return hashlib.sha256(canonical(value)).hexdigest()


def statement(
    subjects: Mapping[str, str], predicate_type: str, predicate: Mapping[str, Any]
) -> bytes:
    """A statement about named subjects with their SHA-256, as canonical JSON."""
    subject = [{"name": name, "digest": {"sha256": sha}} for name, sha in sorted(subjects.items())]
    return canonical(
        {
            "_type": STATEMENT_TYPE,
            "subject": subject,
            "predicateType": predicate_type,
            "predicate": predicate,
        }
    )


def parsed(payload: bytes, predicate_type: str) -> tuple[dict[str, str], dict[str, Any]]:
    """The subjects (name -> SHA-256) and the predicate of a statement; ValueError where it is none
    of that type."""
    try:
        found: dict[str, Any] = orjson.loads(payload)
        subjects = {s["name"]: s["digest"]["sha256"] for s in found["subject"]}
        if found["_type"] != STATEMENT_TYPE or found["predicateType"] != predicate_type:
            raise ValueError("another type of statement")
        return subjects, found["predicate"]
    except (KeyError, TypeError, AttributeError) as wrong:
        raise ValueError("not a statement") from wrong
