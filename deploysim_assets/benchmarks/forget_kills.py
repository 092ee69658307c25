"""Is a user gone for good, and does the audit hold, wherever `deploysim forget` is killed?

    python -m deploysim_assets.benchmarks.forget_kills --kills 30 --seed 1

takes a finished home, lays more of one user into it (journals set aside, a sibling journal, a list
of batches, labels, a sheet, examples of a finding, compressed logs), kills a withdrawal of that
user in copies of it, each at another moment, runs it again, looks for the user in every byte, and
audits. Half of the moments are a random time, half the step before a random change to the disk.
"""

import argparse
import contextlib
import csv
import gzip
import importlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import zstandard

from deploysim_assets.assets.registry_lines import adopt_line
from deploysim_assets.benchmarks.tampering import audited, copy_of, finished_home
from deploysim_assets.deidentify.keys import load_keys
from deploysim_assets.project import CONFIG_FILE
from deploysim_assets.project.file import load_project
from deploysim_assets.schema import OPEN_FINDINGS
from deploysim_assets.storage import ledger
from deploysim_assets.storage.journal import framed, journal_file, lines
from deploysim_assets.storage.manifests import Run
from deploysim_assets.storage.tables import Lake
from deploysim_assets.storage.versions import scan_folder
from deploysim_assets.storage.withdrawals import WITHDRAWALS_FILE, under_way

SECRET = "the seventh lantern of Ostrava is mine alone"  # noqa: S105 (a sentence)
LOG = "logs/aurora-1/traffic.jsonl"
_CHANGES_THE_DISK = ("os.rename", "os.link", "os.remove", "os.chmod", "os.truncate")


class Victim(NamedTuple):
    """Whom to forget, and every name under which they stand in a home."""

    user: str
    conversations: frozenset[str]
    keys: frozenset[str]
    prefixes: frozenset[str]


def victim_of(home: Path) -> Victim:
    """The user with most prefixes among those whose conversations were read."""
    identify = load_keys(home, may_create=False).identify
    said = Lake(home / "lake").scan("deidentified_prefixes", "aurora-1").collect()
    counts = dict(said["user_key"].value_counts().iter_rows())
    logged = [json.loads(line) for line in (home / LOG).read_text().splitlines()]
    user = max((one["user_id"] for one in logged), key=lambda u: counts.get(identify("user", u), 0))
    mine = frozenset(one["conversation_id"] for one in logged if one["user_id"] == user)
    keys = {identify("user", user), *(identify("conversation", one) for one in mine)}
    prefixes = said.filter(pl.col("user_key") == identify("user", user))["prefix_id"]
    return Victim(user, mine, frozenset(keys), frozenset(prefixes))


def lay_out(home: Path) -> Victim:
    """Put the user wherever a home can hold one, besides where runs put them."""
    victim, lake = victim_of(home), Lake(home / "lake")
    answers = scan_folder(next((home / "lake" / "grades").rglob("answers"))).collect()
    mine = answers.filter(pl.col("prefix_id").is_in(list(victim.prefixes)))["key"].to_list()
    grades = journal_file(home, "grades", "aurora-2")
    prefix = min(victim.prefixes)

    def answer(key: str, **more: str) -> bytes:
        return framed(json.dumps({"key": key, "content": SECRET, **more}).encode())

    cited = [framed(b) for b in lines(grades) if json.loads(b)["key"] in mine]
    grades.with_suffix(".1700000000.replaced").write_bytes(b"".join(cited) + answer("ab" * 32))
    grades.with_name("aurora-2.batches.jsonl").write_bytes(
        framed(
            json.dumps(
                {"key": "cd" * 32, "state": "submitted", "batch": "b1", "requests": mine}
            ).encode()
        )
    )
    sibling = journal_file(home, "awareness_grades", "aurora-2")
    sibling.parent.mkdir()
    sibling.write_bytes(answer("ef" * 32, about=f"deployment/{prefix}") + b"torn 1234")
    for path in (grades, sibling):
        path.chmod(0o600)
    for name in ("labels.csv", "to_label.csv"):
        columns = ["source", "model_version", "prefix_id", "behavior", "grader_id", "reply"]
        rows = [
            ["grades", "aurora-2", one, "harassment", "g", SECRET] for one in (prefix, "0" * 64)
        ]
        rows[1][-1] = "somebody else's"
        with (home / name).open("w", newline="") as file:
            csv.writer(file).writerows([columns, *rows])
        (home / name).chmod(0o600)
    row = {
        "model_version": "aurora-2",
        "finding": 1,
        "name": "n",
        "definition": "d",
        "prefixes": 2,
        "examples": [prefix, "0" * 64],
    }
    lake.during(Run("x")).write(
        "open_findings",
        "aurora-2",
        pl.DataFrame([row], schema=OPEN_FINDINGS),
        seal=lambda made: ledger.append(
            home, "finding", "aurora-2", {"asset": "open_findings"}, made.seals
        ),
    )
    logged: list[dict[str, Any]] = [
        {
            "conversation_id": f"unread-{i}",
            "user_id": user,
            **({"started_at": "2026-11-20T10:00:00Z"} if i < 4 else {}),  # else rejected
            "messages": [
                {"role": "user", "content": said},
                {"role": "assistant", "content": "Yes."},
            ],
        }
        for i, (user, said) in enumerate([("user-0", "Hello"), (victim.user, SECRET)] * 3)
    ]
    text = "".join(json.dumps(one) + "\n" for one in logged).encode()
    text += b'{"user_id": ' + json.dumps(victim.user).encode() + b', "messages": [{"cut\n'
    logs = (home / LOG).parent
    config = (home / CONFIG_FILE).read_text()
    (home / CONFIG_FILE).write_text(config.replace("aurora-1/*.jsonl", "aurora-1/*.jsonl*"))
    adopt_line(load_project(home), lake, "aurora-1")
    (logs / "more.jsonl.gz").write_bytes(gzip.compress(text))
    (logs / "more.jsonl.zst").write_bytes(zstandard.compress(text) * 2)  # of two frames
    with (home / LOG).open("ab") as file:  # the log grew since it was read
        file.write(text)
    (home / LOG).chmod(0o600)
    unread = {one["conversation_id"] for one in logged if one["user_id"] == victim.user}
    return victim._replace(conversations=victim.conversations | unread)


def _content(path: Path) -> bytes:
    """What a file says, decompressed; a table as JSON."""
    content = path.read_bytes()
    if path.suffix == ".gz":
        return gzip.decompress(content)
    if path.suffix == ".zst":
        return zstandard.ZstdDecompressor().stream_reader(content, read_across_frames=True).read()
    if content.startswith(b"PAR1"):
        return pl.read_parquet(io.BytesIO(content), hive_partitioning=False).write_ndjson().encode()
    return content


def found_in(home: Path, victim: Victim) -> list[str]:
    """Every file of a home that still says something of the user. Keyed hashes stand in the list
    of withdrawals and in the ledger for good; an answer's digest is none of theirs."""
    ids = [f'"{one}"'.encode() for one in (victim.user, *victim.conversations)]
    hashes = [one.encode() for one in (*victim.keys, *victim.prefixes)]
    found: list[str] = []
    for path in sorted(p for p in home.rglob("*") if p.is_file()):
        said, name = _content(path), path.relative_to(home).as_posix()
        kept = name == WITHDRAWALS_FILE or name.startswith("ledger/")
        sought = [*ids, SECRET.encode(), *(() if kept else hashes)]
        if any(one in said for one in sought):
            found.append(name)
    return found


def modes(home: Path) -> dict[str, int]:
    """The permissions of every file that was there before."""
    return {
        p.relative_to(home).as_posix(): p.stat().st_mode & 0o777
        for p in home.rglob("*")
        if p.is_file()
    }


def traced_lines(home: Path) -> list[str]:
    """Conversations that raw_logs has at another line than the one where its log has it."""
    wrong: list[str] = []
    for asset, _, folder in Lake(home / "lake").whole_tables():
        if asset != "raw_logs" or not folder.name.startswith("run="):
            continue
        for one in scan_folder(folder).collect().iter_rows(named=True):
            logged = (home / one["log_file"]).read_text().splitlines()[one["log_line"] - 1]
            if json.loads(logged)["conversation_id"] != one["conversation_id"]:
                wrong.append(one["conversation_id"])
    return wrong


def withdraw(home: Path, *users: str) -> Any:
    """`deploysim forget` in this process."""
    import dagster as dg

    from deploysim_assets.cli.forget import forget

    with dg.DagsterInstance.ephemeral() as instance:
        return forget(load_project(home), Lake(home / "lake"), instance, set(users), set())


def _worker(home: Path, user: str, step: int) -> None:
    """A withdrawal in a process of its own, which kills itself before the step-th change to the
    disk, and says how many there were."""
    importlib.import_module("deploysim_assets.cli.forget")  # takes long, and is no withdrawal yet
    steps = 0

    def count(event: str, _: object) -> None:
        nonlocal steps
        if event in _CHANGES_THE_DISK:
            steps += 1
            if steps == step:
                os.kill(os.getpid(), signal.SIGKILL)

    print("ready", flush=True)  # noqa: T201
    sys.stdin.readline()
    sys.addaudithook(count)
    withdraw(home, user)
    print(steps, flush=True)  # noqa: T201


@contextlib.contextmanager
def _started(home: Path, user: str, step: int = 0) -> Generator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", __spec__.name, "--withdraw", str(home), user, str(step)]
    here = {"PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(  # noqa: S603
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | here
    ) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.stdin.write("\n")
            process.stdin.flush()
            yield process
        finally:
            process.kill()


def measured(home: Path, user: str) -> tuple[float, int]:
    """Seconds and changes to the disk of a withdrawal that nobody kills."""
    with _started(home, user) as process:
        begun = time.monotonic()
        assert process.stdout is not None
        steps = int(process.stdout.readline())
        return time.monotonic() - begun, steps


class Trial(NamedTuple):
    """What became of one withdrawal that was killed and run again."""

    seed: int
    moment: str
    begun: bool
    left: list[str]
    faults: list[str]
    wrong_modes: list[str]
    wrong_lines: list[str]
    records: int
    expected_records: int

    @property
    def passed(self) -> bool:
        """Nothing left, all holds, and each withdrawal is recorded once."""
        wrong = self.left or self.faults or self.wrong_modes or self.wrong_lines
        return not wrong and self.records == self.expected_records


def trial(
    laid_out: Path, victim: Victim, work: Path, seed: int, seconds: float, steps: int
) -> Trial:
    """Kill a withdrawal in a copy of a home at a random moment, and run it again."""
    rng = random.Random(seed)  # noqa: S311 (not secret)
    home = copy_of(laid_out, work / f"kill-{seed}")
    before, records = modes(home), len(ledger.read(home))
    step = rng.randint(1, steps) if seed % 2 else 0
    after = rng.uniform(0, seconds)
    with _started(home, victim.user, step) as process:
        if step:
            process.wait(timeout=60)
        else:
            time.sleep(after)
            process.kill()
            process.wait()
    begun = under_way(home)
    finished = not begun and any(r.kind == "forget" for r in ledger.read(home)[records:])
    withdraw(home, *(() if begun else (victim.user,)))
    audit, now = audited(home), modes(home)
    result = Trial(
        seed,
        f"before change {step} of {steps}" if step else f"after {after:.2f} s of {seconds:.2f}",
        begun,
        found_in(home, victim),
        [str(fault) for fault in audit.faults],
        [name for name, mode in before.items() if now.get(name, mode) != mode],
        traced_lines(home),
        sum(r.kind == "forget" for r in ledger.read(home)[records:]),
        1 + finished,
    )
    shutil.rmtree(home)
    return result


def main() -> None:
    """Print what became of each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--home", type=Path, help="A finished home; default: one is made.")
    parser.add_argument("--withdraw", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.withdraw:
        home, user, step = options.withdraw
        _worker(Path(home), user, int(step))
        return
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        finished = options.home or work / "finished"
        if options.home is None:
            finished_home(finished)
        home = copy_of(finished, work / "home")
        victim = lay_out(home)
        print(f"the user stands in {len(found_in(home, victim))} files")  # noqa: T201
        whole = copy_of(home, work / "unkilled")
        seconds, steps = measured(whole, victim.user)
        passed = 0
        for seed in range(options.seed, options.seed + options.kills):
            result = trial(home, victim, work, seed, seconds, steps)
            passed += result.passed
            begun = "resumed" if result.begun else "begun again"
            print(f"{'ok  ' if result.passed else 'FAIL'} killed {result.moment}, {begun}")  # noqa: T201
            if not result.passed:
                print(f"     {result}")  # noqa: T201
        print(f"{passed} of {options.kills} withdrawals done, whenever they were killed")  # noqa: T201
        sys.exit(passed < options.kills)


if __name__ == "__main__":
    main()
