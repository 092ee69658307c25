"""What the blocking checks said of a table version: a corpus is used only by what finds here that
it passed, however the checks came to run, or not to."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from deploysim_assets.storage import disk
from deploysim_assets.storage.manifests import Manifest

VERDICTS = "verdicts"


class Verdict(NamedTuple):
    """What was checked of a version, by the digest of its manifest: check -> passed."""

    manifest: str
    checks: dict[str, bool]

    @property
    def failed(self) -> list[str]:
        """The blocking checks that did not pass."""
        return sorted(name for name, passed in self.checks.items() if not passed)


def _path(home: Path, asset: str, partition: str) -> Path:
    return home / VERDICTS / asset / f"{partition}.json"


def save(home: Path, manifest: Manifest, checks: Mapping[str, bool]) -> None:
    """Keep what the blocking checks said of a version."""
    assert manifest.partition is not None, "corpora are partitioned"
    held = {"manifest": manifest.digest, "checks": dict(checks)}
    disk.replace(_path(home, manifest.asset, manifest.partition), json.dumps(held).encode())


def load(home: Path, manifest: Manifest) -> Verdict | None:
    """What the blocking checks said of this very version; None where they did not run on it."""
    assert manifest.partition is not None, "corpora are partitioned"
    try:
        held = Verdict(**json.loads(_path(home, manifest.asset, manifest.partition).read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return held if held.manifest == manifest.digest else None
