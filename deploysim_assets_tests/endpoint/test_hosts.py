"""Hosts of a home in a bucket at one endpoint and under one budget: what they hold is together
never more than there is, whoever dies, is cut off or overtaken; what was spent is not forgotten."""

import json
import math
import os
import signal
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploysim_assets.benchmarks.sharing import CONCURRENCY, Counted, command, counting_server
from deploysim_assets.endpoint import budget
from deploysim_assets.endpoint.allotments import HostBudget
from deploysim_assets.endpoint.budget import cut_off
from deploysim_assets.endpoint.hosts import HostPace
from deploysim_assets.endpoint.pacing import Pace
from deploysim_assets.endpoint.sharing import EVERY, Sharing
from deploysim_assets.endpoint.spending import Spending
from deploysim_assets.endpoint.sums import Sum
from deploysim_assets.evidence.copies import vouched
from deploysim_assets.project import ProjectError
from deploysim_assets.storage.copying import copy_home
from deploysim_assets.storage.objects import Changed, Held, StoreError
from deploysim_assets.storage.sharing import Shared
from deploysim_assets.storage.sharing_there import EVERY_THERE, GONE, HOLDS, LONGEST, SharedThere
from deploysim_assets_tests import warm
from deploysim_assets_tests.endpoint.test_sharing import wait
from deploysim_assets_tests.s3 import served
from deploysim_assets_tests.support import least_project


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Bucket:
    """One object, in which another host may be first, or that cannot be reached."""

    where = "s3://b"

    def __init__(self) -> None:
        self.content, self.version, self.down = b"", 0, False
        self.first: Callable[[], object] | None = None

    def get(self, name: str) -> Held:
        if self.down:
            raise StoreError("down")
        if not self.version:
            raise FileNotFoundError(name)
        return Held(self.content, {"e_tag": str(self.version)})

    def create(self, name: str, content: bytes) -> dict[str, str]:
        if self.version:
            raise FileExistsError(name)
        return self.swap(name, content, {"e_tag": "0"})

    def swap(self, name: str, content: bytes, state: Any) -> dict[str, str]:
        if self.first is not None:
            first, self.first = self.first, None
            first()
        if state["e_tag"] != str(self.version):
            raise Changed(name)
        self.content, self.version = content, self.version + 1
        return {"e_tag": str(self.version)}


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploysim_assets.storage.sharing_there._APART", 0.0)


class Hungry(Pace):
    wants = 10_000

    @property
    def wanted(self) -> int:
        return min(self.ceiling, self.wants)


class Host:
    """A host of which one process asks, with a clock of its own that is wrong by an hour."""

    def __init__(self, bucket: Bucket, folder: Path, clock: Clock, ahead: float = 0.0) -> None:
        self.bucket, self.folder, self.clock, self.ahead = bucket, folder, clock, ahead
        folder.mkdir(exist_ok=True)
        self.begin()

    def begin(self) -> None:
        self.shared = Shared(self.folder / "e.json", self.clock)
        self.sharing = Sharing(self.shared, among_hosts=True, wall=self.wall)
        self.pace = Hungry(64, self.clock, self.sharing)
        self.pace.limit, self.pace.rate = 64.0, 100.0
        lead = self.folder / "lead"
        self.there = SharedThere(self.bucket, "o", lead, self.clock)  # type: ignore[arg-type]
        self.hosts = HostPace(self.there, self.sharing, self.wall)

    def wall(self) -> float:
        return self.clock.now + self.ahead

    def meet(self) -> None:
        assert self.hosts.due(self.pace, self.clock.now) or True
        told = self.hosts.told(self.pace, self.clock.now)
        self.pace.renew(self.hosts.learned(self.pace, told, *self.hosts.exchange(told)))

    def die(self) -> None:
        self.shared.__dict__["_closed"]()
        self.there.__dict__["_closed"]()
        self.pace.in_flight = 0

    def end(self) -> None:
        self.hosts.end(self.pace, self.clock.now)
        self.pace.stop_sharing()
        self.there.__dict__["_closed"]()

    @property
    def may(self) -> tuple[int, float]:
        """Requests that may be in flight, and started per second, just now."""
        if self.sharing.over(self.clock.now):
            self.pace.renew()
        return self.pace.places, self.pace.starts if self.pace.starts is not None else math.inf


def together(hosts: list[Host]) -> tuple[int, float]:
    return sum(h.may[0] for h in hosts), sum(h.may[1] for h in hosts)


EVENTS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from(
            ["meet", "meet", "meet", "overtaken", "down", "die", "want", "throttle", "end", "wait"]
        ),
        st.integers(0, 64),
    ),
    min_size=20,
    max_size=50,
)


@settings(max_examples=60)
@given(EVENTS)
def test_no_order_of_events_gives_hosts_more_than_there_is(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[int, str, int]]
) -> None:
    folder, clock, bucket = tmp_path_factory.mktemp("hosts"), Clock(), Bucket()
    hosts = [Host(bucket, folder / str(i), clock, 3_600.0 * (i - 1)) for i in range(3)]
    for who, what, number in events:
        host, other = hosts[who], hosts[(who + 1) % 3]
        clock.now += 0.6
        for one in hosts:
            one.pace.renew()
        if what == "meet":
            host.meet()
        elif what == "overtaken":
            bucket.first = lambda host=host, other=other: (other.meet(), host.pace.renew())
            host.meet()
        elif what == "down":
            bucket.down = True
            with pytest.raises(StoreError):
                host.meet()
            bucket.down = False
        elif what in ("die", "end"):
            host.die() if what == "die" else host.end()
            host.begin()
        elif what == "want":
            host.pace.wants = number
        elif what == "throttle":
            host.pace.throttled()
        else:
            clock.now += number % 24
        places, starts = together(hosts)
        assert places <= 64
        assert starts <= 100 + 1e-6
    for one in hosts:
        one.die()


def test_one_alone_has_all_and_two_have_halves_within_seconds(tmp_path: Path) -> None:
    clock, bucket = Clock(), Bucket()
    one = Host(bucket, tmp_path / "1", clock, -40.0)
    assert one.may == (0, 0.0), "nothing before the bucket was asked"
    one.meet()
    assert one.may == (64, 100.0)
    other = Host(bucket, tmp_path / "2", clock, 40.0)
    other.meet()
    assert other.may == (0, 0.0)

    def rounds(number: int, *hosts: Host) -> None:
        for _ in range(number):
            clock.now += EVERY_THERE
            for host in hosts:
                host.pace.is_held_back = True
                host.pace.renew()
                host.meet()

    rounds(3, one, other)
    assert one.may == other.may == (32, pytest.approx(50))
    one.end()
    rounds(1, other)
    assert other.may == (64, pytest.approx(100)), "who ends leaves it at once"
    again = Host(bucket, tmp_path / "1", clock)
    rounds(4, again, other)
    again.die()
    rounds(int(GONE / EVERY_THERE), other)
    assert other.may[0] == 32, "who died holds it for a while"
    rounds(2, other)
    assert other.may == (64, pytest.approx(100))


def test_what_one_holds_nobody_else_takes_while_it_may_use_it(tmp_path: Path) -> None:
    clock, bucket = Clock(), Bucket()
    one, other = (Host(bucket, tmp_path / str(i), clock, 1e5 * i) for i in range(2))
    one.meet()
    for _ in range(200):  # the first one is cut off, the second one looks
        clock.now += 0.3
        other.meet()
        places, starts = together([one, other])
        assert places <= 64 and starts <= 100 + 1e-6
    assert other.may == (64, 100.0)
    one.pace.wants, one.pace.in_flight = 3, 40  # sent long ago
    one.meet()
    for _ in range(3):
        clock.now += EVERY_THERE
        other.meet()
        one.meet()
    assert other.may[0] == 64 - 40, "until they are answered"
    one.pace.in_flight = 0
    other.pace.wants = 0
    for _ in range(3):
        one.pace.renew()
        one.meet()
        clock.now += 0.1
        assert sum(h.may[0] for h in (one, other)) <= 64
        other.pace.renew()
        other.meet()


def test_a_killed_process_finds_again_what_its_host_had(tmp_path: Path) -> None:
    clock, bucket = Clock(), Bucket()
    one = Host(bucket, tmp_path / "1", clock)
    one.meet()
    one.die()
    one.begin()
    one.meet()
    assert one.may == (64, 100.0)


def test_a_pushback_on_one_host_slows_all(tmp_path: Path) -> None:
    clock, bucket = Clock(), Bucket()
    one, other = (Host(bucket, tmp_path / str(i), clock, 1e4 * i) for i in range(2))
    for _ in range(4):
        clock.now += EVERY_THERE
        one.meet()
        other.meet()
    rate = other.pace.rate
    assert rate is not None
    one.pace.answered(0.1, {})
    one.pace.rate = None  # as where the server refuses the first time
    one.pace.rate = rate / 2
    one.pace._cut(0.5, clock.now)
    one.pace.throttled(30)
    assert one.hosts.due(one.pace, clock.now), "at once"
    one.meet()
    assert not one.hosts.due(one.pace, clock.now)
    clock.now += 1
    other.meet()
    assert other.pace.paused_for == pytest.approx(30)
    assert other.pace.rate == pytest.approx(rate / 2)
    assert other.pace.limit == pytest.approx(32)
    for _ in range(5):
        clock.now += EVERY_THERE
        for host in (one, other):
            host.pace.renew()
            host.meet()
    assert max(one.pace.paused_for, other.pace.paused_for) <= 20, "no pause feeds itself"
    assert other.pace.rate == pytest.approx(rate / 2), "heeded once"
    assert sum(together([one, other])) <= 32 + rate / 2 + 1e-6


def test_processes_of_a_host_divide_what_it_has(tmp_path: Path) -> None:
    clock, bucket = Clock(), Bucket()
    one, other = (Host(bucket, tmp_path / str(i), clock) for i in range(2))
    sharing = Sharing(Shared(tmp_path / "0" / "e.json", clock), among_hosts=True, wall=clock)
    second = Hungry(64, clock, sharing)
    for _ in range(6):
        clock.now += EVERY_THERE
        for pace in (one.pace, second, one.pace, second):
            clock.now += EVERY / 4
            pace.renew()
        for host in (one, other):
            host.meet()
    assert one.pace.places + second.places == 32
    assert min(one.pace.places, second.places) == 16
    assert other.may[0] == 32
    assert one.there.me
    one.die()  # the second process takes it over
    lead = SharedThere(bucket, "o", tmp_path / "0" / "lead", clock)  # type: ignore[arg-type]
    hosts = HostPace(lead, sharing, clock)
    for _ in range(2):
        clock.now += EVERY_THERE
        second.renew()
        assert hosts.due(second, clock.now)
        told = hosts.told(second, clock.now)
        second.renew(hosts.learned(second, told, *hosts.exchange(told)))
        other.meet()
    assert second.places == other.may[0] == 32


def test_who_cannot_reach_the_bucket_starts_nothing_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, bucket = Clock(), Bucket()
    one = Host(bucket, tmp_path / "1", clock)
    one.meet()
    bucket.down = True
    clock.now += HOLDS - 1
    assert one.may[0] == 64
    clock.now += 2
    assert one.may == (0, 0.0)
    monkeypatch.setattr(budget.time, "monotonic", clock)
    clock.now = one.hosts.until - HOLDS + LONGEST - 1
    cut_off(one.there, one.hosts.until - HOLDS)
    clock.now += 2
    with pytest.raises(StoreError, match=r"s3://b/o: could not be .* 61 s, .* run again"):
        cut_off(one.there, one.hosts.until - HOLDS)
    bucket.down = False
    bucket.content, bucket.version = b'{"format": 99, "members": {}}', 9
    with pytest.raises(ProjectError, match="nothing that this deploysim wrote"):
        one.meet()


class Spender:
    """A process that spends, the only one of its host."""

    def __init__(self, bucket: Bucket, folder: Path, clock: Clock) -> None:
        self.bucket, self.folder, self.clock = bucket, folder, clock
        folder.mkdir(exist_ok=True)
        self.begin()

    def begin(self) -> None:
        self.under_way = 0
        self.shared = Shared(self.folder / "b.json", self.clock)
        lead = self.folder / "lead"
        self.there = SharedThere(self.bucket, "o", lead, self.clock)  # type: ignore[arg-type]
        self.hosts = HostBudget(self.there, self.shared, Sum, self.clock, self.clock)
        self.spending = Spending(Sum, self.shared, self.hosts)

    def meet(self, cap: Sum) -> float:
        """Tokens that lost hosts had set aside."""
        assert self.there.leads()
        needs = self.hosts.needs(cap)
        assert needs is not None
        found, until = self.hosts.exchange(needs)
        self.hosts.take(needs, found, until)
        return sum(one.tokens for one in found.lost)

    def ask(self, cap: Sum, request: Sum) -> bool:
        """Whether a request may be sent."""
        held = request.times(self.under_way)
        if not self.spending.covers(held.plus(request)):
            self.spending.ask(cap, held, request, request.times(3))
            if self.spending.waits or self.spending.lacks:
                return False
        self.under_way += 1
        return True

    def die(self) -> None:
        self.shared.__dict__["_closed"]()
        self.there.__dict__["_closed"]()


def spent(bucket: Bucket) -> float:
    return json.loads(bucket.content)["spent"][0] if bucket.content else 0.0


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 2),
            st.sampled_from(
                ["ask", "ask", "settle", "meet", "meet", "overtaken", "down", "die", "end", "wait"]
            ),
            st.integers(0, 60),
        ),
        min_size=25,
        max_size=60,
    ),
    st.integers(1, 12),
)
def test_no_order_of_events_spends_more_than_the_cap_on_all_hosts(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[int, str, int]], cost: int
) -> None:
    folder, clock, bucket = tmp_path_factory.mktemp("hosts"), Clock(), Bucket()
    cap, request = Sum(300, math.inf), Sum(cost)
    all_of = [Spender(bucket, folder / str(i), clock) for i in range(3)]
    paid, before = 0, 0.0
    for who, what, number in events:
        one, other = all_of[who], all_of[(who + 1) % 3]
        clock.now += 0.6
        if what == "ask":
            one.ask(cap, request)
        elif what == "settle" and one.under_way:
            one.under_way -= 1
            paid += cost
            one.spending.spend(request)
        elif what == "meet":
            one.meet(cap)
        elif what == "overtaken":
            # and processes here go on meanwhile
            bucket.first = lambda one=one, other=other: (
                other.meet(cap), one.ask(cap, request), one.ask(cap, request)
            )  # fmt: skip
            one.meet(cap)
        elif what == "down":
            bucket.down = True
            with pytest.raises(StoreError):
                one.meet(cap)
            bucket.down = False
        elif what == "die":  # what it had under way is paid for, and in no journal
            paid += cost * one.under_way
            one.die()
            one.begin()
        elif what == "end" and not one.under_way:
            one.there.leads()
            one.spending.renew(cap, Sum())
            one.hosts.end(cap)
        elif what == "wait":
            clock.now += number
        assert paid + cost * sum(s.under_way for s in all_of) <= 300
        assert spent(bucket) >= before, "nothing is forgotten"
        before = spent(bucket)
        # each gives a sign of life, as one that is not cut off does
        for s in all_of:
            s.spending.renew(cap, request.times(s.under_way))
    for s in all_of:
        s.die()
    last = Spender(bucket, folder / "last", clock)
    clock.now += GONE + 1
    last.meet(cap)
    clock.now += GONE + 1
    last.meet(cap)
    assert spent(bucket) >= paid
    last.die()


def test_a_lost_host_costs_at_most_its_allotment_and_it_is_said(tmp_path: Path) -> None:
    clock, bucket = Clock(), Bucket()
    cap, request = Sum(1_000, math.inf), Sum(10)
    one, other = (Spender(bucket, tmp_path / str(i), clock) for i in range(2))
    for _ in range(40):
        clock.now += 0.5
        if not one.ask(cap, request):
            one.meet(cap)
            assert one.ask(cap, request)
        one.under_way -= 1
        one.spending.spend(request)
    one.spending.renew(cap, Sum())
    one.meet(cap)
    one.die()
    clock.now += 1
    other.meet(cap)
    clock.now += GONE + 1
    lost = other.meet(cap)
    assert 0 < lost <= 0.05 * 1_000, "it was allotted a twentieth of what was left at most"
    assert spent(bucket) == 400 + lost
    sent = 0
    while other.ask(cap, request) or (other.meet(cap) or other.ask(cap, request)):
        clock.now += 0.1
        other.under_way -= 1
        other.spending.spend(request)
        sent += 10
    assert 400 + lost + sent > 980
    assert other.spending.lacks == "tokens" and not other.spending.waits
    assert other.spending.spent.tokens + 20 >= 1_000 - 10, "and what it says is what all spent"


def test_what_a_run_leaves_is_had_by_another_at_once(tmp_path: Path) -> None:
    clock, bucket = Clock(), Bucket()
    cap, request = Sum(100, math.inf), Sum(10)
    one, other = (Spender(bucket, tmp_path / str(i), clock) for i in range(2))
    for spender in (one, other):
        assert not spender.ask(cap, request)
        spender.meet(cap)
        sent = 0
        while sent < (5 if spender is one else 99):
            if not spender.ask(cap, request):
                spender.meet(cap)
                if not spender.ask(cap, request):
                    break
            spender.under_way -= 1
            spender.spending.spend(request)
            sent += 1
        spender.spending.renew(cap, Sum())
        spender.hosts.end(cap)
    assert sent == 5
    assert spent(bucket) == 100


@pytest.fixture
def home(tmp_path: Path) -> Generator[str]:
    """A home in a bucket, over HTTP."""
    with served() as s3:
        folder = tmp_path / "made"
        folder.mkdir()
        least_project(folder)
        copy_home(str(folder), s3.url("shared"), vouched, (), lambda _: None)
        yield s3.url("shared")


def start(seen: Counted, home: str, cache: Path, name: str, count: int, tokens: int = 0) -> Any:
    line = command(seen.url, home, name, count, tokens)
    environment = os.environ | {"DEPLOYSIM_CACHE": str(cache / name)}
    return warm.start([sys.executable, *line[1:]], env=environment, cwd=Path.cwd())


def test_two_hosts_without_a_shared_disk_keep_to_one_pace_and_one_budget(
    tmp_path: Path, home: str
) -> None:
    cap = 20_000
    with counting_server(latency=0.2) as seen:
        run = [start(seen, home, tmp_path, f"h{i}", 100_000, cap) for i in range(2)]
        try:
            wait(lambda: len(seen.by_asker) == 2)
            os.kill(run[0].pid, signal.SIGKILL)
            assert run[0].wait(60) == -signal.SIGKILL
            assert run[1].wait(300) == 3, "met the cap"
            assert start(seen, home, tmp_path, "h2", 100, cap).wait(300) == 3, "nothing is left"
        finally:
            for one in run:
                if one.poll() is None:
                    os.kill(one.pid, signal.SIGKILL)
    assert seen.peak <= CONCURRENCY
    let_in = len(seen.let_in) * 10
    # a twentieth of the cap at most was allotted to the one that was killed
    assert 0.93 * cap <= let_in + 10 * CONCURRENCY <= cap + 10 * CONCURRENCY
    assert set(seen.by_asker) == {"h0", "h1"}
