"""Shards by the actors of a Ray cluster."""

import os
import pickle
import secrets
import socket
import sys
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

from deploysim_assets.project import Compute, ProjectError
from deploysim_assets.project.installed import code
from deploysim_assets.shards.work import (
    IN_FLIGHT,
    RETRIES,
    Engine,
    Make,
    R,
    S,
    ShardError,
    in_worker,
    kind_and_place,
)

_EACH = 2  # one shard is worked on while the next one travels
_SECONDS = 10.0
_NO_PROGRESS = 600.0
_LOOK = 5.0


class _Failed(NamedTuple):
    """What went wrong in a worker, told without the message of an error that is not ours."""

    of_project: bool
    said: str


def installed() -> tuple[str, str, str]:
    """What must be alike on both sides: Python, deploysim and a digest of its code."""
    known = code()
    return sys.version.split()[0], known["version"], known["files"]


class _Worker:
    """A Ray actor. Nothing is raised here: Ray would write the error into its logs. Nothing is
    given to the constructor either: Ray keeps that, with the keys in it, in its own tables."""

    def installed(self) -> tuple[str, ...]:
        return installed()

    def done(self, made_by: bytes, shard: bytes) -> bytes:
        try:
            result = in_worker(made_by, pickle.loads(shard))  # noqa: S301 (from the driver)
        except ProjectError as wrong:
            result = _Failed(of_project=True, said=str(wrong))
        except Exception as wrong:  # noqa: BLE001
            result = _Failed(of_project=False, said=kind_and_place(wrong))
        return pickle.dumps(result)


def _ray(*, of_own: bool) -> Any:
    # read when ray is imported or started: no calls home, nothing of the project's folder uploaded
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
    if of_own and "ray" not in sys.modules and "RAY_AUTH_MODE" not in os.environ:
        # its ports are open to the network, and would run anybody's code
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    try:
        import ray  # pyright: ignore[reportMissingImports, reportMissingTypeStubs]
    except ImportError:
        raise ProjectError(
            "deploysim.yaml: compute.engine: ray needs ray, which is not installed; `pip install "
            "'deploysim[ray]'` (on every node of the cluster, too), or drop compute.engine"
        ) from None
    return ray


def _found(ray: Any) -> str:
    """Where the cluster is that this machine belongs to: Ray alone would ask for minutes at an
    address that one left behind."""
    try:
        found: str | None = ray._private.services.canonicalize_bootstrap_address("auto")
    except (ConnectionError, ValueError):
        found = None
    if not found:
        raise ProjectError(
            "deploysim.yaml: compute.address: auto: this machine belongs to no Ray cluster; start "
            "one with `ray start --head`, name where one is (host:6379), or set address: local"
        )
    return found


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
def joined(compute: Compute) -> Generator[Any]:
    """Ray, in the cluster of deploysim.yaml: joined unless this process already is, and then left
    again. ProjectError where there is none."""
    of_own = compute.address == "local"
    ray = _ray(of_own=of_own)
    if ray.is_initialized():
        yield ray
        return
    address = _found(ray) if compute.address == "auto" else compute.address
    if ":" in address:
        _reachable(address)
    more = {"include_dashboard": False} if of_own else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level="error", **more)
    except Exception as wrong:  # noqa: BLE001 (Ray raises a bare one where its node starts slowly)
        said = " ".join(str(wrong).split())[:300]
        raise ProjectError(
            f"deploysim.yaml: compute.address: {address}: no Ray cluster could be joined "
            f"({type(wrong).__name__}: {said}); start one with `ray start --head` and the same "
            "versions of Python and ray (and its token, if it has one), or set compute.address: "
            "local"
        ) from None
    try:
        yield ray
    finally:
        ray.shutdown()


def on_ray(compute: Compute) -> Engine:
    """Actors of a Ray cluster, one per CPU unless told. What a lost worker was at work on is done
    again. ProjectError where there is no cluster, or its nodes have another deploysim."""

    def mapped(make: Make[S, R], shards: Iterable[S]) -> Iterator[R]:
        left = iter(shards)
        first = next(left, None)
        if first is None:
            return
        with joined(compute) as ray:
            cpus = int(ray.cluster_resources().get("CPU", 0))
            count = min(compute.workers or cpus, cpus)
            if not count:
                raise ProjectError(
                    "deploysim.yaml: compute.address: the Ray cluster has no CPU; add a node to it"
                )
            with closing(_Actors(ray, count, pickle.dumps(make))) as actors:
                yield from actors.over(chain([first], left))

    return mapped


@dataclass(eq=False)
class _Sent:
    """A shard on its way, pickled, and its result."""

    shard: bytes
    lost: int = 0
    result: bytes | None = None


class _Actors:
    """Shards on their way through actors: `_EACH` at once in each, results in order. Ray would
    restart a lost actor and send its shards there alone, though its node may never come back: here
    the others take them."""

    def __init__(self, ray: Any, count: int, made_by: bytes) -> None:
        self._ray, self._made_by = ray, made_by
        self._most = IN_FLIGHT * count
        self._remote = ray.remote(num_cpus=1)(_Worker)
        self._all: list[Any] = []
        self._starting: dict[Any, Any] = {}
        self._running: dict[Any, tuple[_Sent, Any]] = {}
        self._free: deque[Any] = deque()
        self._again: deque[_Sent] = deque()
        self._failed_starts = 0
        for _ in range(count):
            self._hire()

    def close(self) -> None:
        for actor in self._all:
            self._ray.kill(actor)

    def _hire(self) -> None:
        actor = self._remote.remote()
        self._all.append(actor)
        self._starting[actor.installed.remote()] = actor

    def _lost(self, actor: Any) -> None:
        """Another actor in place of one that is gone or not heard of."""
        if any(actor is one for one in self._all):
            self._all = [one for one in self._all if one is not actor]
            self._free = deque(one for one in self._free if one is not actor)
            self._ray.kill(actor)
            self._hire()

    def over(self, shards: Iterator[Any]) -> Generator[Any]:
        """The results."""
        order: deque[_Sent] = deque()
        ended = False
        while True:
            while self._free and (self._again or (not ended and len(order) < self._most)):
                if self._again:
                    sent = self._again.popleft()
                elif (shard := next(shards, None)) is not None:
                    order.append(sent := _Sent(pickle.dumps(shard)))
                else:
                    ended = True
                    break
                actor = self._free.popleft()
                self._running[actor.done.remote(self._made_by, sent.shard)] = sent, actor
            if ended and not order:
                return
            for ref in self._ready():
                self._take(ref)
            while order and (result := order[0].result) is not None:
                order.popleft()
                yield _opened(result)

    def _ready(self) -> list[Any]:
        """Waits until a worker has started or a shard is done."""
        refs = [*self._starting, *self._running]
        waited = 0.0
        while not (done := self._ray.wait(refs, num_returns=1, timeout=_LOOK)[0]):
            waited += _LOOK
            if not any(n["Alive"] and n["Resources"].get("CPU") for n in self._ray.nodes()):
                raise ProjectError("compute: the Ray cluster lost its last node; run again")
            if waited >= _NO_PROGRESS:
                raise ProjectError(
                    f"compute: for {_NO_PROGRESS / 60:.0f} minutes no worker of the Ray cluster "
                    "started or finished; other jobs may hold its CPUs: `ray status` tells, or "
                    "set compute.workers lower"
                )
        return done

    def _take(self, ref: Any) -> None:
        errors = self._ray.exceptions
        sent, actor = self._running.pop(ref, None) or (None, self._starting.pop(ref))
        try:
            found = self._ray.get(ref)
        except (errors.RayActorError, errors.OutOfMemoryError) as wrong:
            self._lost(actor)
            self._count(sent, wrong)
        except errors.RayError as wrong:  # as where the node is lost that held the result
            if sent is None:
                self._lost(actor)
            else:
                self._free.append(actor)
            self._count(sent, wrong)
        else:
            if sent is not None:
                sent.result, sent.shard = found, b""
                self._free.append(actor)
            else:
                self._check(tuple(found))
                self._failed_starts = 0
                self._free.extend([actor] * _EACH)

    def _count(self, sent: _Sent | None, wrong: Exception) -> None:
        """A shard that was lost is sent again, but not for ever."""
        if sent is None:
            self._failed_starts += 1
            times, what = self._failed_starts, "workers of Ray could not start"
        else:
            sent.lost += 1
            self._again.append(sent)
            times, what = sent.lost, "workers of Ray were lost over the same shard"
        if times > RETRIES:
            raise ShardError(
                f"{times} {what} ({type(wrong).__name__}): killed, out of memory, or without "
                "deploysim on their node"
            ) from None

    def _check(self, there: tuple[str, ...]) -> None:
        if (here := installed()) != there:
            raise ProjectError(
                f"compute: a node of the Ray cluster has Python {there[0]} and deploysim "
                f"{there[1]} (code {there[2][:12]}), here are {here[0]} and {here[1]} (code "
                f"{here[2][:12]}); install the same on every node"
            )


def _opened(result: bytes) -> Any:
    found = pickle.loads(result)  # noqa: S301 (our worker's)
    if not isinstance(found, _Failed):
        return found
    if found.of_project:
        raise ProjectError(found.said)
    raise ShardError(
        f"{found.said} in a worker of Ray (the message is withheld: it may quote a conversation)"
    )
