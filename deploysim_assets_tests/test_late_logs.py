"""Late logs: what is taken over from the version before is, byte for byte, what would be made from
nothing, and nobody who withdrew comes back with it."""

import gzip
import io
import json
import os
import random
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from deploysim_assets.assets import cleaned_before
from deploysim_assets.assets.deidentified_prefixes import clean_release
from deploysim_assets.assets.raw_logs import read_release
from deploysim_assets.assets.registry_lines import registry_line
from deploysim_assets.benchmarks.forget_kills import withdraw
from deploysim_assets.checks.corpus import prefixes_results
from deploysim_assets.deidentify import prefixes
from deploysim_assets.deidentify.keys import Keys, load_keys
from deploysim_assets.deidentify.scrub import Asked, Scrubber
from deploysim_assets.logs import conversations, files, reader
from deploysim_assets.project import ProjectError
from deploysim_assets.project.file import load_project
from deploysim_assets.storage import earlier, manifests, tables, versions
from deploysim_assets.storage.manifests import Run
from deploysim_assets.storage.tables import Lake
from deploysim_assets.storage.withdrawals import Withdrawals

MADE = ("raw_logs", "deidentified_prefixes")
FILES = ("a.jsonl", "b.jsonl", "c.jsonl", "d.jsonl", "e.jsonl")


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables of many files, and one scrubber for all of them."""
    monkeypatch.setattr(versions, "ROWS_PER_FILE", 6)
    monkeypatch.setattr(earlier, "ROWS_PER_FILE", 6)
    monkeypatch.setattr(versions, "BATCH", 2)
    monkeypatch.setattr(tables, "BATCH", 2)
    monkeypatch.setattr(cleaned_before, "BATCH", 3)
    monkeypatch.setattr(prefixes, "CHUNK", 10_000)
    known: dict[str, Scrubber] = {}

    def one(key: bytes, policy: Any) -> Scrubber:
        name = repr((key, policy))
        if name not in known:
            known[name] = Scrubber(key, policy)
        return known[name]

    monkeypatch.setattr(prefixes, "Scrubber", one)


def _config(home: Path, **more: Any) -> None:
    config = {
        "releases": [
            {"model_version": "m", "logs": {"format": "openai_chat", "path": "logs/*.jsonl"}}
        ],
        "endpoint": {"base_url": "http://127.0.0.1:1/v1"},
        "behaviors": [
            {
                "name": "b", "definition": "d", "grader": "rule",
                "rule": {"part": "reply", "regex": "x"},
            }
        ],
        "deidentification": {"min_level": 0},
    }  # fmt: skip
    (home / "deploysim.yaml").write_text(yaml.safe_dump(config | more))


def _line(number: int, state: int = 0) -> str:
    turns = 1 + number % 3
    said = [f"Write to jo.{number}@lindenhof.de, {state}", f"Noted, {number}."]
    if number % 7 == 3:
        said[0] = "x" * 400_000  # too long a message: quarantined
    line = {
        "conversation_id": f"c{number}",
        "user_id": f"u{number % 5}",
        "started_at": f"2026-05-{1 + number % 28:02}T10:00:00Z",
        "training_allowed": number % 11 != 5,
        "surface": ("web", "app")[number % 2],
        "messages": [
            {"role": role, "content": text}
            for _ in range(turns)
            for role, text in zip(("user", "assistant"), said, strict=True)
        ],
    }
    return json.dumps(line)


def _home(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "logs").mkdir(parents=True)
    _config(folder)
    load_keys(folder, may_create=True)
    return folder


def _view(home: Path, **settings: Any) -> Lake:
    line = registry_line(load_project(home), "m")
    return Lake.of(home).during(Run("run", "test", {"release": line, **settings}))


def _make(home: Path, keys: Keys | None = None) -> dict[str, dict[str, Any]]:
    """Both tables; what is said beside them."""
    project = load_project(home)
    keys = keys or load_keys(home, may_create=False)
    policy = project.deidentification.at(home)
    said = {"raw_logs": read_release(_view(home), project, "m")}
    with_what = project.part("deidentification") | {"keys": keys.mark}
    lake = _view(home, **with_what)
    return said | {"deidentified_prefixes": clean_release(lake, project, "m", keys, policy)}


def _content(home: Path) -> dict[str, Any]:
    found = {}
    for asset in MADE:
        manifest = Lake.of(home).manifest(asset, "m")
        assert manifest is not None
        stats = Lake.of(home).stats(asset, "m")
        del stats["reused"]
        stats.pop("raw_logs_version", None)
        found[asset] = (manifest.predicate["content"], manifest.predicate["log_files"], stats)
    return found


def _from_nothing(home: Path) -> dict[str, Any]:
    other = home.with_name(f"{home.name}-from-nothing")
    shutil.rmtree(other, ignore_errors=True)
    shutil.copytree(home, other, ignore=shutil.ignore_patterns("lake"))
    (other / "ledger").exists() and shutil.rmtree(other / "ledger")
    _make(other)
    return _content(other)


def _add(home: Path, draw: random.Random) -> None:
    number = draw.randrange(10_000)
    lines = [_line(number + i) for i in range(draw.randrange(1, 9))]
    (home / "logs" / draw.choice(FILES)).write_text("\n".join(lines) + "\n")


def _change(home: Path, draw: random.Random) -> None:
    file = draw.choice(sorted((home / "logs").iterdir()))
    lines = file.read_text().splitlines()
    lines[draw.randrange(len(lines))] = _line(draw.randrange(10_000), 1)
    file.write_text("\n".join(lines) + "\n")


def _remove(home: Path, draw: random.Random) -> None:
    there = sorted((home / "logs").iterdir())
    if len(there) > 1:
        draw.choice(there).unlink()


def _grow(home: Path, draw: random.Random) -> None:
    with draw.choice(sorted((home / "logs").iterdir())).open("a") as out:
        out.write(_line(draw.randrange(10_000)) + "\nbroken\n")


def _repeat(home: Path, draw: random.Random) -> None:
    """A conversation that stands in another file, too."""
    there = sorted((home / "logs").iterdir())
    line = draw.choice(draw.choice(there).read_text().splitlines() or [""])
    with draw.choice(there).open("a") as out:
        out.write(line + "\n")


def _policy(home: Path, draw: random.Random) -> None:
    _config(home, deidentification={"min_level": 0, "profile": draw.choice(("chat", "strict"))})


def _sample(home: Path, draw: random.Random) -> None:
    strata = {"by": "surface", "shares": {"web": 0.5, "app": 0.5}}
    design = draw.choice(
        ({"seed": draw.randrange(5)}, {"max_per_user": 3}, {"strata": strata}, {"max_prefixes": 5})
    )
    _config(home, sampling={"max_prefixes": 12} | design)


def _kill(home: Path, draw: random.Random) -> None:
    lake = _view(home)
    with pytest.raises(KeyboardInterrupt), lake.new_version("raw_logs", "m", {}) as version:
        version.page("page", "half")
        raise KeyboardInterrupt


def _forget(home: Path, draw: random.Random) -> None:
    withdraw(home, f"u{draw.randrange(5)}")


HAPPENS = (_add, _change, _remove, _grow, _repeat, _policy, _sample, _kill, _forget)
"""What may happen to a home between two makings."""


@given(st.lists(st.sampled_from(HAPPENS), min_size=1, max_size=4), st.integers(0, 2**32))
@settings(
    max_examples=5,
    deadline=None,
    phases=[Phase.generate],  # a failing case is small as it is
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_whatever_happens_in_between_the_tables_are_those_made_from_nothing(
    tmp_path: Path, happens: list[Callable[[Path, random.Random], None]], seed: int
) -> None:
    home, draw = _home(tmp_path / "home"), random.Random(seed)
    for name in FILES[:3]:
        _write(home, name, [draw.randrange(10_000) for _ in range(7)])
    _make(home)
    for change in happens:
        change(home, draw)
        _make(home)
        assert _content(home) == _from_nothing(home), (happens, change)


def _write(home: Path, name: str, numbers: Iterable[int]) -> None:
    (home / "logs" / name).write_text("\n".join(_line(n) for n in numbers) + "\n")


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A home with three files of seven conversations each, read and cleaned."""
    home = _home(tmp_path / "home")
    for i, name in enumerate(FILES[:3]):
        _write(home, name, range(10 * i, 10 * i + 7))
    _make(home)
    return home


def _cleaned(said: dict[str, dict[str, Any]]) -> int:
    """Conversations whose cleaning was taken over."""
    return (said["deidentified_prefixes"]["reused"] or {}).get("conversations", 0)


def test_only_what_is_new_is_read_and_cleaned(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, scrubbed = list[str](), list[str]()
    of_files, scrub_all = conversations.items, Scrubber.scrub_all

    def noted(files: Any, *rest: Any, **named: Any) -> Any:
        read.extend(file.name for file in files)
        return of_files(files, *rest, **named)

    def counted(self: Scrubber, asked: Sequence[Asked]) -> Any:
        scrubbed.extend(one.scope for one in asked)
        return scrub_all(self, asked)

    monkeypatch.setattr(conversations, "items", noted)
    monkeypatch.setattr(Scrubber, "scrub_all", counted)
    _write(made, "b2.jsonl", [106, 107])
    said = _make(made)
    assert read == ["logs/b2.jsonl"] and len(scrubbed) == 2
    assert said["raw_logs"]["reused"]["log_files"] == 3
    assert {log["file"] for log in said["raw_logs"]["log_files"]} == {
        f"logs/{name}" for name in ("a.jsonl", "b.jsonl", "b2.jsonl", "c.jsonl")
    }
    manifest = Lake.of(made).manifest("deidentified_prefixes", "m")
    assert manifest is not None
    assert [i.asset for i in manifest.inputs] == ["raw_logs"], "what was taken is no input"
    versions = [Lake.of(made).current(asset, "m") for asset in MADE]
    _make(made)
    assert [Lake.of(made).current(asset, "m") for asset in MADE] == versions
    assert read == ["logs/b2.jsonl"] and len(scrubbed) == 2


@pytest.mark.parametrize("what", ["policy", "key", "id key", "code", "libraries", "edited"])
def test_an_old_cleaning_is_not_taken_where_another_would_be_made(
    made: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    keys = load_keys(made, may_create=False)
    if what == "policy":
        _config(made, deidentification={"min_level": 0, "types": {"contact": "keep"}})
    elif what == "key":
        keys = keys._replace(surrogates=b"other" * 8)
    elif what == "id key":
        keys = keys._replace(ids=b"other" * 8)
    elif what == "code":
        monkeypatch.setattr(manifests, "code", lambda: {"files": "others"})
    elif what == "libraries":
        monkeypatch.setattr(manifests, "libraries", lambda: {"faker": "0"})
    else:
        lake = Lake.of(made)
        part = lake.folder("deidentified_prefixes", "m") / f"{lake.current(MADE[1], 'm')}"
        [first, *_] = sorted(part.glob("part-*.parquet"))
        other = pl.read_parquet(first).with_columns(surface=pl.lit("planted"))
        versions.write_part(other, first)
    said = _make(made, keys)
    assert _cleaned(said) == 0
    assert "planted" not in set(Lake.of(made).scan(MADE[1], "m").collect()["surface"])


def test_an_edited_raw_table_is_not_carried_into_the_next(made: Path) -> None:
    lake = Lake.of(made)
    folder = lake.folder("raw_logs", "m") / f"{lake.current('raw_logs', 'm')}"
    part = min(folder.glob("part-*.parquet"))
    versions.write_part(pl.read_parquet(part).with_columns(user_id=pl.lit("planted")), part)
    _write(made, "d.jsonl", [106])
    said = _make(made)
    assert said["raw_logs"]["reused"] is None
    assert "planted" not in set(lake.scan("raw_logs", "m").collect()["user_id"])


def test_who_withdrew_stays_away_and_the_others_are_not_cleaned_again(made: Path) -> None:
    keys = load_keys(made, may_create=False)
    _write(made, "d.jsonl", range(100, 105))
    withdraw(made, "u1")
    said = _make(made)
    lake = Lake.of(made)
    assert said["raw_logs"]["reused"] is None, "files are read again after a withdrawal"
    assert _cleaned(said) > 0
    assert "u1" not in set(lake.scan("raw_logs", "m").collect()["user_id"])
    assert keys.identify("user", "u1") not in set(lake.scan(MADE[1], "m").collect()["user_key"])
    _write(made, "e.jsonl", [201, 202])  # one of theirs among them
    assert _make(made)["raw_logs"]["reused"] is not None
    assert "u1" not in set(lake.scan("raw_logs", "m").collect()["user_id"])
    assert _content(made) == _from_nothing(made)


def test_a_restored_table_brings_nobody_back_who_is_on_the_list(made: Path) -> None:
    """Tables and ledger of a backup from before a withdrawal, and the list from after it."""
    keys = load_keys(made, may_create=False)
    Withdrawals(frozenset({keys.identify("user", "u1")})).save(made)
    _write(made, "d.jsonl", [106])
    _make(made)
    assert "u1" not in set(Lake.of(made).scan("raw_logs", "m").collect()["user_id"])
    assert _content(made) == _from_nothing(made)


def test_a_raw_table_that_is_gone_or_damaged_costs_a_cleaning_and_no_more(made: Path) -> None:
    lake = Lake.of(made)
    folder = lake.folder("raw_logs", "m") / f"{lake.current('raw_logs', 'm')}"
    _write(made, "a0.jsonl", [106])  # so that every file of the table is another one
    read_release(_view(made), load_project(made), "m")
    min(folder.glob("part-*.parquet")).unlink()
    max(folder.glob("part-*.parquet")).write_bytes(b"PAR1")
    _make(made)
    assert _content(made) == _from_nothing(made)


def test_a_withdrawal_reaches_files_that_two_versions_share(made: Path) -> None:
    _write(made, "d.jsonl", [106])
    _make(made)
    lake = Lake.of(made)
    shared = [
        p for p in lake.folder("raw_logs", "m").glob("run=*/*.parquet") if p.stat().st_nlink > 1
    ]
    assert shared
    withdraw(made, "u1")
    for asset in MADE:
        for version in lake.versions(asset, "m"):
            frame = lake.scan(asset, "m", version).collect()
            assert "u1" not in set(frame.get_column("user_id", default=pl.Series([""])))


def test_a_log_that_is_rewritten_while_it_is_read_is_refused(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_files = conversations.items

    def rewritten(files: Any, *rest: Any, **named: Any) -> Any:
        yield from of_files(files, *rest, **named)
        text = (made / "logs" / "d.jsonl").read_text()
        (made / "logs" / "d.jsonl").write_text(text.replace("jo.106", "jo.996"))

    monkeypatch.setattr(conversations, "items", rewritten)
    _write(made, "d.jsonl", [106])
    with pytest.raises(ProjectError, match=r"d\.jsonl: was changed while it was read"):
        _make(made)


def _while_put_in(path: Path, other: bytes, run: Callable[[], object]) -> None:
    """Run something while a file holds something else, of which its times tell nothing after."""
    was, times = path.read_bytes(), path.stat()
    path.write_bytes(other)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    try:
        run()
    finally:
        path.write_bytes(was)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.parametrize("name", ["d.jsonl", "d.jsonl.gz", "broken.jsonl.gz"])
def test_a_log_that_is_changed_and_put_back_while_it_is_read_is_refused(
    name: str, tmp_path: Path
) -> None:
    def packed(number: int) -> bytes:
        text = "\n".join(_line(n) for n in range(number, number + 40)).encode()
        whole = gzip.compress(text, mtime=0) if name.endswith("gz") else text
        return whole[:-9] if name.startswith("broken") and number else whole

    path = tmp_path / name
    path.write_bytes(packed(0))
    (file,) = files.log_files(tmp_path, name)
    said = {file.path: files.digest(file)}
    read = reader("openai_chat")
    assert len(list(conversations.items([file], read, said=said))) == 40

    def run() -> None:
        with pytest.raises(ProjectError, match="was changed while it was read"):
            list(conversations.items([file], read, said=said))

    _while_put_in(path, packed(100), run)


def test_a_parquet_log_that_is_changed_and_put_back_is_not_read(tmp_path: Path) -> None:
    rows = {"conversation_id": ["a", "b"], "conversation": [[{"role": "user", "content": "x"}]] * 2}
    path = tmp_path / "d.parquet"
    pl.DataFrame(rows).write_parquet(path)
    (file,) = files.log_files(tmp_path, "d.parquet")
    said = {file.path: files.digest(file)}
    assert len(list(conversations.items([file], reader("lmsys"), said=said))) == 2
    other = path.read_bytes()[:-1] + b"2"

    def run() -> None:
        with pytest.raises(ProjectError, match="was changed while it was read"):
            list(conversations.items([file], reader("lmsys"), said=said))

    _while_put_in(path, other, run)


def test_a_raw_table_that_is_changed_and_put_back_is_not_cleaned(made: Path) -> None:
    lake = Lake.of(made)
    folder = lake.folder("raw_logs", "m") / f"{lake.current('raw_logs', 'm')}"
    part = min(folder.glob("part-*.parquet"))
    planted = io.BytesIO()
    pl.read_parquet(part).with_columns(user_id=pl.lit("planted")).write_parquet(planted)
    project, keys = load_project(made), load_keys(made, may_create=False)

    def run() -> None:
        with pytest.raises(ProjectError, match="is not as it was written"):
            clean_release(_view(made), project, "m", keys, project.deidentification.at(made))

    _while_put_in(part, planted.getvalue(), run)


def test_the_canaries_of_a_table_are_believed_only_as_its_manifest_has_them(made: Path) -> None:
    project, lake = load_project(made), Lake.of(made)

    def verdict() -> bool | None:
        found = {r.check_name: r.passed for r in prefixes_results(project, lake, "m")}
        return found["canary_recall"]

    assert verdict() is True
    stats = lake.folder(MADE[1], "m") / f"{lake.current(MADE[1], 'm')}" / versions.STATS
    said = json.loads(stats.read_text())
    assert said["canaries"]["planted"] >= 300 and said["canaries"]["caught"] > 0
    better = said | {"canaries": {"planted": 900, "caught": 900}}

    def run() -> None:
        with pytest.raises(ProjectError, match="is not as it was written"):
            verdict()

    _while_put_in(stats, json.dumps(better).encode(), run)
