"""Leases in a bucket: one holder or many, the dead do not hinder, clocks may differ."""

import uuid
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deploysim_assets.project import ProjectError
from deploysim_assets.storage.bucket_leases import Lease, Leases
from deploysim_assets.storage.buckets import objects_at
from deploysim_assets.storage.folders import Folder
from deploysim_assets.storage.objects import Objects
from deploysim_assets_tests.s3 import S3, served


@pytest.fixture(scope="module")
def s3() -> Generator[S3]:
    with served() as server:
        yield server


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    if request.param == "folder":
        return Folder(tmp_path)
    server: S3 = request.getfixturevalue("s3")
    return objects_at(server.url(uuid.uuid4().hex))


class Host:
    """A host with a clock of its own."""

    def __init__(self, place: Objects, ahead: float = 0.0) -> None:
        self.now = 1e9 + ahead
        self.leases = Leases(place, seconds=60, skew=30, clock=lambda: self.now)

    def take(self, *, alone: bool) -> Lease | str:
        return self.leases.take("t", alone=alone, longest=0)


def test_one_alone_or_many_together(place: Objects) -> None:
    one, other = Host(place), Host(place)
    first, second = one.take(alone=False), other.take(alone=False)
    assert isinstance(first, Lease) and isinstance(second, Lease)
    assert one.take(alone=True) in (first.owner, second.owner)
    one.leases.end(first)
    assert other.take(alone=True) == second.owner
    other.leases.end(second)
    alone = one.take(alone=True)
    assert isinstance(alone, Lease)
    assert other.take(alone=False) == alone.owner
    one.leases.end(alone)
    one.leases.end(alone)
    assert isinstance(other.take(alone=True), Lease)


@pytest.mark.parametrize("ahead", [-30.0, 0.0, 30.0])
def test_the_dead_do_not_hinder_and_the_living_keep_theirs_whatever_the_clocks_say(
    tmp_path: Path, ahead: float
) -> None:
    place = Folder(tmp_path)
    one, other = Host(place), Host(place, ahead)
    held = one.take(alone=True)
    assert isinstance(held, Lease)
    held.said["uploaded"] = 3
    for _ in range(30):  # a sign of life each 15 s
        one.now += 15
        other.now += 15
        one.leases.renew()
        assert other.take(alone=True) == held.owner
    while isinstance(taken := other.take(alone=True), str):
        # as long as the other one has to wait, the holder may be at work
        one.now += 1
        other.now += 1
    with pytest.raises(ProjectError, match="was lost"):
        one.leases.check(held)
    assert [(d.owner, d.said) for d in taken.dead] == [(held.owner, {"uploaded": 3})]
    one.leases.renew()
    with pytest.raises(ProjectError, match="was lost"):
        one.leases.check_all()
    one.leases.end(held)
    other.leases.check(taken)
    assert isinstance(one.take(alone=True), str)


def test_a_bucket_that_cannot_be_reached_for_a_while_costs_no_lease(s3: S3) -> None:
    from datetime import timedelta

    from deploysim_assets.storage.buckets import Bucket

    soon = {"init_backoff": timedelta(milliseconds=1), "max_backoff": timedelta(milliseconds=2)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Bucket, "retry", {"max_retries": 1, "backoff": soon})
        host = Host(objects_at(s3.url(uuid.uuid4().hex)))
    held = host.take(alone=True)
    assert isinstance(held, Lease)
    s3.fault = lambda _method, _path: "500"
    host.now += 45
    host.leases.renew()
    host.leases.check(held)
    s3.fault = lambda _method, _path: None
    host.leases.renew()
    host.now += 45
    host.leases.check(held)
    s3.fault = lambda _method, _path: "500"
    host.now += 30
    host.leases.renew()
    host.leases.end(held)  # ends by itself
    s3.fault = lambda _method, _path: None
    with pytest.raises(ProjectError, match="was lost"):
        host.leases.check(held)


def test_of_many_at_once_one_has_it(place: Objects) -> None:
    hosts = [Host(place) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda host: host.take(alone=True), hosts))
    assert sum(isinstance(one, Lease) for one in found) == 1
