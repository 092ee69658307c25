"""A home in a bucket, worked on from two hosts without a shared disk: nothing is lost but what a
lost host had not sent, of two writers one is first, and half of anything is seen by nobody."""

import shutil
import time
import uuid
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
from click.testing import CliRunner

from deploysim_assets.cli.commands import main
from deploysim_assets.deidentify.keys import load_keys
from deploysim_assets.evidence.collecting import collect, collectable
from deploysim_assets.evidence.copies import vouched
from deploysim_assets.project import ProjectError
from deploysim_assets.storage import homes, leases, ledger, mirrors, sending
from deploysim_assets.storage.copying import copy_home
from deploysim_assets.storage.forgetting import Removal
from deploysim_assets.storage.journal import framed, journal_file, open_journal, set_aside
from deploysim_assets.storage.leases import partition_lease
from deploysim_assets.storage.locks import adding, alone, asking, nobody_asks
from deploysim_assets.storage.manifests import Run
from deploysim_assets.storage.mirror import Mirror
from deploysim_assets.storage.objects import StoreError
from deploysim_assets.storage.tables import Lake
from deploysim_assets.storage.withdrawals import Withdrawals, drop_plan, load_plan, save_plan
from deploysim_assets_tests.s3 import S3, served
from deploysim_assets_tests.support import least_project

KEYS = "deploysim.keys.json"
Host = Callable[[], Mirror]


@pytest.fixture(scope="module")
def s3() -> Generator[S3]:
    with served(retries=2) as server, pytest.MonkeyPatch.context() as patched:
        patched.setattr(sending, "LONGEST", 0.0)
        yield server


def made(folder: Path) -> Path:
    """A home in a folder, with a table, a record and an answer."""
    folder.mkdir()
    least_project(folder)
    (folder / KEYS).write_text("secret")
    write(folder, 1)
    with open_journal(journal_file(folder, "grades", "m")) as journal:
        journal.put(answer(0))
    return folder


def write(home: Path, number: int, asset: str = "rate_estimates") -> None:
    Lake.of(home).write(
        asset, "m", pl.DataFrame({"n": [number]}),
        seal=lambda made: ledger.append(home, "forecast", "m", {"n": number}, made.seals),
    )  # fmt: skip


def numbers(home: Path, asset: str = "rate_estimates") -> list[int]:
    return Lake.of(home).scan(asset, "m").collect()["n"].to_list()


def answer(number: int) -> dict[str, str]:
    return {"key": f"{number:032x}" * 2, "said": f"answer {number}"}


@pytest.fixture
def host(s3: S3, tmp_path: Path) -> Generator[Host]:
    """Makes hosts that work on one home in a bucket, each in a folder of its own."""
    url = s3.url(uuid.uuid4().hex)
    copy_home(str(made(tmp_path / "home")), url, vouched, (KEYS,), lambda _: None)
    opened: list[Mirror] = []

    def new() -> Mirror:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(homes.CACHE, str(tmp_path / f"host{len(opened)}"))
            opened.append(homes.opened.__wrapped__(url))
        return opened[-1]

    yield new
    s3.fault = lambda _method, _path: None
    for mirror in opened:
        mirrors._opened.pop(mirror.home, None)


def test_what_one_host_makes_the_other_finds(host: Host) -> None:
    one, other = host(), host()
    assert numbers(one.home) == numbers(other.home) == [1]
    write(one.home, 2)
    assert ledger.head(other.home) == ledger.head(one.home)
    other.pull()
    assert numbers(other.home) == [2]
    write(other.home, 3)
    one.pull()
    assert numbers(one.home) == [3]
    assert [r.body["n"] for r in ledger.read(one.home)] == [1, 2, 3]
    fresh = host()
    assert numbers(fresh.home) == [3]
    assert len(Lake.of(fresh.home).versions("rate_estimates", "m")) == 3
    with open_journal(journal_file(fresh.home, "grades", "m")) as journal:
        assert answer(0)["key"] in journal


def test_the_chain_does_not_fork_whoever_writes(host: Host) -> None:
    hosts = [host(), host()]

    def append(number: int) -> None:
        ledger.append(hosts[number % 2].home, "note", "", {"n": number})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(append, range(12)))
    for mirror in (*hosts, host()):
        records, faults = ledger.examine(mirror.home) if mirror in hosts else ([], [])
        assert not faults
        assert sorted(r.body["n"] for r in ledger.read(mirror.home)[1:]) == list(range(12))
        assert len(records) <= 13


def test_of_two_versions_made_at_once_the_second_is_not_put_over_the_first(host: Host) -> None:
    one, other = host(), host()
    lake = Lake.of(other.home)
    write(one.home, 2)
    with pytest.raises(ProjectError, match="another host changed it meanwhile"):
        lake.write("rate_estimates", "m", pl.DataFrame({"n": [9]}))
    one.pull()
    assert numbers(one.home) == [2]
    other.pull()
    assert numbers(other.home) == [2]


def test_killed_at_any_request_a_version_is_whole_or_nobody_sees_it(host: Host, s3: S3) -> None:
    one = host()
    for stop_at in range(1, 9):
        puts = 0

        def fault(method: str, path: str, stop_at: int = stop_at) -> str | None:
            nonlocal puts
            puts += method == "PUT" and "locks/" not in path
            return "500" if puts > stop_at and "locks/" not in path else None

        before, s3.fault = numbers(one.home), fault
        try:
            write(one.home, 10 + stop_at)
            done = True
        except StoreError:
            done = False
        s3.fault = lambda _method, _path: None
        if stop_at % 3:  # goes on there, or its disk is lost
            one.pull()
        else:
            one = host()
        assert numbers(one.home) == ([10 + stop_at] if done else before)
        assert not ledger.examine(one.home)[1]
        if done:
            break
    else:
        pytest.fail("it was never written")
    with alone(one.home, ""):
        one.clear_left_behind()
    folder = Lake.of(one.home).folder("rate_estimates", "m").relative_to(one.home).as_posix()
    left = {n.split("/")[3] for n in one.bucket.states(folder) if "/run=" in n}
    assert left == set(Lake.of(one.home).versions("rate_estimates", "m"))


def test_answers_go_up_while_they_come_and_the_next_host_has_them(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = host(), host()
    path, theirs = (journal_file(h.home, "grades", "m") for h in (one, other))
    with open_journal(path) as journal:
        journal.put(answer(1))
        journal.sync()
        assert any(b"answer 1" in one.bucket.get(n).content for n in one.bucket.states("journal"))
        with (
            pytest.raises(ProjectError, match="another host"),
            open_journal(theirs),
        ):
            pass
        journal.put(answer(2))
    with open_journal(theirs) as journal:
        assert all(answer(n)["key"] in journal for n in range(3))
        journal.put(answer(3))
    with open_journal(path) as journal:
        assert journal.get(answer(3)["key"]) == answer(3)
    assert not caplog.records


def test_a_lost_host_loses_what_it_had_not_sent_and_brings_it_when_it_comes_back(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = host(), host()
    path, theirs = (journal_file(h.home, "grades", "m") for h in (one, other))
    with pytest.raises(ProjectError, match="was lost"), open_journal(path) as journal:
        assert journal._sender is not None
        journal.put(answer(1))
        journal._sender.send(path.stat().st_size)
        journal._sender._stop()  # no segment and no sign of life any more
        journal.put(answer(2))
        other.leases._clock = lambda: time.time() + 100
        with open_journal(theirs) as later:
            assert answer(1)["key"] in later
            assert answer(2)["key"] not in later
            later.put(answer(3))
        assert "was lost while it asked" in caplog.text
        assert "its start" not in caplog.text
        one.leases.renew()
        journal.put(answer(4))
        journal.sync()
    with open_journal(path) as again:
        assert all(answer(n)["key"] in again for n in range(5))
    with open_journal(theirs) as later:
        assert later.get(answer(2)["key"]) == answer(2)


def test_a_journal_put_away_is_put_away_everywhere(host: Host) -> None:
    one, other = host(), host()
    path, theirs = (journal_file(h.home, "grades", "m") for h in (one, other))
    with open_journal(path) as journal:
        journal.put(answer(1))
    set_aside(path)
    with open_journal(theirs) as journal:
        assert answer(0)["key"] not in journal
        assert answer(1)["key"] not in journal
        journal.put(answer(2))
    with open_journal(path) as journal:
        assert answer(2)["key"] in journal
        assert answer(1)["key"] not in journal
    assert sum(".replaced" in name for name in one.bucket.states("journal")) == 1


@pytest.mark.parametrize("killed", [False, True])
def test_what_is_withdrawn_goes_from_the_bucket_and_from_every_host(
    host: Host, s3: S3, *, killed: bool
) -> None:
    one, other = host(), host()
    plan: dict[str, Any] = {
        "users": [], "conversations": [], "user_keys": [], "conversation_keys": [],
        "prefixes": [], "answers": [answer(1)["key"]], "log_lines": {}, "files": {},
    }  # fmt: skip
    for home in (one.home, other.home):
        with open_journal(journal_file(home, "grades", "m")) as journal:
            journal.put(answer(1))
            journal.put(answer(2))
    save_plan(other.home, plan)
    for stop_at in range(9 if killed else 0):
        changes = 0

        def fault(method: str, path: str, stop_at: int = stop_at) -> str | None:
            nonlocal changes
            changes += method in ("PUT", "DELETE", "POST") and "locks/" not in path
            return "500" if changes > stop_at and "locks/" not in path else None

        s3.fault = fault
        try:
            with alone(other.home, ""), nobody_asks(other.home, ""):
                Removal(Lake.of(other.home), plan).journals()
            assert stop_at > 1
            break
        except ProjectError:
            s3.fault = lambda _method, _path: None
        # goes on there, or on a host that knows of it by the bucket alone
        other = other if stop_at % 2 else host()
        other.pull()
        plan = load_plan(other.home) or {}
    s3.fault = lambda _method, _path: None
    with alone(other.home, ""), nobody_asks(other.home, ""):
        Removal(Lake.of(other.home), plan).journals()
        drop_plan(other.home)
    held = [one.bucket.get(name).content for name in one.bucket.states("journal")]
    assert not any(b"answer 1" in content for content in held)
    for home in (one.home, host().home):
        with open_journal(journal_file(home, "grades", "m")) as journal:
            assert answer(1)["key"] not in journal
            assert answer(2)["key"] in journal
        assert b"answer 1" not in journal_file(home, "grades", "m").read_bytes()
    one.pull()
    assert load_plan(one.home) is None


def test_what_a_lost_host_never_sent_does_not_come_back_after_a_withdrawal(host: Host) -> None:
    one, other = host(), host()
    path = journal_file(one.home, "grades", "m")
    for withdrawn in (False, True):
        with open_journal(path) as journal:
            journal.put(answer(1))
        with path.open("ab") as file:  # as who is killed before a segment leaves it
            file.write(framed(orjson.dumps(answer(2 + withdrawn))))
        if withdrawn:
            Withdrawals(frozenset(("u",))).save(other.home)
            one.pull()
        with open_journal(path) as journal:
            assert answer(1)["key"] in journal
            assert (answer(2 + withdrawn)["key"] in journal) is not withdrawn
        held = [one.bucket.get(name).content for name in one.bucket.states("journal")]
        assert any(b"answer 2" in content for content in held)
        assert not any(b"answer 3" in content for content in held)


def test_versions_that_nothing_rests_on_go_everywhere(host: Host) -> None:
    one, other = host(), host()
    for number in (1, 2):
        Lake.of(one.home).write("raw_logs", "m", pl.DataFrame({"n": [number]}))
    other.pull()
    going = list(collectable(Lake.of(other.home)))
    assert len(going) == 1
    collect(Lake.of(other.home), going)
    one.pull()
    assert not (one.home / going[0]).exists()
    assert not one.bucket.states(going[0])
    assert numbers(one.home, "raw_logs") == [2]


def test_locks_hold_among_hosts(host: Host) -> None:
    one, other = host(), host()
    with asking(one.home), pytest.raises(ProjectError, match="on another host"):
        nobody_asks(other.home, "try").__enter__()
    with alone(one.home, "try"), pytest.raises(ProjectError, match="on another host"):
        alone(other.home, "try").__enter__()
    with adding(one.home), adding(other.home):
        pass
    held = partition_lease(one.home, "grades", "m", "r", print)
    told: list[str] = []
    with pytest.raises(ProjectError, match="still being made by"):
        partition_lease(other.home, "grades", "m", "r", told.append, longest=0.2)
    assert "another host" in told[0]
    held.end()
    partition_lease(other.home, "grades", "m", "r", print).end()


def test_a_home_in_a_bucket_comes_out_as_a_copy_and_is_written_over_by_none(
    host: Host, tmp_path: Path
) -> None:
    one = host()
    write(one.home, 2)
    with open_journal(journal_file(one.home, "grades", "m")) as journal:
        journal.put(answer(1))
    with pytest.raises(ProjectError, match="hosts work in it"):
        copy_home(str(tmp_path / "home"), one.where, vouched, (KEYS,), lambda _: None)
    copy_home(one.where, str(tmp_path / "out"), vouched, (KEYS,), lambda _: None)
    assert numbers(tmp_path / "out") == [2]
    with open_journal(journal_file(tmp_path / "out", "grades", "m")) as journal:
        assert answer(1)["key"] in journal


def test_no_host_makes_keys_of_its_own(host: Host) -> None:
    one = host()
    with pytest.raises(ProjectError, match="makes no keys"):
        load_keys(one.home, may_create=True)
    assert not any(KEYS in name for name in one.bucket.states())


def test_what_is_no_home_is_not_worked_in(s3: S3, host: Host, tmp_path: Path) -> None:
    empty = s3.url(uuid.uuid4().hex)
    with pytest.raises(ProjectError, match="holds no home"):
        homes.opened(empty)
    begun = s3.url(uuid.uuid4().hex)
    s3.fault = lambda method, path: "500" if "part-0" in path else None
    with pytest.raises(StoreError):
        copy_home(str(tmp_path / "home"), begun, vouched, (KEYS,), lambda _: None)
    with pytest.raises(ProjectError, match="holds no home|begun and is not whole"):
        homes.opened(begun)
    s3.fault = lambda _method, _path: None
    copy_home(str(tmp_path / "home"), begun, vouched, (KEYS,), lambda _: None)
    one = host()
    shutil.rmtree(one.home)
    assert numbers(host().home) == [1]


def test_a_file_that_is_edited_on_one_host_goes_to_the_bucket_or_nothing_goes_on(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = host(), host()
    monkeypatch.setenv("DEPLOYSIM_HOME", one.where)
    monkeypatch.setenv(homes.CACHE, str(one.home.parent))
    config = one.home / "deploysim.yaml"
    changed = config.read_text() + "\n"
    config.write_text(changed)
    with pytest.raises(ProjectError, match="was edited here"):
        one.pull()
    with pytest.raises(ProjectError, match="was edited here"):
        Lake.of(one.home).during(Run("r"))
    done = CliRunner().invoke(main, ["home", "put", str(config)])
    assert done.exit_code == 0, done.output
    for mirror in (one, other):
        mirror.pull()
        assert (mirror.home / "deploysim.yaml").read_text() == changed
    (tmp_path / "new.jsonl").write_text("{}")
    done = CliRunner().invoke(main, ["home", "put", str(tmp_path / "new.jsonl"), "l/new.jsonl"])
    other.pull()
    assert (other.home / "l" / "new.jsonl").read_text() == "{}"
    for name in ("ledger/00000009.json", "../x", KEYS, "home.json", "locks/x", ".env"):
        done = CliRunner().invoke(main, ["home", "put", str(tmp_path / "new.jsonl"), name])
        assert done.exit_code == 64, (name, done.output)


def test_what_others_put_beside_it_harms_no_host(host: Host) -> None:
    import obstore

    one = host()
    (one.home / KEYS).write_text("mine")
    obstore.put(one.bucket._store, "m/", b"")  # as a store's console makes a folder
    one.bucket.send(KEYS, [b"theirs"])
    one.bucket.send(".env", [b"theirs"])
    one.pull()
    assert (one.home / KEYS).read_text() == "mine"
    assert not (one.home / ".env").exists()
    one.bucket.send("m/1.jsonl", [b"{}"])
    for mirror in (one, host()):
        mirror.pull()
        assert (mirror.home / "m" / "1.jsonl").read_text() == "{}"
    assert numbers(one.home) == [1]


def test_a_table_that_is_damaged_in_the_bucket_comes_down_on_no_host(host: Host) -> None:
    one = host()
    part = next(n for n in one.bucket.states("lake") if "part-0" in n)
    content = one.bucket.get(part).content
    one.bucket.send(part, [content[:-1] + b"x"])
    with pytest.raises(ProjectError, match="not as it was written"):
        host()
    one.bucket.delete(part)
    with pytest.raises(ProjectError, match="is missing"):
        host()
    one.bucket.send(part, [content])
    assert numbers(host().home) == [1]


def test_a_run_of_a_lost_host_is_left_behind_once_its_lease_is_over_and_no_sooner(
    host: Host, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "LOOK_THERE_EVERY", 0.0)
    one, other = host(), host()
    with leases.run_lease(one.home, "ended"):
        assert not leases.runs_left_behind(other.home)
    assert not [o for o in one.bucket.list("locks") if "ended" in o.name]
    lost = leases.run_lease(one.home, "lost")
    lost.__enter__()
    # a host that is lost renews nothing
    held = dict(one.leases._held)
    one.leases._held.clear()
    for seconds in (0, 31, 60, 89):
        monkeypatch.setattr(other.leases, "_clock", lambda s=seconds: time.time() + s)
        assert not leases.runs_left_behind(other.home), seconds
    monkeypatch.setattr(other.leases, "_clock", lambda: time.time() + 91)
    assert set(leases.runs_left_behind(other.home)) == {"lost"}
    monkeypatch.setattr(one.leases, "_clock", lambda: time.time() + 91)
    assert not leases.runs_left_behind(one.home), "its process lives: it is not this host that died"
    s3.fault = lambda _method, _path: "500"
    assert not leases.runs_left_behind(other.home), "who cannot look knows nothing"
    s3.fault = lambda _method, _path: None
    one.leases._held.update(held)
    with pytest.raises(ProjectError, match="lease on runs/lost was lost"):
        write(one.home, 5)
    leases.settle(other.home, "lost")
    assert not leases.runs_left_behind(other.home)
    lost.__exit__(None, None, None)
