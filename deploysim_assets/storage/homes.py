"""Where the home is: a folder, or a bucket that is worked on in a folder of this host."""

import hashlib
import os
from functools import cache
from pathlib import Path

from deploysim_assets.project import CONFIG_FILE, ProjectError
from deploysim_assets.project.copies import WORKED_IN
from deploysim_assets.project.file import local_folder
from deploysim_assets.storage import mirrors
from deploysim_assets.storage.inventories import note_at
from deploysim_assets.storage.mirror import HOME, Mirror
from deploysim_assets.storage.objects import Bucket, is_url

CACHE = "DEPLOYSIM_CACHE"


def home_folder() -> Path:
    """The folder of the home that DEPLOYSIM_HOME names, by default the current one. One in a bucket
    is worked on in a folder of this host, which is brought to what the bucket holds; ProjectError
    where it holds no home."""
    place = os.environ.get("DEPLOYSIM_HOME") or "."
    return opened(place).home if is_url(place) else local_folder(place, "DEPLOYSIM_HOME")


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
    mirrors.note(mirror)
    mirror.pull()
    return mirror


def working_folder(url: str) -> Path:
    """The folder on this host for a home in a bucket: in DEPLOYSIM_CACHE, by default
    ~/.cache/deploysim."""
    base = os.environ.get(CACHE) or Path(
        os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "deploysim"
    )
    name = url.rstrip("/").rpartition("/")[2]
    return Path(base, f"{name}-{hashlib.sha256(url.encode()).hexdigest()[:12]}").resolve()


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
