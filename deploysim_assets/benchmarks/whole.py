"""Two releases end to end as Dagster runs them, on synthetic conversations of 4 KB: level 0, twenty
behaviors, a recorded endpoint whose CPU is counted apart. Time, CPU and peak memory by stage, and
what grows faster than the traffic. With a folder, each size has a home there (20 KB a conversation)
until its last stage is done, and a run that was killed goes on where it was: stages that are done
stay, the one that was under way is made again and costs what both tries took.

python -m deploysim_assets.benchmarks.whole [--conversations 130000] [--sizes 13000,130000]
    [--folder /big/disk]
"""

import argparse
import asyncio
import contextlib
import ctypes
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import yaml
from aiohttp import web

from deploysim_assets.benchmarks.corpus import write_logs
from deploysim_assets.cli.instance import dagster_home
from deploysim_assets.project.installed import code
from deploysim_assets.report.tables import console, rich_table
from deploysim_assets.storage import disk
from deploysim_assets.storage.tables import Lake

_OLD, _NEW = "old", "new"
_PUBLISHED = 1_300_000
_LIMIT = 4e9
_LOOK, _LOOKS_A_SAVE = 0.25, 20
_PR_SET_PDEATHSIG = 1
_TICKS = os.sysconf("SC_CLK_TCK")
_STAGES: Sequence[tuple[str, str, str]] = (
    ("read logs", "raw_logs", _OLD),
    ("de-identify", "deidentified_prefixes", _OLD),
    ("register", "preregistration", _NEW),
    ("grade production", "production_grades", _OLD),
    ("count production", "production_rate_counts,production_flag_clusters,realized_rates", _OLD),
    ("ask the candidate", "candidate_completions", _NEW),
    ("grade the candidate", "grades", _NEW),
    (
        "count and forecast",
        "rate_counts,flag_clusters,paired_counts,paired_clusters,rate_estimates",
        _NEW,
    ),
    ("read logs, shipped", "raw_logs", _NEW),
    ("de-identify, shipped", "deidentified_prefixes", _NEW),
    ("grade production, shipped", "production_grades", _NEW),
    (
        "count production, shipped",
        "production_rate_counts,production_flag_clusters,realized_rates",
        _NEW,
    ),
    ("score", "calibration_report,release_report", _NEW),
    ("scorecard", "scorecard", ""),
)
_REPLY = "It works like this, as you can see, and the rest follows from that. " * 15


class Cost(NamedTuple):
    """What a stage took: seconds of the clock and of CPU, the most that one of its processes and
    all of them together held in memory (bytes), and CPU seconds of the endpoint."""

    wall: float = 0.0
    cpu: float = 0.0
    largest: int = 0
    together: int = 0
    endpoint: float = 0.0

    def then(self, other: "Cost") -> "Cost":
        """Both, one after the other."""
        return Cost(
            self.wall + other.wall,
            self.cpu + other.cpu,
            max(self.largest, other.largest),
            max(self.together, other.together),
            self.endpoint + other.endpoint,
        )


class Record:
    """What is known of one size, in a file: the endpoint's port, what each stage took so far and by
    which code, and which of them are done."""

    def __init__(self, path: Path) -> None:
        self._path = path
        known: dict[str, Any] = orjson.loads(path.read_bytes()) if path.exists() else {}
        self.port: int = known.get("port", 0)
        self.costs = {name: Cost(*cost) for name, cost in known.get("costs", {}).items()}
        self.done: list[str] = known.get("done", [])
        self.code: list[str] = known.get("code", [])

    def save(self) -> None:
        """Write it down."""
        if (now := code()["files"][:12]) not in self.code:
            self.code.append(now)
        said = {"port": self.port, "costs": self.costs, "done": self.done, "code": self.code}
        disk.replace(self._path, json.dumps(said).encode())


async def _serve(port: int) -> None:
    """Answer as recorded, at once: a reply, or verdicts of which one in fifty is a flag."""
    clean = {"assessment": "graded", "flagged": False, "severity": 0, "confidence": 0.97,
             "rationale": ""}  # fmt: skip
    recorded: dict[tuple[str, ...], tuple[bytes, bytes]] = {}

    def body(content: str) -> bytes:
        message = {"role": "assistant", "content": content}
        return orjson.dumps(
            {
                "id": "x", "object": "chat.completion", "created": 1, "model": "recorded",
                "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
                "usage": {"prompt_tokens": 900, "completion_tokens": 250, "total_tokens": 1150},
            }
        )  # fmt: skip

    reply, asked = body(_REPLY), 0

    async def chat(request: web.Request) -> web.Response:
        nonlocal asked
        said = orjson.loads(await request.read())
        asked += 1
        found = reply
        if said["model"] == "judge":
            names = tuple(said["response_format"]["json_schema"]["schema"]["required"])
            if names not in recorded:
                verdicts = dict.fromkeys(names, clean)
                flagged = verdicts | {names[0]: clean | {"flagged": True, "severity": 2}}
                recorded[names] = (body(json.dumps(verdicts)), body(json.dumps(flagged)))
            found = recorded[names][asked % 50 == 0]
        return web.Response(body=found, content_type="application/json")

    app = web.Application(client_max_size=64 << 20)
    app.router.add_post("/v1/chat/completions", chat)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


@contextlib.contextmanager
def _endpoint(port: int) -> Generator[tuple[int, int]]:
    """The recorded endpoint in a process of its own, at a port or, of 0, at a free one: its port
    and process id."""
    command = [sys.executable, "-m", "deploysim_assets.benchmarks.whole", "--serve", str(port)]
    with subprocess.Popen(  # noqa: S603 (our own command)
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin and server.stdout
        try:
            if not (said := server.stdout.readline().strip()):
                raise SystemExit(f"no endpoint at port {port}; is it in use?")
            yield int(said), server.pid
        finally:
            server.stdin.close()


def _behaviors() -> list[dict[str, Any]]:
    """Ten for rules, ten for the judge."""
    rules = [
        {"grader": "rule", "rule": {"part": "reply", "regex": rf"(?i)\b(?:word{i}|term{i})\b"}}
        for i in range(10)
    ]
    rubrics = [{"grader": "judge", "rubric": "How to tell. " * 20} for _ in range(10)]
    return [
        {"name": f"behavior_{i}", "definition": "What is undesired. " * 5, **grader}
        for i, grader in enumerate([*rules, *rubrics])
    ]


def _write(home: Path, url: str, conversations: int) -> None:
    each = conversations // 2
    releases: list[dict[str, Any]] = []
    for model in (_OLD, _NEW):
        path = home / "logs" / model / "traffic.jsonl"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_logs(path.with_suffix(".partial"), each, model)
            path.with_suffix(".partial").rename(path)
        logs = {"format": "openai_chat", "path": f"logs/{model}/*.jsonl"}
        releases.append({"model_version": model, "logs": logs})
    releases[1] |= {"predecessor": _OLD, "candidate": {"model": "new", "params": {}}}
    config = {
        "releases": releases,
        "endpoint": {"base_url": url, "max_concurrency": 64},
        "judge": {"model": "judge"},
        "behaviors": _behaviors(),
        "sampling": {"max_prefixes": each},
        "deidentification": {"min_level": 0},
    }
    (home / "deploysim.yaml").write_text(yaml.safe_dump(config))


class Held(NamedTuple):
    """What a process and its descendants hold and have used: the most bytes that one of them ever
    held, bytes of all now, and CPU seconds."""

    largest: int
    together: int
    cpu: float


def held_by(pid: int) -> Held:
    """Of a process tree (Linux)."""
    largest = together = 0
    cpu = 0.0
    todo = [pid]
    while todo:
        one = todo.pop()
        folder = Path(f"/proc/{one}")
        try:
            lines = (folder / "status").read_text().splitlines()
            said = dict(line.split(":\t", 1) for line in lines if line.startswith("Vm"))
            largest = max(largest, _bytes(said.get("VmHWM")))
            together += _bytes(said.get("VmRSS"))
            cpu += _cpu_of(one, with_ended=True)
            for task in (folder / "task").iterdir():
                todo += map(int, (task / "children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return Held(largest, together, cpu)


def _bytes(said: str | None) -> int:
    return int(said.split()[0]) * 1024 if said else 0


def _cpu_of(pid: int, *, with_ended: bool = False) -> float:
    """CPU seconds that a process has used, and with those of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11 : 15 if with_ended else 13])) / _TICKS


def end_with_parent() -> None:
    """Two runs of one stage would wait for each other where the benchmark was killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _stage(home: Path, assets: str, partition: str, endpoint: int) -> Iterator[Cost]:
    """Make tables; what it cost so far, every few seconds and at the end."""
    command = [sys.executable, "-m", "dagster", "asset", "materialize", "--select", assets]
    command += ["-m", "deploysim_assets.definitions"]
    command += ["--partition", partition] if partition else []
    environment = os.environ | {
        "DEPLOYSIM_HOME": str(home), "DAGSTER_HOME": str(dagster_home(home)),
        "OPENAI_API_KEY": "none", "PYTHONWARNINGS": "ignore",
    }  # fmt: skip
    served, times, began = _cpu_of(endpoint), os.times(), time.monotonic()
    largest = together = 0

    def cost(cpu: float) -> Cost:
        wall = time.monotonic() - began
        return Cost(wall, cpu, largest, together, _cpu_of(endpoint) - served)

    with (home / "log.txt").open("w") as log:
        process = subprocess.Popen(  # noqa: S603
            command, env=environment, stdout=log, stderr=log,
            preexec_fn=end_with_parent,  # noqa: PLW1509 (nothing is threaded before it)
        )  # fmt: skip
        looks = 0
        while process.poll() is None:
            held = held_by(process.pid)
            largest, together = max(largest, held.largest), max(together, held.together)
            looks += 1
            if looks % _LOOKS_A_SAVE == 0:
                yield cost(held.cpu)
            threading.Event().wait(_LOOK)
    if process.returncode:
        raise SystemExit(f"{assets}: " + (home / "log.txt").read_text()[-4000:])
    after = os.times()
    yield cost(
        after.children_user + after.children_system - times.children_user - times.children_system
    )


def measured(conversations: int, folder: Path) -> Record:
    """What each stage took for so many conversations, half of them of each release; what the folder
    holds of an earlier run that was killed stays."""
    home, record = folder / f"whole-{conversations}", Record(folder / f"whole-{conversations}.json")
    if len(record.done) == len(_STAGES) and not home.exists():
        return record
    with _endpoint(record.port) as (record.port, pid):
        record.save()
        _write(home, f"http://127.0.0.1:{record.port}/v1", conversations)
        for name, assets, partition in _STAGES:
            if name in record.done:
                continue
            before = record.costs.get(name, Cost())
            for cost in _stage(home, assets, partition, pid):
                record.costs[name] = before.then(cost)
                record.save()
            record.done.append(name)
            record.save()
            console().print(f"{name}: {record.costs[name].wall:.0f} s", style="dim")
    prefixes = Lake.of(home).stats("deidentified_prefixes", _NEW)["released"]
    score = Lake.of(home).scan("calibration_report", _NEW).collect()
    if prefixes < 0.99 * (conversations // 2) or not score.height:
        raise SystemExit(f"only {prefixes:,} prefixes, {score.height} behaviors scored")
    shutil.rmtree(home)
    return record


def _by_stage(conversations: int, record: Record) -> None:
    costs = record.costs
    rows = [
        [name, f"{c.wall:,.0f}", f"{c.cpu:,.0f}", f"{c.endpoint:,.0f}", f"{c.largest / 1e9:.2f}",
         f"{c.together / 1e9:.2f}"]
        for name, c in costs.items()
    ]  # fmt: skip
    total = list(costs.values())
    rows.append(
        [
            "all", f"{sum(c.wall for c in total):,.0f}", f"{sum(c.cpu for c in total):,.0f}",
            f"{sum(c.endpoint for c in total):,.0f}", f"{max(c.largest for c in total) / 1e9:.2f}",
            f"{max(c.together for c in total) / 1e9:.2f}",
        ]
    )  # fmt: skip
    header = ("stage", "time, s", "CPU, s", "endpoint's CPU, s", "largest process, GB",
              "all processes, GB")  # fmt: skip
    console().print(rich_table(f"{conversations:,} conversations", header, rows))
    if len(record.code) > 1:
        console().print(f"of {len(record.code)} states of the code: {', '.join(record.code)}")


def growth(sizes: Sequence[int], cpu: Sequence[float]) -> tuple[float, float]:
    """The power of the size with which CPU seconds grow between the first size and the last, and
    seconds at 1.3 million by a line through both: what starting costs stays."""
    small, large = sizes[0], sizes[-1]
    power = math.log(cpu[-1] / cpu[0]) / math.log(large / small)
    slope = max(0.0, (cpu[-1] - cpu[0]) / (large - small))  # what only starts up varies by itself
    return power, cpu[-1] + slope * (_PUBLISHED - large)


def _by_size(found: dict[int, dict[str, Cost]]) -> None:
    sizes = sorted(found)
    rows: list[list[str]] = []
    total = 0.0
    for name in found[sizes[0]]:
        cpu = [found[size][name].cpu for size in sizes]
        power, published = growth(sizes, cpu)
        total += published
        kind = "faster than linear" if power > 1.1 else "linear" if power > 0.8 else "starting up"
        memory = found[sizes[-1]][name].largest / found[sizes[0]][name].largest
        each = [f"{seconds / size * 1e3:.2f}" for size, seconds in zip(sizes, cpu, strict=True)]
        rows.append([name, *each, f"{power:.2f}", kind, f"{memory:.1f}x", f"{published:,.0f}"])
    header = ("stage", *(f"CPU-ms each at {size:,}" for size in sizes), "power", "",
              "memory", "CPU-s at 1.3 million")  # fmt: skip
    console().print(rich_table("what grows with the traffic", header, rows))
    console().print(
        f"1.3 million conversations by these lines: {total / 3600:.1f} CPU-hours, "
        f"{total / 3600 / (os.cpu_count() or 1):.1f} h where all {os.cpu_count()} cores were busy"
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--conversations", type=int, default=130_000)
    parser.add_argument("--sizes", help="several sizes, as 13000,130000")
    parser.add_argument("--folder", type=Path, help="kept, and gone on with after a kill")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve is not None:
        asyncio.run(_serve(asked.serve))
        return
    sizes = [int(one) for one in asked.sizes.split(",")] if asked.sizes else [asked.conversations]
    found: dict[int, dict[str, Cost]] = {}
    with contextlib.ExitStack() as stack:
        folder = asked.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        for size in sizes:
            record = measured(size, folder)
            _by_stage(size, record)
            found[size] = record.costs
    if len(found) > 1:
        _by_size(found)
    if any(cost.largest > _LIMIT for costs in found.values() for cost in costs.values()):
        raise SystemExit("a process held more than 4 GB")


if __name__ == "__main__":
    main()
