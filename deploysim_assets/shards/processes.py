"""Shards by processes of this machine."""

import multiprocessing
import os
import pickle
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, closing
from multiprocessing.connection import wait
from typing import Any

from deploysim_assets.shards.work import (
    IN_FLIGHT,
    RETRIES,
    Engine,
    Make,
    R,
    S,
    ShardError,
    in_worker,
)


def _end_with_parent() -> None:
    """A pool's process waits for work for ever, with the keys in its memory, where its parent was
    killed: end it then."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class _Pool:
    """Processes of this machine, and the shards on their way through them."""

    def __init__(self, made_by: bytes, workers: int | None) -> None:
        self._made_by, self._workers = made_by, workers or os.cpu_count()
        self._pools = ExitStack()
        self._pool = self._started()
        self.pending: deque[tuple[Any, Future[Any]]] = deque()

    def _started(self) -> ProcessPoolExecutor:
        # spawn: a forked child inherits the locks of polars' and gRPC's threads
        context = multiprocessing.get_context("spawn")
        return self._pools.enter_context(
            ProcessPoolExecutor(self._workers, mp_context=context, initializer=_end_with_parent)
        )

    def send(self, shard: Any) -> None:
        try:
            future = self._pool.submit(in_worker, self._made_by, shard)
        except BrokenProcessPool as gone:
            future = Future[Any]()
            future.set_exception(gone)
        self.pending.append((shard, future))

    def next(self) -> Any:
        """The result of the first shard that is on its way; done again where its process died."""
        for _ in range(RETRIES + 1):
            try:
                found = self.pending[0][1].result()
            except BrokenProcessPool:
                self._pools.close()
                self._pool = self._started()
                sent, self.pending = self.pending, deque()
                for shard, future in sent:
                    if future.done() and future.exception() is None:
                        self.pending.append((shard, future))
                    else:
                        self.send(shard)
            else:
                self.pending.popleft()
                return found
        raise ShardError(
            f"processes were lost {RETRIES + 1} times over the same shards: killed, or out of "
            "memory (compute.workers: fewer at once)"
        ) from None

    def close(self) -> None:
        for _, future in self.pending:
            future.cancel()
        self._pools.close()


def processes(workers: int | None = None) -> Engine:
    """Processes of this machine, one per core unless told. What a lost process was at work on is
    done again."""

    def mapped(make: Make[S, R], shards: Iterable[S]) -> Iterator[R]:
        with closing(_Pool(pickle.dumps(make), workers)) as pool:
            for shard in shards:
                if len(pool.pending) >= IN_FLIGHT:
                    yield pool.next()
                pool.send(shard)
            while pool.pending:
                yield pool.next()

    return mapped
