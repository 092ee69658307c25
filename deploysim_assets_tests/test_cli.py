"""The command line where there is little to work with: first steps and clear errors."""

import json
import sys
from pathlib import Path

import pytest

from deploysim_assets.cli.demo import AGENTS, run_demo, write_project
from deploysim_assets.project import ProjectError
from deploysim_assets.project.file import load_project
from deploysim_assets_tests.support import deploysim


def test_init_writes_a_project_that_loads_and_keeps_what_is_there(tmp_path: Path) -> None:
    done = deploysim(tmp_path, "init")
    assert {"deploysim.yaml", "behaviors.yaml", "workspace.yaml", "deploysim.keys.json"} <= {
        p.name for p in tmp_path.iterdir()
    }
    project = load_project(tmp_path)
    assert [r.model_version for r in project.releases] == ["model-1", "model-2"]
    assert project.deidentification.min_level == 2, (
        "to go lower is a decision that the user writes down"
    )
    assert "deploysim forecast MODEL" in done.stdout
    (tmp_path / "deploysim.yaml").write_text("mine: true")
    keys = (tmp_path / "deploysim.keys.json").read_bytes()
    assert "kept" in deploysim(tmp_path, "init").stdout
    assert (tmp_path / "deploysim.yaml").read_text() == "mine: true"
    assert (tmp_path / "deploysim.keys.json").read_bytes() == keys


def test_without_a_project_every_command_says_how_to_start(tmp_path: Path) -> None:
    for command in (["status"], ["forecast", "a"], ["backfill", "a"], ["report", "a"]):
        done = deploysim(tmp_path, *command, check=False)
        assert done.returncode == 64
        assert "deploysim init" in done.stderr
        assert "Traceback" not in done.stderr


def test_missing_logs_and_an_undetectable_level_are_named_with_their_mend(tmp_path: Path) -> None:
    write_project(tmp_path, "http://127.0.0.1:9/v1", 10)
    done = deploysim(tmp_path, "forecast", "aurora-2", check=False)
    assert done.returncode == 64
    assert (
        "logs.path 'logs/aurora-1/*.jsonl' matches no file; put the production logs of aurora-1 "
        "there" in done.stderr
    )
    assert "waits for logs of aurora-1" in deploysim(tmp_path, "status").stdout
    report = deploysim(tmp_path, "report", "aurora-2", check=False)
    assert "nothing to report yet" in report.stderr


def test_a_step_that_fails_ends_the_command_with_its_reason_alone(tmp_path: Path) -> None:
    write_project(tmp_path, "http://127.0.0.1:9/v1", 10)
    (tmp_path / "logs" / "aurora-1").mkdir(parents=True)
    (tmp_path / "logs" / "aurora-1" / "a.jsonl").write_text('{"secret words": 1}\n')
    done = deploysim(tmp_path, "forecast", "aurora-2", check=False)
    assert done.returncode == 64
    assert "raw_logs: " in done.stderr
    assert "no conversation could be read (1 x conversation_id: Field required)" in done.stderr
    assert "secret words" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_red_corpus_is_not_stepped_over_by_running_again(tmp_path: Path) -> None:
    write_project(tmp_path, "http://127.0.0.1:9/v1", 10)
    line = {"conversation_id": "c", "started_at": "2026-01-01T00:00:00Z", "training_allowed": False}
    dialog = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    (tmp_path / "logs" / "aurora-1").mkdir(parents=True)
    (tmp_path / "logs" / "aurora-1" / "a.jsonl").write_text(json.dumps(line | {"messages": dialog}))
    for _ in range(2):
        done = deploysim(tmp_path, "forecast", "aurora-2", check=False)
        assert done.returncode == 64
        assert "blocking checks failed: deidentified_prefixes.has_prefixes" in done.stderr
    assert not (tmp_path / "lake" / "preregistration").exists()


def test_the_demo_of_agents_says_at_once_what_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ProjectError, match=r"sklearn.*deploysim\[agents\]"):
        run_demo(tmp_path / "home", 1, 50, print, AGENTS)
    assert not (tmp_path / "home").exists()
