"""What both engines share: the shapes, the limits, and what happens inside a worker."""

import gc
import pickle
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar

IN_FLIGHT = 8
RETRIES = 3

S = TypeVar("S")
R = TypeVar("R")
Make = Callable[[], Callable[[S], R]]
"""Builds, once in each worker, what turns a shard into its result. Must be picklable."""


class ShardError(Exception):
    """A shard failed. Tells kind and place alone: the message of the failure may quote text."""


def kind_and_place(wrong: BaseException) -> str:
    """What may be told of an error whose message may quote text: its type, and the line that raised
    it."""
    frame = traceback.extract_tb(wrong.__traceback__)[-1]
    return f"{type(wrong).__name__} at {frame.filename}:{frame.lineno}"


class Engine(Protocol):
    """Applies what `make` builds to every shard; results in the order of the shards."""

    def __call__(self, make: Make[S, R], shards: Iterable[S]) -> Iterator[R]: ...


_work: tuple[bytes, Callable[[Any], Any]] | None = None


def in_worker(made_by: bytes, shard: Any) -> Any:
    global _work  # noqa: PLW0603 (one per worker process: building it takes a second)
    if _work is None or _work[0] != made_by:
        _work = made_by, pickle.loads(made_by)()  # noqa: S301 (our own, from the driver)
        gc.freeze()  # what it is made of stays: no collection has to walk over it
    return _work[1](shard)
