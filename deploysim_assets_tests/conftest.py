"""Where the tests' homes lie."""

import gc
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from deploysim_assets_tests import warm

MEMORY = Path("/dev/shm")
ENOUGH = 6 * 1024**3
FIRST = (
    "end_to_end/test_graphql_operations.py", "end_to_end/test_self_replay.py",
    "end_to_end/test_predecessor_edge.py", "end_to_end/test_demo_and_ui.py",
    "end_to_end/test_kill_and_faults.py", "test_style.py", "end_to_end/test_llmdrift.py",
    "endpoint/test_hosts.py",
    "end_to_end/test_audit_ledger.py", "end_to_end/test_dagster_operations.py",
    "end_to_end/test_adopt.py", "end_to_end/test_batches.py", "end_to_end/test_evidence.py",
    "end_to_end/test_dagster_multiprocess.py", "end_to_end/",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take a minute come first: the last one would be alone at the end. Those that wait
    for a daemon stand between those that compute: four that wait leave the cores idle."""

    def place(item: pytest.Item) -> int:
        return next((i for i, name in enumerate(FIRST) if f"_tests/{name}" in str(item.path)), 99)

    items.sort(key=place)


def pytest_configure(config: pytest.Config) -> None:
    """No example of a property has a deadline: a loaded machine would miss it.

    Temporary folders in memory where there is room: Dagster's SQLite forces every event to
    disk, which was half of the suite's time."""
    settings.register_profile("deploysim", deadline=None)
    settings.load_profile("deploysim")
    if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ENOUGH:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))
    # four workers and their processes on two cores: threads of BLAS only wait for each other
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # each of some hundred processes would compile the project anew
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    if (config.getoption("numprocesses", None) or 0) > 1 and not hasattr(config, "workerinput"):
        warm.share()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(specs: list[Any]) -> None:
    """Workers are forked from the process that has the libraries: to load them takes each as long
    as a tenth of its tests. Not on macOS, whose own libraries need not outlive a fork."""
    if len(specs) > 1 and sys.platform == "linux":
        for spec in specs:
            spec.python = warm.INTERPRETER


def pytest_collection_finish(session: pytest.Session) -> None:
    """What was loaded stays: the garbage collector need not walk over it again."""
    gc.freeze()
