"""Where the tests' homes lie."""

import os
import shutil
from pathlib import Path

from hypothesis import settings

MEMORY = Path("/dev/shm")
ENOUGH = 6 * 1024**3


def pytest_configure() -> None:
    """No example of a property has a deadline: a loaded machine would miss it.

    Temporary folders in memory where there is room: Dagster's SQLite forces every event to
    disk, which was half of the suite's time."""
    settings.register_profile("deploysim", deadline=None)
    settings.load_profile("deploysim")
    if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ENOUGH:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))
