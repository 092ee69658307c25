"""Finished homes, each made once for all the tests that take copies of it."""

import fcntl
import os
from pathlib import Path

import pytest

from deploysim_assets.benchmarks.tampering import finished_home
from deploysim_assets_tests.support import KEYS


def _made_once(
    factory: pytest.TempPathFactory, name: str, *, forgotten: bool, keys: dict[str, str]
) -> Path:
    base = factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    home = base / name / "home"
    home.parent.mkdir(exist_ok=True)
    with (base / f"{name}.lock").open("w") as lock, pytest.MonkeyPatch.context() as patch:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home.parent / "done").exists():
            for variable in [n for n in os.environ if n.startswith(("DEPLOYSIM", "DAGSTER"))]:
                patch.delenv(variable)
            for variable, value in keys.items():
                patch.setenv(variable, value)
            finished_home(home, forgotten=forgotten)
            (home.parent / "done").touch()
    return home


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forecast, registered again, shipped, scored, somebody forgotten, late logs: to be copied,
    not changed. Workers of one session share it; its keys lie in it."""
    return _made_once(tmp_path_factory, "finished", forgotten=True, keys={})


@pytest.fixture(scope="session")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with nobody forgotten, under the tests' keys: made again it changes nothing. After
    a withdrawal the sample of prefixes fills up, which is new work."""
    return _made_once(tmp_path_factory, "settled", forgotten=False, keys=KEYS)
