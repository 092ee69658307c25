"""A finished project as an operator has it: a home under Dagster's own webserver and daemon, worked
by GraphQL."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

import yaml

from deploysim_assets.benchmarks.counting_endpoint import Endpoint, counting_endpoint
from deploysim_assets.cli.instance import WORKSPACE_YAML
from deploysim_assets.storage import ledger
from deploysim_assets.storage.journal import lines
from deploysim_assets.storage.journals import journal_files
from deploysim_assets.storage.tables import Lake

CONCURRENCY = 4
CANDIDATES = ("aurora-2b", "aurora-2c", "aurora-2d")
"""Releases that are registered and not forecast: candidates of the one that aurora-2 replaced."""
FRESHNESS = {"logs_keep_coming": "raw_logs", "forecast_is_recent": "rate_estimates"}
_DAEMON = (
    "import dagster._daemon.controller as c; c.DEFAULT_DAEMON_INTERVAL_SECONDS = 3; "
    "from dagster._daemon.cli import main; main()"
)


def wait_for(found: Callable[[], bool], what: str, seconds: float = 1800, every: float = 1) -> None:
    """Until a condition holds; AssertionError after `seconds`."""
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end, f"waited {seconds:.0f} s for {what}"
        time.sleep(every)


class Started(Protocol):
    """A process that was started."""

    @property
    def pid(self) -> int: ...

    def wait(self, timeout: float | None = None) -> int: ...


class Site:
    """A home with its webserver and its daemon as processes, and its endpoint."""

    def __init__(self, home: Path, endpoint: Endpoint, **extra: str) -> None:
        self.home, self.endpoint, self.lake = home, endpoint, Lake.of(home)
        self.environment = os.environ | {
            "DEPLOYSIM_HOME": str(home),
            "DAGSTER_HOME": str(home / ".dagster"),
            # a run whose worker takes longer to start is dropped as failed
            "DAGSTER_GRPC_TIMEOUT_SECONDS": "600",
            "PYTHONPATH": str(Path(__file__).parents[2]),
            **extra,
        }
        self.processes: list[Started] = []
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self._port = sock.getsockname()[1]

    def start(self, name: str, *command: str) -> Started:
        """Start a process of the site; what it prints goes to a log of its name."""
        with (self.home / f"{name}.log").open("ab") as out:
            process = self.process(command, out)
        self.processes.append(process)
        return process

    def process(self, command: Sequence[str], out: IO[bytes]) -> Started:
        """A command in a session of its own."""
        return subprocess.Popen(  # noqa: S603
            command, env=self.environment, cwd=self.home, stdout=out, stderr=out,
            start_new_session=True,
        )  # fmt: skip

    def serve(self) -> None:
        """Start the webserver."""
        script = Path(sys.executable).parent / "dagster-webserver"
        self.start("webserver", str(script), "-w", "workspace.yaml", "-p", str(self._port))

        def answers() -> bool:
            try:
                found = self.ask(
                    "{ workspaceOrError { ... on Workspace { locationEntries { loadStatus "
                    "locationOrLoadError { __typename } } } } }"
                )["workspaceOrError"]["locationEntries"]
            except OSError:
                return False
            if found and found[0]["loadStatus"] == "LOADED":
                assert found[0]["locationOrLoadError"]["__typename"] == "RepositoryLocation"
                return True
            return False

        wait_for(answers, "the webserver")

    def start_daemon(self) -> None:
        """Start the daemon, with its code server."""
        command = (sys.executable, "-c", _DAEMON, "run", "-w", "workspace.yaml")
        self._daemon = self.start("daemon", *command)

    def kill_daemon(self) -> None:
        """SIGKILL for the daemon's process alone."""
        os.kill(self._daemon.pid, signal.SIGKILL)
        self._daemon.wait()

    def end(self) -> None:
        """End what was started, with all that it started."""
        for process in self.processes:
            for number in (signal.SIGTERM, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=10)

    def ask(self, query: str, **variables: Any) -> Any:
        """What GraphQL says."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._port}/graphql", body, {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=120) as response:  # noqa: S310
            said = json.loads(response.read())
        assert "errors" not in said, said
        return said["data"]

    def stop_automation(self) -> None:
        """Stop the sensor that runs what is due."""
        selector = {
            "sensorName": "automation",
            "repositoryName": "__repository__",
            "repositoryLocationName": "deploysim",
        }
        found = self.ask(
            "query($s: SensorSelector!) { sensorOrError(sensorSelector: $s) { ... on Sensor { id } "
            "} }",
            s=selector,
        )
        stopped = self.ask(
            "mutation($i: String) { stopSensor(id: $i) { __typename } }",
            i=found["sensorOrError"]["id"],
        )
        assert stopped["stopSensor"]["__typename"] == "StopSensorMutationResult", stopped

    def set_schedules_back(self, seconds: float) -> None:
        """Have the freshness schedules on since a while: the daemon then makes up for the tick that
        it missed, instead of one that is due at six in the morning."""
        import dagster as dg

        for name in FRESHNESS:
            selector = {
                "scheduleName": f"{name}_daily",
                "repositoryName": "__repository__",
                "repositoryLocationName": "deploysim",
            }
            # one that is on by its code alone has no record that could be set back
            found = self.ask(
                "query($s: ScheduleSelector!) { scheduleOrError(scheduleSelector: $s) { "
                "... on Schedule { scheduleState { id } } } }",
                s=selector,
            )["scheduleOrError"]["scheduleState"]["id"]
            for call, kind, value in (
                ("stopRunningSchedule(id: $v)", "String", found),
                ("startSchedule(scheduleSelector: $v)", "ScheduleSelector!", selector),
            ):
                (done,) = self.ask(
                    f"mutation($v: {kind}) {{ {call} {{ __typename ... on PythonError {{ message "
                    "} } }",
                    v=value,
                ).values()
                assert done["__typename"] == "ScheduleStateResult", done
        with dg.DagsterInstance.from_config(str(self.home / ".dagster")) as instance:
            mine = [
                state
                for state in instance.all_instigator_state()
                if state.instigator_name.removesuffix("_daily") in FRESHNESS
            ]
            assert len(mine) == len(FRESHNESS)
            for state in mine:
                data: Any = state.instigator_data
                instance.update_instigator_state(
                    state.with_data(data._replace(start_timestamp=time.time() - seconds))
                )

    def checked(self, asset: str, check: str) -> dict[str, bool | None]:
        """What a check said of each partition; None where it could not be carried out."""
        found = self.ask(
            "query($k: AssetKeyInput!, $c: String!) { assetCheckExecutions(assetKey: $k, "
            "checkName: $c, limit: 50) { status evaluation { partition success } } }",
            k={"path": [asset]},
            c=check,
        )["assetCheckExecutions"]
        return {
            e["evaluation"]["partition"]: e["evaluation"]["success"]
            for e in found
            if e["evaluation"]
        }

    def runs(self, **chosen: Any) -> list[dict[str, Any]]:
        """Runs with their tags and what they said."""
        found = self.ask(
            "query($f: RunsFilter) { runsOrError(filter: $f) { ... on Runs { results { runId "
            "status jobName tags { key value } assetSelection { path } "
            "eventConnection { events { ... on MessageEvent { message } } } } } } }",
            f=chosen,
        )
        return found["runsOrError"]["results"]

    def status(self, run_id: str) -> str:
        """A run's status."""
        found = self.ask(
            "query($r: ID!) { runOrError(runId: $r) { ... on Run { status } } }", r=run_id
        )
        return found["runOrError"]["status"]

    def launch(self, assets: Sequence[str], key: str | None) -> str:
        """Launch one run of some assets for a partition, as Materialize does."""
        params = {
            "selector": {
                "repositoryLocationName": "deploysim",
                "repositoryName": "__repository__",
                "pipelineName": "__ASSET_JOB",
                "assetSelection": [{"path": [asset]} for asset in assets],
            },
            "executionMetadata": {
                "tags": [{"key": "dagster/partition", "value": key}] if key else []
            },
        }
        launched = self.ask(
            "mutation($p: ExecutionParams!) { launchRun(executionParams: $p) { __typename "
            "... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }",
            p=params,
        )["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        return launched["run"]["runId"]

    def materializable(self) -> dict[str, list[str]]:
        """Every asset that a run can make, with its partitions."""
        nodes = self.ask("{ assetNodes { assetKey { path } partitionKeys isMaterializable } }")[
            "assetNodes"
        ]
        return {
            node["assetKey"]["path"][0]: node["partitionKeys"]
            for node in nodes
            if node["isMaterializable"]
        }

    def missing(self) -> dict[str, list[str]]:
        """The partitions that were never made, as the UI's "missing only" asks for them."""
        nodes = self.ask(
            "{ assetNodes { assetKey { path } isMaterializable assetPartitionStatuses { "
            "... on DefaultPartitionStatuses { unmaterializedPartitions } } } }"
        )["assetNodes"]
        return {
            node["assetKey"]["path"][0]: found
            for node in nodes
            if node["isMaterializable"]
            and (found := node["assetPartitionStatuses"].get("unmaterializedPartitions"))
        }

    def backfill(self, chosen: Mapping[str, Sequence[str]]) -> str:
        """Launch a backfill over partitions by asset (none: an asset without partitions)."""
        listed = [
            {
                "assetKey": {"path": [asset]},
                "partitions": {"ranges": [{"start": k, "end": k} for k in keys]} if keys else None,
            }
            for asset, keys in chosen.items()
        ]
        return self._backfill_of(
            "launchPartitionBackfill(backfillParams: $p)", "LaunchBackfillParams",
            {"partitionsByAssets": listed},
        )  # fmt: skip

    def resume(self, backfill: str) -> str:
        """Launch again what a backfill did not finish."""
        return self._backfill_of(
            "reexecutePartitionBackfill(reexecutionParams: $p)", "ReexecutionParams",
            {"parentRunId": backfill, "strategy": "FROM_FAILURE"},
        )  # fmt: skip

    def _backfill_of(self, call: str, kind: str, params: dict[str, Any]) -> str:
        (launched,) = self.ask(
            f"mutation($p: {kind}!) {{ {call} {{ __typename ... on LaunchBackfillSuccess {{ "
            "backfillId } ... on PythonError { message } } }",
            p=params,
        ).values()
        assert launched["__typename"] == "LaunchBackfillSuccess", launched
        return launched["backfillId"]

    def cancel(self, backfill: str) -> None:
        """Cancel a backfill."""
        self.ask(
            "mutation($b: String!) { cancelPartitionBackfill(backfillId: $b) { __typename } }",
            b=backfill,
        )

    def backfill_status(self, backfill: str) -> str:
        """A backfill's status."""
        return self.ask(
            "query($b: String!) { partitionBackfillOrError(backfillId: $b) { "
            "... on PartitionBackfill { status } } }",
            b=backfill,
        )["partitionBackfillOrError"]["status"]

    def ended(self, backfill: str) -> str:
        """Wait for a backfill to end; its status."""
        going = ("REQUESTED", "COMPLETING", "CANCELING", "FAILING")
        wait_for(lambda: self.backfill_status(backfill) not in going, "the backfill")
        return self.backfill_status(backfill)

    def all_ended(self, runs: Sequence[str]) -> list[str]:
        """Wait for runs to end; their statuses."""
        over = ("SUCCESS", "FAILURE", "CANCELED")
        wait_for(lambda: all(self.status(run) in over for run in runs), "the runs")
        return [self.status(run) for run in runs]

    def versions(self) -> dict[str, str | None]:
        """The current version of every table."""
        places = [(asset, key) for asset, key, _ in self.lake.places()]
        return {f"{asset}[{key or ''}]": self.lake.current(asset, key) for asset, key in places}

    def seals(self, candidate: str, kind: str = "forecast") -> list[str]:
        """The records of a kind of a release, oldest first."""
        return [
            r.hash
            for r in ledger.read(self.home)
            if r.kind == kind and r.model_version == candidate
        ]

    def flagged_line(self, model: str) -> str:
        """A line of a model's own log that holds a flagged reply."""
        script = Path(sys.executable).parent / "deploysim"
        done = subprocess.run(  # noqa: S603
            [str(script), "trace", model, "--json"],
            env=self.environment, cwd=self.home, check=True, capture_output=True,
        )  # fmt: skip
        items = json.loads(done.stdout)["items"]
        log = next(item["log"] for item in items if item["side"] == "production")
        return (self.home / log["file"]).read_text().splitlines()[log["line"] - 1]

    def answers(self) -> int:
        """How many answers the journals hold that were paid for, none taken over from another."""
        found = (json.loads(body) for path in journal_files(self.home) for body in lines(path))
        return sum(not answer.get("copied") for answer in found)

    def unexplained(self) -> list[str]:
        """What the catalog would show as "No description" or, of what was made, "Not evaluated"."""
        nodes = self.ask(
            "{ assetNodes { assetKey { path } description assetMaterializations(limit: 1) { runId "
            "} assetChecksOrError { ... on AssetChecks { checks { name description "
            "executionForLatestMaterialization { status } } } } } }"
        )["assetNodes"]
        wrong: list[str] = []
        for node in nodes:
            asset = node["assetKey"]["path"][0]
            wrong += [] if node["description"] else [f"{asset}: No description"]
            for check in node["assetChecksOrError"].get("checks", []):
                if not check["description"]:
                    wrong.append(f"{asset}.{check['name']}: No description")
                elif (
                    node["assetMaterializations"] and not check["executionForLatestMaterialization"]
                ):
                    wrong.append(f"{asset}.{check['name']}: Not evaluated")
        return wrong

    def failed(self) -> list[str]:
        """What the failed runs said."""
        return [
            "\n".join(e.get("message") or "" for e in run["eventConnection"]["events"])[-2000:]
            for run in self.runs(statuses=["FAILURE"])
        ]


@contextlib.contextmanager
def site(
    finished: Path,
    home: Path,
    executor: str,
    seed: int,
    threshold: float | None = None,
    kind: type[Site] = Site,
    **environment: str,
) -> Generator[Site]:
    """A copy of a finished home with an endpoint that counts, candidates that nobody forecast,
    webserver, and daemon; automation is off."""
    shutil.copytree(finished, home)
    with counting_endpoint(seed) as endpoint:
        file = home / "deploysim.yaml"
        config = yaml.safe_load(file.read_text())
        asked = config["releases"][1]["candidate"]
        more = [
            {
                "model_version": name,
                "predecessor": "aurora-1",
                "logs": {"format": "openai_chat", "path": f"logs/{name}/*.jsonl"},
                # asked alike, one would take over what another was answered, and ask nothing
                "candidate": asked | {"params": asked["params"] | {"max_tokens": 700 + i}},
            }
            for i, name in enumerate(CANDIDATES)
        ]
        config |= {
            "releases": [*config["releases"][:2], *more],
            "endpoint": {"base_url": endpoint.base_url, "max_concurrency": CONCURRENCY},
            "automation": {"poll_seconds": 2},
            "dagster": {"executor": executor},
            "freshness": {"logs_days": 1, "forecast_days": 1},
        }
        file.write_text(yaml.safe_dump(config, sort_keys=False))
        if threshold is not None:
            behaviors = yaml.safe_load((home / "behaviors.yaml").read_text())
            listed = [b | {"threshold_per_100k": threshold} for b in behaviors]
            (home / "behaviors.yaml").write_text(yaml.safe_dump(listed))
        (home / "workspace.yaml").write_text(WORKSPACE_YAML)
        found = kind(home, endpoint, **environment)
        try:
            found.serve()
            found.stop_automation()
            found.set_schedules_back(86400.0)
            found.start_daemon()
            yield found
        finally:
            found.end()
