"""What nothing rests on: table versions that are not current and that no record reaches."""

import hashlib

from deploysim_assets.evidence.seals import Seals
from deploysim_assets.evidence.tables import TableAudit
from deploysim_assets.storage import ledger
from deploysim_assets.storage.disk import files, remove
from deploysim_assets.storage.locks import alone
from deploysim_assets.storage.mirrors import mirror_of
from deploysim_assets.storage.tables import Lake


def collectable(lake: Lake) -> dict[str, int]:
    """Path of each such version -> its bytes on disk."""
    audit = TableAudit(lake, Seals(ledger.read(lake.home)))
    keep = audit.reached()
    for place in audit.places:
        pointer = lake.pointer(place.asset, place.partition)
        if pointer is not None:
            current = lake.manifest(place.asset, place.partition, pointer["version"])
            keep |= audit.reached_from([current]) if current else set()
    found: dict[str, int] = {}
    for place, versions in audit.versions.items():
        for name, manifest in versions.items():
            path = (place.folder / name).relative_to(lake.home).as_posix()
            if manifest is not None and path not in keep:
                found[path] = sum(p.stat().st_size for p in files(place.folder / name))
    return found


def collect(lake: Lake, paths: list[str]) -> None:
    """Record which versions go, and remove them, and from a bucket what killed hosts sent in part;
    ProjectError where another command is changing the home."""
    with alone(lake.home, "run `deploysim gc` again"):
        still = set(collectable(lake))
        going = [path for path in paths if path in still]
        found = ((path, lake.manifest_bytes(path)) for path in going)
        digests = {path: hashlib.sha256(content or b"").hexdigest() for path, content in found}
        if digests:
            ledger.append(lake.home, "gc", "", {"versions": digests})
        for path in going:
            remove(lake.home / path)
        if mirror := mirror_of(lake.home):
            mirror.clear_left_behind()
