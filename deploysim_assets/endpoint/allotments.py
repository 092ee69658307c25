"""What a host of a home in a bucket is allotted of the budget, for its processes to divide
(spending.py). All allotments and all that was spent are together never more than the cap."""

import secrets
import time
from collections.abc import Callable
from typing import NamedTuple

from deploysim_assets.endpoint.sums import MORE_OF_ROOM, Lacks, Sum, listed
from deploysim_assets.storage.sharing import Shared, State
from deploysim_assets.storage.sharing_there import EVERY_THERE, SharedThere

_AHEAD = 10.0
"""Seconds of spending that a host is allotted at once."""
_NOTES = ("asked", "lack", "more")


class Needs(NamedTuple):
    """What a host's processes spent since it began to count, have set aside, and lack."""

    counting: str
    """Names the count: it begins anew where no process of the host was left."""
    used: Sum
    aside: Sum
    had: Sum
    """What they may set aside, of the last allotment, until a later one is in force."""
    lack: Sum
    ahead: Sum
    cap: Sum
    asked: int
    last: bool


class Granted(NamedTuple):
    """What a host may spend in all since it began to count, what all hosts spent, and what the
    budget lacks. What was set aside by hosts that are `lost` counts as spent."""

    total: Sum
    spent: Sum
    lacks: Lacks
    lost: list[Sum]


def granted(
    state: State, gone: list[State], me: str, needs: Needs, before: Callable[[], Sum]
) -> Granted:
    """Set aside for a host what its processes need, as far as the budget has room. What was spent
    never becomes less. Changes the object, and nothing else."""
    members: dict[str, State] = state["members"]
    mine = members.get(me)
    lost = [Sum(*one["aside"]) for one in gone]
    if mine is not None and mine["count"] != needs.counting:  # its processes were killed
        lost.append(Sum(*mine["aside"]))
        mine = None
    if mine is None:
        # of who was taken for gone all that it can have spent since is counted
        mine = members[me] = {"count": needs.counting, "told": listed(needs.used)}
    spent = Sum(*state.get("spent", (0.0, 0.0)))
    spent = spent.plus(needs.used.minus(Sum(*mine["told"])).greater(Sum()))
    for one in lost:
        spent = spent.plus(one)
    others = [m for i, m in members.items() if i != me]
    if not others and state.get("counted") != needs.counting:
        spent = spent.greater(before())  # what was spent without a budget, or elsewhere
    room = needs.cap.minus(spent)
    for other in others:
        room = room.minus(Sum(*other["aside"]))
    wanted = needs.aside.plus(needs.lack)
    lacks = wanted.lack(room)
    aside = needs.aside.greater(wanted.lesser(room)) if lacks else wanted
    left = room.minus(aside).greater(Sum()).times(1 / MORE_OF_ROOM)
    aside = aside.plus(needs.ahead.lesser(left))
    mine |= {"told": listed(needs.used), "aside": listed(aside.greater(needs.had))}
    state |= {"spent": listed(spent), "counted": needs.counting}
    return Granted(needs.used.plus(aside), spent, lacks, [one for one in lost if one != Sum()])


class HostBudget:
    """A host's part of the budget, for which one of its processes deals with the others."""

    def __init__(
        self,
        there: SharedThere,
        shared: Shared,
        before: Callable[[], Sum],
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`before` reads what the journals say was spent, where no other host is spending."""
        self.there, self._shared, self._before = there, shared, before
        self._clock, self._wall = clock, wall
        self.until, self._until_wall = 0.0, 0.0
        self._at, self._used = 0.0, Sum()
        self._lack = self._waits = False

    def over(self) -> bool:
        """Whether what the host was allotted may be others' by now. Some clocks stand still while a
        machine sleeps."""
        return self._clock() >= self.until or self._wall() >= self._until_wall

    def room(self, state: State) -> Sum:
        """What the processes may spend in all."""
        host = state.setdefault("host", {
            "count": secrets.token_hex(8), "total": [0.0, 0.0], "until": [0.0, 0.0],
            "spent": [0.0, 0.0], "lacks": "", "asked": 0, "answered": 0,
        })  # fmt: skip
        self.until, self._until_wall = host["until"]
        return Sum() if self.over() else Sum(*host["total"])

    def noted(
        self, state: State, mine: State, lacks: Lacks, request: Sum, more: Sum
    ) -> tuple[bool, Lacks]:
        """Note that a process has no room for a request. Returns whether that is to be seen only
        once other hosts were asked, and what the budget lacks."""
        host = state["host"]
        if request != Sum():
            self._waits = False
            if lacks:
                asked = mine.setdefault("asked", host["asked"])
                mine |= {"lack": listed(request), "more": listed(more)}
                answered = host["lacks"] and host["answered"] > asked
                self._waits = not answered or self.over()
                lacks = lacks if self._waits else host["lacks"]
        if not self._waits:
            for name in _NOTES:
                mine.pop(name, None)
        self._lack = any("lack" in m for m in state["members"].values())
        return self._waits, lacks

    def due(self) -> bool:
        """Whether this process is to deal for the host now: from time to time, and at once where
        one of them waits for it."""
        if not self.there.leads():
            return False
        return self._lack or self._clock() >= self._at + EVERY_THERE

    def needs(self, cap: Sum, *, last: bool = False) -> Needs | None:
        """What this host's processes need; None where others are just at it. At the `last` they
        keep what they have set aside alone."""
        found: list[Needs] = []
        now = self._clock()

        def change(state: State, gone: list[State]) -> None:
            members: dict[str, State] = state["members"]
            self.room(state)
            host = state["host"]
            used = Sum(*state.get("spent", (0.0, 0.0)))
            for member in gone:
                used = used.plus(Sum(*member["aside"]))
            members.setdefault(self._shared.me, {"aside": [0.0, 0.0]})
            aside, lack, more = (
                _total(members, name) for name in ("aside", "lack", "more")
            )  # fmt: skip
            if last:
                host["total"] = listed(used.plus(aside))
            had = used if self.over() else Sum(*host["total"])
            rate = used.minus(self._used).times(1 / max(now - self._at, EVERY_THERE))
            ahead = Sum() if last else more.plus(rate.greater(Sum()).times(_AHEAD))
            state["spent"] = listed(used)
            host["asked"] += 1
            found.append(Needs(
                host["count"], used, aside, had.minus(used).greater(Sum()), lack, ahead, cap,
                host["asked"], last and len(members) == 1,
            ))  # fmt: skip

        if not self._shared.change(change, 1.0):
            return None
        self._at, self._used = now, found[0].used
        return found[0]

    def exchange(self, needs: Needs) -> tuple[Granted, float]:
        """Ask the bucket; what was granted, and until when it is this host's. StoreError where it
        does not answer. Touches nothing that another thread uses."""
        return self.there.change(
            lambda state, gone: granted(state, gone, self.there.me, needs, self._before)
        )

    def take(self, needs: Needs, found: Granted, until: float) -> None:
        """Let the processes of this host have what was granted, and no less than what they have
        set aside meanwhile."""

        def change(state: State, _gone: list[State]) -> None:
            host = state.get("host")
            if host is None or host["count"] != needs.counting:
                return
            taken = Sum(*state["spent"]).plus(_total(state["members"], "aside"))
            least = taken.lesser(needs.used.plus(needs.had))
            host |= {
                "total": listed(found.total.greater(least)), "spent": listed(found.spent),
                "until": [until, self._wall() + until - self._clock()], "lacks": found.lacks,
                "answered": needs.asked,
            }  # fmt: skip

        self._shared.change(change, 1.0)
        self._lack = False

    def give_up(self) -> None:
        """No process here waits for more any longer."""
        self._waits = False

    def end(self, cap: Sum) -> None:
        """Tell what was spent and leave the rest to others: processes of this host, or other hosts.
        Where the bucket cannot be reached, what was set aside counts as spent."""
        if not self.there.leads():
            return
        needs = self.needs(cap, last=True)
        if needs is not None:
            self.there.end(lambda: self.exchange(needs), leave=needs.last and needs.aside == Sum())
        else:
            self.there.let_go()


def _total(members: dict[str, State], name: str) -> Sum:
    found = Sum()
    for member in members.values():
        found = found.plus(Sum(*member.get(name, (0.0, 0.0))))
    return found
