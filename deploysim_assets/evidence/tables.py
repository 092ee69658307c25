"""Table versions against their manifests: every file, every pointer, every input."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from deploysim_assets.evidence.findings import Fault
from deploysim_assets.evidence.seals import RESTORE, Seals, unchecked_faults
from deploysim_assets.project import ProjectError
from deploysim_assets.storage import disk
from deploysim_assets.storage.manifests import MANIFEST, UPGRADED_FORMAT, Manifest
from deploysim_assets.storage.tables import POINTER, Lake
from deploysim_assets.storage.versions import WRITING, being_written

PUBLISHED = frozenset(
    (
        "preregistration", "rate_estimates", "realized_rates", "calibration_report", "scorecard",
        "grader_quality", "grader_drift", "novel_behaviors", "open_findings", "elicitation_profile",
        "evaluation_awareness", "error_decomposition", "release_report", "simulation_fidelity",
    )
)  # fmt: skip
"""What people read: each version of it that is current has a record of its own (a registration is
named by the record's hash in its row)."""
_RECORDED_BY_ROW = "preregistration"
_USE_WHAT_PASSED = frozenset(("deidentified_prefixes", "production_grades", "self_completions"))
"""What is made of a current corpus, and so only of one whose blocking checks passed."""


class Place(NamedTuple):
    """One asset and partition, with its folder."""

    asset: str
    partition: str | None
    folder: Path


class TableAudit:
    """Holds the tables of a home against their manifests and the ledger. `only` limits it to some
    places."""

    def __init__(
        self, lake: Lake, seals: Seals, only: Callable[[Place], bool] = lambda _: True
    ) -> None:
        self.lake, self.seals = lake, seals
        self.files = self.bytes = 0
        self.places = [p for p in (Place(*found) for found in lake.places()) if only(p)]
        self.versions: dict[Place, dict[str, Manifest | None]] = {
            place: {
                name: lake.manifest(place.asset, place.partition, name)
                for name in lake.versions(place.asset, place.partition)
            }
            for place in self.places
        }

    def manifests(self) -> Iterator[Manifest]:
        """Every whole manifest."""
        for versions in self.versions.values():
            yield from (manifest for manifest in versions.values() if manifest is not None)

    def faults(self) -> Iterator[Fault]:
        """What does not hold of files, manifests, pointers and inputs."""
        yield from self._file_faults()
        yield from self.pointer_faults()
        for place in self.places:
            yield from self._stray_faults(place)
        for manifest in self.manifests():
            yield from self._input_faults(manifest)
            yield from self._ledger_faults(manifest)
        yield from self._sealed_faults()

    def pointer_faults(self) -> Iterator[Fault]:
        """Pointers that do not name the version that should be current."""
        for place in self.places:
            yield from self._pointer_faults(place)

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.lake.home).as_posix()

    def _file_faults(self) -> Iterator[Fault]:
        wanted: dict[Path, tuple[Place, Manifest, str]] = {}
        for place, versions in self.versions.items():
            for name, manifest in versions.items():
                folder = place.folder / name
                if manifest is None:
                    if not being_written(folder):
                        yield _at(place, name, "has no whole manifest", RESTORE, MANIFEST)
                    continue
                yield from self._misplaced(place, name, manifest)
                for file, digest in manifest.files.items():
                    wanted[self.lake.home / file] = place, manifest, digest
                named = {self.lake.home / file for file in manifest.files}
                for path in disk.files(folder):
                    if path not in named and path.name not in (MANIFEST, WRITING):
                        where = path.relative_to(folder).as_posix()
                        yield _at(place, name, "was added by hand", "take it away", where)
        found = disk.sha256_of_all(wanted)
        for path, (place, manifest, digest) in wanted.items():
            now, where = found[path], path.name
            if path.is_relative_to(manifest.path.parent):
                where = path.relative_to(manifest.path.parent).as_posix()
            if now is None:
                yield _at(place, manifest.version, "is missing", RESTORE, where)
                continue
            self.files, self.bytes = self.files + 1, self.bytes + path.stat().st_size
            if now != self.seals.expected(self._relative(path), digest):
                what = "was changed after it was written"
                yield _at(place, manifest.version, what, RESTORE, where)

    def _misplaced(self, place: Place, name: str, manifest: Manifest) -> Iterator[Fault]:
        said = (manifest.asset, manifest.partition, manifest.version)
        if said != (place.asset, place.partition, name):
            what = f"its manifest is of {said[0]}[{said[1]}], {said[2]}"
            yield _at(place, name, what, RESTORE, MANIFEST)

    def _pointer_faults(self, place: Place) -> Iterator[Fault]:
        whole = {name: m for name, m in self.versions[place].items() if m is not None}
        try:
            pointer = self.lake.pointer(place.asset, place.partition)
        except ProjectError:
            yield _at(place, None, "is no pointer to a version", RESTORE, POINTER)
            return
        if pointer is None:
            if whole:
                yield _at(place, None, "is missing: no version is current", RESTORE, POINTER)
            return
        current = whole.get(pointer["version"])
        if current is None or current.digest != pointer.get("manifest"):
            what = "names a version whose manifest is not the one it became current with"
            yield _at(place, pointer["version"], what, RESTORE, POINTER)
            return
        newest = self._newest(place, whole)
        if newest != pointer["version"]:
            what = (
                f"was set back: {newest} is newer (or a run was killed just before that one "
                "became current)"
            )
            mend = f"restore it from a copy, or materialize {place.asset} again"
            yield _at(place, pointer["version"], what, mend, POINTER)
        path = self._relative(place.folder / pointer["version"])
        if place.asset in PUBLISHED - {_RECORDED_BY_ROW} and path not in self.seals.sealed:
            what = "is not in the ledger: its record was taken out, or it was never sealed"
            yield _at(place, pointer["version"], what, "restore the ledger from a copy")

    def _newest(self, place: Place, whole: dict[str, Manifest]) -> str:
        """The version that should be current: the one that the ledger sealed last, else the one
        that was made last."""
        record = self.seals.newest.get(self._relative(place.folder))
        if record is not None:
            prefix = f"{self._relative(place.folder)}/"
            mine = [p for p in record.seals if p.startswith(prefix)]
            return mine[-1].rpartition("/")[2]
        since = {n: m for n, m in whole.items() if m.predicate["format"] != UPGRADED_FORMAT}
        upgraded = self.seals.upgraded.get(self._relative(place.folder))
        if upgraded in whole and not since:
            return upgraded
        return max(since or whole, key=lambda name: (whole[name].made_at, name))

    def _stray_faults(self, place: Place) -> Iterator[Fault]:
        known = {POINTER, *self.versions[place]}
        for path in disk.names(place.folder):
            partition = place.partition is None and path.name.startswith("model_version=")
            begun = path.name.startswith("run=") and path.is_dir() and being_written(path)
            if path.name not in known and not partition and not begun:
                yield _at(place, None, "does not belong here", "take it away", path.name)

    def _input_faults(self, manifest: Manifest) -> Iterator[Fault]:
        until = (manifest.predicate["ledger"] or {"records": 0})["records"]
        for given in manifest.inputs:
            path = self._relative(self.lake.folder(given.asset, given.partition) / given.version)
            if manifest.asset in _USE_WHAT_PASSED:
                yield from unchecked_faults(self.seals, path, given.manifest, until, manifest)
            held = self.lake.manifest(given.asset, given.partition, given.version)
            if held is not None and held.digest == given.manifest:
                continue
            if held is None and self.seals.collected.get(path) == given.manifest:
                continue
            what = f"its input {given.asset}[{given.partition}], {given.version} " + (
                "is gone" if held is None else "has another manifest than it was made from"
            )
            yield Fault(what, RESTORE, manifest.asset, manifest.partition, manifest.version)

    def _ledger_faults(self, manifest: Manifest) -> Iterator[Fault]:
        """A table remembers how far the ledger went when it was made."""
        head = manifest.predicate.get("ledger")
        if not head or not head["records"]:
            return
        records = self.seals.records
        if head["records"] > len(records) or records[head["records"] - 1].hash != head["hash"]:
            what = (
                f"was made when the ledger had record {head['records']} ({head['hash'][:12]}), "
                "which is gone or another one now"
            )
            mend = "restore the ledger from a copy"
            yield Fault(what, mend, manifest.asset, manifest.partition, manifest.version)

    def _sealed_faults(self) -> Iterator[Fault]:
        here = {place.folder for place in self.places}
        for path, (digest, record) in self.seals.sealed.items():
            folder = self.lake.home / path
            if folder.parent not in here and folder.parent.exists():
                continue
            asset, partition = _names(path)
            held = self.lake.manifest(asset, partition, folder.name)
            if held is None and path not in self.seals.collected:
                what = "is sealed and gone, or its manifest is not whole"
                yield Fault(what, RESTORE, asset, partition, folder.name, None, record.seq)
            elif held is not None and held.digest != digest:
                what = "its manifest is not the one that was sealed"
                yield Fault(what, RESTORE, asset, partition, folder.name, MANIFEST, record.seq)

    def reached(self) -> set[str]:
        """Paths of all versions that some record vouches for, by itself or through what was made
        from them."""
        held = (self.lake.manifest(*_names(p), p.rpartition("/")[2]) for p in self.seals.sealed)
        return set(self.seals.sealed) | self.reached_from([m for m in held if m is not None])

    def reached_from(self, starts: list[Manifest]) -> set[str]:
        """Paths of some versions and of all that they were made from."""
        found: set[str] = set()
        ahead = list(starts)
        while ahead:
            manifest = ahead.pop()
            path = self._relative(manifest.path.parent)
            if path in found:
                continue
            found.add(path)
            held = (self.lake.manifest(i.asset, i.partition, i.version) for i in manifest.inputs)
            ahead += [one for one in held if one is not None]
        return found

    def unreached(self) -> Iterator[tuple[Place, str]]:
        """Current versions that no record vouches for."""
        reached = self.reached()
        for place in self.places:
            try:
                pointer = self.lake.pointer(place.asset, place.partition) or {}
            except ProjectError:
                continue  # a fault of its own
            version = pointer.get("version")
            if version and self._relative(place.folder / version) not in reached:
                yield place, version


def _names(path: str) -> tuple[str, str | None]:
    """Asset and partition of a version's path."""
    _, asset, *inside = path.split("/")
    key = inside[0] if len(inside) > 1 else ""
    return asset, key.removeprefix("model_version=") or None


def _at(place: Place, version: str | None, what: str, mend: str, file: str | None = None) -> Fault:
    return Fault(what, mend, place.asset, place.partition, version, file)
