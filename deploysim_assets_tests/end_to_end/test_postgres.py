"""A Dagster instance on PostgreSQL: the URL that works works, the one that does not says so."""

import contextlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deploysim_assets.cli.demo import ship, synthetic_endpoint, write_project
from deploysim_assets.cli.instance import dagster_home
from deploysim_assets_tests.support import deploysim, free_port, lake


def _binaries() -> Path | None:
    """The folder of initdb: a distribution keeps it out of the search path."""
    on_path = shutil.which("initdb")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return Path(on_path).parent if on_path else found[-1].parent if found else None


BINARIES = _binaries()
needs_server = pytest.mark.skipif(
    BINARIES is None, reason="no PostgreSQL server on this machine: apt-get install postgresql"
)
needs_driver = pytest.mark.skipif(
    not all(importlib.util.find_spec(m) for m in ("dagster_postgres", "psycopg2")),
    reason="the extra is not installed: pip install -c requirements.lock -e '.[postgres]'",
)


@contextlib.contextmanager
def _server() -> Generator[str]:
    """A PostgreSQL server of its own; gives user, host, port and database as a URL has them."""
    assert BINARIES
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []  # refuses root
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="deploysim-pg-", ignore_cleanup_errors=True) as top:
        folder = Path(top)
        if as_user:
            shutil.chown(folder, "postgres")

        def run(name: str, *arguments: str) -> None:
            subprocess.run(
                [*as_user, str(BINARIES / name), *arguments],
                cwd="/",
                check=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=120,
            )

        data = str(folder / "data")
        run("initdb", "-D", data, "-U", "dagster", "--auth=trust")
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"
        run("pg_ctl", "-D", data, "-o", options, "-l", str(folder / "log"), "-w", "start")
        try:
            yield f"dagster@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")


@needs_server
@needs_driver
def test_a_forecast_on_an_instance_in_postgresql(tmp_path: Path) -> None:
    home = tmp_path
    with _server() as where, synthetic_endpoint(1) as base_url:
        write_project(home, base_url, max_prefixes=40)
        ship(home, "aurora-1", 60, 1, datetime.now(UTC) - timedelta(days=1), timedelta(seconds=10))
        dagster_home(home)
        settings = home / ".dagster" / "dagster.yaml"
        init = settings.read_text()

        def use(scheme: str) -> None:
            storage = f"storage: {{postgres: {{postgres_url: '{scheme}://{where}'}}}}\n"
            settings.write_text(init + storage)

        use("postgresql")
        refused = deploysim(home, "forecast", "aurora-2", check=False)
        assert refused.returncode == 64
        assert "postgresql+psycopg2://" in refused.stderr
        assert "Traceback" not in refused.stderr
        use("postgresql+psycopg2")
        deploysim(home, "forecast", "aurora-2")
        assert lake(home).current("rate_estimates", "aurora-2")
        again = deploysim(home, "forecast", "aurora-2")
        assert "the forecast is sealed already" in again.stderr, "its checks are read from there"
    assert not (home / ".dagster" / "history" / "runs.db").exists() or not list(
        (home / ".dagster" / "history" / "runs").glob("*-*.db")
    ), "no run is kept in SQLite"
