"""Ed25519 signatures over DSSE envelopes: who vouches for a record.

With DEPLOYSIM_SIGNING_KEY, the path of an Ed25519 private key (PEM), each new record is signed: a
chain alone can be made anew by whoever holds the files.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploysim_assets.project import ProjectError
from deploysim_assets.storage.statements import PAYLOAD_TYPE

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SIGNING_KEY = "DEPLOYSIM_SIGNING_KEY"


def signing_key() -> "Ed25519PrivateKey | None":
    """The private key that the environment names, or None; ProjectError where it is not one."""
    name = os.environ.get(SIGNING_KEY)
    return read_private_key(Path(name), f"{SIGNING_KEY}: {name}") if name else None


def read_private_key(path: Path, named: str) -> "Ed25519PrivateKey":
    """An Ed25519 private key from a PEM file without password; ProjectError begins with `named`."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as wrong:
        raise ProjectError(
            f"{named}: not a readable PEM key without password ({type(wrong).__name__})"
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ProjectError(
            f"{named}: not an Ed25519 private key; `openssl genpkey -algorithm ed25519` makes one"
        )
    return key


def public_pem(key: "Ed25519PrivateKey") -> str:
    """The public half of a key, as PEM text."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def key_id(pem: str) -> str:
    """The name of a public key: securesystemslib's id over its canonical form."""
    return str(_key(pem).keyid)


def _key(pem: str) -> Any:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from securesystemslib.signer import SSlibKey  # pyright: ignore[reportPrivateImportUsage]

    try:
        key = load_pem_public_key(pem.encode())
    except ValueError:
        raise ProjectError("not a public key in PEM") from None
    if not isinstance(key, Ed25519PublicKey):
        raise ProjectError("not an Ed25519 public key")
    return SSlibKey.from_crypto(key)


def envelope(payload: bytes) -> dict[str, Any]:
    """The DSSE envelope of a statement, signed where the environment names a key."""
    from base64 import b64encode

    key = signing_key()
    if key is None:
        encoded = b64encode(payload).decode()
        return {"payload": encoded, "payloadType": PAYLOAD_TYPE, "signatures": []}
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import CryptoSigner  # pyright: ignore[reportPrivateImportUsage]

    signed = Envelope(payload, PAYLOAD_TYPE, {})
    signed.sign(CryptoSigner(key, _key(public_pem(key))))
    found: dict[str, Any] = signed.to_dict()  # pyright: ignore[reportUnknownVariableType]
    return found


def signed_by(found: dict[str, Any], pem: str) -> bool:
    """Whether an envelope carries a signature of a public key's holder."""
    import copy

    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import VerificationError

    try:
        Envelope.from_dict(copy.deepcopy(found)).verify([_key(pem)], 1)
    except (VerificationError, ValueError, KeyError, TypeError):
        return False
    return True
