"""Alerts reach a real webhook, once each, and hold names and counts alone."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from aiohttp import web

from deploysim_assets.alerts import STYLE, URL, Alert, alert_sensors, post
from deploysim_assets.cli.demo import write_project
from deploysim_assets.project import ProjectError
from deploysim_assets.project.file import load_project
from deploysim_assets_tests.support import serve

ONE = dg.StaticPartitionsDefinition(["m2"])
SECRET = "kim.1234@lindenhof.test"


class Webhook:
    """What a webhook was sent, and with which status it answers."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.status = 200
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        if self.status == 200:
            self.got.append(await request.json())
        return web.Response(status=self.status)


@contextmanager
def webhook() -> Generator[Webhook]:
    hook = Webhook()
    app = web.Application()
    app.router.add_post("/v1/token-abc", hook.take)
    with serve(app) as base:
        hook.url = f"{base}/token-abc"
        yield hook


@dg.asset(partitions_def=ONE)
def fails_of_ours() -> None:
    raise ProjectError("logs/m2.jsonl, line 3: no messages; mend that line")


@dg.asset(partitions_def=ONE)
def fails_of_others() -> None:
    raise ValueError(f"could not parse {SECRET}")


@dg.asset(
    partitions_def=ONE,
    check_specs=[dg.AssetCheckSpec("holds", asset="is_checked", blocking=True)],
)
def is_checked() -> dg.MaterializeResult:  # pyright: ignore[reportMissingTypeArgument]
    return dg.MaterializeResult(
        check_results=[
            dg.AssetCheckResult(check_name="holds", passed=False, metadata={"where": SECRET})
        ]
    )


def run(asset: dg.AssetsDefinition, instance: dg.DagsterInstance) -> None:
    dg.materialize([asset], instance=instance, partition_key="m2", raise_on_error=False)


def forecast(instance: dg.DagsterInstance, failed: list[str]) -> None:
    instance.report_runless_asset_event(
        dg.AssetMaterialization("rate_estimates", partition="m2", metadata={"gates_failed": failed})
    )


class Ticks:
    """The sensors as the daemon calls them, each with its cursor."""

    def __init__(self, home: Path, instance: dg.DagsterInstance) -> None:
        write_project(home, "http://127.0.0.1:9/v1", 10)
        self.sensors = alert_sensors(load_project(home))
        self.cursors: dict[str, str | None] = {}
        self.instance = instance

    def tick(self) -> list[str]:
        said: list[str] = []
        for sensor in self.sensors:
            context = dg.build_sensor_context(self.instance, cursor=self.cursors.get(sensor.name))
            result = sensor(context)
            assert isinstance(result, dg.SkipReason)
            self.cursors[sensor.name] = context.cursor
            said.append(str(result.skip_message))
        return said


@pytest.fixture
def ticks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Ticks]:
    monkeypatch.delenv(URL, raising=False)
    monkeypatch.delenv(STYLE, raising=False)
    with dg.instance_for_test() as instance:
        yield Ticks(tmp_path, instance)


def test_each_failed_run_and_gate_is_told_once_and_history_is_not(
    ticks: Ticks, monkeypatch: pytest.MonkeyPatch
) -> None:
    with webhook() as hook:
        monkeypatch.setenv(URL, hook.url)
        run(fails_of_ours, ticks.instance)
        forecast(ticks.instance, ["old"])
        ticks.tick()
        assert hook.got == [], "what was before the sensors is history"
        for asset in (fails_of_ours, fails_of_others, is_checked):
            run(asset, ticks.instance)
        forecast(ticks.instance, [])
        forecast(ticks.instance, ["rude", "lies"])
        ticks.tick()
        ticks.tick()
    runs = {tuple(a["failed_steps"]): a for a in hook.got if a["event"] == "run_failure"}
    assert len(hook.got) == 4
    ours = runs["fails_of_ours",]
    assert ours["model_version"] == "m2"
    assert "logs/m2.jsonl, line 3: no messages; mend that line" in ours["text"]
    assert runs["fails_of_others",]["failed_steps"] == {"fails_of_others": "ValueError"}
    checked = next(a for a in runs.values() if a["failed_checks"])
    assert checked["failed_checks"] == ["is_checked.holds"]
    assert SECRET not in json.dumps(hook.got), "the words of others' errors may be text"
    gates = [a for a in hook.got if a["event"] == "gate_failure"]
    assert [(g["model_version"], g["behaviors"]) for g in gates] == [("m2", ["rude", "lies"])]


def test_slack_gets_its_shape_and_no_markup_of_ours(
    ticks: Ticks, monkeypatch: pytest.MonkeyPatch
) -> None:
    with webhook() as hook:
        monkeypatch.setenv(URL, hook.url)
        monkeypatch.setenv(STYLE, "slack")
        ticks.tick()
        forecast(ticks.instance, ["<!channel> rude"])
        ticks.tick()
    assert [set(a) for a in hook.got] == [{"text"}]
    assert "&lt;!channel&gt; rude" in hook.got[0]["text"]


def test_what_the_webhook_does_not_take_is_sent_again_and_its_address_is_told_to_nobody(
    ticks: Ticks, monkeypatch: pytest.MonkeyPatch
) -> None:
    with webhook() as hook:
        monkeypatch.setenv(URL, hook.url)
        ticks.tick()
        forecast(ticks.instance, ["rude"])
        run(fails_of_ours, ticks.instance)
        hook.status = 503
        said = ticks.tick()
        assert all("answered 503" in line and "token-abc" not in line for line in said)
        hook.status = 200
        ticks.tick()
        ticks.tick()
    assert sorted(a["event"] for a in hook.got) == ["gate_failure", "run_failure"]


def test_without_a_webhook_nothing_piles_up(ticks: Ticks, monkeypatch: pytest.MonkeyPatch) -> None:
    assert all("not set" in line for line in ticks.tick())
    forecast(ticks.instance, ["rude"])
    run(fails_of_ours, ticks.instance)
    ticks.tick()
    with webhook() as hook:
        monkeypatch.setenv(URL, hook.url)
        ticks.tick()
        assert hook.got == []


@pytest.mark.parametrize(
    ("url", "style", "said"),
    [
        ("file:///etc/passwd", "", "not an http"),
        ("http://127.0.0.1:9/token-abc", "", "did not answer"),
        ("http://[token-abc", "", "not an http"),
        ("http://127.0.0.1:9/", "teams", "it is one of json, slack"),
    ],
)
def test_a_wrong_address_or_style_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, url: str, style: str, said: str
) -> None:
    monkeypatch.setenv(URL, url)
    monkeypatch.setenv(STYLE, style)
    with pytest.raises(ProjectError, match=said) as wrong:
        post(Alert("x", "y", {}))
    assert "token-abc" not in str(wrong.value) and "passwd" not in str(wrong.value)
