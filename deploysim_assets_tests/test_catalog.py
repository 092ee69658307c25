"""The catalog explains itself: no asset, column, check, job or sensor without a description, and a
lineage that exists."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploysim_assets.cli.demo import write_project
from deploysim_assets.cli.instance import dagster_home
from deploysim_assets.project import ProjectError
from deploysim_assets.project.file import load_project
from deploysim_assets.schema import SIDE_TABLES, TABLES, grades
from deploysim_assets.schema.lineage import FLAGS, LINEAGE, resolved
from deploysim_assets.schema.meanings import GRADES, described, meanings
from deploysim_assets.sql import models
from deploysim_assets_tests import warm
from deploysim_assets_tests.support import REPO, environment, script

EVERYTHING = {
    "self_replay": {"max_prefixes": 10},
    "elicitation": {},
    "awareness": {"detector": "judge"},
    "exploration": {},
    "agents": {},
    "owners": ["team:safety", "ann@example.com"],
    "freshness": {"logs_days": 7, "forecast_days": 30},
}
DUMP = """
import json, dagster as dg
from deploysim_assets.definitions import defs
graph = defs.resolve_asset_graph()
repository = defs.get_repository_def()
def columns(spec):
    schema = spec.metadata.get("dagster/column_schema")
    return [[c.name, c.description, dict(c.tags)] for c in schema.columns] if schema else []
def files(spec):
    found = spec.metadata.get("dagster/code_references")
    return [r.file_path for r in found.code_references] if found else []
print(json.dumps({
    "assets": {s.key.to_user_string(): {
        "description": s.description, "group": s.group_name, "owners": list(s.owners),
        "kinds": sorted(s.kinds), "tags": dict(s.tags), "columns": columns(s), "files": files(s),
        "above": sorted(k.to_user_string() for k in graph.get_ancestor_asset_keys(s.key)),
    } for s in defs.resolve_all_asset_specs()},
    "checks": {k.to_user_string(): graph.get_check_spec(k).description
               for k in graph.asset_check_keys},
    "jobs": {j.name: j.description for j in repository.get_all_jobs()
             if not j.name.startswith("__")},
    "sensors": {s.name: s.description for s in repository.sensor_defs},
    "schedules": {s.name: s.description for s in repository.schedule_defs},
}))
"""


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    home = tmp_path_factory.mktemp("catalog")
    write_project(home, "http://127.0.0.1:9/v1", 10)
    path = home / "deploysim.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | EVERYTHING))
    done = warm.run([sys.executable, "-c", DUMP], env=environment(home), cwd=home)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_every_column_of_every_table_is_described_and_no_description_is_left_over() -> None:
    schemas = TABLES | SIDE_TABLES
    for table, schema in schemas.items():
        assert set(meanings(table, schema)) == set(schema)
        left = described(table) - set(schema)
        assert not left, f"{table}: described, and no column: {left}"
    for model in models().values():
        assert all(m.text for m in model.meanings().values()), model.name


def test_every_asset_says_what_it_is_who_owns_it_and_where_its_code_is(
    catalog: dict[str, Any],
) -> None:
    assert len(catalog["assets"]) > 20
    for name, asset in catalog["assets"].items():
        assert len(asset["description"]) > 40, name
        for outside in ("statistics.md", "reference/", "design.md"):
            assert outside not in asset["description"], name
        assert asset["owners"] == ["team:safety", "ann@example.com"], name
        assert asset["kinds"], name
        if name != "log_files":
            assert asset["columns"], name
            assert all(text for _, text, _ in asset["columns"]), name
            assert all(Path(file).is_file() for file in asset["files"]) and asset["files"], name
        if name in models():
            assert any(file.endswith(f"{name}.sql") for file in asset["files"])
    assert {a["group"] for a in catalog["assets"].values()} == {
        "production_side", "candidate_side", "score", "graders", "exploration", "self_replay",
        "elicitation", "awareness", "fidelity",
    }  # fmt: skip
    rates = {c[0]: c[2] for c in catalog["assets"]["rate_estimates"]["columns"]}
    assert rates["forecast_median"] == {"unit": "per message, 0 to 1"}
    raw = [n for n, a in catalog["assets"].items() if a["tags"].get("pii") == "raw"]
    assert sorted(raw) == ["log_files", "raw_logs"]


def test_every_check_says_what_failing_means_and_what_to_do(catalog: dict[str, Any]) -> None:
    assert len(catalog["checks"]) > 40
    for check, said in catalog["checks"].items():
        assert said and "Failing means" in said and len(said) > 80, check
    for kind in ("jobs", "sensors", "schedules"):
        for name, said in catalog[kind].items():
            assert said, f"{kind}: {name}"


def test_the_lineage_of_each_column_rests_on_columns_that_exist_and_are_upstream(
    catalog: dict[str, Any],
) -> None:
    columns = {n: {c[0] for c in a["columns"]} for n, a in catalog["assets"].items()}
    assert set(LINEAGE) == set(TABLES) - {"raw_logs"}
    for asset, lineage in LINEAGE.items():
        assert set(lineage) - {FLAGS} <= columns[asset], asset
        for column, sources in lineage.items():
            assert sources, f"{asset}.{column}"
            for source in sources:
                above, name = source.split(".")
                assert name in columns[above], f"{asset}.{column}: no column {source}"
                assert above in catalog["assets"][asset]["above"], f"{asset}: {above} not upstream"


def test_the_behaviors_columns_get_their_lineage_by_name() -> None:
    schema = grades(["rude"])
    found = resolved(LINEAGE["grades"], schema)
    assert "candidate_completions.message" in found["rude"]
    assert "model_version" not in found and "grading_id" not in found
    assert meanings("grades", ["rude"])["rude"].text
    assert set(GRADES) <= set(LINEAGE)


def test_an_owner_that_dagster_would_refuse_is_refused_with_its_key(tmp_path: Path) -> None:
    write_project(tmp_path, "http://127.0.0.1:9/v1", 10)
    path = tmp_path / "deploysim.yaml"
    path.write_text(path.read_text() + "owners: [safety]\n")
    with pytest.raises(ProjectError, match=r"owners\[0\]"):
        load_project(tmp_path)


@pytest.mark.parametrize(
    "command",
    [
        ["dagster", "definitions", "validate", "-m", "deploysim_assets.definitions"],
        ["dg", "list", "defs"],
    ],
    ids=["validate", "list"],
)
def test_dagsters_own_commands_are_clean(tmp_path: Path, command: list[str]) -> None:
    write_project(tmp_path, "http://127.0.0.1:9/v1", 10)
    dagster_home(tmp_path)
    done = subprocess.run(
        [script(command[0]), *command[1:]],
        env=environment(tmp_path),
        cwd=REPO,
        capture_output=True,
        text=True,
        check=False,
    )
    # the command warns of itself, in favor of `dg check defs`
    said = re.sub(r".*SupersessionWarning: Function `definitions_validate.*", "", done.stdout)
    said += re.sub(r".*SupersessionWarning: Function `definitions_validate.*", "", done.stderr)
    assert done.returncode == 0, said
    assert not re.search(r"[A-Za-z]+Warning\b", said), said
