"""How the processes of a home share one endpoint's pace: each holds a part of the requests in
flight and of those started per second, all parts together never more than both limits."""

import time
from collections.abc import Callable, Mapping
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


class Told(NamedTuple):
    """What one who shares knows of both limits, what it holds of them and what it wants."""

    ceiling: int
    limit: float
    slow_start_to: float
    rate: float | None
    rounds: int
    cuts: int
    heard: int
    pauses: int
    pause: float
    places: int
    """Requests that it has in flight, or that another process may send for it."""
    starts: float
    """Requests a second that others may start for it."""
    wants: int
    wants_rate: float
    answered: float
    served: float
    """Places that it had since it last told, times seconds."""
    at: float


class Known(NamedTuple):
    """What of it stood in the object when it was last changed: what differs is news."""

    limit: float
    rate: float | None
    cuts: int
    heard: int
    pauses: int
    seen: dict[str, int]


class Learned(NamedTuple):
    """What all know, and the part of one: None where it is alone and has all."""

    limit: float
    slow_start_to: float
    rate: float | None
    rounds: int
    cut: bool
    heard: bool
    pause: float
    seen: dict[str, int]
    places: int | None
    starts: float | None
    elsewhere: float


class Share(NamedTuple):
    """What a host has of both limits among the hosts of its home, for its processes to divide."""

    places: int
    starts: float | None
    elsewhere: float
    """Answers per second to other hosts."""
    alone: bool
    until: float
    until_wall: float

    def over(self, now: float, wall: float) -> bool:
        """Whether it may be others' by now. Some clocks stand still while a machine sleeps."""
        return now >= self.until or wall >= self.until_wall


NOTHING = Share(0, 0.0, 0.0, alone=False, until=0.0, until_wall=0.0)
_COUNTED = ("cuts", "heard", "pauses")


def exchanged(
    state: State, me: str, told: Told, known: Known | None, share: Share | None = None
) -> Learned:
    """Put what one learned together with what others did, and take its part; `share` bounds what
    all in this object have. Changes the object, and nothing else."""
    members: dict[str, State] = state["members"]
    joins = me not in members or known is None
    mine = members.setdefault(me, {"served": _least_served(members)})
    others = {i: m for i, m in members.items() if m is not mine}
    cut = heard = False
    pause = 0.0
    if others and "limit" in state:
        news = {n: state[n] != (known.seen if known else {}).get(n) for n in _COUNTED}
        if known is not None and not joins:
            _add(state, told, known, news)
        state["limit"] = min(state["limit"], told.ceiling)  # several grew towards it at once
        cut, heard = news["cuts"] and not joins, news["heard"]
        if news["pauses"]:
            # seconds, not a time: the clocks of two hosts differ. Who joins knows by them alone how
            # much of a pause is over, and waits too long at worst
            pause = state["pause"] - (max(0.0, told.at - state["paused_at"]) if joins else 0.0)
        if known is not None and not joins and told.pauses != known.pauses and told.pause > 0:
            state |= {"pause": told.pause, "paused_at": told.at}
            state["pauses"] += 1
    else:
        state |= {
            "limit": told.limit, "slow_start_to": told.slow_start_to, "rate": told.rate,
            "rounds": told.rounds, "cuts": told.cuts, "heard": told.heard, "pauses": 0,
            "pause": told.pause, "paused_at": told.at,
        }  # fmt: skip
    places, starts = _take(state, mine, others, told, share)
    return Learned(
        state["limit"], state["slow_start_to"], state["rate"], state["rounds"], cut, heard, pause,
        {n: state[n] for n in _COUNTED}, places, starts,
        sum(m["answered"] for m in others.values()) + (share.elsewhere if share else 0.0),
    )  # fmt: skip


def _take(
    state: State, mine: State, others: dict[str, State], told: Told, share: Share | None
) -> tuple[int | None, float | None]:
    """Take a fair part of both limits, as far as the others have let go of theirs."""
    mine |= {
        "served": mine["served"] + told.served, "answered": told.answered, "wants": told.wants,
        "wants_rate": told.wants_rate,
    }  # fmt: skip
    if not others and share is None:
        mine |= {"places": told.ceiling, "starts": state["rate"] or 0.0}
        return None, None
    total = min(int(state["limit"]), share.places if share else told.ceiling)
    rates = [r for r in (state["rate"], share.starts if share else None) if r is not None]
    if not others:
        places, starts = total, min(rates, default=None)
    else:
        by_turn = sorted([mine, *others.values()], key=lambda m: m["served"])
        wants = {id(m): m["wants"] for m in by_turn}
        free = total - sum(m["places"] for m in others.values())
        places = int(min(fair(total, wants, whole=True)[id(mine)], max(free, 0)))
        starts = None
        if rates:
            wants = {id(m): m["wants_rate"] for m in by_turn}
            free = min(rates) - sum(m["starts"] for m in others.values())
            starts = min(fair(min(rates), wants)[id(mine)], max(free, 0.0))
    mine["places"] = max(places, told.places)
    mine["starts"] = max(starts or 0.0, told.starts)
    return places, starts


def _least_served(members: dict[str, State]) -> float:
    return min((m["served"] for m in members.values()), default=0.0)


def _add(state: State, told: Told, known: Known, news: Mapping[str, bool]) -> None:
    """Add what one learned since it last told to what all know. Of two cuts in that time one is
    heeded: they are of the same pushback."""
    if told.cuts == known.cuts:
        state["limit"] += max(0.0, told.limit - known.limit)
        if state["rate"] is not None and known.rate is not None and told.rate is not None:
            state["rate"] += max(0.0, told.rate - known.rate)
    elif not news["cuts"]:
        state["limit"] = max(1.0, state["limit"] * min(1.0, told.limit / known.limit))
        state["slow_start_to"] = told.slow_start_to
        state["cuts"] += 1
        if state["rate"] is None:
            state["rate"] = told.rate
        elif told.rate is not None and known.rate is not None:
            state["rate"] *= min(1.0, told.rate / known.rate)
    if told.heard != known.heard:
        state["heard"] += told.heard - known.heard
        state["rounds"] = 0
    elif not news["heard"]:
        state["rounds"] = max(state["rounds"], told.rounds)


class Here(NamedTuple):
    """What the processes of this host hold and want together, as one of them last saw it."""

    processes: int = 0
    places: int = 0
    starts: float = 0.0
    wants: int = 0
    wants_rate: float = 0.0
    answered: float = 0.0


class Sharing:
    """One process's part of an endpoint's pace. The pace learns as if it were alone, of both limits
    as a whole; what it learned since the last time is put together with what the others did."""

    def __init__(
        self, shared: Shared, *, among_hosts: bool = False, wall: Callable[[], float] = time.time
    ) -> None:
        """`among_hosts`: the processes here divide what their host has, and nothing without it."""
        self._shared, self._among_hosts, self._wall = shared, among_hosts, wall
        self.places: int | None = 0 if among_hosts else None
        self.starts: float | None = None
        self.answered_elsewhere = 0.0
        self._renewed_at = 0.0
        self._known: Known | None = None
        self.share = NOTHING
        self.here = Here()

    @property
    def lapsed(self) -> bool:
        """Whether what this process holds may have been given to others."""
        return self._shared.lapsed

    def over(self, now: float) -> bool:
        """Whether what this host holds may have been given to other hosts."""
        return self._among_hosts and self.share.over(now, self._wall())

    def renew(self, pace: Paced, now: float, share: Share | None = None) -> bool:
        """Tell and learn; nothing changes, and this is False, where the others are just at it.
        `share` is this host's from now on."""
        wait = _JOINING if self._known is None or share else 0.0
        elapsed = min(now - self._renewed_at, 2 * EVERY)
        answered = pace.throughput(now)
        told = Told(
            pace.ceiling, pace.limit, pace.slow_start_to, pace.rate, pace.rounds, pace.cuts_made,
            pace.heard, pace.pauses, pace.paused_for, pace.in_flight, 0.0, max(pace.wanted, 1),
            _ANY if pace.is_held_back else 2 * answered + 1, answered,
            (self.places or 0) * elapsed, self._wall(),
        )  # fmt: skip
        learned: list[tuple[Learned, Share, Here]] = []

        def change(state: State, _gone: list[State]) -> None:
            if share and (share is not NOTHING or set(state["members"]) <= {self._shared.me}):
                state["host"] = share._asdict()
            there = Share(**state["host"]) if "host" in state else NOTHING
            valid = NOTHING if there.over(now, told.at) else there
            bound = valid if self._among_hosts else None
            found = exchanged(state, self._shared.me, told, self._known, bound)
            learned.append((found, there, _sums(state)))

        if not self._shared.change(change, wait):
            if self.over(now):
                self.places, self.starts = 0, 0.0
            return False
        self._renewed_at = now
        pace.is_held_back = False
        found, self.share, self.here = learned[-1]
        self.places, self.starts = found.places, found.starts
        self.answered_elsewhere = found.elsewhere
        self._known = take_in(pace, found)
        return True

    def give_back(self, pace: Paced, now: float) -> bool:
        """Whether no other process of this host shares the pace, so that what the host has goes to
        other hosts: nobody here may take it any more."""
        return self.renew(pace, now, NOTHING) and self.here.processes <= 1

    def stop(self) -> None:
        """Leave everything to the others."""
        self._shared.close()


def take_in(pace: Paced, found: Learned) -> Known:
    """A pace learns what all know."""
    pace.learn(found.limit, found.slow_start_to, found.rate, cut=found.cut)
    if found.heard:
        pace.hear()
    pace.learn_rounds(found.rounds)
    pace.pause(found.pause, _TOLD)
    return Known(
        pace.limit, pace.rate, pace.cuts_made, pace.heard, pace.pauses, found.seen
    )  # fmt: skip


def _sums(state: State) -> Here:
    of: list[State] = list(state["members"].values())
    return Here(
        len(of), *(sum(m[n] for m in of) for n in Here._fields[1:])
    )  # fmt: skip
