"""Withdrawals against runs, other commands, full disks and odd names, on a small home."""

import json
import multiprocessing
import resource
from collections.abc import Callable, Generator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from deploysim_assets.benchmarks.forget_kills import withdraw
from deploysim_assets.deidentify.keys import load_keys
from deploysim_assets.project import ProjectError
from deploysim_assets.schema import CONVERSATIONS, PREFIXES
from deploysim_assets.storage import disk, ledger
from deploysim_assets.storage.journal import framed, journal_file, lines, open_journal
from deploysim_assets.storage.locks import alone
from deploysim_assets.storage.manifests import Run
from deploysim_assets.storage.pages import pages
from deploysim_assets.storage.tables import Lake

ODD = 'Zoë "x\\y" / 4,\u2028'


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Conversations of four users in a log, as raw_logs and prefixes have them."""
    rule = {"grader": "rule", "rule": {"part": "reply", "regex": "x"}}
    logs = {"format": "openai_chat", "path": "logs/*.jsonl"}
    config = {
        "releases": [{"model_version": "m", "logs": logs}],
        "endpoint": {"base_url": "http://127.0.0.1:1/v1"},
        "behaviors": [{"name": "b", "definition": "d", **rule}],
    }
    (tmp_path / "deploysim.yaml").write_text(yaml.safe_dump(config))
    (tmp_path / "logs").mkdir()
    users = ["u1", ODD, "u12", "u1", "u2", ODD]
    logged = [
        {"conversation_id": f"c{i}", "user_id": user, "started_at": None, "messages": []}
        for i, user in enumerate(users)
    ]
    said = [json.dumps(one, ensure_ascii=bool(i % 2)) for i, one in enumerate(logged)]
    said.insert(3, '{"cut')
    (tmp_path / "logs" / "a.jsonl").write_text("\n".join(said) + "\n", encoding="utf-8")
    identify = load_keys(tmp_path, may_create=True).identify
    rows = [
        {"conversation_id": f"c{i}", "user_id": user, "log_file": "logs/a.jsonl",
         "log_line": i + 1 + (i >= 3)}
        for i, user in enumerate(users)
    ]  # fmt: skip
    lake = Lake.of(tmp_path)
    schema = pl.Schema({n: CONVERSATIONS[n] for n in rows[0]})
    rejects = pl.Schema({"file": pl.String, "line": pl.Int64, "reason": pl.String})
    with lake.new_version("raw_logs", "m", schema) as version:
        version.side_table("rejects", rejects)
        version.extend(pl.DataFrame(rows, schema=schema))
        version.add({"file": "logs/a.jsonl", "line": 4, "reason": "no JSON"}, "rejects")
    prefixes = [
        {"prefix_id": f"{i:032x}", "user_key": identify("user", user),
         "conversation_key": identify("conversation", f"c{i}")}
        for i, user in enumerate(users[:5])
    ]  # fmt: skip
    schema = pl.Schema({n: PREFIXES[n] for n in prefixes[0]})
    lake.write("deidentified_prefixes", "m", pl.DataFrame(prefixes, schema=schema))
    journal = journal_file(tmp_path, "grades", "m")
    journal.parent.mkdir(parents=True)
    about = [{"key": f"{i:064x}", "about": f"{i:032x}"} for i in range(5)]
    journal.write_bytes(b"".join(framed(json.dumps(one).encode()) for one in about))
    return tmp_path


def _users(home: Path) -> list[str]:
    return [row["user_id"] for row in Lake.of(home).rows("raw_logs", "m")]


def _content(home: Path) -> dict[str, bytes]:
    kept = (p for p in disk.files(home) if p.parent.name != "locks")
    return {p.relative_to(home).as_posix(): p.read_bytes() for p in kept}


def _logged(home: Path) -> list[str]:
    # only a line feed ends a line: what JSON does not escape would end others
    return (home / "logs/a.jsonl").read_text(encoding="utf-8").split("\n")[:-1]


def test_odd_names_and_parts_of_names_are_told_apart(home: Path) -> None:
    done, search = withdraw(home, "u1")
    assert search.found == {}
    assert sum(done.lines.values()) == 2
    assert _users(home) == [ODD, "u12", "u2", ODD]
    done, search = withdraw(home, ODD)
    assert search.found == {}
    assert _users(home) == ["u12", "u2"]
    assert [json.loads(one)["user_id"] for one in _logged(home) if one != '{"cut'] == ["u12", "u2"]
    for row in Lake.of(home).rows("raw_logs", "m"):
        assert json.loads(_logged(home)[row["log_line"] - 1])["user_id"] == row["user_id"]
    [reject] = Lake.of(home).rows("raw_logs", "m", table="rejects")
    assert _logged(home)[reject["line"] - 1] == '{"cut'
    kept = [json.loads(body)["key"] for body in lines(journal_file(home, "grades", "m"))]
    assert kept == [f"{i:064x}" for i in (2, 4)]


def test_who_is_unknown_or_has_no_prefix_is_forgotten_too(home: Path) -> None:
    done, search = withdraw(home, "nobody here")
    assert (done.rows, done.lines, search.found) == ({}, {}, {})
    records = ledger.read(home)
    withdraw(home, "u2")
    assert "u2" not in _users(home)
    assert len(ledger.read(home)) == len(records) + 1
    with pytest.raises(ProjectError, match="no log holds such an id"):
        withdraw(home, " ")


def test_a_page_loses_the_lines_of_who_withdraws_in_every_version_and_the_audit_knows(
    home: Path,
) -> None:
    from deploysim_assets.evidence.audit import HomeAudit

    lake = Lake.of(home)
    named = [f'<tr><td class="id">{i:032x}</td><td class="id">r{i}</td></tr>' for i in range(5)]
    for title in ("first", "second"):
        with lake.new_version(
            "release_report", "m", {"behavior": pl.String},
            seal=lambda made: ledger.append(home, "finding", "m", {"asset": "release_report"},
                                            made.seals),
        ) as version:  # fmt: skip
            version.page("report.html", "\n".join([f"<h1>{title}</h1>", *named, "<p>end</p>", ""]))
    done, search = withdraw(home, "u1")
    assert search.found == {}
    found = list(pages(lake))
    assert len(found) == 2
    for page in found:
        left = page.read_text(encoding="utf-8").splitlines()
        assert left[1:] == [named[1], named[2], named[4], "<p>end</p>"]
        assert done.rows[page.relative_to(home).as_posix()] == 2
    line = {"model_version": "m"}
    audit = HomeAudit(lake, {"m": line}, lambda _: {}, None, lambda p: p.asset == "release_report")
    assert list(audit.tables.faults()) == []
    found[0].write_text(found[0].read_text(encoding="utf-8") + named[0], encoding="utf-8")
    assert any("report.html" in str(fault) for fault in audit.tables.faults())


def test_a_log_that_grew_before_and_after_is_still_the_one_that_was_read(home: Path) -> None:
    from deploysim_assets.evidence.audit import HomeAudit

    log = home / "logs/a.jsonl"
    lake = Lake.of(home)
    frame = lake.scan("raw_logs", "m").collect()
    with lake.new_version("raw_logs", "m", frame.schema) as version:
        version.extend(frame)
        size = log.stat().st_size
        read = {"file": "logs/a.jsonl", "sha256": disk.sha256(log), "bytes": size, "lines": 7}
        version.log_files = [read]
    more = json.dumps({"conversation_id": "new", "user_id": "u12", "messages": []}) + "\n"
    for user in ("u1", "u2"):
        log.write_bytes(log.read_bytes() + more.encode())
        withdraw(home, user)
        log.write_bytes(log.read_bytes() + more.encode())
        faults = HomeAudit(lake, {}, lambda _: {}).whole().faults
        assert faults == []
    log.write_bytes(log.read_bytes().replace(b'"new"', b'"old"', 1)[5:])
    faults = HomeAudit(lake, {}, lambda _: {}).whole().faults
    assert [fault.file for fault in faults] == ["logs/a.jsonl"]


def _a_run(home: Path, pipe: Connection, how: str) -> None:
    """A run in a process of its own: reads, tells, waits, and then writes what it read."""
    view = Lake.of(home).during(Run("run"))
    frame = view.scan("raw_logs", "m").collect()
    try:
        if how == "asks before":
            with view.asking(), open_journal(journal_file(home, "grades", "other")):
                pipe.send("asking")
                pipe.recv()
        elif how == "asks after":
            pipe.send("read")
            pipe.recv()
            with view.asking():
                pipe.send("asked")
        else:
            with view.new_version("raw_logs", "m", frame.schema) as version:
                version.extend(frame)
                pipe.send("writing")
                pipe.recv()
        pipe.send("committed")
    except ProjectError as wrong:
        pipe.send(str(wrong))


@pytest.fixture
def run(home: Path) -> Generator[Callable[[str], Connection]]:
    context = multiprocessing.get_context("spawn")
    started: list[Any] = []

    def start(how: str) -> Connection:
        here, there = context.Pipe()
        started.append(context.Process(target=_a_run, args=(home, there, how)))
        started[-1].start()
        assert here.poll(60)
        here.recv()
        return here

    yield start
    for process in started:
        process.kill()
        process.join()


@pytest.mark.parametrize("how", ["writes", "asks after"])
def test_a_run_that_read_before_brings_nothing_back(
    home: Path, run: Callable[[str], Connection], how: str
) -> None:
    running = run(how)
    withdraw(home, "u1")
    running.send("go on")
    assert running.poll(60)
    assert "users withdrew while this ran" in running.recv()
    assert "u1" not in _users(home)
    assert not [p for p in (home / "lake").rglob("run=run*") if p.is_dir()]


def test_nothing_is_changed_while_a_run_asks_or_another_command_works(
    home: Path, run: Callable[[str], Connection]
) -> None:
    before = _content(home)
    running = run("asks before")
    asked = _content(home).keys() - before.keys()
    with pytest.raises(ProjectError, match="a run is asking a model"):
        withdraw(home, "u1")
    running.send("end")
    assert running.poll(60)
    assert running.recv() == "committed"
    with alone(home, "x"), pytest.raises(ProjectError, match="another command is changing"):
        withdraw(home, "u1")
    damaged = journal_file(home, "grades", "m")
    whole = damaged.read_bytes()
    damaged.write_bytes(b"x" + whole)
    with pytest.raises(ProjectError, match="damaged at byte 0"):
        withdraw(home, "u1")
    damaged.write_bytes(whole)
    after = _content(home)
    assert {name: after[name] for name in before} == before
    assert after.keys() - before.keys() == asked


def _on_a_full_disk(home: Path, pipe: Connection, bytes_left: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_left, resource.RLIM_INFINITY))
    try:
        withdraw(home, "u1")
        pipe.send("done")
    except ProjectError as wrong:
        pipe.send(str(wrong))


@pytest.mark.parametrize("bytes_left", [100, 1500])
def test_a_full_disk_stops_with_a_sentence_and_a_later_try_goes_on(
    home: Path, bytes_left: int
) -> None:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_on_a_full_disk, args=(home, there, bytes_left))
    process.start()
    assert here.poll(60)
    said = here.recv()
    process.join()
    assert "cannot be written" in said
    withdraw(home, *(() if (home / "withdrawal.plan.json").exists() else ("u1",)))
    assert "u1" not in _users(home)
    assert [path.name for path in (home / "logs").iterdir()] == ["a.jsonl"]
    assert sum(r.kind == "forget" for r in ledger.read(home)) == 1
