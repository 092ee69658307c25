"""The code location loads fast, clean, without network or secret, and empty where there is no
project."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from deploysim_assets.cli.demo import write_project
from deploysim_assets_tests import warm
from deploysim_assets_tests.support import REPO, environment, script

LOAD = """
import json, resource, socket, sys, time
def refuse(*a, **k): raise AssertionError("the definitions tried the network")
socket.socket.connect = refuse
start = time.process_time()
import dagster as dg
from deploysim_assets.definitions import defs
seconds = time.process_time() - start
dg.Definitions.validate_loadable(defs)
assets = sorted(k.to_user_string() for k in defs.resolve_all_asset_keys())
heavy = sorted(set(sys.modules) & set(HEAVY))
print(json.dumps({"seconds": seconds, "assets": assets, "heavy": heavy}))
"""
HEAVY = [
    "great_expectations",
    "presidio_analyzer",
    "presidio_anonymizer",
    "spacy",
    "matplotlib.figure",
    "scipy.stats",
    "openai",
]
ARTIFACTS = {
    "log_files", "raw_logs", "deidentified_prefixes", "preregistration", "candidate_completions",
    "grades", "production_grades",
    "rate_estimates", "realized_rates", "calibration_report", "scorecard",
}  # fmt: skip


def _load(home: Path) -> dict[str, object]:
    clean = {
        k: v
        for k, v in environment(home).items()
        if k not in ("DEPLOYSIM_ID_KEY", "DEPLOYSIM_SURROGATE_KEY")
    }
    code = LOAD.replace("HEAVY", repr(HEAVY))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=clean,
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]) | {"stderr": done.stderr}


def test_loading_needs_no_network_no_secret_no_heavy_library_and_little_time(
    tmp_path: Path,
) -> None:
    write_project(tmp_path, "http://127.0.0.1:9/v1", 10)
    loaded = _load(tmp_path)
    assert set(loaded["assets"]) >= ARTIFACTS  # type: ignore[arg-type]
    assert loaded["heavy"] == []
    assert loaded["seconds"] < 3  # type: ignore[operator]


def test_without_a_project_the_location_loads_empty_and_says_what_to_do(tmp_path: Path) -> None:
    loaded = _load(tmp_path)
    assert loaded["assets"] == []
    assert "deploysim init" in str(loaded["stderr"])


@pytest.mark.parametrize("with_project", [True, False])
def test_dg_check_defs_is_clean(tmp_path: Path, with_project: bool) -> None:
    if with_project:
        write_project(tmp_path, "http://127.0.0.1:9/v1", 10)
    done = subprocess.run(
        [script("dg"), "check", "defs"],
        env=environment(tmp_path),
        cwd=REPO,
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "Warning" not in said, said


def test_a_project_that_does_not_hold_is_an_error_of_the_location(tmp_path: Path) -> None:
    write_project(tmp_path, "http://127.0.0.1:9/v1", 10)
    path = tmp_path / "deploysim.yaml"
    path.write_text(path.read_text().replace("predecessor: aurora-1", "predecessor: aurora-9"))
    done = warm.run([script("dg"), "check", "defs"], env=environment(tmp_path), cwd=REPO)
    assert done.returncode != 0
    assert "aurora-9" in done.stdout + done.stderr
