"""What all processes of a home spend under one budget: what was spent, and what each has set aside
for its requests under way, together never more than the cap. In a home in a bucket that is so among
its hosts, and each host's processes divide what it has set aside."""

import math
from collections.abc import Callable

from deploysim_assets.endpoint.allotments import HostBudget
from deploysim_assets.endpoint.sums import MORE_OF_ROOM, Lacks, Sum, listed
from deploysim_assets.storage.sharing import Shared, State


class Spending:
    """One process's hold on the budget: what was granted covers what it spent since it last told
    and what it has under way."""

    def __init__(
        self,
        before: Callable[[], Sum],
        shared: Shared | None = None,
        hosts: HostBudget | None = None,
    ) -> None:
        """`before` reads what the journals say was spent, where no other process is spending.
        With `hosts` the processes here have what their host was allotted, and nothing else."""
        self._before, self._shared, self.hosts = before, shared, hosts
        self._alone: State = {"members": {}}
        self._untold = Sum()
        self.granted = self.spent = Sum()
        self.lacks: Lacks = ""
        """What the cap has no room of for the request last asked for."""
        self.waits = False
        """Whether the other hosts are to be asked before that is known."""

    def spend(self, what: Sum) -> None:
        """Count what an answer took."""
        self._untold = self._untold.plus(what)

    def covers(self, under_way: Sum) -> bool:
        """Whether what was granted is enough for what is under way, and still is granted."""
        if self._shared is not None and self._shared.lapsed:
            return False
        if self.hosts is not None and self.hosts.over():
            return False
        return self._untold.plus(under_way).within(self.granted)

    def renew(self, cap: Sum, under_way: Sum) -> None:
        """Tell what was spent, and set aside what is under way alone. Nothing changes where others
        are just at it."""
        self._change(cap, under_way, Sum(), Sum(), 0.0)

    def ask(self, cap: Sum, under_way: Sum, request: Sum, more: Sum) -> None:
        """Set a request aside, and as much more as does not keep it from others, where the cap
        allows the request."""
        self._change(cap, under_way, request, more, math.inf)

    def _change(self, cap: Sum, under_way: Sum, request: Sum, more: Sum, wait: float) -> None:
        def change(state: State, gone: list[State]) -> None:
            members: dict[str, State] = state["members"]
            me = self._shared.me if self._shared else ""
            if members:
                spent = Sum(*state["spent"]).plus(self._untold)
                for member in gone:  # what became of it only its journal says
                    spent = spent.plus(Sum(*member["aside"]))
            elif self.hosts is None:
                spent = self._before()  # holds what was not yet told, too
            else:
                spent = Sum()
            room = (self.hosts.room(state) if self.hosts else cap).minus(spent)
            for member, theirs in members.items():
                if member != me:
                    room = room.minus(Sum(*theirs["aside"]))
            wanted = under_way.plus(request)
            aside, self.lacks = under_way, wanted.lack(room)
            if not self.lacks:
                aside = wanted.plus(more.lesser(room.minus(wanted).times(1 / MORE_OF_ROOM)))
            mine = members.setdefault(me, {})
            mine["aside"] = listed(aside)
            state["spent"] = listed(spent)
            self._untold, self.granted, self.spent = Sum(), aside, spent
            if self.hosts is not None:
                self.waits, self.lacks = self.hosts.noted(state, mine, self.lacks, request, more)
                self.spent = Sum(*state["host"]["spent"])

        if self._shared is None:
            change(self._alone, [])
        else:
            self._shared.change(change, wait)
