"""The registry as partitions: MODELS, CANDIDATES, and the mapping predecessor -> candidate.

Static definitions and a StaticPartitionMapping are the only construct for which in-process runs,
GraphQL, backfills and the daemon agree on the predecessor edge: a custom mapping is taken for
identity by the daemon and leaks the future into a forecast. The registry is read at import, so a
new release shows when the definitions are loaded again (reloading.py).
"""

import dagster as dg

from deploysim_assets.project import CONFIG_FILE, Project
from deploysim_assets.project.last_good import load_or_last_good
from deploysim_assets.storage.homes import home_folder


def _loaded() -> tuple[Project | None, str]:
    home = home_folder()
    return load_or_last_good(home) if (home / CONFIG_FILE).exists() else (None, "")


PROJECT, WRONG = _loaded()
"""The project, and why deploysim.yaml cannot be read where it is the last good one (else "")."""
_RELEASES = PROJECT.releases if PROJECT else ()
_CANDIDATES = [r for r in _RELEASES if r.predecessor]

MODELS = dg.StaticPartitionsDefinition([r.model_version for r in _RELEASES])
CANDIDATES = dg.StaticPartitionsDefinition([r.model_version for r in _CANDIDATES])

FROM_PREDECESSOR = dg.StaticPartitionMapping(
    {
        r.model_version: [c.model_version for c in _CANDIDATES if c.predecessor == r.model_version]
        for r in _RELEASES
        if any(c.predecessor == r.model_version for c in _CANDIDATES)
    }
)
"""MODELS -> CANDIDATES: a deployed model's table feeds every candidate that replays its traffic."""

SAME_MODEL = dg.IdentityPartitionMapping()
"""MODELS -> CANDIDATES by equal key: a release's own production side."""

AS_CANDIDATE = dg.StaticPartitionMapping({r.model_version: r.model_version for r in _CANDIDATES})
"""CANDIDATES -> MODELS by equal key: what a release was as a candidate."""

GRADED_FOR = dg.StaticPartitionMapping(
    {r.model_version: [r.model_version, r.predecessor] for r in _CANDIDATES if r.predecessor}
)
"""CANDIDATES -> MODELS: a registration's graders are needed on the candidate's own traffic and
on its predecessor's."""
