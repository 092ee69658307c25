"""One function over many shards, in order and with few of them in memory: by processes of this
machine, or by the actors of a Ray cluster. What comes out depends on neither."""

import gc
import multiprocessing
import os
import pickle
import socket
import sys
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager
from itertools import chain
from typing import Any, NamedTuple, Protocol, TypeVar

from deploysim_assets.project import Compute, ProjectError

_IN_FLIGHT = 8
_EACH = 2  # one shard is worked on while the next one travels
_RETRIES = 3
_SECONDS = 10.0
_NO_PROGRESS = 600.0
_LOOK = 5.0

S = TypeVar("S")
R = TypeVar("R")
Make = Callable[[], Callable[[S], R]]
"""Builds, once in each worker, what turns a shard into its result. Must be picklable."""


class ShardError(Exception):
    """A shard failed. Tells kind and place alone: the message of the failure may quote text."""


class Engine(Protocol):
    """Applies what `make` builds to every shard; results in the order of the shards."""

    def __call__(self, make: Make[S, R], shards: Iterable[S]) -> Iterator[R]: ...


def engine(compute: Compute) -> Engine:
    """The engine that deploysim.yaml names."""
    return on_ray(compute) if compute.engine == "ray" else processes(compute.workers)


_work: tuple[bytes, Callable[[Any], Any]] | None = None


def _in_worker(made_by: bytes, shard: Any) -> Any:
    global _work  # noqa: PLW0603 (one per worker process: building it takes a second)
    if _work is None or _work[0] != made_by:
        _work = made_by, pickle.loads(made_by)()  # noqa: S301 (our own, from the driver)
        gc.freeze()  # what it is made of stays: no collection has to walk over it
    return _work[1](shard)


def processes(workers: int | None = None) -> Engine:
    """Processes of this machine, one per core unless told."""

    def mapped(make: Make[S, R], shards: Iterable[S]) -> Iterator[R]:
        made_by = pickle.dumps(make)
        # spawn: a forked child inherits the locks of polars' and gRPC's threads
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers or os.cpu_count(), mp_context=context) as pool:
            pending: deque[Any] = deque()
            for shard in shards:
                if len(pending) >= _IN_FLIGHT:
                    yield pending.popleft().result()
                pending.append(pool.submit(_in_worker, made_by, shard))
            for future in pending:
                yield future.result()

    return mapped


class _Failed(NamedTuple):
    """What went wrong in a worker, told without the message of an error that is not ours."""

    of_project: bool
    said: str


def kind_and_place(wrong: BaseException) -> str:
    """What may be told of an error whose message may quote text: its type, and the line that raised
    it."""
    frame = traceback.extract_tb(wrong.__traceback__)[-1]
    return f"{type(wrong).__name__} at {frame.filename}:{frame.lineno}"


def installed() -> tuple[str, str, str]:
    """What must be alike on both sides: Python, deploysim and a digest of its code."""
    from deploysim_assets.storage.manifests import code

    known = code()
    return sys.version.split()[0], known["version"], known["files"]


class _Worker:
    """A Ray actor. Nothing is raised here: Ray would write the error into its logs. Nothing is
    given to the constructor either: Ray keeps that, with the keys in it, in its own tables."""

    def installed(self) -> tuple[str, ...]:
        return installed()

    def done(self, made_by: bytes, shard: bytes) -> bytes:
        try:
            result = _in_worker(made_by, pickle.loads(shard))  # noqa: S301 (from the driver)
        except ProjectError as wrong:
            result = _Failed(of_project=True, said=str(wrong))
        except Exception as wrong:  # noqa: BLE001
            result = _Failed(of_project=False, said=kind_and_place(wrong))
        return pickle.dumps(result)


def _ray() -> Any:
    # read when ray is imported or started: no calls home, nothing of the project's folder uploaded
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
    try:
        import ray  # pyright: ignore[reportMissingImports, reportMissingTypeStubs]
    except ImportError:
        raise ProjectError(
            "deploysim.yaml: compute.engine: ray needs ray, which is not installed; `pip install "
            "'deploysim[ray]'` (on every node of the cluster, too), or drop compute.engine"
        ) from None
    return ray


def _reachable(address: str) -> None:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _SECONDS).close()
    except OSError as wrong:
        raise ProjectError(
            f"deploysim.yaml: compute.address: no Ray cluster answers at {address} "
            f"({type(wrong).__name__}); start one with `ray start --head`, or name where one is"
        ) from None


@contextmanager
def _joined(ray: Any, address: str) -> Generator[None]:
    """Joins the cluster unless this process already has, and leaves it again."""
    if ray.is_initialized():
        yield
        return
    if ":" in address:
        _reachable(address)
    of_own: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level="error", **of_own)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as wrong:
        said = " ".join(str(wrong).split())[:300]
        raise ProjectError(
            f"deploysim.yaml: compute.address: {address}: no Ray cluster could be joined "
            f"({type(wrong).__name__}: {said}); start one with `ray start --head` and the same "
            "versions of Python and ray, or set compute.address: local"
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


def on_ray(compute: Compute) -> Engine:
    """Actors of a Ray cluster, one per CPU unless told. A shard whose worker was lost is done
    again. ProjectError where there is no cluster, or its nodes have another deploysim."""

    def mapped(make: Make[S, R], shards: Iterable[S]) -> Iterator[R]:
        ray, left = _ray(), iter(shards)
        first = next(left, None)
        if first is None:
            return
        with _joined(ray, compute.address):
            cpus = int(ray.cluster_resources().get("CPU", 0))
            count = min(compute.workers or cpus, cpus)
            if not count:
                raise ProjectError(
                    "deploysim.yaml: compute.address: the Ray cluster has no CPU; add a node to it"
                )
            remote = ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=_RETRIES)(_Worker)
            actors = [remote.remote() for _ in range(count)]
            try:
                with closing(_Ordered(ray, actors, pickle.dumps(make)).over(first, left)) as found:
                    yield from found
            finally:
                for actor in actors:
                    ray.kill(actor)

    return mapped


class _Ordered:
    """Shards on their way through actors: `_EACH` at once in each, results in order."""

    def __init__(self, ray: Any, actors: list[Any], made_by: bytes) -> None:
        self._ray, self._made_by = ray, made_by
        self._most = _IN_FLIGHT * len(actors)
        self._starting = {actor.installed.remote(): actor for actor in actors}
        self._running: dict[Any, Any] = {}
        self._free: deque[Any] = deque()

    def over(self, first: S, left: Iterator[S]) -> Generator[Any]:
        """The results."""
        shards = chain([first], left)
        order: deque[Any] = deque()
        ended = False
        while True:
            while not ended and self._free and len(order) < self._most:
                shard = next(shards, None)
                if shard is None:
                    ended = True
                    break
                actor = self._free.popleft()
                ref = actor.done.remote(self._made_by, pickle.dumps(shard))
                self._running[ref] = actor
                order.append(ref)
            if ended and not order:
                return
            self._wait()
            while order and order[0] not in self._running:
                yield self._result(order.popleft())

    def _wait(self) -> None:
        """Until a worker has started or a shard is done."""
        refs = [*self._starting, *self._running]
        waited = 0.0
        while not (done := self._guarded(lambda: self._ray.wait(refs, timeout=_LOOK)[0])):
            waited += _LOOK
            if not any(n["Alive"] and n["Resources"].get("CPU") for n in self._ray.nodes()):
                raise ProjectError("compute: the Ray cluster lost its last node; run again")
            if waited >= _NO_PROGRESS:
                raise ProjectError(
                    f"compute: for {_NO_PROGRESS / 60:.0f} minutes no worker of the Ray cluster "
                    "started or finished; other jobs may hold its CPUs: `ray status` tells, or "
                    "set compute.workers lower"
                )
        for ref in done:
            if ref in self._starting:
                self._check(ref)
                self._free.extend([self._starting.pop(ref)] * _EACH)
            else:
                self._free.append(self._running.pop(ref))

    def _check(self, ref: Any) -> None:
        here, there = installed(), tuple(self._guarded(lambda: self._ray.get(ref)))
        if here != there:
            raise ProjectError(
                f"compute: a node of the Ray cluster has Python {there[0]} and deploysim "
                f"{there[1]} (code {there[2][:12]}), here are {here[0]} and {here[1]} (code "
                f"{here[2][:12]}); install the same on every node"
            )

    def _result(self, ref: Any) -> Any:
        found = pickle.loads(self._guarded(lambda: self._ray.get(ref)))  # noqa: S301 (our worker's)
        if isinstance(found, _Failed):
            raise (
                ProjectError(found.said)
                if found.of_project
                else ShardError(
                    f"{found.said} in a worker of Ray (the message is withheld: it may quote a "
                    "conversation)"
                )
            )
        return found

    def _guarded(self, ask: Callable[[], Any]) -> Any:
        errors = self._ray.exceptions
        try:
            return ask()
        except errors.RayActorError as wrong:
            raise ShardError(
                f"a worker of Ray was lost {_RETRIES + 1} times over the same shard, or could not "
                f"start ({type(wrong).__name__}): killed, out of memory, or without deploysim on "
                "its node"
            ) from None
        except errors.RayError as wrong:
            raise ShardError(
                f"Ray failed ({type(wrong).__name__}); its message is withheld, run again"
            ) from None
