"""What is shipped for Kubernetes, and the executor of pods. The chart's own JSON schema is in no
package, so the values are held against models of the parts of it that they use."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, Literal

import dagster as dg
import pytest
import yaml
from click.testing import CliRunner
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deploysim_assets.cli.commands import main
from deploysim_assets.project import Project, ProjectError
from deploysim_assets.project.file import home_folder, load_project
from deploysim_assets.project.running import Running
from deploysim_assets.runs import executor, pods
from deploysim_assets_tests.support import REPO, environment

DEPLOYMENT = Path(REPO) / "deploysim_assets" / "deployment"
PROJECT = """
releases: [{model_version: m, logs: {format: openai_chat, path: logs/*.jsonl}}]
endpoint: {base_url: "http://127.0.0.1:1/v1"}
behaviors:
  - {name: b, definition: d, grader: rule, rule: {part: reply, regex: x}}
"""


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Image(Strict):
    repository: str
    tag: str
    pullPolicy: Literal["Always", "IfNotPresent", "Never"]


class Variable(Strict):
    name: str
    value: str


class Named(Strict):
    name: str


class Enabled(Strict):
    enabled: bool


class Claim(Strict):
    claimName: str


class Volume(Strict):
    name: str
    persistentVolumeClaim: Claim


class Mount(Strict):
    name: str
    mountPath: str


class Pods(Strict):
    requests: dict[Literal["cpu", "memory"], str]
    limits: dict[Literal["cpu", "memory"], str]


class Deployment(Strict):
    name: str
    image: Image
    dagsterApiGrpcArgs: list[str]
    port: int
    env: list[Variable]
    envSecrets: list[Named]
    includeConfigInLaunchedRuns: Enabled
    volumes: list[Volume]
    volumeMounts: list[Mount]
    podSecurityContext: dict[Literal["fsGroup", "runAsUser"], int]
    resources: Pods


class Deployments(Enabled):
    deployments: list[Deployment]


class Container(Strict):
    resources: Pods


class JobSpec(Strict):
    ttlSecondsAfterFinished: int


class RunConfig(Strict):
    containerConfig: Container
    jobSpecConfig: JobSpec


class K8sLauncher(Strict):
    imagePullPolicy: Literal["Always", "IfNotPresent", "Never"]
    runK8sConfig: RunConfig


class LauncherConfig(Strict):
    k8sRunLauncher: K8sLauncher


class Launcher(Strict):
    type: Literal["K8sRunLauncher"]
    config: LauncherConfig


class Queue(Strict):
    maxConcurrentRuns: int


class QueueConfig(Strict):
    queuedRunCoordinator: Queue


class Coordinator(Enabled):
    type: Literal["QueuedRunCoordinator"]
    config: QueueConfig


class Monitoring(Enabled):
    startTimeoutSeconds: int
    cancelTimeoutSeconds: int
    freeSlotsAfterRunEndSeconds: int


class Daemon(Enabled):
    runCoordinator: Coordinator
    runMonitoring: Monitoring


class Port(Strict):
    port: int


class Postgres(Enabled):
    postgresqlHost: str
    postgresqlUsername: str
    postgresqlDatabase: str
    service: Port


class Global(Strict):
    postgresqlSecretName: str


class Values(Strict):
    user_deployments: Deployments = Field(alias="dagster-user-deployments")
    runLauncher: Launcher
    dagsterDaemon: Daemon
    additionalInstanceConfig: dict[str, Any]
    telemetry: Enabled
    postgresql: Postgres
    generatePostgresqlPasswordSecret: bool
    global_: Global = Field(alias="global")


@pytest.fixture
def values() -> dict[str, Any]:
    return yaml.safe_load((DEPLOYMENT / "values.yaml").read_text())


def test_the_values_are_of_the_charts_shape(values: dict[str, Any]) -> None:
    held = Values.model_validate(values)
    [code] = held.user_deployments.deployments
    variables = {one.name: one.value for one in code.env}
    assert {mount.mountPath for mount in code.volumeMounts} == {variables["DEPLOYSIM_HOME"]}
    assert {mount.name for mount in code.volumeMounts} == {one.name for one in code.volumes}
    assert code.includeConfigInLaunchedRuns.enabled, "else runs would have no home"
    assert not any("KEY" in name or "PASSWORD" in name for name in variables)
    values["dagster-user-deployments"]["deployments"][0]["volumeMount"] = []
    with pytest.raises(ValidationError, match="volumeMount"):
        Values.model_validate(values)


def test_the_image_holds_what_the_values_ask_for(values: dict[str, Any]) -> None:
    said = (DEPLOYMENT / "Dockerfile").read_text()
    installed = re.search(r"deploysim\[([\w,]+)\]", said)
    assert installed
    package = tomllib.loads((Path(REPO) / "pyproject.toml").read_text())["project"]
    assert set(installed[1].split(",")) <= set(package["optional-dependencies"])
    python = re.search(r"FROM python:3\.(\d+)", said)
    assert python and 11 <= int(python[1]) < 14
    [code] = values["dagster-user-deployments"]["deployments"]
    assert code["dagsterApiGrpcArgs"][-1] in said and str(code["port"]) in said
    assert {v["name"]: v["value"] for v in code["env"]}["DEPLOYSIM_HOME"] in said
    assert re.search(r"^USER 10001$", said, re.MULTILINE)


def test_the_pools_of_the_values_are_as_dagster_takes_them(
    values: dict[str, Any], tmp_path: Path
) -> None:
    extra = values["additionalInstanceConfig"] | {"telemetry": {"enabled": False}}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(extra))
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert instance.event_log_storage.supports_global_concurrency_limits
        assert instance.get_concurrency_config().pool_config.default_pool_limit == 1


def _project(home: Path, running: dict[str, Any]) -> Project:
    (home / "deploysim.yaml").write_text(PROJECT + yaml.safe_dump({"dagster": running}))
    return load_project(home)


def test_pods_get_memory_and_cpu_by_the_group_of_their_asset() -> None:
    resources = {"candidate_side": {"memory": "8Gi", "cpu": "2"}, "default": {"memory": "1Gi"}}
    running = Running.model_validate(
        {"executor": "k8s", "max_concurrent": 3, "resources": resources}
    )

    @dg.asset(group_name="candidate_side")
    def grades() -> None: ...

    @dg.asset(group_name="score")
    def scorecard() -> None: ...

    told = pods(running, [grades, scorecard, dg.AssetSpec("log_files")])
    assert told["max_concurrent"] == 3
    [(step, of_grades)] = told["per_step_k8s_config"].items()
    assert step == "grades"
    asked = of_grades["container_config"]["resources"]
    assert asked == {"requests": {"memory": "8Gi", "cpu": "2"}, "limits": {"memory": "8Gi"}}
    assert told["step_k8s_config"]["container_config"]["resources"]["limits"] == {"memory": "1Gi"}


@pytest.mark.parametrize(
    ("running", "said"),
    [
        ({"resources": {"default": {"cpu": "1"}}}, "resources: are those of pods"),
        ({"executor": "k8s", "resources": {"default": {"cpu": "two"}}}, r"cpu"),
        ({"executor": "k8s", "resources": {"production": {"cpu": "1"}}}, "resources.production"),
    ],
)
def test_resources_that_no_pod_could_get_are_refused(
    tmp_path: Path, running: dict[str, Any], said: str
) -> None:
    with pytest.raises(ProjectError, match=said):
        _project(tmp_path, running)


def test_without_dagster_k8s_the_executor_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "dagster_k8s", None)
    project = _project(tmp_path, {"executor": "k8s"})
    with pytest.raises(ProjectError, match=r"pip install 'deploysim\[k8s\]'"):
        executor(project)


def test_the_location_loads_with_the_executor_of_pods(tmp_path: Path) -> None:
    pytest.importorskip("dagster_k8s", reason="dagster-k8s (extra k8s) is not installed")
    _project(
        tmp_path,
        {
            "executor": "k8s",
            "resources": {"production_side": {"memory": "8Gi", "cpu": "2"}},
            "run_tags": {"team": "safety"},
        },
    )
    (tmp_path / ".dagster").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate", "-m",
         "deploysim_assets.definitions"],
        env=environment(tmp_path), cwd=tmp_path, capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("url", ["s3://bucket/home", "gs://b", "az://c/d", "file:///tmp/x"])
def test_a_bucket_is_refused_where_a_folder_is_needed_and_none_is_made(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DEPLOYSIM_HOME", url)
    with pytest.raises(ProjectError, match="DEPLOYSIM_HOME: .*a folder on a disk"):
        home_folder()
    status = [["status"]] if url.startswith("file") else []
    for arguments in (["init"], *status, ["demo", "--home", url, "--conversations", "50"]):
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code == 64, done.output
        said = " ".join(done.output.split())
        assert "a folder on a disk: name one" in said or "name a folder, or s3://" in said
    assert not list(tmp_path.iterdir())


def test_a_url_with_a_password_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPLOYSIM_HOME", "s3://key:secret@bucket/home")
    with pytest.raises(ProjectError) as refused:
        home_folder()
    assert "secret" not in str(refused.value)
