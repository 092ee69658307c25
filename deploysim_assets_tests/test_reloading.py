"""deploysim.yaml changes while Dagster runs: what the sensor `registry` says and does."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from aiohttp import web

from deploysim_assets.assets.registry_lines import refused_lines
from deploysim_assets.cli.demo import write_project
from deploysim_assets.project import Project, ProjectError
from deploysim_assets.project.file import load_project
from deploysim_assets.project.last_good import (
    LAST_GOOD,
    last_good,
    load_or_last_good,
    not_loaded_yet,
    save_last_good,
)
from deploysim_assets.reloading import WEBSERVER_URL, registry_sensor
from deploysim_assets.storage import ledger
from deploysim_assets_tests.support import serve


@pytest.fixture
def project(tmp_path: Path) -> Project:
    write_project(tmp_path, "http://127.0.0.1:1/v1", max_prefixes=40)
    return load_project(tmp_path)


def _change(project: Project, change: Callable[[dict[str, Any]], object]) -> None:
    path = project.home / "deploysim.yaml"
    content = yaml.safe_load(path.read_text())
    change(content)
    path.write_text(yaml.safe_dump(content))


def _tick(project: Project, cursor: str | None = None) -> tuple[str, str | None]:
    """What the sensor says, and its cursor afterwards."""
    with dg.build_sensor_context(cursor=cursor, sensor_name="registry") as context:
        said = registry_sensor(project, "")(context)
        assert isinstance(said, dg.SkipReason)
        return said.skip_message or "", context.cursor


def test_the_last_good_project_is_the_project(project: Project) -> None:
    assert last_good(project.home) is None
    save_last_good(project)
    assert last_good(project.home) == project
    (project.home / "deploysim.yaml").write_text("releases: [")
    found, wrong = load_or_last_good(project.home)
    assert found == project
    assert "not valid YAML" in wrong


def test_without_a_last_good_project_a_wrong_file_is_an_error(project: Project) -> None:
    (project.home / LAST_GOOD).write_text('{"releases": 3}')
    (project.home / "deploysim.yaml").write_text("releases: [")
    with pytest.raises(ProjectError, match="not valid YAML"):
        load_or_last_good(project.home)


def test_every_setting_of_the_template_comes_back(tmp_path: Path) -> None:
    templates = Path(__file__).parent.parent / "deploysim_assets" / "templates"
    for file in templates.glob("*.yaml"):
        (tmp_path / file.name).write_text(file.read_text())
    found = load_project(tmp_path)
    save_last_good(found)
    assert last_good(tmp_path) == found


def test_nothing_changed_is_said_and_kept_as_the_last_good(project: Project) -> None:
    said, cursor = _tick(project)
    assert said == "the definitions are those of deploysim.yaml"
    assert last_good(project.home) == project
    assert _tick(project, cursor) == (said, cursor)
    assert not_loaded_yet(project) is None


def test_a_wrong_file_leaves_the_last_good_and_says_why(project: Project) -> None:
    _, cursor = _tick(project)
    _change(project, lambda c: c.pop("endpoint"))
    said, after = _tick(project, cursor)
    assert said.startswith("the last good definitions stay loaded")
    assert "endpoint: Field required -> add the key" in said
    assert after == cursor
    assert last_good(project.home) == project


def test_a_change_that_nobody_can_be_told_of_is_loud(project: Project) -> None:
    _, cursor = _tick(project)
    _change(project, lambda c: c["releases"].pop())
    said, after = _tick(project, cursor)
    assert "Reload definitions" in said
    assert WEBSERVER_URL in said
    assert after == cursor, "said again until it is loaded"
    changed = load_project(project.home)
    assert "(other: releases)" in (not_loaded_yet(changed) or "")
    # the daemon has loaded it by itself: once more what is left to do, then silence
    said, after = _tick(changed, cursor)
    assert "the daemon has loaded the changed deploysim.yaml" in said
    assert _tick(changed, after)[0] == "the definitions are those of deploysim.yaml"
    assert not_loaded_yet(changed) is None


@pytest.mark.parametrize("loads", [True, False])
def test_a_webserver_whose_address_is_known_is_asked_once(
    project: Project, monkeypatch: pytest.MonkeyPatch, loads: bool
) -> None:
    asked: list[dict[str, Any]] = []

    async def graphql(request: web.Request) -> web.Response:
        asked.append(await request.json())
        entry = {"__typename": "RepositoryLocation" if loads else "PythonError"}
        found = {"__typename": "WorkspaceLocationEntry", "locationOrLoadError": entry}
        return web.json_response({"data": {"reloadRepositoryLocation": found}})

    app = web.Application()
    app.router.add_post("/graphql", graphql)
    with serve(app) as url:
        monkeypatch.setenv(WEBSERVER_URL, url.removesuffix("/v1") + "/")
        _, cursor = _tick(project)
        _change(project, lambda c: c["releases"].pop())
        said, after = _tick(project, cursor)
        again, _ = _tick(project, after)
    assert "deploysim" in json.dumps(asked[0]["variables"])
    if loads:
        assert "the webserver at" in said
        assert "a reload was asked for" in again
        assert len(asked) == 1
    else:
        assert "not loaded again" in said
        assert len(asked) == 2, "tried again on the next tick"


def _register(project: Project, model: str) -> None:
    release = project.release(model)
    body = {
        "predecessor": release.predecessor,
        "candidate": release.asked_as.model_dump(mode="json"),
    }
    ledger.append(project.home, "registration", model, body)


def test_a_registered_release_may_not_change_and_a_new_one_may(project: Project) -> None:
    _register(project, "aurora-2")
    _register(project, "aurora-3")
    assert refused_lines(project, project.home) == []

    def change(content: dict[str, Any]) -> None:
        lines = {line["model_version"]: line for line in content["releases"]}
        lines["aurora-2"]["candidate"]["params"] = {"temperature": 0.5}
        lines["aurora-2"]["logs"]["path"] = "elsewhere/*.jsonl"
        lines["aurora-3"]["predecessor"] = "aurora-1"
        lines["aurora-4"]["predecessor"] = "aurora-1"

    _, cursor = _tick(project)
    _change(project, change)
    said, _ = _tick(project, cursor)
    assert "aurora-2.candidate: is not what aurora-2 was registered with (record 1)" in said
    assert "`deploysim register aurora-2 --reason ...`" in said
    assert "aurora-3.predecessor: is 'aurora-1'" in said
    assert "aurora-4" not in said
    now = load_project(project.home)
    _register(now, "aurora-2")  # with a reason, from the command line
    assert [line for line in refused_lines(now, now.home) if "aurora-2." in line] == []


def test_a_registered_release_may_not_go(project: Project) -> None:
    _register(project, "aurora-4")
    _, cursor = _tick(project)
    _change(project, lambda c: c["releases"].pop())
    said, _ = _tick(project, cursor)
    assert "aurora-4 is gone, but the ledger holds what was made of it (record 1)" in said
