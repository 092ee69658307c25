"""A home in a bucket, two hosts that share no disk, one of them killed with -9 in mid-forecast:
does the other one finish, with equal rates, a whole ledger, and what is billed twice?

    python -m deploysim_assets.benchmarks.two_hosts s3://bucket/prefix [--postgres URL]

The bucket's credentials come from the environment; the prefix must be empty. With `--postgres`
(postgresql+psycopg2://...) both hosts share one history of runs, pools and queue: the lost host's
run must end, and give back its place in the pool. The endpoint is a synthetic one on this machine.
"""

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from deploysim_assets.benchmarks.served import served
from deploysim_assets.cli.demo import ship, write_project
from deploysim_assets.cli.instance import made_dagster_home
from deploysim_assets.storage.homes import CACHE
from deploysim_assets.storage.sending import EVERY
from deploysim_assets.storage.tables import Lake
from deploysim_assets.synthetic.server import answer, application

AT_ONCE = 16
RELEASES = ("aurora-1", "aurora-2")
_COMMAND = "from deploysim_assets.cli.commands import main; main()"
_RATES = ("behavior", "n", "k", "rate", "forecast_median", "p95_low", "p95_high")


class Endpoint:
    """Answers like the synthetic world, and counts what it is asked."""

    def __init__(self, seed: int, latency: float) -> None:
        self._seed, self._latency, self._lock = seed, latency, threading.Lock()
        self.asked: Counter[str] = Counter()

    def __call__(self, body: dict[str, Any]) -> dict[str, Any] | None:
        """The answer; one request at a time, so that a run lasts long enough to be killed."""
        with self._lock:
            time.sleep(self._latency)
            sorted_body = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
            self.asked[hashlib.sha256(sorted_body).hexdigest()] += 1
        return answer(body, self._seed)


class Host:
    """A host: a working folder, and a Dagster of its own or, in a database, of all hosts."""

    def __init__(self, root: Path, home: str, postgres: str = "") -> None:
        self.root = root
        root.mkdir()
        if postgres:
            folder = made_dagster_home(root / "dagster")
            storage = f"storage: {{postgres: {{postgres_url: {json.dumps(postgres)}}}}}\n"
            with (folder / "dagster.yaml").open("a") as settings:
                settings.write(storage)
        self.environment = os.environ | {
            "DEPLOYSIM_HOME": home,
            CACHE: str(root),
            "DAGSTER_HOME": str(root / "dagster"),
            "DEPLOYSIM_ID_KEY": "ab" * 32,
            "DEPLOYSIM_SURROGATE_KEY": "cd" * 32,
            "PYTHONPATH": os.pathsep.join(
                [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
            ),
        }

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Begin a command in a process group of its own."""
        command = [sys.executable, "-c", _COMMAND, *arguments]
        return subprocess.Popen(  # noqa: S603
            command,
            env=self.environment,
            cwd=self.root,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def run(self, *arguments: str) -> str:
        """Run a command to its end; RuntimeError with what it said where it fails."""
        with self.start(*arguments) as process:
            said = process.communicate()[0]
        if process.returncode:
            raise RuntimeError(f"{arguments} ended with {process.returncode}:\n{said}")
        return said


def _home(folder: Path, port: int, conversations: int, seed: int) -> Path:
    folder.mkdir()
    endpoint = {"base_url": f"http://127.0.0.1:{port}/v1", "max_concurrency": AT_ONCE}
    write_project(folder, "", conversations, endpoint=endpoint)
    start = datetime(2026, 1, 5, tzinfo=UTC)
    ship(folder, RELEASES[0], conversations, seed, start, timedelta(minutes=1))
    return folder


def _rates(home: Path) -> list[dict[str, Any]]:
    found = Lake.of(home).scan("rate_estimates", RELEASES[1]).select(*_RATES)
    return found.sort(pl.col("behavior")).collect().to_dicts()


def _runs(host: Host) -> dict[str, int]:
    """How many runs of which status there are."""
    import dagster as dg

    with dg.DagsterInstance.from_config(str(host.root / "dagster")) as instance:
        return dict(Counter(run.status.value for run in instance.get_runs()))


def measured(
    url: str,
    conversations: int,
    seed: int,
    kill_at: float,
    latency: float,
    root: Path,
    postgres: str = "",
) -> dict[str, Any]:
    """Forecast on one host and its own disk; then on two hosts over the bucket, of which the first
    is killed once a share `kill_at` of all requests was answered."""
    endpoint = Endpoint(seed, latency)
    with served(application(endpoint)) as port:
        home = _home(root / "made", port, conversations, seed)
        alone = Host(root / "alone", str(root / "local"))
        alone.run("home", "copy", str(home), url)
        alone.run("home", "copy", str(home), str(root / "local"))
        begun = time.monotonic()
        alone.run("forecast", RELEASES[1])
        seconds, billed = time.monotonic() - begun, endpoint.asked.total()
        expected, again = _rates(root / "local"), endpoint.asked.total() - len(endpoint.asked)
        endpoint.asked.clear()
        first, second = (Host(root / name, url, postgres) for name in ("first", "second"))
        process = first.start("forecast", RELEASES[1])
        while endpoint.asked.total() < billed * kill_at and process.poll() is None:
            time.sleep(0.01)
        if process.poll() is not None:
            raise RuntimeError(f"it ended before it was killed:\n{process.communicate()[0]}")
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        killed_at, begun = endpoint.asked.total(), time.monotonic()
        said = second.run("forecast", RELEASES[1])
        finished = time.monotonic() - begun
        total = endpoint.asked.total()
    audit = json.loads(second.run("audit", "ledger", "--json"))
    (folder,) = second.root.glob("*-*")
    return {
        "conversations": conversations,
        "requests_alone": billed,
        "asked_twice_alone": again,
        "killed_after": killed_at,
        "requests_of_both": total,
        "asked_again": total - billed,
        "in_flight_or_not_sent_at_most": round(AT_ONCE + EVERY / latency),
        "rates_equal": _rates(folder) == expected,
        "ledger_holds": audit["holds"],
        "records": audit["head"],
        "runs_of_both" if postgres else "runs_of_the_second": _runs(second),
        "seconds_on_a_disk": round(seconds, 1),
        "seconds_of_the_second_host": round(finished, 1),
        "said_of_the_lost_host": [line for line in said.splitlines() if "was lost" in line],
    }


def main() -> None:
    """Print what came to pass."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("url")
    parser.add_argument("--postgres", default="", help="URL of a database for Dagster")
    parser.add_argument("--conversations", type=int, default=200)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--kill-at", type=float, default=0.6)
    parser.add_argument("--latency-ms", type=float, default=50.0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measured(
            chosen.url,
            chosen.conversations,
            chosen.seed,
            chosen.kill_at,
            chosen.latency_ms / 1e3,
            Path(folder),
            chosen.postgres,
        )
    sys.stdout.write(f"{json.dumps(found, indent=1)}\n")


if __name__ == "__main__":
    main()
