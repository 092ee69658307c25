"""Whether what is to be copied holds: the ledger against the manifests, and the digests that files
must have for the manifests to hold."""

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping

import orjson

from deploysim_assets.evidence.seals import RESTORE, Seals
from deploysim_assets.project import SealError
from deploysim_assets.storage.ledger import Record
from deploysim_assets.storage.manifests import MANIFEST, MANIFEST_TYPE
from deploysim_assets.storage.statements import parsed
from deploysim_assets.storage.tables import POINTER
from deploysim_assets.storage.withdrawals import WITHDRAWALS_FILE


def vouched(
    records: list[Record], names: Collection[str], read: Callable[[str], bytes]
) -> Mapping[str, str]:
    """The digest that each file of a table must have today, withdrawals counted in. SealError where
    a file or a sealed version is missing, a manifest is not the one that is sealed or current, or
    the list of who withdrew lacks somebody.
    """
    seals = Seals(records)
    here = set(names)
    digests: dict[str, str] = {}
    found: dict[str, str] = {}
    for name in sorted(n for n in here if n.startswith("lake/") and n.endswith(f"/{MANIFEST}")):
        content = read(name)
        version = name.removesuffix(f"/{MANIFEST}")
        found[version] = hashlib.sha256(content).hexdigest()
        try:
            files, _ = parsed(content, MANIFEST_TYPE)
        except (ValueError, orjson.JSONDecodeError):
            raise SealError(f"{name}: not a whole manifest; {RESTORE}") from None
        for file, digest in files.items():
            if file not in here:
                raise SealError(f"{file}: is missing; {RESTORE}")
            digests[file] = seals.expected(file, digest)
    for version, (digest, record) in seals.sealed.items():
        if found.get(version, seals.collected.get(version)) != digest:
            raise SealError(
                f"{version}: is sealed by record {record.seq}, and is gone or has another "
                f"manifest; {RESTORE}"
            )
    _hold_withdrawals(seals, here, read)
    for pointer, digest in _pointers(here, read):
        if digest and found.get(pointer) != digest:
            raise SealError(f"{pointer}: is current, and is gone or another; {RESTORE}")
    return digests


def _hold_withdrawals(seals: Seals, names: Collection[str], read: Callable[[str], bytes]) -> None:
    """SealError where somebody withdrew, by the ledger, who is not on the list: an earlier copy
    that has them there would be written over."""
    try:
        held: dict[str, list[str]] = (
            orjson.loads(read(WITHDRAWALS_FILE)) if WITHDRAWALS_FILE in names else {}
        )
        listed = {one for kind in ("users", "conversations") for one in held.get(kind, ())}
    except (ValueError, AttributeError, TypeError):
        listed = set[str]()
    missing = set[str]().union(*seals.withdrawals()) - listed
    if missing:
        raise SealError(f"{WITHDRAWALS_FILE}: lacks {len(missing)} who withdrew; {RESTORE}")


def _pointers(
    names: Collection[str], read: Callable[[str], bytes]
) -> Iterator[tuple[str, str | None]]:
    """The version that each pointer names, and the digest of its manifest (none in old homes)."""
    for name in sorted(n for n in names if n.startswith("lake/") and n.endswith(f"/{POINTER}")):
        try:
            said = orjson.loads(read(name))
            yield f"{name.rpartition('/')[0]}/{said['version']}", said.get("manifest")
        except (ValueError, KeyError, TypeError):
            raise SealError(f"{name}: not a pointer to a table version; {RESTORE}") from None
