"""What code runs here: the version of deploysim, a digest over its files, the commit."""

import hashlib
import importlib.metadata
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any


@cache
def code() -> dict[str, Any]:
    """What code runs: the version, a digest over its files and Python's version and, in a checkout,
    the commit and whether the tree was changed; of an installed wheel the digest of its RECORD."""
    package = Path(__file__).parent.parent
    known: dict[str, Any] = {"version": version_of("deploysim"), "files": _files(package)}
    if (package.parent / ".git").exists():
        try:
            commit = _git(package.parent, "rev-parse", "HEAD").strip()
            changed = bool(_git(package.parent, "status", "--porcelain", "--", package.name))
            return known | {"commit": commit, "changed": changed}
        except (OSError, subprocess.SubprocessError):
            return known | {"commit": None, "changed": None}
    try:
        record = importlib.metadata.distribution("deploysim").read_text("RECORD") or ""
    except importlib.metadata.PackageNotFoundError:
        record = ""
    return known | {"record": hashlib.sha256(record.encode()).hexdigest()}


def _files(package: Path) -> str:
    total = hashlib.sha256(sys.version.encode())
    for path in sorted(package.rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            total.update(f"{path.relative_to(package).as_posix()}\0".encode())
            total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(  # noqa: S603
        ["git", "-C", str(folder), *arguments],  # noqa: S607
        capture_output=True,
        text=True,
        timeout=10,
        check=True,
    )
    return done.stdout


def version_of(package: str) -> str | None:
    """The version of a package as installed here; None where it is not."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
