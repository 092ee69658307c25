"""What late logs cost: one per cent more of them, read and cleaned at level 0, against the first
reading, in one process; and that the tables are those made from nothing.

python -m deploysim_assets.benchmarks.late_logs [--conversations 6000] [--place end]
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from deploysim_assets.assets.deidentified_prefixes import clean_release
from deploysim_assets.assets.raw_logs import read_release
from deploysim_assets.assets.registry_lines import registry_line
from deploysim_assets.benchmarks.corpus import synthetic_lines
from deploysim_assets.deidentify.keys import Keys
from deploysim_assets.project.file import load_project
from deploysim_assets.report.tables import console, rich_table
from deploysim_assets.storage.manifests import Run
from deploysim_assets.storage.tables import Lake

_FILES = 100
_KEYS = Keys(b"1" * 32, b"2" * 32)
TABLES = ("raw_logs", "deidentified_prefixes")


def _home(folder: Path, conversations: int) -> None:
    """A release with its logs in a hundred files, of names that leave room between them."""
    (folder / "logs").mkdir(parents=True)
    rule = {"grader": "rule", "rule": {"part": "reply", "regex": "x"}}
    logs = {"format": "openai_chat", "path": "logs/*.jsonl"}
    config = {
        "releases": [{"model_version": "m", "logs": logs}],
        "endpoint": {"base_url": "http://127.0.0.1:1/v1"},
        "behaviors": [{"name": "b", "definition": "d", **rule}],
        "sampling": {"max_prefixes": 2 * conversations},
        "deidentification": {"min_level": 0},
    }
    (folder / "deploysim.yaml").write_text(yaml.safe_dump(config))
    lines = synthetic_lines(conversations)
    size = -(-conversations // _FILES)
    for number in range(_FILES):
        part = [line for _, line in zip(range(size), lines, strict=False)]
        (folder / "logs" / f"{number:03}-0.jsonl").write_text("".join(part), encoding="utf-8")


def _make(home: Path) -> dict[str, float]:
    """CPU seconds of each table, of worker processes, too."""
    project = load_project(home)
    policy = project.deidentification.at(home)
    lake = Lake.of(home)
    line = registry_line(project, "m")
    read = lake.during(Run("read", "benchmark", {"release": line}))
    settings = project.part("deidentification") | {"keys": _KEYS.mark}
    clean = lake.during(Run("clean", "benchmark", settings))
    works: dict[str, Callable[[], Any]] = {
        "raw_logs": lambda: read_release(read, project, "m"),
        "deidentified_prefixes": lambda: clean_release(clean, project, "m", _KEYS, policy),
    }
    return {name: _cpu_of(work) for name, work in works.items()}


def _cpu_of(work: Callable[[], Any]) -> float:
    def cpu() -> float:
        times = os.times()
        return times.user + times.system + times.children_user + times.children_system

    before = cpu()
    work()
    return cpu() - before


def contents(home: Path) -> list[str]:
    """The digests of both tables."""
    found = [Lake.of(home).manifest(asset, "m") for asset in TABLES]
    return [manifest.predicate["content"] for manifest in found if manifest]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--conversations", type=int, default=6_000)
    parser.add_argument("--place", choices=("end", "middle"), default="end")
    asked = parser.parse_args()
    late = max(1, asked.conversations // 100)
    name = {"end": "999-0", "middle": "049-1"}[asked.place]
    with tempfile.TemporaryDirectory() as folder:
        home, other = Path(folder) / "home", Path(folder) / "other"
        for place in (home, other):
            _home(place, asked.conversations)
        first = _make(home)
        for place in (home, other):
            with (place / "logs" / f"{name}.jsonl").open("w", encoding="utf-8") as file:
                file.writelines(synthetic_lines(late, "late"))
        began = time.monotonic()
        second = _make(home)
        wall = time.monotonic() - began
        again = _make(other)
        same = contents(home) == contents(other)
    names = [*TABLES, "both"]
    for costs in (first, second, again):
        costs["both"] = sum(costs.values())
    rows = [
        [n, f"{first[n]:.2f}", f"{second[n]:.2f}", f"{second[n] / first[n]:.1%}", f"{again[n]:.2f}"]
        for n in names
    ]
    title = (
        f"{asked.conversations:,} conversations, then {late:,} more at the {asked.place}: CPU-s; "
        f"late logs took {wall:.1f} s"
    )
    header = ("", "first reading", "late logs", "share", "all from nothing")
    console().print(rich_table(title, header, rows))
    console().print(f"tables as made from nothing: {'yes' if same else 'NO'}")
    if not same:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
