"""Runs as an operator has them: through GraphQL, a real webserver, daemon and instance. Runs are
killed, run twice at once, and releases come while everything runs."""

import os
import re
import signal
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from deploysim_assets.benchmarks.counting_endpoint import counting_endpoint
from deploysim_assets.cli.demo import ship, write_project
from deploysim_assets.cli.instance import dagster_home
from deploysim_assets.storage.journal import lines
from deploysim_assets.storage.journals import journal_files
from deploysim_assets_tests.support import (
    REPO,
    daemon,
    deploysim,
    environment,
    free_port,
    lake,
    post_json,
    rows,
    script,
    stop,
    wait_for,
    webserver,
)

CONCURRENCY = 4
FORKED = REPO / "deploysim_assets_tests" / "forked"


def _release(model: str, predecessor: str | None = None, asks: str | None = None) -> dict[str, Any]:
    line: dict[str, Any] = {
        "model_version": model,
        "predecessor": predecessor,
        "logs": {"format": "openai_chat", "path": f"logs/{model}/*.jsonl"},
    }
    return line | ({"candidate": {"model": asks or model}} if predecessor else {})


def _project(home: Path, base_url: str, executor: str) -> None:
    write_project(
        home,
        base_url,
        max_prefixes=40,
        releases=[_release("aurora-1"), _release("aurora-2", "aurora-1")],
        endpoint={"base_url": base_url, "max_concurrency": CONCURRENCY},
        automation={"poll_seconds": 2},
        dagster={"executor": executor},
    )
    (home / "workspace.yaml").write_text((REPO / "workspace.yaml").read_text())
    dagster_home(home)
    ship(home, "aurora-1", 60, 1, datetime.now(UTC) - timedelta(days=1), timedelta(seconds=10))


def _graphql(port: int, query: str, **variables: Any) -> Any:
    said = post_json(f"http://127.0.0.1:{port}/graphql", {"query": query, "variables": variables})
    assert "errors" not in said, said
    return said["data"]


def _runs(port: int, **filter_by: Any) -> list[dict[str, Any]]:
    found = _graphql(
        port,
        "query($f: RunsFilter) { runsOrError(filter: $f) { ... on Runs { results { runId status "
        "assetSelection { path } eventConnection { events { ... on MessageEvent { message } } } "
        "} } } }",
        f=filter_by,
    )
    return found["runsOrError"]["results"]


def _said(run: dict[str, Any]) -> str:
    return "\n".join(e.get("message") or "" for e in run["eventConnection"]["events"])


def _launch(port: int, asset: str, partition: str) -> str:
    params = {
        "selector": {
            "repositoryLocationName": "deploysim",
            "repositoryName": "__repository__",
            "pipelineName": "__ASSET_JOB",
            "assetSelection": [{"path": [asset]}],
        },
        "executionMetadata": {"tags": [{"key": "dagster/partition", "value": partition}]},
    }
    launched = _graphql(
        port,
        "mutation($p: ExecutionParams!) { launchRun(executionParams: $p) { __typename "
        "... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }",
        p=params,
    )["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    return launched["run"]["runId"]


def _partitions(port: int, asset: str) -> list[str]:
    found = _graphql(
        port,
        "query($k: [AssetKeyInput!]) { assetNodes(assetKeys: $k) { partitionKeys } }",
        k=[{"path": [asset]}],
    )
    return found["assetNodes"][0]["partitionKeys"] if found["assetNodes"] else []


def _registry_says(port: int) -> str:
    """What the sensor `registry` last gave as its reason."""
    sensor = {
        "sensorName": "registry",
        "repositoryName": "__repository__",
        "repositoryLocationName": "deploysim",
    }
    found = _graphql(
        port,
        "query($s: SensorSelector!) { sensorOrError(sensorSelector: $s) { ... on Sensor { "
        "sensorState { ticks(limit: 3) { skipReason } } } } }",
        s=sensor,
    )
    ticks = found["sensorOrError"]["sensorState"]["ticks"]
    return next((t["skipReason"] for t in ticks if t["skipReason"]), "")


def test_a_killed_run_goes_on_and_two_at_once_take_turns(tmp_path: Path) -> None:
    home = tmp_path
    with counting_endpoint(1) as endpoint:
        _project(home, endpoint.base_url, "in_process")
        endpoint.seconds = 0.5
        endpoint.free = 4
        with daemon(home), webserver(home) as port:
            # the daemon grades the predecessor's production; its run worker is killed
            wait_for(lambda: endpoint.asked >= 8, 300, "answers", 0.05)
            (run,) = [r for r in _runs(port, statuses=["STARTED"]) if _grades_production(r)]
            worker = re.search(r"\(pid: (\d+)\)", _said(run))
            assert worker
            os.kill(int(worker[1]), signal.SIGKILL)
            endpoint.released.set()
            wait_for(
                lambda: _runs(port, runIds=[run["runId"]])[0]["status"] == "FAILURE",
                300,
                "the UI to show the death",
            )
            assert "marked as failed from outside" in _said(_runs(port, runIds=[run["runId"]])[0])
            assert lake(home).current("production_grades", "aurora-1") is None

            # run again from the UI, and a forecast beside it that needs the same grades
            again = _launch(port, "production_grades", "aurora-1")
            wait_for(lambda: _runs(port, runIds=[again])[0]["status"] == "STARTED", 300, "the run")
            wait_for(
                lambda: lake(home).current("preregistration", "aurora-2") is not None,
                300,
                "the registration",
            )
            forecast = deploysim(home, "forecast", "aurora-2")
            assert "aurora-2" in forecast.stdout
            wait_for(
                lambda: not _runs(port, statuses=["STARTED", "STARTING", "QUEUED"]),
                300,
                "all runs to end",
            )
            failed = [r["runId"] for r in _runs(port, statuses=["FAILURE"])]
            assert failed == [run["runId"]], "the killed one alone"
    assert len(rows(home, "grades", "aurora-2")) == 40
    assert endpoint.asked <= _answers(home) + CONCURRENCY, "paid twice: what was in flight"


def _answers(home: Path) -> int:
    """How many answers the journals hold, each of which was paid for."""
    return sum(1 for path in journal_files(home) for _ in lines(path))


def _grades_production(run: dict[str, Any]) -> bool:
    return {"path": ["production_grades"]} in (run["assetSelection"] or [])


def test_what_died_with_the_machine_is_closed_and_frees_its_pool(tmp_path: Path) -> None:
    home = tmp_path
    with counting_endpoint(1) as endpoint:
        _project(home, endpoint.base_url, "in_process")
        endpoint.free = 4  # a run that had ended before the kill left no lease
        with daemon(home) as running:
            wait_for(lambda: endpoint.asked >= 8, 300, "answers", 0.05)
            for process in running.processes:  # and all that they started
                os.killpg(process.pid, signal.SIGKILL)
        left = list((home / "locks" / "runs").iterdir())
        assert left, "the lease of each run that was killed lies there, held by nobody"
        endpoint.released.set()
        done = deploysim(home, "forecast", "aurora-2")
    assert "aurora-2" in done.stdout
    assert list((home / "locks" / "runs").iterdir()) == []
    in_flight = CONCURRENCY * len(left)  # grading and completing may both be under way
    assert endpoint.asked <= _answers(home) + in_flight, "paid twice: what was in flight"
    with webserver(home) as port:
        dead = {run["runId"]: _said(run) for run in _runs(port, statuses=["FAILURE"])}
        assert set(dead) == {path.name for path in left}
        assert all("the process that led this run was killed" in said for said in dead.values())


@contextmanager
def dg_dev(home: Path, **extra: str) -> Generator[tuple[int, Path]]:
    """`dg dev -w workspace.yaml` as the demo tells it; gives its port and log."""
    port, log = free_port(), home / "dg-dev.log"
    with log.open("w") as out:
        command = [script("dg"), "dev", "-w", "workspace.yaml", "--port", str(port)]
        process = subprocess.Popen(
            command,
            env=environment(home) | extra,
            cwd=home,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )

        def loaded() -> bool:
            try:
                found = _graphql(
                    port,
                    "{ workspaceOrError { ... on Workspace { locationEntries { name loadStatus } "
                    "} } }",
                )
            except OSError:
                return False
            return found["workspaceOrError"]["locationEntries"] == [
                {"name": "deploysim", "loadStatus": "LOADED"}
            ]

        try:
            wait_for(loaded, 300, f"dg dev; see {log}")
            yield port, log
        finally:
            stop(process)


def _clean(log: Path) -> None:
    # what it says once it was told to end is of the end
    said = log.read_text().partition("KeyboardInterrupt received")[0]
    assert "Warning" not in said, said
    assert "does not match" not in said


def test_releases_come_and_wrong_files_change_nothing_without_a_restart(tmp_path: Path) -> None:
    home = tmp_path
    file = home / "deploysim.yaml"
    with counting_endpoint(1) as endpoint:
        _project(home, endpoint.base_url, "in_process")
        deploysim(home, "forecast", "aurora-2")
        good = yaml.safe_load(file.read_text())
        with dg_dev(home, PYTHONPATH=f"{FORKED}{os.pathsep}{REPO}") as (port, log):
            wait_for(
                lambda: _registry_says(port) == "the definitions are those of deploysim.yaml",
                300,
                "the first look",
                2,
            )
            # wrong: what is loaded stays, also when somebody reloads, and the reason is shown
            file.write_text(
                file.read_text().replace("predecessor: aurora-1", "predecessor: aurora")
            )
            wait_for(
                lambda: "the last good definitions stay loaded" in _registry_says(port),
                300,
                "the reason",
                2,
            )
            assert "'aurora' is no release of this file" in _registry_says(port)
            _graphql(
                port,
                'mutation { reloadRepositoryLocation(repositoryLocationName: "deploysim") { '
                "__typename } }",
            )
            assert _partitions(port, "rate_estimates") == ["aurora-2"]

            # a registered release asked otherwise, or gone: refused, with the way out
            changed = [_release("aurora-1"), _release("aurora-2", "aurora-1", asks="aurora-3")]
            file.write_text(yaml.safe_dump(good | {"releases": changed}))
            wait_for(
                lambda: "deploysim register aurora-2" in _registry_says(port), 300, "refusal", 2
            )
            assert "deploysim register aurora-2" in deploysim(home, "status").stdout
            file.write_text(yaml.safe_dump(good | {"releases": changed[:1]}))
            wait_for(lambda: "aurora-2 is gone" in _registry_says(port), 300, "refusal", 2)

            # a release more: picked up, registered and forecast, with nothing pressed
            more = [*good["releases"], _release("aurora-2b", "aurora-1", asks="aurora-2")]
            file.write_text(yaml.safe_dump(good | {"releases": more}))
            wait_for(
                lambda: _partitions(port, "rate_estimates") == ["aurora-2", "aurora-2b"],
                300,
                "the new partition",
                2,
            )
            wait_for(
                lambda: lake(home).current("rate_estimates", "aurora-2b") is not None,
                300,
                "the forecast of the new release",
            )
            assert not _runs(port, statuses=["FAILURE"])
            assert "last loaded another" not in deploysim(home, "status").stdout
    _clean(log)
