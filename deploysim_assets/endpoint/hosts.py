"""How the hosts of a home in a bucket share one endpoint's pace: each has a part of both limits for
some seconds, which its processes divide (sharing.py). One process of each host deals for it."""

import time
from collections.abc import Callable

from deploysim_assets.endpoint.sharing import (
    NOTHING,
    Known,
    Learned,
    Paced,
    Share,
    Sharing,
    Told,
    exchanged,
    take_in,
)
from deploysim_assets.storage.sharing_there import EVERY_THERE, SharedThere


class HostPace:
    """A host's part. What it learned from other hosts its pace tells the processes here, and what
    they learned it tells the hosts."""

    def __init__(
        self, there: SharedThere, sharing: Sharing, wall: Callable[[], float] = time.time
    ) -> None:
        self.there = there
        self._sharing, self._wall = sharing, wall
        self._known: Known | None = None
        self._told: tuple[int, int] = (0, 0)
        self._at = 0.0

    @property
    def until(self) -> float:
        """Until when this host has its share, by the clock."""
        return self._sharing.share.until

    def due(self, pace: Paced, now: float) -> bool:
        """Whether this process is to deal for the host now: from time to time, and at once where
        the server pushed back."""
        if not self.there.leads():
            return False
        return now >= self._at + EVERY_THERE or (pace.cuts_made, pace.pauses) != self._told

    def told(self, pace: Paced, now: float) -> Told:
        """What the processes of this host know, hold and want. What they may still take of the last
        share counts as held: it is given back once a later one is in force."""
        here, last, at = self._sharing.here, self._sharing.share, self._wall()
        last = NOTHING if last.over(now, at) else last
        starts = last.starts
        if starts is None:
            starts = (pace.rate or 0.0) if last.alone else 0.0
        elapsed = min(now - self._at, 2 * EVERY_THERE)
        self._at = now
        self._told = pace.cuts_made, pace.pauses
        return Told(
            pace.ceiling, pace.limit, pace.slow_start_to, pace.rate, pace.rounds, pace.cuts_made,
            pace.heard, pace.pauses, pace.paused_for, max(here.places, last.places),
            max(here.starts, starts), here.wants, here.wants_rate, here.answered,
            last.places * elapsed, at,
        )  # fmt: skip

    def exchange(self, told: Told) -> tuple[Learned, float]:
        """Ask the bucket; what was learned, and until when what was taken is this host's.
        StoreError where it does not answer. Touches nothing that another thread uses."""
        return self.there.change(
            lambda state, _: exchanged(state, self.there.me, told, self._known)
        )

    def learned(self, pace: Paced, told: Told, found: Learned, until: float) -> Share:
        """Take in what came, on top of what happened here meanwhile; the host's share."""
        fell = (
            found.cut
            or found.limit < told.limit
            or (found.rate is not None and (told.rate is None or found.rate < told.rate))
        )
        there = found._replace(cut=fell)
        if pace.cuts_made != told.cuts:  # it was cut meanwhile: told the next time
            limit, rates = min(found.limit, pace.limit), (found.rate, pace.rate)
            slow_start_to = pace.slow_start_to
            rate = min((r for r in rates if r is not None), default=None)
        else:
            limit = found.limit + max(0.0, pace.limit - told.limit)
            rate, slow_start_to = found.rate, found.slow_start_to
            if rate is not None and told.rate is not None and pace.rate is not None:
                rate += max(0.0, pace.rate - told.rate)
        before = pace.heard, pace.pauses
        take_in(pace, there._replace(limit=limit, rate=rate, slow_start_to=slow_start_to))
        self._known = Known(
            found.limit, found.rate, told.cuts + fell, told.heard + pace.heard - before[0],
            told.pauses + pace.pauses - before[1], found.seen,
        )  # fmt: skip
        self._told = self._told[0] + fell, self._told[1] + pace.pauses - before[1]
        alone = found.places is None
        return Share(
            pace.ceiling if found.places is None else found.places, found.starts, found.elsewhere,
            alone=alone, until=until, until_wall=told.at + until - self._at,
        )  # fmt: skip

    def end(self, pace: Paced, now: float) -> None:
        """Leave it to another process of this host, or what this host has to other hosts."""
        if not self.there.leads():
            return
        alone = self._sharing.give_back(pace, now)
        self.there.end(lambda: None, leave=alone)
