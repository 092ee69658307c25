"""Meets the other hosts of a home in a bucket while a run asks: beside the requests, which wait for
no bucket."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from deploysim_assets.endpoint.budget import LOOK, Account, cut_off
from deploysim_assets.endpoint.hosts import HostPace
from deploysim_assets.endpoint.pacing import Pace
from deploysim_assets.storage.objects import StoreError
from deploysim_assets.storage.sharing_there import HOLDS, SharedThere

_AGAIN = 1.0

T = TypeVar("T")


async def meet(
    hosts: HostPace | None, pace: Pace, account: Account, say: Callable[[str], object]
) -> None:
    """Have a part of the pace and of the budget among the hosts; StoreError where the bucket cannot
    be reached for a minute. On a disk there is nothing to do."""
    begun = time.monotonic()
    while hosts or account.allotted:
        try:
            if hosts and hosts.due(pace, time.monotonic()):
                told = hosts.told(pace, time.monotonic())
                learned = await _beside(hosts.there, partial(hosts.exchange, told))
                pace.renew(hosts.learned(pace, told, *learned))
            if account.allotted and (needs := account.needs()):
                there = account.allotted.there
                found = await _beside(there, partial(account.allotted.exchange, needs))
                for sentence in account.granted(needs, *found):
                    say(sentence)
                account.renew()
        except StoreError:
            await asyncio.sleep(_AGAIN)  # the next try may go well
        if hosts:
            cut_off(hosts.there, max(begun, hosts.until - HOLDS))
        account.check(begun)
        await asyncio.sleep(LOOK)


async def _beside(there: SharedThere, ask: Callable[[], T]) -> T:
    """What a function returns that blocks, without waiting for it where the run ends; StoreError
    where it takes so long that it is worth nothing."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def tell(give: Callable[[Any], None], what: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the run has ended
            loop.call_soon_threadsafe(lambda: done.done() or give(what))

    def work() -> None:
        try:
            tell(done.set_result, ask())
        except BaseException as wrong:  # noqa: BLE001 (raised where it is waited for)
            tell(done.set_exception, wrong)

    threading.Thread(target=work, daemon=True, name="hosts").start()
    try:
        return await asyncio.wait_for(done, HOLDS / 2)
    except TimeoutError:
        there.give_up()
        raise StoreError(there.where) from None
