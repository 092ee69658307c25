"""Python processes that need not load their libraries: forked from one that has them.

A command line of this project spends five of its seconds on loading Dagster, Great Expectations,
scipy and their like; the suite starts some hundred of them. `start` gives a process all the same,
with its own environment, folder, session and exit code, in which nothing that reads the project is
loaded: the code location is imported by each anew. Tests of how a process starts use subprocess.

    python -m deploysim_assets_tests.warm SOCKET

serves until its standard input ends. The workers of pytest-xdist are such processes, too.
"""

import atexit
import contextlib
import gc
import importlib
import json
import multiprocessing
import multiprocessing.context
import os
import runpy
import selectors
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from multiprocessing import resource_tracker
from pathlib import Path
from typing import IO, Any

LIBRARIES = (
    # before great_expectations, from which deploysim keeps it
    "scipy.stats", "scipy.optimize", "scipy.special",
    "great_expectations", "great_expectations.expectations",
    "dagster", "dagster._cli", "dagster._daemon.cli", "dagster._grpc.server",
    "dagster_webserver.cli", "dagster_dg_cli.cli", "dagster._core.storage.event_log.sqlite",
    "dagster._core.storage.runs.sqlite", "dagster._core.storage.schedules.sqlite",
    "alembic.command", "sqlalchemy.dialects.sqlite", "polars", "duckdb", "pyarrow.dataset",
    "presidio_analyzer", "presidio_anonymizer", "phonenumbers", "re2", "faker",
    "matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg", "matplotlib.figure",
    "openai", "aiohttp.web", "jinja2", "rich.table", "orjson", "upath", "truststore",
    "anyio._backends._asyncio", "jsonpath", "fsspec.implementations.local",
    "cryptography.hazmat.primitives.serialization", "faker.providers.person.en_US",
    "httpcore2._async.connection_pool", "httpcore2._backends.auto", "upath.implementations.local",
    "dagster._core.executor.in_process", "dagster._core.instance.factory",
    "dagster._core.storage.sqlite_storage", "dagster._core.definitions.external_asset",
    "dagster._core.instance.runs.run_domain", "PIL.JpegImagePlugin", "rich._emoji_codes",
    "playwright.sync_api",
    # rooms, which read nothing when they are imported
    "deploysim_assets.deidentify.prefixes", "deploysim_assets.deidentify.audit",
    "deploysim_assets.deidentify.gate", "deploysim_assets.deidentify.earlier",
    "deploysim_assets.deidentify.keyed_text", "deploysim_assets.deidentify.phones",
    "deploysim_assets.grading.run", "deploysim_assets.grading.table",
    "deploysim_assets.grading.exploring", "deploysim_assets.grading.sentinels",
    "deploysim_assets.forecast.estimate", "deploysim_assets.forecast.gate",
    "deploysim_assets.forecast.novelty", "deploysim_assets.forecast.narrowing",
    "deploysim_assets.report.page", "deploysim_assets.report.plots",
    "deploysim_assets.agents.rollout", "deploysim_assets.agents.discriminator",
    "deploysim_assets.logs.sampling", "deploysim_assets.logs.earlier",
    "deploysim_assets.evidence.audit", "deploysim_assets.evidence.trace",
    "deploysim_assets.evidence.openlineage", "deploysim_assets.endpoint.completions",
    "deploysim_assets.storage.earlier", "deploysim_assets.storage.occasions",
    "deploysim_assets.schema.meanings", "deploysim_assets.project.file",
    "deploysim_assets.cli.lazy", "deploysim_assets.cli.running", "deploysim_assets.cli.reporting",
)  # fmt: skip
RESULTS = (
    ("deploysim_assets.deidentify.audit", "canaries"),
    ("deploysim_assets.forecast.predictive", "_kernels"),
    ("deploysim_assets.forecast.predictive", "_bias_densities"),
    ("deploysim_assets.project.installed", "code"),
    ("deploysim_assets.storage.manifests", "libraries"),
)
"""Functions of nothing but the code that is loaded, each of which keeps what it gave."""
CODE_SERVER = (
    "from deploysim_assets_tests.warm import fork_from_here; fork_from_here(); "
    "from dagster._cli import main; main()"
)
"""What `python -c` is told to be Dagster's command line, whose runs are forked."""
_INTERPRETER = Path(sys.executable).resolve()
_MANY = 1 << 20
_FILES = 32
_SHARED = "WARM_PROCESSES_SOCKET"


class Process:
    """A process that was started; as subprocess.Popen, so far as it is needed."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self.pid = int(_line(link))
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code, None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, once it has one; minus a signal's number where that ended it. Raises
        subprocess.TimeoutExpired."""
        if self.returncode is None:
            self._link.settimeout(timeout if timeout is None else max(timeout, 0.001))
            try:
                self.returncode = int(_line(self._link))
            except TimeoutError:
                raise subprocess.TimeoutExpired("process", timeout or 0) from None
            self._link.close()
        return self.returncode


def _line(link: socket.socket) -> str:
    found = link.recv(64).decode()
    assert found, "the server of warm processes is gone"
    return found


class _Server:
    """The process that has the libraries: started when it is first needed, ends with this one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._path = ""
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Start it; gives the path of its socket, which is there once it has loaded."""
        path = f"{tempfile.mkdtemp(prefix='warm-')}/socket"
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, path],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            cwd=Path(__file__).parent.parent,
            start_new_session=True,  # Ctrl-C is for the tests, which end it
        )
        return path

    def connect(self) -> socket.socket:
        with self._lock:
            self._path = self._path or os.environ.get(_SHARED) or self.start()
        link = socket.socket(socket.AF_UNIX)
        end = time.monotonic() + 300
        while link.connect_ex(self._path):
            ended = self._process is not None and self._process.poll() is not None
            assert not ended and time.monotonic() < end, "the server of warm processes is gone"
            time.sleep(0.05)
        return link


_server = _Server()


def share() -> None:
    """Start the server now, for this process and all that it starts: the workers of one session."""
    os.environ[_SHARED] = _server.start()


INTERPRETER = f"{shlex.quote(sys.executable)} {shlex.quote(__file__)}"
"""What pytest-xdist is told to be the interpreter of a worker."""


def _stand_in(arguments: Sequence[str]) -> int:
    """Carry out `-u -c CODE` in a warm process, with this one's standard streams; its exit code."""
    _, *command = arguments
    process = start(
        [sys.executable, *command],
        env=os.environ,
        cwd=Path.cwd(),
        stdin=sys.stdin,
        stdout=sys.stdout,
        stderr=sys.stderr,
    )
    for file in (0, 1):  # the worker's alone: that they are closed says that it is gone
        os.close(file)
    return process.wait()


def start(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    stdin: IO[Any] | None = None,
    stdout: IO[Any] | None = None,
    stderr: IO[Any] | None = None,
) -> Process:
    """Start a Python command (a script of this environment, or the interpreter with -c, -m or a
    file) in a session of its own; it reads nothing, and what it prints is lost, where no file is
    given."""
    link = _server.connect()
    with Path(os.devnull).open("r+b") as nowhere:
        files = [(file or nowhere).fileno() for file in (stdin, stdout, stderr)]
        said = json.dumps({"command": list(command), "env": dict(env), "cwd": str(cwd)}).encode()
        socket.send_fds(link, [len(said).to_bytes(8, "big")], files)
        link.sendall(said)
        return Process(link)


def run(
    command: Sequence[str], *, env: Mapping[str, str], cwd: Path, timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """Run a Python command to its end and give what it printed."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = start(command, env=env, cwd=cwd, stdout=out, stderr=err)
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        printed: list[str] = []
        for file in (out, err):
            file.seek(0)
            printed.append(file.read().decode())
        return subprocess.CompletedProcess(list(command), code, *printed)


def fork_from_here() -> None:
    """From here on, what multiprocessing spawns for this process and its children (Dagster's run
    workers and steps) is forked from this process as it is now. Before any thread is begun."""
    forkserver: Any = importlib.import_module("multiprocessing.forkserver")
    server = forkserver._forkserver
    server.ensure_running = resource_tracker.ensure_running
    contexts: Any = multiprocessing.context
    contexts._concrete_contexts["spawn"] = multiprocessing.get_context("forkserver")
    folder = tempfile.mkdtemp(prefix="warm-")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{folder}/socket")
    listener.listen(64)
    alive, held = os.pipe()
    if os.fork() == 0:
        os.close(held)
        try:
            forkserver.main(listener.fileno(), alive, ())
        finally:
            os._exit(0)
    os.close(alive)
    listener.close()
    server._forkserver_address, server._forkserver_alive_fd = f"{folder}/socket", held


def _keep_connections() -> None:
    """Dagster opens, for each statement that it sends to SQLite, an engine and a connection anew,
    compiles the statement and reads the schema: a third of a run's time. Here both are kept, for
    the files used last."""
    import sqlalchemy

    make, kept, of_the_parent = (
        sqlalchemy.create_engine,
        dict[str, sqlalchemy.Engine](),
        list[Any](),
    )

    def create_engine(url: Any, **options: Any) -> sqlalchemy.Engine:
        if not str(url).startswith("sqlite") or options.get("poolclass") is not sqlalchemy.NullPool:
            return make(url, **options)
        engine = kept.pop(str(url), None)
        if engine is None:
            pooled = options | {"poolclass": sqlalchemy.QueuePool, "pool_size": 2}
            engine = make(url, **pooled, max_overflow=-1)
            engine.dispose = lambda **_: None  # Dagster's, after each statement
        kept[str(url)] = engine
        while len(kept) > _FILES:
            kept.pop(next(iter(kept))).pool.dispose()
        return engine

    def forked() -> None:
        # a connection of SQLite must be neither used nor closed in a child
        of_the_parent.extend(kept.values())
        kept.clear()

    def end() -> None:
        for engine in kept.values():
            engine.pool.dispose()

    os.register_at_fork(after_in_child=forked)
    atexit.register(end)
    sqlalchemy.create_engine = create_engine


def _keep_migrations() -> None:
    """Alembic loads a hundred files of Dagster's migrations for each database, and every run has
    one of its own."""
    from alembic.script import ScriptDirectory
    from dagster._core.storage.event_log.sqlite import sqlite_event_log
    from dagster._core.storage.runs.sqlite import sqlite_run_storage
    from dagster._core.storage.schedules.sqlite import sqlite_schedule_storage
    from dagster._core.storage.sql import get_alembic_config

    make, kept = ScriptDirectory.from_config, dict[str, ScriptDirectory]()

    def from_config(config: Any) -> ScriptDirectory:
        where = str(config.get_main_option("script_location"))
        return kept.get(where) or kept.setdefault(where, make(config))

    ScriptDirectory.from_config = from_config
    for module in (sqlite_event_log, sqlite_run_storage, sqlite_schedule_storage):
        from_config(get_alembic_config(str(module.__file__))).get_current_head()


def load() -> None:
    """Load the libraries, and keep of them what is made again and again."""
    _keep_connections()
    for name in LIBRARIES:
        importlib.import_module(name)
    _keep_migrations()
    for module, name in RESULTS:
        getattr(importlib.import_module(module), name)()
    importlib.import_module("phonenumbers").PhoneMetadata.load_all()
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)  # of what is loaded nothing goes away


def _serve(path: str) -> list[str]:
    """Accept commands until standard input ends; returns, in a process of its own, each command."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    chosen = selectors.DefaultSelector()
    chosen.register(listener, selectors.EVENT_READ)
    chosen.register(sys.stdin, selectors.EVENT_READ)
    keepers: set[int] = set()
    while True:
        ready = [key.fileobj for key, _ in chosen.select(5)]
        with contextlib.suppress(ChildProcessError):
            while ended := os.waitpid(-1, os.WNOHANG)[0]:
                keepers.discard(ended)
        if sys.stdin in ready:  # the tests are gone, killed perhaps: no daemon outlives them
            for keeper in keepers:
                os.kill(keeper, signal.SIGTERM)
            os._exit(0)
        if listener not in ready:
            continue
        link, _ = listener.accept()
        pid = os.fork()
        if pid == 0:
            listener.close()
            return _keep(link)
        keepers.add(pid)
        link.close()


def _keep(link: socket.socket) -> list[str]:
    """Fork once more, and tell the pid and how the command ended; returns it in that process."""
    size, files, _, _ = socket.recv_fds(link, 8, 3)
    said = b""
    while len(said) < int.from_bytes(size, "big"):
        said += link.recv(_MANY)
    asked = json.loads(said)
    pid = os.fork()
    if pid:
        for file in files:
            os.close(file)

        def end(_signal: int, _frame: Any) -> None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)

        signal.signal(signal.SIGTERM, end)
        with contextlib.suppress(OSError):
            link.sendall(f"{pid}".encode())
        _, status = os.waitpid(pid, 0)
        with contextlib.suppress(OSError):
            link.sendall(f"{os.waitstatus_to_exitcode(status)}".encode())
        os._exit(0)
    link.close()
    os.setsid()
    for target, file in enumerate(files):
        os.dup2(file, target)
        os.close(file)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    return asked["command"]


def _become(command: Sequence[str]) -> None:
    """Carry out a command as the interpreter would."""
    program, *arguments = command
    with contextlib.suppress(OSError):  # for who looks at processes
        Path("/proc/self/comm").write_text(f"{Path(program).name} {arguments[0]}"[:15])
    if Path(program).resolve() == _INTERPRETER:
        flag, *arguments = arguments
        if flag == "-c":
            code, *rest = arguments
            sys.argv = ["-c", *rest]
            exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
            return
        if flag == "-m":
            sys.argv = arguments
            runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
            return
        program = flag
    sys.argv = [program, *arguments]
    runpy.run_path(program, run_name="__main__")


def main() -> None:
    """Serve until standard input ends; in the processes forked meanwhile, their commands."""
    if sys.argv[1] == "-u":
        os._exit(_stand_in(sys.argv[1:]))
    load()
    command = _serve(sys.argv[1])
    code: Any = 0
    try:
        _become(command)
    except SystemExit as ended:
        code = ended.code
    except BaseException:  # noqa: BLE001 (as the interpreter does)
        traceback.print_exc()
        code = 1
    if code is not None and not isinstance(code, int):
        sys.stderr.write(f"{code}\n")
        code = 1
    # what the interpreter does at its end, but for taking all that was loaded apart
    for module, end in ((threading, "_shutdown"), (atexit, "_run_exitfuncs")):
        getattr(module, end)()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


if __name__ == "__main__":
    main()
