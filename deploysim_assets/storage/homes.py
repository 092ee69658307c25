"""Where the home is: a folder, or a bucket that is worked on in a folder of this host."""

import hashlib
import os
from functools import cache
from pathlib import Path

from deploysim_assets.project import CONFIG_FILE, ProjectError
from deploysim_assets.project.copies import KEY_FILE, WORKED_IN
from deploysim_assets.project.file import home_place, local_folder
from deploysim_assets.storage import mirrors
from deploysim_assets.storage.buckets import Bucket
from deploysim_assets.storage.folders import Folder
from deploysim_assets.storage.inventories import counts, note_at
from deploysim_assets.storage.journal import JOURNALS
from deploysim_assets.storage.ledger import LEDGER, LEDGER_FILE
from deploysim_assets.storage.mirror import HOME, Mirror
from deploysim_assets.storage.objects import blocks_of, is_url
from deploysim_assets.storage.withdrawals import PLAN_FILE, WITHDRAWALS_FILE

CACHE = "DEPLOYSIM_CACHE"
_OURS = (LEDGER, LEDGER_FILE, JOURNALS, "verdicts", "lake")
_NOT_OF_PEOPLE = (HOME, WITHDRAWALS_FILE, PLAN_FILE, KEY_FILE)


def home_folder() -> Path:
    """The folder of the home (`home_place` says which). One in a bucket is worked on in a folder of
    this host, which is brought to what the bucket holds; ProjectError where it holds no home."""
    found = home_place()
    return opened(found.place).home if is_url(found.place) else local_folder(*found)


def is_worked_in(bucket: Bucket) -> bool:
    """Whether hosts work in what a bucket holds, so that it is no mere copy."""
    try:
        return bucket.size(HOME) > 0
    except FileNotFoundError:
        return False


@cache
def opened(url: str) -> Mirror:
    """The mirror of a home in a bucket, once per process."""
    bucket = Bucket(url)
    if not is_worked_in(bucket):
        _begin(bucket)
    home = working_folder(bucket.where)
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o700)  # raw logs and answers lie in it
    (home / WORKED_IN).write_text(bucket.where)
    mirror = Mirror(home, bucket)
    mirror.pull()
    mirrors.note(mirror)
    return mirror


def working_folder(url: str) -> Path:
    """The folder on this host for a home in a bucket: in DEPLOYSIM_CACHE, by default
    ~/.cache/deploysim."""
    base = os.environ.get(CACHE) or Path(
        os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "deploysim"
    )
    name = url.rstrip("/").rpartition("/")[2]
    return Path(base, f"{name}-{hashlib.sha256(url.encode()).hexdigest()[:12]}").resolve()


def put(file: Path, name: str | None) -> str:
    """Bring a file that people write (the project's, logs) into the home in a bucket, under a name
    or its own; returns the name. ProjectError where the home is a folder, or writes such files
    itself."""
    place = home_place().place
    if not is_url(place):
        raise ProjectError(f"{place}: the home is a folder: put {file.name} there yourself")
    bucket = Bucket(place)
    if not is_worked_in(bucket):
        _begin(bucket)
    here = working_folder(bucket.where)
    inside = file.is_relative_to(here)
    name = name or (file.relative_to(here).as_posix() if inside else file.name)
    if name.split("/")[0] in _OURS or not counts(name, _NOT_OF_PEOPLE):
        raise ProjectError(f"{name}: is written by deploysim alone")
    bucket.send(name, blocks_of(Folder(file.parent), file.name))
    if inside:
        file.unlink()  # comes down again as it is in the bucket
    return name


def _begin(bucket: Bucket) -> None:
    note = note_at(bucket, ())
    if note is None or CONFIG_FILE not in note.files:
        raise ProjectError(
            f"{bucket.where}: holds no home; make one in a folder (`deploysim init`), and bring it "
            f"there with `deploysim home copy FOLDER {bucket.where}`"
        )
    if not note.whole:
        raise ProjectError(
            f"{bucket.where}: a copy of a home that was begun and is not whole; run the same "
            "`deploysim home copy` again"
        )
    try:
        bucket.create(HOME, b'{"format": 1}')
    except FileExistsError:
        return  # another host began at the same moment
