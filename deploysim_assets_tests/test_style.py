"""Lint, format and strict types hold, and the README's commands are what CI runs."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploysim_assets_tests.support import REPO, script

SETTINGS = REPO / "deploysim_assets" / "guides" / "9-settings.md"


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["pyright", "--pythonpath", sys.executable],
    ],
    ids=["lint", "format", "types"],
)
def test_the_code_is_clean(command: list[str]) -> None:
    done = subprocess.run(
        [script(command[0]), *command[1:]], cwd=REPO, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_ci_runs_exactly_the_readmes_test_command() -> None:
    last = (REPO / ".ci" / "run").read_text().strip().splitlines()[-1]
    assert last.endswith("pytest -n 4 --dist loadfile")
    assert last in (REPO / "README.md").read_text().splitlines()
    assert "bash .ci/run" in (REPO / ".github" / "workflows" / "ci.yml").read_text()


def test_the_settings_guides_own_configuration_is_one_that_loads(tmp_path: Path) -> None:
    from deploysim_assets.project.file import load_project

    blocks = [part.split("```")[0] for part in SETTINGS.read_text().split("```yaml\n")[1:]]
    rules = [block for block in blocks if block.startswith("rule:")]
    taxonomy = next(block for block in blocks if block.startswith("taxonomy:"))
    config: dict[str, Any] = {}
    for block in blocks:
        if block not in (*rules, taxonomy):
            for key, value in yaml.safe_load(block).items():
                config[key] = {**config.get(key, {}), **value} if isinstance(value, dict) else value
    stopping = config.pop(
        "early_stopping"
    )  # the guide's own design is stratified and screened, which early stopping refuses
    (tmp_path / "deploysim.yaml").write_text(yaml.safe_dump(config))
    for language in ("en", "de"):
        (tmp_path / "models" / language).mkdir(parents=True)
    listed = [
        {"name": f"rule_{i}", "definition": "d", "grader": "rule", **yaml.safe_load(block)}
        for i, block in enumerate(rules)
    ]
    listed.append({"name": "rude", "definition": "d"})
    (tmp_path / "behaviors.yaml").write_text(yaml.safe_dump(listed))
    project = load_project(tmp_path)
    assert project.endpoint.budget
    assert project.sampling.strata
    assert project.deidentification.ner
    assert project.automation.poll_seconds == 30
    assert [b.rule is not None for b in project.behaviors] == [*(True for _ in rules), False]
    assert project.judge and project.judge.screen
    assert project.self_replay and project.elicitation and project.awareness and project.exploration

    (tmp_path / "behaviors.yaml").write_text(taxonomy)
    assert "house_rule" in {b.name for b in load_project(tmp_path).behaviors}
    plain = {k: v for k, v in config.items() if k != "sampling"} | {
        "early_stopping": stopping,
        "judge": {"model": "judge"},
    }
    (tmp_path / "deploysim.yaml").write_text(yaml.safe_dump(plain))
    assert load_project(tmp_path).early_stopping
