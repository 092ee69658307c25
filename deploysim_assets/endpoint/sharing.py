"""How the processes of a home share one endpoint's pace: each holds a part of the requests in
flight and of those started per second, all parts together never more than both limits."""

import time
from collections.abc import Mapping
from typing import NamedTuple, Protocol

from deploysim_assets.storage.sharing import Shared, State

EVERY = 0.5
"""Seconds between two renewals."""
_TOLD = "another run was told to wait"
_ANY = 1e9
_JOINING = 1.0


class Paced(Protocol):
    """What sharing needs to know of a pace, and what it tells it."""

    ceiling: int
    limit: float
    slow_start_to: float
    rate: float | None
    in_flight: int
    is_held_back: bool
    heard: int
    rounds: int
    cuts_made: int
    pauses: int

    @property
    def wanted(self) -> int: ...
    @property
    def paused_for(self) -> float: ...
    def throughput(self, now: float) -> float: ...
    def pause(self, wait: float, cause: str = "") -> None: ...
    def hear(self) -> None: ...
    def learn(
        self, limit: float, slow_start_to: float, rate: float | None, *, cut: bool
    ) -> None: ...
    def learn_rounds(self, rounds: int) -> None: ...


def fair(total: float, wants: Mapping[int, float], *, whole: bool = False) -> dict[int, float]:
    """Parts of a total as equal as can be, none more than is wanted; `whole` ones, of which those
    named first have what cannot be divided."""
    parts = dict.fromkeys(wants, 0.0)
    left = min(total, sum(wants.values()))
    while left >= (1 if whole else 1e-9):
        hungry = [one for one, want in wants.items() if want - parts[one] > 1e-9]
        each = left / len(hungry)
        if whole:
            each = max(1, int(each))
        for one in hungry:
            more = min(each, wants[one] - parts[one], left)
            parts[one] += more
            left -= more
    return parts


class _News(NamedTuple):
    """Whether another process cut the limits, was answered, was told to wait."""

    cuts: bool
    heard: bool
    pauses: bool


class Sharing:
    """One process's part of an endpoint's pace. The pace learns as if it were alone, of both limits
    as a whole; what it learned since the last time is put together with what the others did."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self.places: int | None = None
        self.starts: float | None = None
        self.answered_elsewhere = 0.0
        self._renewed_at = 0.0
        self._then: State = {}
        self._seen: State = {}

    @property
    def lapsed(self) -> bool:
        """Whether what this process holds may have been given to others."""
        return self._shared.lapsed

    def renew(self, pace: Paced, now: float) -> None:
        """Tell and learn; nothing changes where the others are just at it."""
        wait = 0.0 if self._then else _JOINING
        self._shared.change(lambda state, _: self._renewed(state, pace, now), wait)

    def stop(self) -> None:
        """Leave everything to the others."""
        self._shared.close()

    def _renewed(self, state: State, pace: Paced, now: float) -> None:
        members: dict[str, State] = state["members"]
        joins = self._shared.me not in members
        mine = members.setdefault(self._shared.me, {"served": _least_served(members)})
        others = {i: m for i, m in members.items() if m is not mine}
        if others and "limit" in state:
            elsewhere = _News(*(state[n] != self._seen.get(n) for n in _News._fields))
            told = not joins and pace.pauses != self._then["pauses"]
            if not joins:
                _add(state, pace, self._then, elsewhere)
            state["limit"] = min(state["limit"], pace.ceiling)  # several grew towards it at once
            _learn(state, pace, elsewhere, joins=joins)
            if told and pace.paused_for > 0:
                state |= {"pause": pace.paused_for, "paused_at": time.time()}
                state["pauses"] += 1
        else:
            state |= {
                "limit": pace.limit, "slow_start_to": pace.slow_start_to, "rate": pace.rate,
                "rounds": pace.rounds, "cuts": pace.cuts_made, "heard": pace.heard, "pauses": 0,
                "pause": pace.paused_for, "paused_at": time.time(),
            }  # fmt: skip
        self._take(state, mine, others, pace, now)
        self._then = {
            "limit": pace.limit, "rate": pace.rate, "cuts": pace.cuts_made, "heard": pace.heard,
            "pauses": pace.pauses,
        }  # fmt: skip
        self._seen = {name: state[name] for name in _News._fields}

    def _take(
        self, state: State, mine: State, others: dict[str, State], pace: Paced, now: float
    ) -> None:
        """Take a fair part of both limits, as far as the others have let go of theirs."""
        elapsed, self._renewed_at = now - self._renewed_at, now
        mine["served"] += (self.places or 0) * min(elapsed, 2 * EVERY)
        mine["answered"] = pace.throughput(now)
        mine["wants"] = max(pace.wanted, 1)
        mine["wants_rate"] = _ANY if pace.is_held_back else 2 * mine["answered"] + 1
        pace.is_held_back = False
        if not others:
            self.places = self.starts = None
            self.answered_elsewhere = 0.0
            mine |= {"places": int(pace.limit), "starts": pace.rate or 0.0}
            return
        self.answered_elsewhere = sum(m["answered"] for m in others.values())
        by_turn = sorted([mine, *others.values()], key=lambda m: m["served"])
        total = int(state["limit"])
        wants = {id(m): m["wants"] for m in by_turn}
        free = total - sum(m["places"] for m in others.values())
        self.places = int(min(fair(total, wants, whole=True)[id(mine)], max(free, 0)))
        mine["places"] = max(self.places, pace.in_flight)
        self.starts = None
        if state["rate"] is not None:
            wants = {id(m): m["wants_rate"] for m in by_turn}
            free = state["rate"] - sum(m["starts"] for m in others.values())
            self.starts = min(fair(state["rate"], wants)[id(mine)], max(free, 0.0))
        mine["starts"] = self.starts or 0.0


def _least_served(members: dict[str, State]) -> float:
    return min((m["served"] for m in members.values()), default=0.0)


def _add(state: State, pace: Paced, then: State, elsewhere: _News) -> None:
    """Add what one process learned since it last told to what all know. Of two cuts in that time
    one is heeded: they are of the same pushback."""
    if pace.cuts_made == then["cuts"]:
        state["limit"] += max(0.0, pace.limit - then["limit"])
        if state["rate"] is not None and then["rate"] is not None and pace.rate is not None:
            state["rate"] += max(0.0, pace.rate - then["rate"])
    elif not elsewhere.cuts:
        state["limit"] = max(1.0, state["limit"] * min(1.0, pace.limit / then["limit"]))
        state["slow_start_to"] = pace.slow_start_to
        state["cuts"] += 1
        if state["rate"] is None:
            state["rate"] = pace.rate
        elif pace.rate is not None and then["rate"] is not None:
            state["rate"] *= min(1.0, pace.rate / then["rate"])
    if pace.heard != then["heard"]:
        state["heard"] += pace.heard - then["heard"]
        state["rounds"] = 0
    elif not elsewhere.heard:
        state["rounds"] = max(state["rounds"], pace.rounds)


def _learn(state: State, pace: Paced, elsewhere: _News, *, joins: bool) -> None:
    cut = elsewhere.cuts and not joins
    pace.learn(state["limit"], state["slow_start_to"], state["rate"], cut=cut)
    if elsewhere.heard:
        pace.hear()
    pace.learn_rounds(state["rounds"])
    if elsewhere.pauses:
        # seconds, not a time: the clocks of two hosts differ. Who joins knows by them alone how
        # much of a pause is over, and waits too long at worst
        over = max(0.0, time.time() - state["paused_at"]) if joins else 0.0
        pace.pause(state["pause"] - over, _TOLD)
