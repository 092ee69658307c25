"""A finished home, made once for all the tests that take copies of it."""

import fcntl
import os
from pathlib import Path

import pytest

from deploysim_assets.benchmarks.tampering import finished_home


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forecast, registered again, shipped, scored, somebody forgotten, late logs: to be copied,
    not changed. Workers of one session share it."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    home = base / "finished" / "home"
    home.parent.mkdir(exist_ok=True)
    with (base / "finished.lock").open("w") as lock, pytest.MonkeyPatch.context() as patch:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home.parent / "done").exists():
            for name in [n for n in os.environ if n.startswith(("DEPLOYSIM", "DAGSTER"))]:
                patch.delenv(name)
            finished_home(home)
            (home.parent / "done").touch()
    return home
