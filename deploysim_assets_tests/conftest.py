"""Where the tests' homes lie."""

import os
import shutil
from pathlib import Path

MEMORY = Path("/dev/shm")
ENOUGH = 6 * 1024**3


def pytest_configure() -> None:
    """Temporary folders in memory where there is room: Dagster's SQLite forces every event to
    disk, which was half of the suite's time."""
    if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ENOUGH:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))
