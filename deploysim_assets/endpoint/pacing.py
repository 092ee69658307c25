"""How hard an endpoint is driven: additive growth, multiplicative cuts, Retry-After and the
rate-limit headers, under a hard ceiling."""

import asyncio
import math
import random
import re
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from deploysim_assets.endpoint.rate_refusals import RateRefusals
from deploysim_assets.endpoint.sharing import Share, Sharing

_START = 16
_CUT_THROTTLED, _CUT_OVERLOADED = 0.8, 0.7
_RATE_KEPT = 0.95
"""Of the throughput that the server let through when it first throttled."""
_RATE_GROWTH, _RATE_SPEEDS_UP, _RATE_GROWTH_MOST = 0.02, 0.1, 0.5
"""Growth in a second: two percent, and ten more for each second since the last pushback."""
_ANSWERS_A_SECOND = 50
"""A slower endpoint is given longer to say that it has enough."""
_RATE_CUTS_APART = 1.0
_DEBOUNCE = 0.5
_CATCH_UP = 0.01
_RECONSIDER = 0.1
_RATE_LEAST = 0.2
_TROUBLE, _TROUBLE_STEP = 0.4, 0.1
"""Share of failures, over about the last ten requests, from which on they mean overload and not
bad luck."""
_WINDOW = 1.0
_BLOCK = 64
_SLOWER = 3.0
_LONGEST_RESET = 600.0
_ROUND, _LONGEST_ROUND, _ALONE_FROM = 0.5, 60.0, 2
"""Pushbacks in rounds without an answer between them are an outage: nothing starts for half a
second, then twice as long each time; from the second round on one request asks whether it is
over."""
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(text: str) -> float:
    """A duration as the rate-limit headers write it (`20ms`, `1m30s`, `2`); 0 where it cannot be
    read."""
    parts = _DURATION.findall(text)
    if parts:
        return sum(float(number) * _UNITS[unit] for number, unit in parts)
    try:
        return max(0.0, float(text))
    except ValueError:
        return 0.0


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that the server asks to wait, by `retry-after-ms` or `retry-after` (seconds or a
    date); 0 where it asks for none."""
    if value := headers.get("retry-after-ms"):
        return seconds(f"{value}ms")
    value = headers.get("retry-after", "")
    if value and not value[0].isdigit():
        try:
            return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
        except (ValueError, TypeError):
            return 0.0
    return seconds(value)


class Pace:
    """One endpoint's pace. A request waits in `enter`, is in flight until `leave`, and tells what
    became of it in between.

    Two limits hold at once: requests in flight, and, once the server has throttled, requests
    started per second.  Both grow a little with every answer and are cut by a factor where the
    server pushes back, once per pushback and not once per request.  Both are those of all processes
    together that share the pace; `sharing` says what of them this one has.
    """

    def __init__(
        self,
        ceiling: int,
        clock: Callable[[], float] = time.monotonic,
        sharing: Sharing | None = None,
    ) -> None:
        self._clock = clock
        self.ceiling = ceiling
        self._sharing = sharing
        self.limit = float(min(_START, ceiling))
        self.slow_start_to = float(ceiling)
        self.rate: float | None = None
        self.in_flight = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._starting = asyncio.Lock()
        self._started = 0.0
        self.is_held_back = False
        self._paused_until = 0.0
        self._cut_at = float("-inf")
        self.cuts_made = self.pauses = 0
        self._trouble = 0.0
        self._refusals = RateRefusals()
        self._answered: deque[float] = deque()
        self._latencies: list[float] = []
        self._best_block = float("inf")
        self.heard = 0
        self.heard_at = clock()
        self.cause = ""
        self.rounds, self._round_at = 0, float("-inf")
        self.renew()

    @property
    def places(self) -> int:
        """How many requests of this process may be in flight."""
        held = self._sharing.places if self._sharing else None
        return int(self.limit) if held is None else held

    @property
    def starts(self) -> float | None:
        """How many requests this process may start per second."""
        held = self._sharing.starts if self._sharing else None
        return self.rate if held is None else held

    @property
    def wanted(self) -> int:
        """How many requests of this process want to be in flight."""
        waiting = sum(not turn.done() for turn in self._waiting)
        return min(self.in_flight + waiting, self.ceiling)

    def renew(self, share: Share | None = None) -> None:
        """Tell the other processes what was learned, and take one's part of both limits, of which
        their host has a `share` from now on."""
        if self._sharing:
            self._sharing.renew(self, self._clock(), share)
            self._let_in()

    def stop_sharing(self) -> None:
        """Leave both limits to the other processes."""
        if self._sharing:
            self._sharing.stop()

    async def enter(self) -> None:
        """Wait for a place under both limits."""
        if self._sharing and (self._sharing.lapsed or self._sharing.over(self._clock())):
            self.renew()
        while self.in_flight >= self.places:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            await turn
        self.in_flight += 1
        try:
            await self._slot()
            while (pause := self._paused_until - self._clock()) > 0:  # noqa: ASYNC110 (a pause ends at a time, and may be drawn out)
                # after a pause all that waited start one by one, not at once
                await asyncio.sleep(pause + random.uniform(0, min(pause, 1.0)))  # noqa: S311 (jitter)
        except BaseException:
            self.leave()
            raise

    def leave(self) -> None:
        """Give the place back."""
        self.in_flight -= 1
        self._let_in()

    def _let_in(self) -> None:
        free = self.places - self.in_flight
        while free > 0 and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                free -= 1

    async def _slot(self) -> None:
        """Wait for one's turn to start. Starts missed by a late wake-up are made up for, a few at
        a time."""
        rate = self.starts
        if rate is None:
            return
        async with self._starting:  # lets in by turns
            while rate is not None:
                now = self._clock()
                slot = self._started + 1 / rate if rate else math.inf
                if slot <= now:
                    self._started = max(slot, now - _CATCH_UP)
                    return
                self.is_held_back = True
                # not longer at once: the rate may rise meanwhile
                await asyncio.sleep(min(slot - now, _RECONSIDER))
                rate = self.starts

    def answered(self, latency: float, headers: Mapping[str, str]) -> None:
        """A request was answered: grow, unless answers have become much slower or the headers
        say that the allowance is used up."""
        now = self._clock()
        self.hear()
        self._trouble -= _TROUBLE_STEP * self._trouble
        self._refusals.note(refused=False)
        self._answered.append(now)
        used = self.in_flight >= self.places - 1
        if used and self.limit < self.ceiling:
            self.limit = min(
                self.ceiling,
                self.limit + (1.0 if self.limit < self.slow_start_to else 1 / self.limit),
            )
        if self.rate is not None and self.rate < 2 * (seen := self._throughput(now)):
            since = (now - self._cut_at) * min(1.0, seen / _ANSWERS_A_SECOND)
            self.rate += min(
                _RATE_GROWTH + _RATE_SPEEDS_UP * since, _RATE_GROWTH_MOST
            )  # per answer, hence this share per second
        self._watch_latency(latency, now)
        for kind in ("requests", "tokens"):
            if headers.get(f"x-ratelimit-remaining-{kind}") == "0":
                wait = seconds(headers.get(f"x-ratelimit-reset-{kind}", ""))
                self.pause(min(wait, _LONGEST_RESET), f"its headers say that no {kind} are left")

    def _watch_latency(self, latency: float, now: float) -> None:
        self._latencies.append(latency)
        if len(self._latencies) < _BLOCK:
            return
        middle = sorted(self._latencies)[_BLOCK // 2]
        self._latencies.clear()
        self._best_block = min(
            self._best_block * 1.05, middle
        )  # what was best long ago counts less
        if middle > _SLOWER * self._best_block and self.limit > _START:
            self._cut(_CUT_OVERLOADED, now)

    def throughput(self, now: float) -> float:
        """Answers per second to this process, over the last second."""
        while self._answered and self._answered[0] < now - _WINDOW:
            self._answered.popleft()
        if not self._answered:
            return 0.0
        return len(self._answered) / max(now - self._answered[0], _WINDOW / 10)

    def _throughput(self, now: float) -> float:
        elsewhere = self._sharing.answered_elsewhere if self._sharing else 0.0
        return self.throughput(now) + elsewhere

    def _cut(self, factor: float, now: float) -> bool:
        if now < self._cut_at + _DEBOUNCE:
            return False
        self._cut_at = now
        self.cuts_made += 1
        self.slow_start_to = max(1.0, self.limit / 2)
        self.limit = max(1.0, self.limit * factor)
        return True

    def throttled(self, wait: float = 0.0) -> None:
        """The server refused a request for its rate (429): start fewer per second, and wait as
        long as it asks."""
        now = self._clock()
        self._refusals.note(refused=True)
        apart = now >= self._cut_at + _RATE_CUTS_APART
        heeded = self.rate is None or (apart and self._refusals.call_for_a_cut(now))
        if heeded and self._cut(_CUT_THROTTLED, now):
            seen = self._throughput(now)
            if self.rate is not None:
                self.rate = max(_RATE_LEAST, min(self.rate, seen or self.rate))
            elif seen:
                self.rate = max(_RATE_LEAST, _RATE_KEPT * seen)
            self._refusals.cut(now, self.in_flight)
        self.pause(wait)

    def overloaded(self, wait: float = 0.0) -> None:
        """The server is overloaded or cannot be reached (5xx, time-out, dropped connection):
        fewer in flight, if it happens often."""
        self._trouble += _TROUBLE_STEP * (1 - self._trouble)
        if self._trouble > _TROUBLE:
            self._cut(_CUT_OVERLOADED, self._clock())
        self.pause(wait)

    def hear(self) -> None:
        """The endpoint answered something that is no pushback: it is there."""
        self.heard += 1
        self.heard_at = self._clock()
        self.rounds = 0

    def pushed_back(self, wait: float, cause: str) -> None:
        """The server is there and takes nothing (429, 503): wait as long as it asks, or longer
        each time while nothing is answered in between."""
        now = self._clock()
        if wait > 0:
            self.pause(wait, f"it asks to wait {wait:,.0f} s ({cause})")
        elif now >= max(self._paused_until, self._round_at + _ROUND):
            self.rounds = self.rounds + 1 if self.heard_at <= self._round_at else 0
            self._round_at = now
            if self.rounds:
                longest = min(_ROUND * 2 ** (self.rounds - 1), _LONGEST_ROUND)
                self.pause(longest * random.uniform(0.75, 1), f"it answers {cause}")  # noqa: S311 (jitter)
            if self.rounds >= _ALONE_FROM and self.limit > 1:
                self.cuts_made += 1
                self.slow_start_to, self.limit = max(1.0, self.limit / 2), 1.0

    def learn(self, limit: float, slow_start_to: float, rate: float | None, *, cut: bool) -> None:
        """Take over both limits as all processes together have them, and whether another one has
        just cut them."""
        self.limit, self.rate = min(limit, self.ceiling), rate
        self.slow_start_to = slow_start_to
        if cut:
            self.cuts_made += 1
            self._cut_at = self._clock()
            self._refusals.cut(self._cut_at, self.in_flight)

    def learn_rounds(self, rounds: int) -> None:
        """Take over how many rounds nobody was answered."""
        if rounds > self.rounds:
            self.rounds, self._round_at = rounds, self._clock()

    @property
    def paused_for(self) -> float:
        """Seconds for which nothing starts from now on."""
        return max(0.0, self._paused_until - self._clock())

    @property
    def silent_for(self) -> float:
        """Seconds since the endpoint last answered, or since the run began."""
        return self._clock() - self.heard_at

    def pause(self, wait: float, cause: str = "") -> None:
        """Start nothing for so many seconds; the longest pause says its cause."""
        until = self._clock() + wait
        if wait > 0 and until > self._paused_until:
            self._paused_until, self.cause = until, cause
            self.pauses += 1
