"""De-identification by each engine: processes of this machine, one and two workers of Ray, and a
Ray cluster of two nodes on this machine, with and without a worker killed in the middle. CPU of all
processes, and that the bytes are the same.

python -m deploysim_assets.benchmarks.engines [--conversations 5000] [--level 2]
"""

import argparse
import hashlib
import os
import signal
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import orjson

from deploysim_assets.benchmarks.corpus import synthetic_lines
from deploysim_assets.deidentify.keys import Keys
from deploysim_assets.deidentify.prefixes import Drawn, deidentified
from deploysim_assets.logs.sampling import DrawnTurn
from deploysim_assets.project import Compute, Deidentification, ProjectError
from deploysim_assets.report.tables import console, rich_table
from deploysim_assets.shards import Engine, on_ray, processes

_KEYS = Keys(b"1" * 32, b"2" * 32)
_ALLOWED = 1.2
_LARGER = (50_000, 1_300_000)
_TICKS = os.sysconf("SC_CLK_TCK")


class Took(NamedTuple):
    """Seconds of the clock and of CPU until the last result, those of starting up too, and the
    digest of all rows."""

    wall: float
    cpu: float
    digest: str


def drawn(conversations: int) -> Iterator[Drawn]:
    """Synthetic conversations with their one user turn."""
    for line in synthetic_lines(conversations):
        row = orjson.loads(line)
        whole: dict[str, Any] = dict.fromkeys(
            ("reasoning", "tool_calls", "tool_call_id", "name", "at", "finish_reason")
        )
        messages = [whole | m for m in row["messages"]]
        of_release = {"model_version": "m", "tools": None, "commit": None, "tools_inferred": None}
        yield Drawn(row | of_release | {"messages": messages}, [DrawnTurn(0, "", 1.0)])


def _processes() -> dict[int, tuple[int, float, str]]:
    """Process id -> parent, CPU seconds (with those of ended children) and name (Linux)."""
    found: dict[int, tuple[int, float, str]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                name, _, rest = (folder / "stat").read_text().rpartition(")")
            except (FileNotFoundError, ProcessLookupError):
                continue
            fields = rest.split()
            found[int(folder.name)] = (
                int(fields[1]), sum(map(int, fields[11:15])) / _TICKS, name.partition("(")[2]
            )  # fmt: skip
    return found


def below(pid: int) -> dict[int, tuple[float, str]]:
    """CPU seconds and name of a process and of all below it, also of the daemons of a Ray that it
    started, which are its children."""
    everyone = _processes()
    mine = {pid}
    while more := {p for p, (parent, *_) in everyone.items() if parent in mine} - mine:
        mine |= more
    return {p: everyone[p][1:] for p in mine if p in everyone}


def killed(pid: int) -> bool:
    """Kill one worker of a Ray below a process; False where none works."""
    for worker, (_, name) in below(pid).items():
        if name.startswith("ray::") and "IDLE" not in name:
            os.kill(worker, signal.SIGKILL)
            return True
    return False


def measured(
    conversations: int, level: int, engine: Engine, after: Callable[[int], None] = lambda _: None
) -> Took:
    """What the cleaning took; `after` is told of every chunk that came back."""
    policy = Deidentification.model_validate({"min_level": level})
    whole, began = hashlib.sha256(), time.monotonic()
    before = sum(seconds for seconds, _ in below(os.getpid()).values())
    highest = before
    results = deidentified(drawn(conversations), _KEYS, policy, engine, at_once=True)
    for number, cut in enumerate(results):
        whole.update(orjson.dumps((cut.prefixes, cut.quarantined)))
        after(number)
        highest = max(highest, sum(seconds for seconds, _ in below(os.getpid()).values()))
    highest = max(highest, sum(seconds for seconds, _ in below(os.getpid()).values()))
    return Took(time.monotonic() - began, highest - before, whole.hexdigest())


@contextmanager
def _cluster(nodes: int) -> Generator[None]:
    """A Ray cluster of nodes with one CPU each, on this machine, that this process has joined."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray  # pyright: ignore[reportMissingImports, reportMissingTypeStubs]
    from ray.cluster_utils import Cluster  # pyright: ignore

    one = {"num_cpus": 1, "object_store_memory": 100_000_000, "include_dashboard": False}
    cluster: Any = cast("Any", Cluster)(initialize_head=True, head_node_args=one)
    try:
        for _ in range(nodes - 1):
            cluster.add_node(**{k: v for k, v in one.items() if k != "include_dashboard"})
        cluster.wait_for_nodes()
        ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
        yield
    finally:
        ray.shutdown()
        cluster.shutdown()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--conversations", type=int, default=5_000)
    parser.add_argument("--level", type=int, choices=(0, 1, 2), default=2)
    asked = parser.parse_args()
    policy = Deidentification.model_validate({"min_level": asked.level})
    if why := policy.unreachable(Path()):
        raise ProjectError(why)
    done: list[bool] = []

    def kill_one(chunk: int) -> None:
        if chunk >= 2 and not done and killed(os.getpid()):
            done.append(True)

    def on(workers: int, address: str = "local") -> Engine:
        return on_ray(Compute(engine="ray", address=address, workers=workers))

    runs: list[tuple[str, Engine, int, Callable[[int], None]]] = [
        ("processes, 2", processes(2), 0, lambda _: None),
        ("processes, 1", processes(1), 0, lambda _: None),
        ("Ray, 1 worker", on(1), 0, lambda _: None),
        ("Ray, 2 workers", on(2), 0, lambda _: None),
        ("Ray, 2 nodes of 1 worker", on(2), 2, lambda _: None),
        ("the same, a worker killed", on(2), 2, kill_one),
    ]
    found: dict[str, Took] = {}
    for name, engine, nodes, after in runs:
        with ExitStack() as stack:
            if nodes:
                stack.enter_context(_cluster(nodes))
            found[name] = measured(asked.conversations, asked.level, engine, after)
        console().print(f"{name}: {found[name]}", style="dim")
    base = found["processes, 2"]
    rows = [
        [name, f"{t.wall:.0f}", f"{t.cpu:.0f}", f"{t.cpu / base.cpu - 1:+.0%}",
         *(f"{t.cpu * n / asked.conversations / 3600:.1f}" for n in _LARGER), t.digest[:12]]
        for name, t in found.items()
    ]  # fmt: skip
    header = ("", "time, s", "CPU, s", "against processes",
              *(f"CPU-h at {n:,}, if linear" for n in _LARGER), "digest")  # fmt: skip
    title = f"{asked.conversations:,} conversations of 4 KB, level {asked.level}"
    console().print(rich_table(title, header, rows))
    if len({t.digest for t in found.values()}) > 1:
        raise SystemExit("the bytes differ")
    if not done:
        raise SystemExit("no worker was killed")
    if found["Ray, 2 workers"].cpu > _ALLOWED * base.cpu:
        raise SystemExit("Ray costs more than a fifth on top")


if __name__ == "__main__":
    main()
