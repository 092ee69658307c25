"""Matrix products of the forecast in one thread."""

from collections.abc import Callable
from functools import cache, wraps
from typing import ParamSpec, TypeVar

from threadpoolctl import ThreadpoolController  # pyright: ignore[reportMissingTypeStubs]

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()


def one_thread(compute: Callable[_Given, _Result]) -> Callable[_Given, _Result]:
    """Without the threads of BLAS: they wait for each other by spinning, and where as many runs as
    cores are under way they spent twice the CPU of the products themselves (few milliseconds)."""

    @wraps(compute)
    def limited(*args: _Given.args, **kwargs: _Given.kwargs) -> _Result:
        with _libraries().limit(limits=1, user_api="blas"):
            return compute(*args, **kwargs)

    return limited
