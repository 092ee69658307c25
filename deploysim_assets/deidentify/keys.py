"""The two secret keys: one for ids, so that joins and re-runs find the same rows, one for
surrogates. Never in the lake."""

import hmac
import json
import os
import secrets
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from deploysim_assets.project import ProjectError
from deploysim_assets.project.copies import KEY_FILE, WORKED_IN, kept_apart

_ENVIRONMENT = {"ids": "DEPLOYSIM_ID_KEY", "surrogates": "DEPLOYSIM_SURROGATE_KEY"}


class Keys(NamedTuple):
    """Keys of at least 32 bytes each."""

    ids: bytes
    surrogates: bytes

    @property
    def mark(self) -> str:
        """Tells whether two tables were made with the same keys, and gives nothing of them away."""
        return hmac.new(self.ids + self.surrogates, b"deploysim: which keys", sha256).hexdigest()

    def identify(self, kind: str, *parts: str) -> str:
        """A keyed hash of an id, 32 hex digits: equal ids of a kind give equal hashes, and
        nobody without the key can tell whose."""
        message = "\x1f".join((kind, *parts)).encode("utf-8", "surrogatepass")
        return hmac.new(self.ids, message, sha256).hexdigest()[:32]


def _checked(value: str, source: str) -> bytes:
    try:
        key = bytes.fromhex(value)
    except ValueError:
        key = b""
    if len(key) < 32:
        raise ProjectError(
            f"{source}: a key is at least 64 hex digits; make one with `python -c 'import "
            "secrets; print(secrets.token_hex(32))'`"
        )
    return key


def create_key_file(home: Path) -> Path:
    """Write a key file readable by its owner alone, where none is; returns its path. ProjectError
    in a restored home that had one: withdrawals and sampling go by it."""
    path = home / KEY_FILE
    if not path.exists() and (home / WORKED_IN).exists():
        raise ProjectError(
            f"{home}: a home in a bucket makes no keys, for each host would make others; set "
            f"{' and '.join(_ENVIRONMENT.values())}, or bring {KEY_FILE} to this folder"
        )
    if not path.exists() and KEY_FILE in kept_apart(home):
        raise ProjectError(
            f"{path}: this home came out of a copy, and its keys were kept apart; bring the file "
            f"here, or set {' and '.join(_ENVIRONMENT.values())}"
        )
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path
    with os.fdopen(descriptor, "w") as file:
        json.dump({name: secrets.token_hex(32) for name in _ENVIRONMENT}, file)
    return path


def load_keys(home: Path, *, may_create: bool) -> Keys:
    """The keys from the environment, else from the key file.

    With `may_create` (no de-identified table was written yet) a missing file is made.  Otherwise a
    missing key is a ProjectError: a new one would cut every later row off from those already in the
    lake.
    """
    if all(os.environ.get(name) for name in _ENVIRONMENT.values()):
        return Keys(
            **{field: _checked(os.environ[name], name) for field, name in _ENVIRONMENT.items()}
        )
    missing = [name for name in _ENVIRONMENT.values() if not os.environ.get(name)]
    if len(missing) < len(_ENVIRONMENT):
        raise ProjectError(
            f"{missing[0]}: not set, but the other key variable is; set both, or none and keep "
            f"the keys in {KEY_FILE} (one from each would join rows that nobody can join again)"
        )
    path = home / KEY_FILE
    if may_create:
        create_key_file(home)
    try:
        stored: dict[str, str] = json.loads(path.read_text())
        return Keys(**{field: _checked(stored[field], str(path)) for field in _ENVIRONMENT})
    except FileNotFoundError:
        raise ProjectError(
            f"{path}: the keys are missing, but the lake holds rows made with them; bring the "
            "file back, or set "
            f"{' and '.join(_ENVIRONMENT.values())} (a fresh lake gets a fresh key file by itself)"
        ) from None
    except (KeyError, ValueError) as wrong:
        raise ProjectError(
            f"{path}: not a key file ({type(wrong).__name__}); bring the original back"
        ) from None
