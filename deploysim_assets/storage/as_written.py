"""Whether what is read of a table version is as it was written, by its manifest and the ledger:
what somebody puts into a file while a table is made, or printed, and takes out again would else be
read unseen."""

from collections.abc import Collection
from pathlib import Path

from deploysim_assets.project import SealError
from deploysim_assets.storage import disk, ledger
from deploysim_assets.storage.manifests import Manifest
from deploysim_assets.storage.withdrawals import WithdrawnFiles


class AsWritten:
    """Holds files of table versions against their manifests, each once."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._held: set[str] = set()

    def hold(self, manifest: Manifest, folder: Path, names: Collection[str] = ()) -> None:
        """SealError where the Parquet files of a folder of a version (or the files named, in it)
        are not as they were written or as withdrawals left them, or the manifest is not the one
        that the ledger seals."""
        inside = folder.relative_to(self._home).as_posix() + "/"
        mine = {
            name: digest
            for name, digest in manifest.files.items()
            if name.startswith(inside)
            and "/" not in (last := name.removeprefix(inside))
            and (last in names or (not names and last.endswith(".parquet")))
            and name not in self._held
        }
        if not mine:
            return
        records = ledger.read(self._home)
        version = manifest.path.parent.relative_to(self._home).as_posix()
        if any(r.seals.get(version, manifest.digest) != manifest.digest for r in records):
            raise SealError(
                f"{manifest.path}: is not the manifest that the ledger seals; restore it from a "
                "copy"
            )
        withdrawn = WithdrawnFiles(records)
        found = disk.sha256_of_all(self._home / name for name in mine)
        for name, digest in mine.items():
            if found[self._home / name] != withdrawn.expected(name, digest):
                raise SealError(
                    f"{self._home / name}: is not as it was written; `deploysim audit ledger` says "
                    "what else is not: restore it from a copy, or materialize "
                    f"{manifest.asset} again"
                )
        self._held |= mine.keys()
