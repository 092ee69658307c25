"""What the blocking checks said of a table version, on the record: a corpus is used only by what
finds in the ledger that it passed, however the checks came to run, or not to.

A file beside the ledger said so before: whoever could write there made a pass of a fail.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from deploysim_assets.storage import ledger
from deploysim_assets.storage.manifests import Manifest

CHECKS = "checks"
"""The kind of the records. They seal nothing: a version that was only checked may be collected."""

CORPORA = ("raw_logs", "deidentified_prefixes")
"""What is used only where the record says that it passed. Of other tables a pass that follows on no
fail is nothing that anybody asks for."""


class Verdict(NamedTuple):
    """What was checked of a version: check -> passed."""

    checks: dict[str, bool]

    @property
    def failed(self) -> list[str]:
        """The blocking checks that did not pass."""
        return sorted(name for name, passed in self.checks.items() if not passed)


def save(home: Path, manifest: Manifest, checks: Mapping[str, bool]) -> None:
    """Put on the record what the blocking checks said of a version, where the newest record does
    not say so already."""
    assert manifest.partition is not None, "corpora are partitioned"
    said, before = Verdict(dict(checks)), load(home, manifest)
    if said == before or not (before or said.failed or manifest.asset in CORPORA):
        return
    body = {
        "asset": manifest.asset,
        "version": manifest.version,
        "manifest": manifest.digest,
        "checks": said.checks,
    }
    ledger.append(home, CHECKS, manifest.partition, body)


def load(home: Path, manifest: Manifest) -> Verdict | None:
    """What the blocking checks said last of this very version; None where they did not run on
    it."""
    for record in reversed(ledger.read(home)):
        if record.kind == CHECKS and record.body["manifest"] == manifest.digest:
            return Verdict(record.body["checks"])
    return None
