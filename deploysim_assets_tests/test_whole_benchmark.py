"""The benchmark of the whole way over several sessions: it goes on with what is written down, and
no stage outlives it."""

import multiprocessing
import subprocess
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from deploysim_assets.benchmarks.whole import Cost, Record, end_with_parent, growth, held_by


def test_a_stage_that_was_killed_costs_what_all_its_tries_took(tmp_path: Path) -> None:
    path = tmp_path / "whole-10.json"
    record = Record(path)
    record.port, record.done = 4711, ["read logs"]
    record.costs = {"read logs": Cost(9, 8, 7, 7, 0), "de-identify": Cost(1, 2, 300, 400, 0.5)}
    record.save()
    again = Record(path)
    assert (again.port, again.done, again.costs) == (4711, ["read logs"], record.costs)
    assert len(again.code) == 1, "of one state of the code"
    second = again.costs["de-identify"].then(Cost(10, 20, 200, 500, 1))
    assert second == Cost(11, 22, 300, 500, 1.5)


def test_what_a_process_tree_costs_holds_those_that_have_ended() -> None:
    burns = "x = bytearray(60_000_000); sum(i * i for i in range(1_500_000))"
    waits = (
        "import subprocess, sys\n"
        f"subprocess.run([sys.executable, '-c', {burns!r}])\n"
        "print(flush=True); input()"
    )
    command = [sys.executable, "-c", waits]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as one:
        assert one.stdin and one.stdout
        one.stdout.readline()
        held = held_by(one.pid)
        one.stdin.write(b"\n")
    assert held.cpu > 0.05, "of the child, too"
    assert 1e6 < held.largest < 60e6, "of those that are there"


def _runs_a_stage(told: Connection) -> None:
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    with subprocess.Popen(command, preexec_fn=end_with_parent) as stage:  # noqa: PLW1509
        told.send(stage.pid)


def test_no_stage_outlives_a_benchmark_that_is_killed() -> None:
    here, there = multiprocessing.Pipe(duplex=False)
    run = multiprocessing.get_context("spawn").Process(target=_runs_a_stage, args=(there,))
    run.start()
    stage = Path(f"/proc/{here.recv()}/cmdline")
    run.kill()
    run.join(60)
    end = time.monotonic() + 60
    while stage.exists() and stage.read_bytes():  # one that nobody asks after has no command line
        assert time.monotonic() < end
        time.sleep(0.02)


def test_growth_tells_what_starting_takes_from_what_the_traffic_does() -> None:
    power, published = growth((10_000, 20_000), (110.0, 210.0))
    assert power == pytest.approx(0.93, abs=0.01)
    assert published == pytest.approx(13_010)
    assert growth((10_000, 20_000), (1.0, 4.0))[0] == pytest.approx(2)
