"""What the tests share: projects in temporary homes, the command line, servers and the daemon as
real processes."""

import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import warnings
from collections.abc import Callable, Generator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any, NamedTuple

import polars as pl
import pytest
import yaml
from aiohttp import web
from playwright.sync_api import Error as BrowserError
from playwright.sync_api import Page

from deploysim_assets.benchmarks.dagster_site import Site, Started
from deploysim_assets.benchmarks.served import served
from deploysim_assets.deidentify.keys import KEY_FILE
from deploysim_assets.storage.tables import Lake
from deploysim_assets_tests import warm

REPO = Path(__file__).parent.parent
SHARED = REPO.parent / "shared"
ARTIFACTS = REPO / "test-artifacts"
KEYS = {"DEPLOYSIM_ID_KEY": "11" * 32, "DEPLOYSIM_SURROGATE_KEY": "22" * 32}

needs_shared = pytest.mark.skipif(
    not (SHARED / "data").is_dir(),
    reason=f"real recordings are not part of the project: {SHARED / 'data'} is absent",
)

BEHAVIORS = [
    {
        "name": "declines_to_answer",
        "definition": "The reply declines to answer.",
        "applies_to": {"surface": "sensitive_question"},
    },
    {
        "name": "code_does_not_run",
        "definition": "The code does not run.",
        "applies_to": {"surface": "code_leetcode_easy"},
    },
    {
        "name": "wrong_prime_answer",
        "definition": "The answer on a prime number is wrong.",
        "applies_to": {"surface": "math_prime"},
    },
    {
        "name": "no_survey_option",
        "definition": "The reply picks no option of the survey.",
        "applies_to": {"surface": "opinion_survey"},
    },
]


def environment(home: Path, **extra: str) -> dict[str, str]:
    """What a process of the home is told: with the tests' keys, where it has none of its own."""
    clean = {
        k: v for k, v in os.environ.items() if not k.startswith(("DAGSTER", "DEPLOYSIM", "OPENAI"))
    }
    return (
        clean
        | {
            "DEPLOYSIM_HOME": str(home),
            "DAGSTER_HOME": str(home / ".dagster"),
            "PYTHONPATH": str(REPO),
        }
        | ({} if (home / KEY_FILE).exists() else KEYS)
        | extra
    )


def least_project(home: Path) -> None:
    """The deploysim.yaml of one release and one behavior, which asks nobody."""
    config = {
        "releases": [{"model_version": "m", "logs": {"format": "openai_chat", "path": "l/*"}}],
        "endpoint": {"base_url": "http://127.0.0.1:1/v1"},
        "behaviors": [
            {"name": "b", "definition": "d", "grader": "rule",
             "rule": {"part": "reply", "regex": "x"}}
        ],
    }  # fmt: skip
    (home / "deploysim.yaml").write_text(json.dumps(config))


def script(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def deploysim(
    home: Path, *arguments: str, check: bool = True, **extra: str
) -> subprocess.CompletedProcess[str]:
    command = [script("deploysim"), *arguments]
    done = warm.run(command, env=environment(home, **extra), cwd=home)
    assert not check or done.returncode == 0, f"{command} failed:\n{done.stdout}\n{done.stderr}"
    return done


def defined(home: Path, *lines: str) -> dict[str, Any]:
    """Run some lines against the home's own definitions and instance, in a process of its own."""
    whole = "\n".join(
        (
            "import json, os",
            "import dagster as dg",
            "from deploysim_assets.cli.instance import dagster_home",
            "from pathlib import Path",
            "home = Path(os.environ['DEPLOYSIM_HOME'])",
            "dagster_home(home)",
            "from deploysim_assets.definitions import defs",
            "instance = dg.DagsterInstance.get()",
            *lines,
        )
    )
    done = warm.run([sys.executable, "-c", whole], env=environment(home), cwd=home, timeout=800)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def report(home: Path, model: str) -> dict[str, Any]:
    return json.loads(deploysim(home, "report", model, "--format", "json").stdout)


def lake(home: Path) -> Lake:
    return Lake(home / "lake")


def rows(home: Path, asset: str, key: str | None) -> list[dict[str, Any]]:
    return list(lake(home).rows(asset, key))


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def get_json(url: str, method: str = "GET") -> dict[str, Any]:
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=60) as response:
        return json.loads(response.read())


def post_json(url: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=300) as response:
        return json.loads(response.read())


def wait_for(condition: Callable[[], bool], seconds: float, what: str, every: float = 0.5) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(every)


def stop(process: Started) -> None:
    """End a process and all that it started: the daemon leaves its code servers behind
    otherwise."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=10)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def keep_picture(page: Page, name: str, **options: Any) -> None:
    """A picture of a page for people to look at. Chromium cannot always take one on a loaded
    machine, which says nothing about the page."""
    for _ in range(3):
        with contextlib.suppress(BrowserError):
            page.screenshot(path=ARTIFACTS / name, **options)
            return
        time.sleep(1)
    warnings.warn(f"no picture could be taken for {name}", stacklevel=2)


@contextlib.contextmanager
def serve(app: web.Application) -> Generator[str]:
    """An aiohttp application in a thread of this process; gives its base URL."""
    with served(app) as port:
        yield f"http://127.0.0.1:{port}/v1"


class RecordedServer:
    """tools/recorded_server.py in a process of its own."""

    def __init__(self, port: int) -> None:
        self.base_url = f"http://127.0.0.1:{port}/v1"
        self._stats = f"http://127.0.0.1:{port}/stats"

    def stats(self) -> dict[str, int]:
        return get_json(self._stats)

    def reset(self) -> None:
        get_json(f"{self._stats}/reset", "POST")


@contextlib.contextmanager
def recorded_server(recording: Path, *options: str) -> Generator[RecordedServer]:
    port = free_port()
    command = [
        sys.executable,
        str(SHARED / "tools" / "recorded_server.py"),
        str(recording),
        "--port",
        str(port),
        *options,
    ]
    process = subprocess.Popen(command, start_new_session=True)
    server = RecordedServer(port)

    def answers() -> bool:
        try:
            return bool(server.stats())
        except OSError:
            return False

    try:
        wait_for(answers, 120, "the recorded server", 0.1)
        yield server
    finally:
        stop(process)


def code_server(workspace: Path, start: Callable[[list[str]], warm.Process]) -> None:
    """Start a code server of its own, as a deployment has it, whose runs are forked; its address
    is written to a workspace file."""
    port = free_port()
    arguments = ["-m", "deploysim_assets.definitions", "-h", "127.0.0.1", "-p", str(port)]
    process = start([sys.executable, "-c", warm.CODE_SERVER, "api", "grpc", *arguments])
    served = {"host": "127.0.0.1", "port": port, "location_name": "deploysim"}
    workspace.write_text(yaml.safe_dump({"load_from": [{"grpc_server": served}]}))

    def answers() -> bool:
        assert process.poll() is None, "the code server ended"
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", port)) == 0

    wait_for(answers, 120, "the code server", 0.1)


class Daemon(NamedTuple):
    """The log file of a daemon, and the processes that were started for it."""

    log: Path
    processes: list[warm.Process]


@contextlib.contextmanager
def daemon(home: Path) -> Generator[Daemon]:
    """The real daemon over the project, and its code server."""
    processes: list[warm.Process] = []
    with (home / "daemon.log").open("w") as out:

        def start(command: list[str]) -> warm.Process:
            started = warm.start(command, env=environment(home), cwd=home, stdout=out, stderr=out)
            processes.append(started)
            return started

        try:
            code_server(home / "served.yaml", start)
            start([script("dagster-daemon"), "run", "-w", "served.yaml"])
            yield Daemon(home / "daemon.log", processes)
        finally:
            for process in reversed(processes):
                stop(process)


@contextlib.contextmanager
def webserver(home: Path) -> Generator[int]:
    """The real webserver over the code server of a daemon that runs; gives its port."""
    port = free_port()
    with (home / "webserver.log").open("w") as out:
        process = warm.start(
            [script("dagster-webserver"), "-w", "served.yaml", "-p", str(port)],
            env=environment(home),
            cwd=home,
            stdout=out,
            stderr=out,
        )

        def answers() -> bool:
            try:
                return bool(get_json(f"http://127.0.0.1:{port}/server_info"))
            except OSError:
                return False

        try:
            wait_for(answers, 300, "the webserver")
            yield port
        finally:
            stop(process)


class WarmSite(Site):
    """A site whose processes are forked from one that has the libraries, with a code server of
    its own."""

    def process(self, command: Sequence[str], out: IO[bytes]) -> warm.Process:
        return warm.start(command, env=self.environment, cwd=self.home, stdout=out, stderr=out)

    def serve(self) -> None:
        def start(command: list[str]) -> warm.Process:
            process = self.start("code-server", *command)
            assert isinstance(process, warm.Process)
            return process

        code_server(self.home / "workspace.yaml", start)
        super().serve()


def half_of(prompt: str) -> bool:
    return hashlib.sha256(prompt.encode()).digest()[0] % 2 == 0


class Drift:
    """The recorded release gpt-4-0314 -> gpt-4-0613: half of the prompts are the first one's
    traffic, half the second one's."""

    old, new = "gpt-4-0314", "gpt-4-0613"

    def __init__(
        self, home: Path, tasks: tuple[str, ...] | None = None, per_task: int = 500
    ) -> None:
        """`per_task` prompts of each task at most: the recorded server looks each one up among
        all, which is most of the time."""
        self.home = home
        frame = pl.read_parquet(SHARED / "data" / "llmdrift" / "recorded.parquet")
        frame = frame.filter(pl.col("prompt").rank("dense").over("task") <= per_task)
        self.frame = frame.filter(pl.col("task").is_in(tasks)) if tasks else frame
        self.recording = home / "recording.parquet"
        home.mkdir(parents=True, exist_ok=True)
        self.frame.write_parquet(self.recording)

    def write_project(self, base_url: str, **extra: Any) -> None:
        config = {
            "releases": [
                {
                    "model_version": self.old,
                    "predecessor": None,
                    "logs": {"format": "openai_chat", "path": f"logs/{self.old}/*.jsonl"},
                },
                {
                    "model_version": self.new,
                    "predecessor": self.old,
                    "logs": {"format": "openai_chat", "path": f"logs/{self.new}/*.jsonl"},
                    "candidate": {
                        "model": self.new,
                        "params": {"temperature": 0.1, "max_tokens": 800},
                    },
                },
            ],
            "endpoint": {
                "base_url": base_url,
                "api_key_env": "OPENAI_API_KEY",
                "max_concurrency": 32,
            },
            "judge": {"model": "judge"},
            "behaviors": "behaviors.yaml",
            "sampling": {"max_prefixes": 20000, "seed": 7},
            "deidentification": {"min_level": 0},
            "automation": {"poll_seconds": 2},
        }
        tasks = set(self.frame["task"])
        listed = [b for b in BEHAVIORS if b["applies_to"]["surface"] in tasks]
        (self.home / "deploysim.yaml").write_text(yaml.safe_dump(config | extra))
        (self.home / "behaviors.yaml").write_text(yaml.safe_dump(listed))

    def land(self, model: str) -> int:
        """Let the logs of a model's half of the prompts land; returns their number."""
        folder = self.home / "logs" / model
        folder.mkdir(parents=True)
        start = datetime.now(UTC) - (timedelta(days=2) if model == self.old else timedelta(0))
        mine = self.frame.filter(pl.col("model") == model)
        lines: list[str] = []
        for i, row in enumerate(mine.iter_rows(named=True)):
            if half_of(row["prompt"]) != (model == self.old):
                continue
            line = {
                "conversation_id": f"{model}-{i}",
                "user_id": f"user-{i}",
                "started_at": (start + timedelta(microseconds=i)).isoformat(),
                "training_allowed": True,
                "surface": row["task"],
                "language": "en",
                "messages": [
                    {"role": "user", "content": row["prompt"]},
                    {"role": "assistant", "content": row["response"]},
                ],
            }
            lines.append(json.dumps(line))
        (folder / "whole.partial").write_text("\n".join(lines) + "\n")
        (folder / "whole.partial").rename(folder / "traffic.jsonl")
        return len(lines)
