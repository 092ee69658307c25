"""Does the audit name every single change to a finished home, and pass every untouched one?

    python -m deploysim_assets.benchmarks.tampering --trials 500 --seed 1

builds a finished home (forecast, registered again, shipped, scored, somebody forgotten, late logs),
changes one random thing in a copy of it, audits the copy, and asks whether a fault names what was
changed; then audits copies that were moved, touched, restored, and resumed after a kill.
"""

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import polars as pl
import yaml

from deploysim_assets.assets.home_audit import audit_home
from deploysim_assets.evidence.findings import Audit
from deploysim_assets.project import CONFIG_FILE
from deploysim_assets.project.file import load_project
from deploysim_assets.storage.journal import framed, lines
from deploysim_assets.storage.journals import answer_digests, journal_files
from deploysim_assets.storage.manifests import MANIFEST
from deploysim_assets.storage.statements import canonical
from deploysim_assets.storage.tables import ANSWERS, POINTER, Lake
from deploysim_assets.storage.versions import STATS, scan_folder
from deploysim_assets.storage.withdrawals import WITHDRAWALS_FILE


class Change(NamedTuple):
    """What was changed, and words of which at least one must stand in a fault."""

    kind: str
    named: tuple[str, ...]


class CommandLine(Protocol):
    """Runs a command to its end, and raises where that is not 0."""

    def __call__(self, command: list[str], env: dict[str, str], cwd: Path) -> object: ...


def _as_a_process(command: list[str], env: dict[str, str], cwd: Path) -> None:
    import subprocess

    subprocess.run(command, env=env, cwd=cwd, check=True, capture_output=True)  # noqa: S603


def _deploysim(home: Path, run: CommandLine, *arguments: str) -> None:
    script = Path(sys.executable).parent / "deploysim"
    # PYTHONPATH: the command line of this checkout, not of another one that is installed
    here = {"DEPLOYSIM_HOME": str(home), "PYTHONPATH": str(Path(__file__).parents[2])}
    environment = os.environ | here
    environment.pop("DAGSTER_HOME", None)
    run([str(script), *arguments], environment, home)


def scored_home(
    home: Path, conversations: int = 60, seed: int = 3, run: CommandLine = _as_a_process
) -> None:
    """A home with a release that was forecast, registered again, forecast again, shipped and
    scored, made through the command line."""
    from deploysim_assets.cli.demo import ship, synthetic_endpoint, write_project

    home.mkdir(parents=True, exist_ok=True)
    start = datetime.now(UTC) - timedelta(days=3)
    with synthetic_endpoint(seed) as base_url:
        write_project(home, base_url, conversations)
        ship(home, "aurora-1", conversations, seed, start, timedelta(minutes=1))
        _deploysim(home, run, "forecast", "aurora-2")
        behaviors = yaml.safe_load((home / "behaviors.yaml").read_text())
        behaviors[0]["rubric"] = "Two needless questions are one flag."
        (home / "behaviors.yaml").write_text(yaml.safe_dump(behaviors))
        _deploysim(home, run, "register", "aurora-2", "--reason", "the rubric was ambiguous")
        _deploysim(home, run, "forecast", "aurora-2")
        ship(home, "aurora-2", conversations, seed, datetime.now(UTC), timedelta(microseconds=50))
        _deploysim(home, run, "backfill", "aurora-2")


def grown(
    home: Path, seed: int = 3, run: CommandLine = _as_a_process, *, forgotten: bool = True
) -> None:
    """Somebody of a scored home is forgotten, and late logs are read and scored."""
    from deploysim_assets.cli.demo import synthetic_endpoint

    with synthetic_endpoint(seed) as base_url:
        config = yaml.safe_load((home / CONFIG_FILE).read_text())
        config["endpoint"]["base_url"] = base_url
        (home / CONFIG_FILE).write_text(yaml.safe_dump(config, sort_keys=False))
        if forgotten:
            logged = json.loads((home / "logs/aurora-1/traffic.jsonl").read_text().splitlines()[0])
            _deploysim(home, run, "forget", "--user-id", logged["user_id"])
        late = home / "logs" / "aurora-2" / "late.jsonl"
        lines_of = (home / "logs/aurora-2/traffic.jsonl").read_text().splitlines()
        more = [json.loads(line) for line in lines_of[:5]]
        for i, row in enumerate(more):
            row |= {"conversation_id": f"late-{i}", "user_id": f"late-user-{i}"}
        late.write_text("".join(json.dumps(row) + "\n" for row in more))
        _deploysim(home, run, "backfill", "aurora-2")


def finished_home(home: Path, seed: int = 3, *, forgotten: bool = True) -> None:
    """A home with everything that an audit walks over, made through the command line."""
    scored_home(home, seed=seed)
    grown(home, seed, forgotten=forgotten)


def audited(home: Path) -> Audit:
    """The audit of a home, in this process."""
    project = load_project(home)
    return audit_home(project, Lake(project.home / "lake"))


def copy_of(home: Path, target: Path) -> Path:
    """A copy of a home without Dagster's own files, which no audit reads."""
    shutil.copytree(home, target, ignore=shutil.ignore_patterns(".dagster"))
    return target


def _whole_tables(lake: Lake) -> list[tuple[str, str | None, Path]]:
    return [found for found in lake.tables() if (_version(found[2]) / MANIFEST).exists()]


def _version(folder: Path) -> Path:
    return folder if folder.name.startswith("run=") else folder.parent


def _evidence_files(home: Path) -> list[Path]:
    lake = [p for p in (home / "lake").rglob("*") if p.is_file()]
    ledger = [p for p in (home / "ledger").iterdir() if p.is_file()]
    logs = list((home / "logs").rglob("*.jsonl"))
    return sorted([*lake, *ledger, *logs, home / WITHDRAWALS_FILE])


def _about(home: Path, path: Path) -> tuple[str, ...]:
    if path.is_relative_to(home / "lake"):
        return (path.relative_to(home / "lake").parts[0],)
    return (path.name, "record")


def flip_a_byte(home: Path, rng: random.Random) -> Change:
    """One bit of one file."""
    path = rng.choice([p for p in _evidence_files(home) if p.stat().st_size])
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    return Change("byte flipped", _about(home, path))


def truncate_a_file(home: Path, rng: random.Random) -> Change:
    """The end of one file."""
    path = rng.choice([p for p in _evidence_files(home) if p.stat().st_size > 1])
    path.write_bytes(path.read_bytes()[: rng.randrange(path.stat().st_size)])
    return Change("file truncated", _about(home, path))


def remove_a_file(home: Path, rng: random.Random) -> Change:
    """One file gone; a log that is gone is no fault: its owner may rotate it."""
    path = rng.choice([p for p in _evidence_files(home) if not p.is_relative_to(home / "logs")])
    path.unlink()
    return Change("file removed", _about(home, path))


def add_a_file(home: Path, rng: random.Random) -> Change:
    """One file more, beside others of the lake or the ledger."""
    beside = rng.choice([p for p in _evidence_files(home) if not p.is_relative_to(home / "logs")])
    if beside.parent == home:
        beside = next((home / "ledger").iterdir())
    path = beside.with_name(rng.choice(["part-09999.parquet", "notes.txt", f"copy-{beside.name}"]))
    path.write_bytes(beside.read_bytes())
    return Change("file added", (*_about(home, path), path.name))


def _edited(frame: pl.DataFrame, rng: random.Random) -> pl.DataFrame | None:
    """The frame with one value changed, or None where nothing in it can be."""
    for name in rng.sample(frame.columns, len(frame.columns)):
        dtype, row = frame.schema[name], rng.randrange(frame.height)
        value = frame[name][row]
        if dtype.is_integer():
            new: Any = 0 if value is None else int(value) + 1
        elif dtype.is_float():
            new = 0.123 if value is None else float(value) * 1.5 + 0.001
        elif dtype == pl.Boolean:
            new = not value
        elif dtype == pl.String:
            new = f"{value or ''}x"
        else:
            continue
        values = frame[name].to_list()
        values[row] = new
        try:
            return frame.with_columns(pl.Series(name, values, dtype=dtype))
        except (pl.exceptions.PolarsError, OverflowError):
            continue
    return None


def _with_rows(lake: Lake, rng: random.Random, least: int) -> Iterator[tuple[str, Path]]:
    tables = _whole_tables(lake)
    for asset, _, folder in rng.sample(tables, len(tables)):
        for part in sorted(folder.glob("part-*.parquet")):
            if scan_folder(folder).select(pl.len()).collect().item() >= least:
                yield asset, part
                break


def swap_two_rows(home: Path, rng: random.Random) -> Change:
    """Two rows of a table in each other's place, in valid Parquet."""
    for asset, part in _with_rows(Lake(home / "lake"), rng, 2):
        frame = pl.read_parquet(part, hive_partitioning=False)
        other = frame[[1, 0, *range(2, frame.height)]]
        if frame.height > 1 and not other.equals(frame):
            other.write_parquet(part, compression="zstd")
            return Change("two rows swapped", (asset,))
    raise AssertionError("no table has two rows")


def edit_a_value(home: Path, rng: random.Random) -> Change:
    """One value of a table, in valid Parquet."""
    for asset, part in _with_rows(Lake(home / "lake"), rng, 1):
        edited = _edited(pl.read_parquet(part, hive_partitioning=False), rng)
        if edited is not None:
            edited.write_parquet(part, compression="zstd")
            return Change("value edited", (asset,))
    raise AssertionError("no table has a value to edit")


def edit_a_value_and_all_around_it(home: Path, rng: random.Random) -> Change:
    """One value of a current table, its manifest made anew and its pointer rewritten to it."""
    import hashlib

    lake = Lake(home / "lake")
    for asset, part in _with_rows(lake, rng, 1):
        version = _version(part.parent)
        pointer = version.parent / POINTER
        held = json.loads(pointer.read_bytes())
        if held["version"] != version.name:
            continue
        edited = _edited(pl.read_parquet(part, hive_partitioning=False), rng)
        if edited is None:
            continue
        edited.write_parquet(part, compression="zstd")
        statement = json.loads((version / MANIFEST).read_bytes())
        name = part.relative_to(home).as_posix()
        for subject in statement["subject"]:
            if subject["name"] == name:
                subject["digest"]["sha256"] = hashlib.sha256(part.read_bytes()).hexdigest()
        forged = canonical(statement)
        (version / MANIFEST).write_bytes(forged)
        pointer.write_text(json.dumps(held | {"manifest": hashlib.sha256(forged).hexdigest()}))
        return Change("value edited, manifest and pointer rewritten", (asset,))
    raise AssertionError("no current table has a value to edit")


def edit_the_stats(home: Path, rng: random.Random) -> Change:
    """One count beside a table."""
    version = _version(rng.choice(_whole_tables(Lake(home / "lake")))[2])
    held = json.loads((version / STATS).read_bytes())
    (version / STATS).write_text(json.dumps(held | {"failed": 12345}))
    return Change("stats edited", (version.relative_to(home / "lake").parts[0],))


def set_a_pointer_back(home: Path, rng: random.Random) -> Change:
    """A pointer to an older version of its table."""
    import hashlib

    lake = Lake(home / "lake")
    older: list[tuple[str, Path]] = []
    for asset, _, folder in lake.places():
        held = json.loads((folder / POINTER).read_bytes())
        whole = (p.parent for p in folder.glob(f"run=*/{MANIFEST}"))
        older += [(asset, v) for v in whole if v.name != held["version"]]
    asset, version = rng.choice(sorted(older))
    digest = hashlib.sha256((version / MANIFEST).read_bytes()).hexdigest()
    pointer = {"version": version.name, "manifest": digest, "written_at": "2026-01-01T00:00:00Z"}
    (version.parent / POINTER).write_text(json.dumps(pointer))
    return Change("pointer set back", (asset,))


def remove_a_record(home: Path, rng: random.Random) -> Change:
    """One record of the ledger, the newest included."""
    path = rng.choice(sorted((home / "ledger").iterdir()))
    path.unlink()
    return Change("ledger record removed", ("record", "ledger"))


def remove_the_newest_records(home: Path, rng: random.Random) -> Change:
    """The end of the ledger."""
    for path in sorted((home / "ledger").iterdir())[-rng.randint(1, 3) :]:
        path.unlink()
    return Change("newest records removed", ("record", "ledger"))


def edit_the_registry(home: Path, rng: random.Random) -> Change:
    """A release renamed, removed, or with another predecessor or other logs."""
    config = yaml.safe_load((home / CONFIG_FILE).read_text())
    releases = config["releases"]
    how = rng.choice(["renamed", "predecessor", "logs", "removed"])
    if how == "renamed":
        releases[1]["model_version"] = "aurora-2b"
        releases[2]["predecessor"] = "aurora-2b"
    elif how == "predecessor":
        releases[1]["predecessor"], releases[1]["candidate"] = None, None
        releases[1].pop("candidate")
    elif how == "logs":
        releases[rng.randrange(2)]["logs"]["path"] = "elsewhere/*.jsonl"
    else:
        config["releases"] = [releases[0]]
    (home / CONFIG_FILE).write_text(yaml.safe_dump(config, sort_keys=False))
    return Change(f"registry: {how}", ("deploysim.yaml",))


def _cited(home: Path) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for asset, _, folder in Lake(home / "lake").tables():
        if folder.name == ANSWERS:
            found.setdefault(asset, set()).update(scan_folder(folder).collect()["key"])
    return found


def change_an_answer(home: Path, rng: random.Random) -> Change:
    """One answer that a table was made from, gone from its journal or another one there."""
    import orjson

    cited = _cited(home)
    asset = rng.choice(sorted(a for a in cited if cited[a]))
    key = rng.choice(sorted(cited[asset] & {key for key, _ in answer_digests(home, asset)}))
    drop = rng.random() < 0.5
    for path in journal_files(home, asset):
        kept: list[bytes] = []
        for body in lines(path):
            answer = orjson.loads(body)
            if answer["key"] != key:
                kept.append(framed(body))
            elif not drop:
                kept.append(framed(orjson.dumps(answer | {"content": "another answer"})))
        path.write_bytes(b"".join(kept))
    return Change("answer dropped" if drop else "answer edited", (asset,))


def remove_a_journal(home: Path, rng: random.Random) -> Change:
    """A whole journal with answers that a table was made from."""
    cited = _cited(home)
    mine = [p for p in journal_files(home) if cited.get(p.parent.name)]
    path = rng.choice([p for p in mine if p.suffix == ".jsonl" and p.stat().st_size])
    path.unlink()
    return Change("journal removed", (path.parent.name,))


def edit_a_log_line(home: Path, rng: random.Random) -> Change:
    """One word of one line of a log that was read."""
    path = rng.choice(sorted((home / "logs").rglob("*.jsonl")))
    rows = path.read_text().splitlines()
    at = rng.randrange(len(rows))
    row = json.loads(rows[at])
    row["messages"][0]["content"] += " indeed"
    rows[at] = json.dumps(row)
    path.write_text("\n".join(rows) + "\n")
    return Change("log line edited", (path.name,))


def edit_the_withdrawals(home: Path, rng: random.Random) -> Change:
    """Somebody who withdrew taken off the list, or put on it."""
    path = home / WITHDRAWALS_FILE
    held = json.loads(path.read_bytes())
    if rng.random() < 0.5:
        held["users"] = held["users"][1:]
    else:
        held["conversations"].append("0" * 32)
    path.write_text(json.dumps(held))
    return Change("withdrawals edited", (path.name,))


CHANGES: tuple[Callable[[Path, random.Random], Change], ...] = (
    flip_a_byte, truncate_a_file, remove_a_file, add_a_file, swap_two_rows, edit_a_value,
    edit_a_value_and_all_around_it, edit_the_stats, set_a_pointer_back, remove_a_record,
    remove_the_newest_records, edit_the_registry, change_an_answer, remove_a_journal,
    edit_a_log_line, edit_the_withdrawals,
)  # fmt: skip


def trial(home: Path, work: Path, seed: int) -> tuple[Change, Audit]:
    """Change one random thing in a copy of a home and audit the copy."""
    rng = random.Random(seed)  # noqa: S311 (not secret)
    target = copy_of(home, work / f"trial-{seed}")
    try:
        change = CHANGES[seed % len(CHANGES)](target, rng)
        return change, audited(target)
    finally:
        shutil.rmtree(target)


def is_named(change: Change, audit: Audit) -> bool:
    """Whether a fault says what was changed."""
    return any(word in str(fault) for fault in audit.faults for word in change.named)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--home", type=Path, help="A finished home; default: one is made.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        home = options.home or work / "home"
        if options.home is None:
            finished_home(home)
        untouched = audited(copy_of(home, work / "moved elsewhere"))
        print(f"moved: {'holds' if untouched.holds else untouched.faults}")  # noqa: T201
        kinds: Counter[str] = Counter()
        missed: list[str] = []
        for seed in range(options.seed, options.seed + options.trials):
            change, audit = trial(home, work, seed)
            kinds[change.kind] += 1
            if not is_named(change, audit):
                missed.append(f"seed {seed}: {change.kind} {change.named}: {audit.faults}")
        for kind, count in sorted(kinds.items()):
            print(f"{count:5}  {kind}")  # noqa: T201
        print(f"{options.trials - len(missed)} of {options.trials} changes named")  # noqa: T201
        for line in missed:
            print(line)  # noqa: T201
        sys.exit(bool(missed))


if __name__ == "__main__":
    main()
