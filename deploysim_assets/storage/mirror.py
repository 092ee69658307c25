"""A home in a bucket, worked on in a folder of this host: what is in the bucket comes down, and
what is written here goes up before it counts.

A name that must not be there yet is created in the bucket first, a pointer is compared and swapped
there, and a table version is whole there before its manifest is.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import threading
import uuid
from collections.abc import Generator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from deploysim_assets.project import ProjectError, SealError
from deploysim_assets.project.copies import COPY_FILE, KEY_FILE
from deploysim_assets.storage.bucket_leases import Leases
from deploysim_assets.storage.buckets import Bucket
from deploysim_assets.storage.folders import Folder
from deploysim_assets.storage.inventories import counts
from deploysim_assets.storage.journal import JOURNALS
from deploysim_assets.storage.journals_there import SEGMENT, Journals, is_journal
from deploysim_assets.storage.known import Known, Reach
from deploysim_assets.storage.ledger import LEDGER, examine, record_path
from deploysim_assets.storage.locks import held_here
from deploysim_assets.storage.manifests import MANIFEST, MANIFEST_TYPE
from deploysim_assets.storage.objects import (
    BLOCK,
    Changed,
    State,
    blocks_of,
    folders_of,
)
from deploysim_assets.storage.statements import parsed

HOME = "home.json"
"""In a bucket: that hosts work in it, so that it is no mere copy."""
_STAGE = ".coming"
_STAMP = 1_000_000_000
_AT_ONCE = 8
_TRIES = 20
_POINTER = "_CURRENT"
_VERSION = re.compile(r"(lake/.*?/run=[^/]*)/")


class Mirror:
    """A bucket's home and the folder in which this host works on it."""

    def __init__(self, home: Path, bucket: Bucket) -> None:
        self.home, self.bucket, self.where = home, bucket, bucket.where
        self.hasty = bucket.hasty()
        self.leases = Leases(bucket)
        self._known = Known(home)
        self._here = Folder(home)
        self.journals = Journals(home, bucket, self._known, self.quiet)
        self._lock = threading.RLock()
        self._large: set[str] = set()

    def name(self, path: Path) -> str:
        """The name of a file's object."""
        return path.relative_to(self.home).as_posix()

    # what goes up

    def create(self, path: Path, content: bytes) -> None:
        """Create an object that must not be there; FileExistsError where another host was first."""
        self.leases.check_all()
        name = self.name(path)
        with self.quiet():
            state = self.bucket.create(name, content)
            self._here.send(name, (content,))
            self._known.note({name: state})

    def swap(self, path: Path, content: bytes) -> None:
        """Replace what this folder holds of an object; ProjectError where it is another by now."""
        self.leases.check_all()
        name = self.name(path)
        with self.quiet():
            before = self._known.state(name)
            try:
                if before is None:
                    state = self.bucket.create(name, content)
                else:
                    state = self.bucket.swap(name, content, before)
            except (Changed, FileExistsError):
                raise ProjectError(
                    f"{self.where}/{name}: another host changed it meanwhile; run again"
                ) from None
            self._here.send(name, (content,))
            self._known.note({name: state})

    def sent(self, paths: Iterable[Path]) -> None:
        """Bring files as they are here to the bucket. A journal is one object then."""
        self.leases.check_all()
        paths = list(paths)
        small = [path for path in paths if path.stat().st_size <= BLOCK]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            states = dict(zip(small, pool.map(self._sent, small), strict=True))
        for path in set(paths) - set(small):
            states[path] = self._sent(path)
        for path in paths:
            self._stamp(self.name(path))
        self._known.note({self.name(path): state for path, state in states.items()})
        for path in paths:
            if is_journal(name := self.name(path)):
                self._delete(self.bucket.states(name))
                number = self._known.reach(name).segment
                self._known.note_reach(name, Reach(path.stat().st_size, states[path], number))

    def replace(self, path: Path, content: bytes, mode: int) -> None:
        """Put an object in place of another, whoever wrote that one."""
        self.leases.check_all()
        name = self.name(path)
        with self.quiet():
            state = self.bucket.sent(name, (content,))
            self._known.drop([name])
            self._here.send(name, (content,), mode)
            self._stamp(name)
            self._known.note({name: state})

    def rewritten(self, path: Path) -> None:
        """Bring a file to the bucket, where that has it: a sheet to label stays here."""
        name = self.name(path)
        if is_journal(name) or self._known.state(name) is not None:
            self.sent([path])

    def _stamp(self, name: str) -> None:
        # a file of the project that is edited here would be edited for this host alone
        if "/" not in name:
            with contextlib.suppress(FileNotFoundError):
                os.utime(self.home / name, (_STAMP, _STAMP))

    def _refuse_edited(self, known: Mapping[str, State]) -> None:
        for name in known:
            path = self.home / name
            if "/" not in name and path.exists() and path.stat().st_mtime != _STAMP:
                raise ProjectError(
                    f"{path}: was edited here, and not in {self.where}: bring it there with "
                    f"`deploysim home put {path}`, or take it away to have the bucket's again"
                )

    @contextlib.contextmanager
    def quiet(self) -> Generator[None]:
        """No thread and no process of this host brings anything down meanwhile: it would find half
        of what is done."""
        with self._lock, held_here(self.home, "pulling"):
            yield

    def _sent(self, path: Path) -> State:
        name = self.name(path)
        return self.bucket.sent(name, blocks_of(self._here, name))

    def gone(self, path: Path) -> None:
        """Take an object, or all below a folder, away."""
        self.leases.check_all()
        name = self.name(path)
        self._delete([*self.bucket.states(name), name])
        self._known.drop_journal(name)

    def _delete(self, names: Iterable[str]) -> None:
        names = list(names)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(self.bucket.delete, names))
        self._known.drop(names)

    def clear_left_behind(self) -> None:
        """Take away what killed hosts sent of versions that never got a manifest. Nobody may be
        adding a table meanwhile."""
        states = self.bucket.states("lake")
        self._delete([name for name in states if not _is_of_whole(name, states)])

    # what comes down

    def catch_up(self) -> None:
        """Fetch the ledger's records that are new."""
        with self.quiet():
            folder = self.home / LEDGER
            numbers = (p.name.removesuffix(".json") for p in folder.glob("[0-9]*.json"))
            seq = max(map(int, numbers), default=0) + 1
            while True:
                path = record_path(self.home, seq)
                try:
                    held = self.bucket.get(self.name(path))
                except FileNotFoundError:
                    return
                self._here.send(self.name(path), (held.content,))
                self._known.note({self.name(path): held.state})
                seq += 1

    def pull(self) -> None:
        """Bring the folder to what the bucket holds."""
        with self.quiet():
            for _ in range(_TRIES):
                if self._pulled():
                    return
        raise ProjectError(f"{self.where}: changes faster than it can be read; run again")

    def _pulled(self) -> bool:
        """Whether all is here that a pointer which came down names."""
        seen = self.bucket.seen()
        states = {name: one.state for name, one in seen.items()}
        shutil.rmtree(self.home / _STAGE, ignore_errors=True)  # of who was killed
        known = self._known.states()
        if empty := [n for n in known if n not in seen and (self.home / n).is_file()]:
            folders = folders_of(seen)
            self._take_away([name for name in empty if name in folders])
        self._large = {name for name, one in seen.items() if one.bytes > BLOCK}
        known = self._known.states()
        mine = {n: s for n, s in states.items() if counts(n, (HOME, KEY_FILE)) or n == COPY_FILE}
        mine = {n: s for n, s in mine.items() if not SEGMENT.fullmatch(n) and not is_journal(n)}
        gone = [n for n in known if n not in states and not is_journal(n)]
        new = [n for n, s in mine.items() if known.get(n) != s or not (self.home / n).exists()]
        new = [n for n in new if _is_of_whole(n, states)]
        pointers = [n for n in new if n.endswith(f"/{_POINTER}")]
        self._fetch([n for n in new if n.startswith(f"{LEDGER}/")], states)
        self._fetch_versions([n for n in new if _VERSION.match(n)], states)
        rest = {n for n in new if not _VERSION.match(n) and not n.startswith(f"{LEDGER}/")}
        self._refuse_edited(known)
        self._fetch(sorted(rest - set(pointers)), states)
        self.journals.bring(JOURNALS, states)
        whole = self._fetch_pointers(pointers)
        self._take_away(gone)
        return whole

    def _fetch(
        self, names: Iterable[str], states: Mapping[str, State], stage: Path | None = None
    ) -> dict[str, str]:
        """Bring objects down, whole or not at all; name -> SHA-256. One that is gone meanwhile is
        left out."""
        names = list(names)
        into = Folder(stage) if stage else self._here

        def one(name: str) -> tuple[State, str] | None:
            total = hashlib.sha256()

            def blocks() -> Iterator[bytes]:
                for block in blocks_of(self.bucket, name):
                    total.update(block)
                    yield block

            try:
                if name in self._large:
                    into.send(name, blocks(), 0o600)
                    return states.get(name, {}), total.hexdigest()
                held = self.bucket.get(name)
            except FileNotFoundError:
                return None
            into.send(name, (held.content,), 0o600)
            return held.state, hashlib.sha256(held.content).hexdigest()

        # killed before it is noted it comes again, and is not taken for edited here
        self._known.drop(names)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = dict(zip(names, pool.map(one, names), strict=True))
        for name in found:
            if stage is None:
                self._stamp(name)
        self._known.note({name: one[0] for name, one in found.items() if one})
        return {name: one[1] for name, one in found.items() if one}

    def _fetch_versions(self, names: Iterable[str], states: Mapping[str, State]) -> None:
        """Table versions appear whole; a file that was changed by a withdrawal is replaced."""
        of: dict[str, list[str]] = {}
        for name in names:
            found = _VERSION.match(name)
            assert found is not None
            of.setdefault(found[1], []).append(name)
        for version, changed in of.items():
            if (self.home / version / MANIFEST).exists():
                self._fetch(changed, states)
                continue
            files = [name for name in states if name.startswith(f"{version}/")]
            stage = self.home / _STAGE / uuid.uuid4().hex
            try:
                self._verify(version, self._fetch(files, states, stage), stage)
                (self.home / version).parent.mkdir(parents=True, exist_ok=True)
                shutil.rmtree(self.home / version, ignore_errors=True)
                (stage / version).rename(self.home / version)
            except BaseException:
                self._known.drop(files)
                raise
            finally:
                shutil.rmtree(stage, ignore_errors=True)

    def _verify(self, version: str, digests: Mapping[str, str], stage: Path) -> None:
        content = (stage / version / MANIFEST).read_bytes()
        named, _ = parsed(content, MANIFEST_TYPE)
        strange = sorted(n for n, digest in named.items() if digests.get(n) != digest)
        if not strange:
            return
        since: dict[str, set[str]] = {}
        for record in examine(self.home)[0]:
            for file, changes in record.body.get("files", {}).items():
                since.setdefault(file, set()).update(change[1] for change in changes)
        for name in strange:
            if digests.get(name) not in since.get(name, set()):
                raise SealError(
                    f"{self.where}/{name}: is missing, or is not as it was written; restore it "
                    "from a copy"
                )

    def _fetch_pointers(self, names: Iterable[str]) -> bool:
        """Pointers come last, and none that names a version which came up after the listing."""
        whole = True
        for name in names:
            held = self.bucket.get(name)
            said = json.loads(held.content)["version"]
            if not (self.home / name).with_name(said).is_dir():
                whole = False
                continue
            self._here.send(name, (held.content,))
            self._known.note({name: held.state})
        return whole

    def _take_away(self, names: list[str]) -> None:
        """Files that are gone in the bucket, with the folders that they leave empty."""
        for name in names:
            self._here.delete(name)
            for folder in (self.home / name).parents:
                if folder == self.home or not folder.exists() or any(folder.iterdir()):
                    break
                folder.rmdir()
        self._known.drop(names)


def _is_of_whole(name: str, states: Mapping[str, State]) -> bool:
    """Not of a table version without a manifest."""
    found = _VERSION.match(name)
    return found is None or f"{found[1]}/{MANIFEST}" in states
