"""Finished homes, each made once for all the tests that take copies of it."""

import fcntl
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from deploysim_assets.benchmarks.tampering import grown, scored_home
from deploysim_assets.deidentify.keys import KEY_FILE
from deploysim_assets_tests import warm


def _run(command: list[str], env: dict[str, str], cwd: Path) -> None:
    warm.run(command, env=env, cwd=cwd).check_returncode()


def _made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A home that workers of one session share; its keys lie in it."""
    base = factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    home = base / name / "home"
    home.parent.mkdir(exist_ok=True)
    with (base / f"{name}.lock").open("w") as lock, pytest.MonkeyPatch.context() as patch:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home.parent / "done").exists():
            for variable in [n for n in os.environ if n.startswith(("DEPLOYSIM", "DAGSTER"))]:
                patch.delenv(variable)
            shutil.rmtree(home, ignore_errors=True)
            make(home)
            (home.parent / "done").touch()
    return home


@pytest.fixture(scope="session")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forecast, registered again, shipped, scored: to be copied, not changed. Its keys are always
    the same: what is drawn goes by them, and with others once no reply of the candidate was flagged
    that is not of the user who is forgotten."""

    def make(home: Path) -> None:
        home.mkdir()
        keys = home / KEY_FILE
        keys.touch(mode=0o600)
        keys.write_text(json.dumps({"ids": "ab" * 32, "surrogates": "cd" * 32}))
        scored_home(home, run=_run)

    return _made_once(tmp_path_factory, "scored", make)


def _grown(factory: pytest.TempPathFactory, name: str, scored: Path, *, forgotten: bool) -> Path:
    def make(home: Path) -> None:
        shutil.copytree(scored, home)
        grown(home, run=_run, forgotten=forgotten)

    return _made_once(factory, name, make)


@pytest.fixture(scope="session")
def finished(scored: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scored, somebody forgotten, late logs: to be copied, not changed."""
    return _grown(tmp_path_factory, "finished", scored, forgotten=True)


@pytest.fixture(scope="session")
def settled(scored: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with nobody forgotten: made again it changes nothing. After a withdrawal the sample
    of prefixes fills up, which is new work."""
    return _grown(tmp_path_factory, "settled", scored, forgotten=False)
