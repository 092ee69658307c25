"""The registry as partitions: MODELS, CANDIDATES, and the mapping predecessor -> candidate.

Static definitions and a StaticPartitionMapping are the only construct for which in-process runs,
GraphQL, backfills and the daemon agree on the predecessor edge: a custom mapping is taken for
identity by the daemon and leaks the future into a forecast. The registry is read at import, so a
new release shows after a definitions reload.
"""

import dagster as dg

from deploysim_assets.project import CONFIG_FILE, Project
from deploysim_assets.project.file import home_folder, load_project

PROJECT: Project | None = (
    load_project(home_folder()) if (home_folder() / CONFIG_FILE).exists() else None
)
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

GRADED_FOR = dg.StaticPartitionMapping(
    {r.model_version: [r.model_version, r.predecessor] for r in _CANDIDATES if r.predecessor}
)
"""CANDIDATES -> MODELS: a registration's graders are needed on the candidate's own traffic and
on its predecessor's."""
