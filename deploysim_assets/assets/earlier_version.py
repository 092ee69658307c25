"""The version of a table that the next may take rows over from, held against the ledger."""

from collections.abc import Collection

from deploysim_assets.evidence.seals import Seals
from deploysim_assets.storage import ledger
from deploysim_assets.storage.earlier import Earlier, as_written, earlier
from deploysim_assets.storage.manifests import Manifest
from deploysim_assets.storage.tables import Lake


def earlier_version(
    lake: Lake, asset: str, key: str, settings: Collection[str], version: str | None = None
) -> Earlier | None:
    """The current version of a table, made with the same code and `settings` as the next will be,
    or the `version` named, however it was made; None where it is not as it was written, or not the
    one that the ledger vouches for."""
    seals = Seals(ledger.read(lake.home))
    if version is None:
        found = earlier(lake, asset, key, settings, seals.expected)
    else:
        manifest = lake.manifest(asset, key, version)
        found = as_written(lake, manifest, seals.expected) if manifest else None
    return found if found and _vouched(lake, seals, found.manifest) else None


def _vouched(lake: Lake, seals: Seals, manifest: Manifest) -> bool:
    path = manifest.path.parent.relative_to(lake.home).as_posix()
    sealed = seals.sealed.get(path)
    return sealed is None or sealed[0] == manifest.digest
