"""Leases die with their holder, whatever kills it, and keep two runs from one partition."""

import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploysim_assets.project import ProjectError
from deploysim_assets.storage.leases import (
    partition_lease,
    run_lease,
    runs_left_behind,
    settle,
)
from deploysim_assets_tests.support import REPO

PARTITION = "partition_lease(home, 'grades', '..', 'aaaa', print)"
RUN = "run_lease(home, 'aaaa'); held.__enter__()"


@contextmanager
def _holder(home: Path, takes: str) -> Generator[subprocess.Popen[str]]:
    code = (
        "import pathlib, sys, time\n"
        "from deploysim_assets.storage.leases import partition_lease, run_lease\n"
        f"home = pathlib.Path({str(home)!r})\n"
        f"held = {takes}\n"
        "print('held', flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=REPO, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout and process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_second_run_waits_for_a_partition_and_says_for_whom(tmp_path: Path) -> None:
    said: list[str] = []
    first = partition_lease(tmp_path, "grades", "m", "aaaa", said.append)
    threading.Timer(1.2, first.end).start()
    begun = time.monotonic()
    second = partition_lease(tmp_path, "grades", "m", "bbbb", said.append)
    assert time.monotonic() - begun >= 1.0
    assert said == ["grades[m] is being made by run aaaa; waiting for it to end"], "once a minute"
    with pytest.raises(ProjectError, match=r"grades\[m\] is still being made by run bbbb"):
        partition_lease(tmp_path, "grades", "m", "cccc", said.append, longest=0.1)
    second.end()
    second.end()  # again is no error
    partition_lease(tmp_path, "grades", "m", "cccc", said.append, longest=0).end()


def test_other_partitions_and_other_assets_are_free(tmp_path: Path) -> None:
    where = [
        ("grades", "m"),
        ("grades", "n"),
        ("grades", None),
        ("raw_logs", "m"),
        ("grades", ".."),
    ]
    held = [partition_lease(tmp_path, a, k, "aaaa", print, longest=0) for a, k in where]
    assert len(held) == len(where)
    assert [p.name for p in tmp_path.iterdir()] == ["locks"], "a key of dots stays in its folder"


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    with _holder(tmp_path, PARTITION) as process:
        with pytest.raises(ProjectError, match="run aaaa"):
            partition_lease(tmp_path, "grades", "..", "bbbb", print, longest=0)
        process.kill()
        process.wait()
        partition_lease(tmp_path, "grades", "..", "bbbb", print, longest=5).end()


def test_a_run_is_left_behind_when_its_process_was_killed_and_never_while_it_lives(
    tmp_path: Path,
) -> None:
    with _holder(tmp_path, RUN) as process:
        assert not runs_left_behind(tmp_path)
        process.kill()
        process.wait()
    assert runs_left_behind(tmp_path) == {"aaaa": 0.0}
    settle(tmp_path, "aaaa")
    settle(tmp_path, "aaaa")
    assert not runs_left_behind(tmp_path)


def test_runs_that_begin_and_end_are_never_taken_for_dead(tmp_path: Path) -> None:
    done = threading.Event()
    seen: list[str] = []

    def look() -> None:
        while not done.is_set():
            seen.extend(runs_left_behind(tmp_path))

    watchers = [threading.Thread(target=look) for _ in range(2)]
    for watcher in watchers:
        watcher.start()
    for number in range(300):
        with run_lease(tmp_path, f"run-{number}"):
            pass
    done.set()
    for watcher in watchers:
        watcher.join()
    assert seen == []
    assert list((tmp_path / "locks" / "runs").iterdir()) == []
