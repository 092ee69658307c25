"""The whole way from log files to de-identified prefixes on synthetic conversations of 4 KB, as
Dagster runs it: time and peak memory.

python -m deploysim_assets.benchmarks.corpus [--conversations 200000]
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import yaml

from deploysim_assets.benchmarks.chat_texts import chat_text
from deploysim_assets.report.tables import console, rich_table

_PIECES = 4_000
_PUBLISHED = 1_300_000


def synthetic_lines(conversations: int, of: str = "") -> Iterator[str]:
    """Conversations of about 4 KB as lines of openai_chat, each with an address and a number of its
    own, so that no cache of whole texts helps. `of` keeps their ids apart from other ones."""
    pieces = [chat_text(i, 760) for i in range(_PIECES)]
    rng = random.Random(f"1{of}")  # noqa: S311 (seeded)
    for i in range(conversations):
        asked = "\n".join(rng.choices(pieces, k=3))
        if i % 4 == 0:
            asked += f"\nWrite to jo.{i}@lindenhof.de or call +49 30 {i:07d}."
        line = {
            "conversation_id": f"c{of}{i}",
            "user_id": f"u{of}{i // 3}",
            "started_at": "2026-05-01T10:00:00Z",
            "training_allowed": True,
            "surface": "web",
            "language": "en",
            "messages": [
                {"role": "user", "content": f"{asked}\n#{i}"},
                {"role": "assistant", "content": f"{rng.choice(pieces)}\n#{i}"},
            ],
        }
        yield json.dumps(line, ensure_ascii=False) + "\n"


def write_logs(path: Path, conversations: int, of: str = "") -> int:
    """Write them to a file; returns the bytes."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(synthetic_lines(conversations, of))
    return path.stat().st_size


def _memory(pid: int) -> int:
    """Resident bytes of a process and its descendants (Linux)."""
    total, todo = 0, [pid]
    while todo:
        one = Path(f"/proc/{todo.pop()}")
        try:
            total += int((one / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            for task in (one / "task").iterdir():
                todo += map(int, (task / "children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total


def run(home: Path) -> tuple[float, float, int]:
    """Materialize raw_logs and deidentified_prefixes; returns wall and CPU seconds and the peak
    of resident memory."""
    command = [
        sys.executable,
        "-m",
        "dagster",
        "asset",
        "materialize",
        "-m",
        "deploysim_assets.definitions",
    ]
    command += ["--select", "raw_logs,deidentified_prefixes", "--partition", "m"]
    environment = os.environ | {"DEPLOYSIM_HOME": str(home), "DAGSTER_HOME": str(home / ".dagster")}
    (home / ".dagster").mkdir()
    before, start, peak = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic(), 0
    with (home / "log.txt").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)  # noqa: S603 (our own command)
        while process.poll() is None:
            peak = max(peak, _memory(process.pid))
            threading.Event().wait(0.5)
    if process.returncode:
        raise SystemExit((home / "log.txt").read_text()[-3000:])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - start, cpu, peak


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--conversations", type=int, default=200_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        size = write_logs(home / "logs.jsonl", asked.conversations)
        config = {
            "releases": [
                {"model_version": "m", "logs": {"format": "openai_chat", "path": "logs.jsonl"}}
            ],
            "endpoint": {"base_url": "http://127.0.0.1:1/v1"},
            "behaviors": [
                {
                    "name": "b",
                    "definition": "d",
                    "grader": "rule",
                    "rule": {"part": "reply", "regex": "x"},
                }
            ],
            "sampling": {"max_prefixes": asked.conversations},
            "deidentification": {"min_level": 0},
        }
        (home / "deploysim.yaml").write_text(yaml.safe_dump(config))
        wall, cpu, peak = run(home)
        stats = json.loads(
            next(home.glob("lake/deidentified_prefixes/*/run=*/_STATS.json")).read_text()
        )
    minutes = wall / asked.conversations * _PUBLISHED / 60
    rows = [
        [
            "logs",
            f"{size / 1e6:,.0f} MB, {asked.conversations:,} conversations of "
            f"{size / asked.conversations / 1000:.1f} KB",
        ],
        [
            "prefixes",
            f"{stats['released']:,} released, {stats['quarantined']:,} quarantined "
            f"{stats['quarantined_by_reason'] or ''}",
        ],
        [
            "time",
            f"{wall:,.0f} s on {os.cpu_count()} cores, {cpu:,.0f} s of CPU, "
            f"{size / 1e6 / cpu:.2f} MB per CPU-second",
        ],
        ["peak memory", f"{peak / 1e9:.2f} GB, all processes together"],
        ["1.3 million conversations", f"{minutes:,.0f} minutes at this speed"],
    ]
    console().print(rich_table("raw_logs -> deidentified_prefixes, level 0", ("", ""), rows))


if __name__ == "__main__":
    main()
