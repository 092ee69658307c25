"""Processes of one home at one endpoint: together they keep to its pace and to the budget, a killed
one's part goes to the others, and no clock is believed."""

import fcntl
import math
import os
import random
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploysim_assets.benchmarks.sharing import CONCURRENCY, Counted, command, counting_server
from deploysim_assets.endpoint import sharing
from deploysim_assets.endpoint.budget import counted, spent
from deploysim_assets.endpoint.pacing import Pace
from deploysim_assets.endpoint.sharing import EVERY, Sharing, fair
from deploysim_assets.endpoint.spending import Spending
from deploysim_assets.endpoint.sums import Sum
from deploysim_assets.project import ProjectError
from deploysim_assets.storage.journals import journal_files
from deploysim_assets.storage.sharing import LEASE, Shared, State, shared_budget
from deploysim_assets_tests import warm


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@given(st.integers(0, 60), st.lists(st.integers(0, 40), max_size=6))
def test_parts_are_as_equal_as_can_be(total: int, wants: list[int]) -> None:
    for whole in (True, False):
        parts = fair(total, dict(enumerate(wants)), whole=whole)
        assert sum(parts.values()) == pytest.approx(min(total, sum(wants)))
        most = max(parts.values(), default=0)
        for one, part in parts.items():
            assert part <= wants[one] + 1e-9
            assert part == pytest.approx(wants[one]) or part >= most - whole - 1e-9
            assert not whole or part == int(part)


def put(shared: Shared, holds: int) -> tuple[dict[str, State], list[State]]:
    """Write what one holds; the members there were and who was gone."""
    found: list[tuple[dict[str, State], list[State]]] = []

    def change(state: State, gone: list[State]) -> None:
        found.append(({i: dict(m) for i, m in state["members"].items()}, gone))
        state["members"].setdefault(shared.me, {})["holds"] = holds

    assert shared.change(change)
    return found[0]


def test_who_closed_died_or_stands_still_holds_nothing(tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "locks" / "o.json"
    one, two, still = (Shared(path, clock) for _ in range(3))
    for holds, member in enumerate((one, two, still)):
        put(member, holds)
    assert {m["holds"] for m in put(one, 0)[0].values()} == {0, 1, 2}
    two.close()
    assert set(put(one, 0)[0]) == {one.me, still.me}
    clock.now += LEASE - 1
    assert still.me in put(one, 0)[0]
    clock.now += 2
    members, gone = put(one, 0)
    assert set(members) == {one.me}
    assert [m["holds"] for m in gone] == [2], "it is alive, and wrote nothing for so long"
    put(still, 3)
    assert set(put(one, 0)[0]) == {one.me, still.me}, "it comes back"
    still.__dict__["_closed"]()  # as the system does for a process that is killed
    assert [m["holds"] for m in put(one, 0)[1]] == [3], "at once"
    assert [p.name for p in path.parent.glob("*.member")] == [f"o.{one.me}.member"]


def test_what_power_loss_left_is_begun_anew_and_a_held_lock_is_waited_for(tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "o.json"
    one = Shared(path, clock)
    put(one, 5)
    for torn in (b"", path.read_bytes()[:9], b"\0" * 40, b'{"format": 99, "members": {"x": {}}}'):
        path.write_bytes(torn)
        assert put(one, 5)[0] == {}
    with path.with_suffix(".lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for _ in range(3):  # met by chance, as by one that looks seldom
            clock.now += 400
            assert not one.change(lambda *_: None)
        with pytest.raises(ProjectError, match=r"o.lock: another process has held this lock"):
            for _ in range(301):
                clock.now += 1
                one.change(lambda *_: None)
    put(one, 6)


def test_where_nothing_can_be_written_the_error_names_it_and_no_lock_is_kept(
    tmp_path: Path,
) -> None:
    (tmp_path / "locks").touch()
    with pytest.raises(ProjectError, match=r"locks.*: cannot be written"):
        Shared(tmp_path / "locks" / "o.json")
    one, other = Shared(tmp_path / "o.json"), Shared(tmp_path / "o.json")
    put(one, 1)
    put(other, 2)
    full = tmp_path / "o.partial"
    full.mkdir()  # as a full disk
    with pytest.raises(ProjectError, match=r"o.json: cannot be written \(.*; make room"):
        put(one, 3)
    one.close()
    full.rmdir()
    assert set(put(other, 2)[0]) == {other.me}


class Server:
    """Lets `allowed` requests in per second and answers after 50 ms, by a clock that is moved."""

    def __init__(self, clock: Clock, allowed: float) -> None:
        self.clock, self.allowed, self.tokens = clock, allowed, 0.0
        self.under_way: deque[tuple[float, Pace, bool]] = deque()
        self.let_in: list[float] = []
        self.refused = 0

    def tick(self, step: float) -> None:
        self.tokens = min(self.allowed / 10, self.tokens + step * self.allowed)
        while self.under_way and self.under_way[0][0] <= self.clock.now:
            _, pace, good = self.under_way.popleft()
            if good:
                pace.answered(0.05, {})
            else:
                pace.throttled()
            pace.leave()

    def take(self, pace: Pace) -> None:
        pace.in_flight += 1
        good = self.tokens >= 1
        if good:
            self.tokens -= 1
            self.let_in.append(self.clock.now)
        self.refused += not good
        self.under_way.append((self.clock.now + 0.05, pace, good))


class Hungry(Pace):
    """One that always has more to ask."""

    @property
    def wanted(self) -> int:
        return self.ceiling


class Asker:
    """A process that always has more to ask, and renews at times of its own."""

    def __init__(self, path: Path, clock: Clock, offset: float, ceiling: int = CONCURRENCY) -> None:
        self.shared = Shared(path, clock)
        self.pace = Hungry(ceiling, clock, Sharing(self.shared))
        self.next, self.credit = clock.now + offset, 0.0

    def tick(self, server: Server, now: float, step: float) -> None:
        if now >= self.next:
            self.next += EVERY
            self.pace.renew()
        rate = self.pace.starts
        self.credit = min(2.0, self.credit + step * rate) if rate is not None else math.inf
        while self.pace.in_flight < self.pace.places and self.credit >= 1:
            self.credit -= 1
            server.take(self.pace)
        self.pace.is_held_back = rate is not None and self.pace.in_flight < self.pace.places


def run(clock: Clock, server: Server, askers: list[Asker], seconds: float) -> Iterator[float]:
    """The time, a hundredth of a second apart."""
    end = clock.now + seconds
    while clock.now < end:
        clock.now += 0.01
        server.tick(0.01)
        for asker in random.Random(clock.now).sample(askers, len(askers)):
            asker.tick(server, clock.now, 0.01)
        yield clock.now


def per_second(server: Server, start: float, end: float) -> float:
    return sum(start <= t < end for t in server.let_in) / (end - start)


def test_four_together_keep_to_the_pace_of_one_and_share_it(tmp_path: Path) -> None:
    clock = Clock()
    server = Server(clock, 120)
    askers = [Asker(tmp_path / "e.json", clock, 0.1)]
    for _ in run(clock, server, askers, 10):
        pass
    for i in range(3):
        askers.append(Asker(tmp_path / "e.json", clock, 0.2 + i / 10))
        for _ in run(clock, server, askers, 2):
            assert len(server.under_way) <= CONCURRENCY
    began, refused = clock.now, server.refused
    had = [0.0] * 4
    for _ in run(clock, server, askers, 20):
        assert len(server.under_way) <= CONCURRENCY
        rates = [a.pace.starts or 0 for a in askers]
        had = [before + now for before, now in zip(had, rates, strict=True)]
        assert sum(rates) <= 1.15 * max(a.pace.rate or 0 for a in askers)
    assert per_second(server, began, clock.now) == pytest.approx(120, rel=0.1)
    assert server.refused - refused < 0.1 * 20 * 120
    assert max(had) < 1.5 * min(had), "fairly"

    for asker in askers[:3]:
        asker.shared.__dict__["_closed"]()  # killed
    began = clock.now + 2
    for _ in run(clock, server, askers[3:], 12):
        pass
    assert per_second(server, began, clock.now) == pytest.approx(120, rel=0.1)
    assert askers[3].pace.starts == askers[3].pace.rate, "the last one has all"


def test_limits_that_several_learn_at_once_stay_under_the_ceiling(tmp_path: Path) -> None:
    clock = Clock()
    server = Server(clock, 1e9)
    askers = [Asker(tmp_path / "e.json", clock, 0.1 * i, ceiling=100) for i in range(1, 5)]
    most = 0
    for _ in run(clock, server, askers, 4):
        most = max(most, len(server.under_way))
    assert 90 <= most <= 100


def test_one_asks_for_no_more_than_its_own_ceiling(tmp_path: Path) -> None:
    clock = Clock()
    Hungry(100, clock, Sharing(Shared(tmp_path / "e.json", clock)))
    low = Hungry(4, clock, Sharing(Shared(tmp_path / "e.json", clock)))
    for _ in range(4):
        clock.now += EVERY
        low.renew()
        assert low.places <= 4


def two(path: Path, clock: Clock) -> tuple[Pace, Pace]:
    one, other = (Hungry(8, clock, Sharing(Shared(path, clock))) for _ in range(2))
    for pace in (one, other, one, other):
        pace.renew()
    return one, other


def test_a_pushback_that_one_met_holds_for_all_and_an_answer_ends_it(tmp_path: Path) -> None:
    clock = Clock()
    one, other = two(tmp_path / "e.json", clock)
    assert one.places + other.places <= 8
    limit = one.limit
    one.answered(0.1, {})
    one.throttled(30)
    other.throttled()  # of the same pushback
    one.renew()
    other.renew()
    assert other.paused_for == pytest.approx(30)
    assert other.limit == pytest.approx(0.8 * limit), "cut once"
    for _ in range(10):
        clock.now += EVERY
        one.renew()
        other.renew()
    assert max(one.paused_for, other.paused_for) == pytest.approx(25), "no pause feeds itself"
    clock.now += 30
    for _ in range(4):
        clock.now += 61
        one.pushed_back(0, "503")
        one.renew()
        other.renew()
    assert other.limit == 1
    assert one.places + other.places <= 1 + one.in_flight + other.in_flight
    assert other.rounds == one.rounds > 1
    other.hear()
    other.renew()
    one.renew()
    assert one.rounds == 0


def test_one_place_goes_round(tmp_path: Path) -> None:
    clock = Clock()
    paces = [Hungry(1, clock, Sharing(Shared(tmp_path / "e.json", clock))) for _ in range(3)]
    had = [0, 0, 0]
    for _ in range(60):
        clock.now += EVERY
        for pace in paces:
            pace.renew()
        assert sum(p.places for p in paces) <= 1
        had = [n + p.places for n, p in zip(had, paces, strict=True)]
    assert min(had) >= 10


@pytest.mark.parametrize("skew", [-30.0, 0.0, 30.0])
def test_the_clocks_of_two_hosts_may_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, skew: float
) -> None:
    clock = Clock()
    one = Hungry(8, clock, Sharing(Shared(tmp_path / "e.json", clock)))
    one.throttled(100)
    one.renew()
    there = time.time() + skew
    monkeypatch.setattr(sharing.time, "time", lambda: there)
    other = Hungry(8, clock, Sharing(Shared(tmp_path / "e.json", clock)))
    assert 69 <= other.paused_for <= 100.1
    for _ in range(8):
        clock.now += EVERY
        one.renew()
        other.renew()
    assert one.places + other.places == int(one.limit)
    assert min(one.places, other.places) >= 1


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from(["ask", "settle", "renew", "die"])),
        max_size=40,
    ),
    st.integers(1, 12),
)
def test_no_order_of_events_spends_more_than_the_cap(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[int, str]], cost: int
) -> None:
    home = tmp_path_factory.mktemp("home")
    paid = [0]
    cap = Sum(100, math.inf)
    request = Sum(cost)

    def new() -> Spending:
        return Spending(lambda: Sum(paid[0]), shared_budget(home))

    all_of = [new() for _ in range(3)]
    under_way = [0, 0, 0]
    for who, what in events:
        spending, held = all_of[who], request.times(under_way[who])
        if what == "ask":
            if not spending.covers(held.plus(request)):
                spending.ask(cap, held, request, request.times(3))
            if not spending.lacks:
                under_way[who] += 1
        elif what == "settle" and under_way[who]:
            under_way[who] -= 1
            paid[0] += cost
            spending.spend(request)
        elif what == "renew":
            spending.renew(cap, held)
        elif what == "die":
            shared = spending.__dict__["_shared"]
            shared.__dict__["_closed"]()
            all_of[who], under_way[who] = new(), 0
        assert paid[0] + cost * sum(under_way) <= 100
    for one in all_of:
        one.__dict__["_shared"].close()


def test_who_stood_still_spends_nothing_of_what_it_was_granted_before(tmp_path: Path) -> None:
    clock, paid = Clock(), [0.0]
    cap = Sum(100, math.inf)

    def new() -> Spending:
        return Spending(lambda: Sum(paid[0]), Shared(tmp_path / "b.json", clock))

    still, other = new(), new()
    request = Sum(10)
    for one in (still, other):
        one.ask(cap, Sum(), request, request)
        assert one.covers(request)
    other.renew(cap, Sum())
    clock.now += LEASE + 1
    other.renew(cap, Sum())  # holds it for gone
    other.__dict__["_shared"].close()
    last = new()
    while not last.lacks:
        last.ask(cap, Sum(), request, Sum())
        if not last.lacks:
            paid[0] += 10
            last.spend(request)
    assert not still.covers(request)
    still.ask(cap, Sum(), request, Sum())
    assert still.lacks == "tokens"


def start(seen: Counted, home: Path, name: str, count: int, tokens: int = 0) -> warm.Process:
    line = command(seen.url, home, name, count, tokens)
    return warm.start([sys.executable, *line[1:]], env=dict(os.environ), cwd=Path.cwd())


def test_four_processes_have_no_more_in_flight_than_one_and_outlive_one_that_is_killed(
    tmp_path: Path,
) -> None:
    with counting_server() as seen:
        run = [start(seen, tmp_path, f"p{i}", 20_000) for i in range(4)]
        try:
            wait(lambda: len(seen.by_asker) == 4)
            os.kill(run[0].pid, signal.SIGKILL)
            assert run[0].wait(60) == -signal.SIGKILL
            asked = {name: len(at) for name, at in seen.by_asker.items()}
            wait(lambda: all(len(seen.by_asker[f"p{i}"]) > asked[f"p{i}"] + 20 for i in (1, 2, 3)))
        finally:
            for one in run[1:]:
                os.kill(one.pid, signal.SIGKILL)
                one.wait(60)
    assert seen.peak <= CONCURRENCY


def test_four_processes_spend_one_budget(tmp_path: Path) -> None:
    cap = 6_000
    with counting_server(latency=0.2) as seen:
        run = [start(seen, tmp_path, f"p{i}", 2_000, cap) for i in range(4)]
        wait(lambda: len(seen.by_asker) == 4)
        os.kill(run[0].pid, signal.SIGKILL)
        ends = [one.wait(120) for one in run]
        assert ends == [-signal.SIGKILL, 3, 3, 3], "the others met the cap"
        assert start(seen, tmp_path, "p0", 2_000, cap).wait(120) == 3
    total = spent(journal_files(tmp_path), {}, counted)[0]
    assert cap - 20 <= total <= cap, "who comes after them spends what the killed one left"
    assert len(seen.let_in) * 10 <= cap + 10 * CONCURRENCY, "over it at most what was in flight"


def wait(met: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not met():
        assert time.monotonic() < end
        time.sleep(0.02)
