"""Shards on Ray and in processes: the same results in the same order, whatever is lost on the way,
and nothing of their texts or of the keys in an error or in Ray's logs."""

import multiprocessing
import os
import socket
import time
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from deploysim_assets.project import Compute, ProjectError
from deploysim_assets.shards import ShardError, on_ray, processes
from deploysim_assets.shards.on_ray import joined

SECRET = "Kx9-only-in-this-shard"
KEY = b"0f-key-of-thirty-two-bytes-long!"
LOCAL = Compute(engine="ray", address="local", workers=2)


def _worked(shard: dict[str, Any], key: bytes, marks: str) -> list[str]:
    assert key == KEY
    match shard.get("do"):
        case "fail":
            raise ValueError(f"cannot read {shard['text']}")
        case "refuse":
            raise ProjectError("deploysim.yaml: name the folder of a saved model")
        case "die":
            os.kill(os.getpid(), 9)
        case "die once" if not (mark := Path(marks) / str(shard["n"])).exists():
            mark.touch()
            os.kill(os.getpid(), 9)
        case _:
            pass
    return [shard["text"], str(shard["n"])]


def _pid(shard: int) -> int:
    return os.getpid()


def _pids() -> Any:
    return _pid


def _told_and_held(told: Connection) -> None:
    for pid in processes(2)(_pids, range(10**9)):
        told.send(pid)


def _make(marks: str = "") -> Any:
    return partial(_worked, key=KEY, marks=marks)


def shards(count: int, **do: str) -> Iterator[dict[str, Any]]:
    for n in range(count):
        yield {"n": n, "text": SECRET, "do": do.get(f"n{n}")}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Path]:
    """A Ray of two CPUs that this process has joined: its folder of logs."""
    if not find_spec("ray"):
        pytest.skip("needs the extra `ray`")
    with joined(LOCAL) as ray:
        yield Path(ray._private.worker._global_node.get_session_dir_path())


def nothing_told(place: Path) -> None:
    for path in place.rglob("*"):
        if path.is_file():
            held = path.read_bytes()
            assert SECRET.encode() not in held, path
            assert KEY not in held and KEY.hex().encode() not in held, path


def test_order_and_results_are_those_of_processes_and_workers_that_die_change_nothing(
    cluster: Path, tmp_path: Path
) -> None:
    expected = [[SECRET, str(n)] for n in range(60)]
    assert list(processes(1)(_make, shards(60))) == expected
    make = partial(_make, str(tmp_path))
    lost = shards(60, n3="die once", n30="die once")
    assert list(on_ray(LOCAL)(make, lost)) == expected
    assert {p.name for p in tmp_path.iterdir()} == {"3", "30"}
    nothing_told(cluster)


def test_few_shards_are_read_ahead(cluster: Path) -> None:
    read = 0

    def counted() -> Iterator[dict[str, Any]]:
        nonlocal read
        for shard in shards(500):
            read += 1
            yield shard

    found = on_ray(LOCAL)(_make, counted())
    next(found)
    assert read < 50
    found.close()  # type: ignore[attr-defined]


def test_a_shard_that_fails_says_where_and_never_what(cluster: Path) -> None:
    with pytest.raises(ShardError, match=r"ValueError at .*test_shards.py:\d+") as told:
        list(on_ray(LOCAL)(_make, shards(5, n2="fail")))
    assert SECRET not in str(told.value)
    with pytest.raises(ProjectError, match="folder of a saved model"):
        list(on_ray(LOCAL)(_make, shards(5, n2="refuse")))
    nothing_told(cluster)


def test_a_shard_that_always_ends_its_worker_is_given_up(cluster: Path) -> None:
    with pytest.raises(ShardError, match="4 workers of Ray were lost over the same shard"):
        list(on_ray(LOCAL)(_make, shards(1, n0="die")))
    nothing_told(cluster)


def test_an_address_where_nobody_answers_is_an_error_at_once() -> None:
    ray = pytest.importorskip("ray", reason="needs the extra `ray`")
    if ray.is_initialized():
        ray.shutdown()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    compute = Compute(engine="ray", address=f"127.0.0.1:{port}")
    with pytest.raises(ProjectError, match=f"no Ray cluster answers at 127.0.0.1:{port}"):
        list(on_ray(compute)(_make, shards(1)))


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(ProjectError, match=r"pip install 'deploysim\[ray\]'"):
        list(on_ray(LOCAL)(_make, shards(1)))
    with pytest.raises(ValueError, match="set engine: ray"):
        Compute(address="local")


def test_a_process_that_dies_changes_nothing_and_one_that_always_does_ends_it(
    tmp_path: Path,
) -> None:
    make = partial(_make, str(tmp_path))
    lost = shards(30, n3="die once", n4="die once", n29="die once")
    assert list(processes(2)(make, lost)) == [[SECRET, str(n)] for n in range(30)]
    assert {p.name for p in tmp_path.iterdir()} == {"3", "4", "29"}
    with pytest.raises(ShardError, match="lost 4 times over the same shards"):
        list(processes(1)(make, shards(3, n1="die")))


def works(pid: int) -> bool:
    try:  # one that nobody asks after has no command line any more
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except FileNotFoundError:
        return False


def test_the_processes_of_a_run_that_was_killed_end_with_it() -> None:
    here, there = multiprocessing.Pipe(duplex=False)
    spawned = multiprocessing.get_context("spawn")
    run = spawned.Process(target=_told_and_held, args=(there,))
    run.start()
    pid = here.recv()
    run.kill()
    run.join(60)
    end = time.monotonic() + 60
    while works(pid):
        assert time.monotonic() < end, "it waits for work, with the keys in its memory"
        time.sleep(0.02)
