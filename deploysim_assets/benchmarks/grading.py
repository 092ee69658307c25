"""What a judge's call costs: CPU per graded reply, from the item to its row, over real HTTP to a
server that answers at once.

python -m deploysim_assets.benchmarks.grading [--replies 3000] [--profile]
"""

import argparse
import cProfile
import json
import pstats
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import polars as pl

from deploysim_assets.behaviors import Behavior
from deploysim_assets.benchmarks import endpoint as served
from deploysim_assets.endpoint.budget import Account
from deploysim_assets.grading.item import Item
from deploysim_assets.grading.panel import Panel
from deploysim_assets.grading.run import Desk, GradingRun
from deploysim_assets.grading.table import grade_table
from deploysim_assets.project import Endpoint, Judge
from deploysim_assets.report.tables import console, rich_table
from deploysim_assets.schema import grades
from deploysim_assets.storage.journal import open_journal

_BEHAVIORS = tuple(
    Behavior(
        name=f"behavior_{i}", definition="What is undesired. " * 10, rubric="How to tell. " * 20
    )
    for i in range(8)
)
_CLEAN = {
    "assessment": "graded", "flagged": False, "severity": 0, "confidence": 0.97, "rationale": "",
}  # fmt: skip


def _serve(pipe: Connection) -> None:
    content = json.dumps({b.name: _CLEAN for b in _BEHAVIORS})
    message = {"role": "assistant", "content": content}
    body = json.dumps(
        {
            "id": "x", "object": "chat.completion", "created": 1, "model": "judge",
            "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
            "usage": {"prompt_tokens": 900, "completion_tokens": 250, "total_tokens": 1_150},
        }
    ).encode()  # fmt: skip
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    served.answers_with(head % len(body) + body, pipe)


def _items(count: int) -> Iterator[Item]:
    empty = dict.fromkeys(("tool_calls", "tool_call_id", "name", "reasoning", "at"))
    for i in range(count):
        messages = [
            empty | {"role": "user", "content": f"{'hello there, how does it work ' * 20}{i}"},
            empty | {"role": "assistant", "content": "It works like this, as you can see. " * 20},
            empty | {"role": "user", "content": "And what do I do with the rest of it? " * 5},
        ]
        prefix = {
            "prefix_id": f"{i:032x}", "stratum": "all", "weight": 1.0, "user_key": "u",
            "surface": "web", "language": "en", "messages": messages,
        }  # fmt: skip
        reply = {"content": "You take the rest and do as before. " * 40, "reasoning": None}
        yield Item(prefix, reply | {"tool_calls": []}, "completed", None)


class _Rows:
    """Rows as a table's writer takes them, in chunks to Parquet."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._rows, self._parts = folder, list[dict[str, Any]](), 0
        self._schema = grades([b.name for b in _BEHAVIORS])

    def add(self, row: dict[str, Any], table: str = "") -> None:
        if not table:
            self._rows.append(row)
            if len(self._rows) == 2_000:
                self.write()

    def write(self) -> None:
        frame = pl.DataFrame(self._rows, schema=self._schema)
        frame.write_parquet(self._folder / f"part-{self._parts}.parquet")
        self._rows, self._parts = [], self._parts + 1


def graded(base_url: str, folder: Path, count: int) -> float:
    """Grade so many replies; CPU milliseconds of this process for each."""
    panel = Panel(_BEHAVIORS, Judge(model="judge"))
    file = folder / "j.jsonl"
    began = time.process_time()
    with open_journal(file) as journal:
        desk = Desk(Endpoint(base_url=base_url, max_concurrency=32), file, Account({}), None)
        rows = _Rows(folder)
        counts = grade_table(
            GradingRun(panel, journal, b"k" * 32, "m", desk), lambda: _items(count), rows
        )
        rows.write()
    if counts["graded"] != count:
        raise SystemExit(f"graded {counts['graded']} of {count}")
    return (time.process_time() - began) / count * 1e3


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--replies", type=int, default=3_000)
    parser.add_argument("--profile", action="store_true")
    asked = parser.parse_args()
    with served.in_own_process(_serve) as url, tempfile.TemporaryDirectory() as folder:
        for part in ("warm", "measured"):
            (Path(folder) / part).mkdir()
        graded(url, Path(folder) / "warm", asked.replies // 10)
        profile = cProfile.Profile()
        if asked.profile:
            profile.enable()
        cost = graded(url, Path(folder) / "measured", asked.replies)
        profile.disable()
    if asked.profile:
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)
    title = f"{asked.replies:,} replies of 2 KB, {len(_BEHAVIORS)} behaviors, journal and Parquet"
    console().print(rich_table(title, ("CPU per judged reply",), [[f"{cost:.3f} ms"]]))


if __name__ == "__main__":
    main()
