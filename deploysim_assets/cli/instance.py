"""The Dagster instance of a project: where it lies, and what it and its workspace are told."""

import os
from pathlib import Path

_DAGSTER_YAML = """\
telemetry: {enabled: false}
nux: {enabled: false}
run_monitoring:
  enabled: true                      # runs that never start, or do not end when canceled, fail
  start_timeout_seconds: 300
  cancel_timeout_seconds: 300
  free_slots_after_run_end_seconds: 30
concurrency:
  pools:
    # endpoint, judge, deidentify: so many steps of each at once, over all runs; for one of them
    # `dagster instance concurrency set endpoint 2`, or Deployment > Concurrency in the UI
    granularity: op
    default_limit: 1
"""

WORKSPACE_YAML = """\
load_from:
  - python_module:
      module_name: deploysim_assets.definitions
      location_name: deploysim
"""


def dagster_home(home: Path) -> Path:
    """DAGSTER_HOME, by default a folder in the project's home; made, with telemetry off, where
    it is not there yet."""
    return made_dagster_home(Path(os.environ.get("DAGSTER_HOME") or home / ".dagster").resolve())


def made_dagster_home(folder: Path) -> Path:
    """The same of a folder that is known."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "dagster.yaml").exists():
        (folder / "dagster.yaml").write_text(_DAGSTER_YAML)
    return folder
