"""The SQL models: counts that leave nulls out, documented columns, lineage that exists, tests
that can fail."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from deploysim_assets import schema
from deploysim_assets.forecast.estimate import rate_row
from deploysim_assets.sql import FOLDER, asset_tables, failing_rows, models, run_model

BEHAVIORS = ["rude", "lazy"]
GRADES = schema.grades(BEHAVIORS)


def _row(
    i: int, rude: bool | None, lazy: bool | None, grading: str = "g", stratum: str = "web"
) -> dict[str, Any]:
    status = "failed" if rude is None and lazy is None else "graded"
    keys = {
        "prefix_id": f"p{i}",
        "model_version": "m",
        "grading_id": grading,
        "stratum": stratum,
        "weight": 2.0,
        "user_key": f"u{i % 3}",
    }
    missing = ["lazy"] if status == "failed" else []
    return keys | {
        "missing": missing,
        "skipped": [],
        "status": status,
        "evidence": [],
        "rude": rude,
        "lazy": lazy,
    }


def _table(folder: Path, name: str, rows: list[dict[str, Any]]) -> str:
    (folder / name).mkdir()
    pl.DataFrame(rows, schema=GRADES).write_parquet(folder / name / "part-00000.parquet")
    return str(folder / name / "part-*.parquet")


ROWS = [
    _row(0, True, None),
    _row(1, False, True),
    _row(2, None, None),
    _row(3, True, False),
    _row(4, False, False, stratum="api"),
]


def test_null_grades_leave_the_denominator(tmp_path: Path) -> None:
    counts = run_model("rate_counts", {"grades": _table(tmp_path, "grades", ROWS)})
    assert counts.rows() == [
        ("lazy", "api", 1, 2.0, 1, 0),
        ("lazy", "web", 3, 6.0, 2, 1),  # one of them could not be graded
        ("rude", "api", 1, 2.0, 1, 0),
        ("rude", "web", 3, 6.0, 3, 2),
    ]


def test_flags_are_counted_per_user(tmp_path: Path) -> None:
    clusters = run_model("flag_clusters", {"grades": _table(tmp_path, "grades", ROWS)})
    assert clusters.rows() == [("lazy", "u1", "web", 1), ("rude", "u0", "web", 2)]


def test_gradings_of_production_stay_apart(tmp_path: Path) -> None:
    glob = _table(tmp_path, "production_grades", [*ROWS, _row(0, False, None, grading="h")])
    counts = run_model("production_rate_counts", {"production_grades": glob})
    assert counts.filter(pl.col("grading_id") == "h").rows() == [("h", "rude", "web", 1, 2.0, 1, 0)]
    assert (
        counts.filter((pl.col("grading_id") == "g") & (pl.col("behavior") == "rude"))["n"].sum()
        == 4
    )


def test_pairs_are_of_one_prefix_under_one_grading(tmp_path: Path) -> None:
    live = [
        _row(0, True, None),
        _row(1, True, None),
        _row(3, False, None),
        _row(4, False, None, stratum="api"),
        _row(0, True, None, grading="h"),
        _row(9, True, None),
    ]
    live = [row | {"missing": ["lazy"], "evidence": []} for row in live]
    tables = {
        "grades": _table(tmp_path, "grades", ROWS),
        "production_grades": _table(tmp_path, "production_grades", live),
    }
    assert run_model("paired_counts", tables).rows() == [
        ("rude", "api", 2.0, 0, 0, 0, 1),
        ("rude", "web", 6.0, 1, 1, 1, 0),
    ]
    assert run_model("paired_clusters", tables).rows() == [
        ("rude", "u0", "web", 2, 1),
        ("rude", "u1", "web", 0, 1),
    ]


def test_a_self_replay_is_paired_with_what_was_really_answered(tmp_path: Path) -> None:
    tables = {
        "self_grades": _table(tmp_path, "self_grades", ROWS),
        "production_grades": _table(
            tmp_path,
            "production_grades",
            [_row(0, True, True), _row(1, True, None) | {"missing": ["lazy"]}],
        ),
    }
    assert run_model("self_paired_counts", tables).rows() == [
        ("g", "rude", "web", 4.0, 1, 0, 1, 0)
    ], "what is missing on one side is no pair"
    assert run_model("self_paired_clusters", tables).rows() == [
        ("g", "rude", "u0", "web", 1, 1),
        ("g", "rude", "u1", "web", 0, 1),
    ]


def test_an_empty_table_gives_an_empty_result_with_the_columns(tmp_path: Path) -> None:
    for name in ("rate_counts", "flag_clusters"):
        empty = run_model(name, {"grades": _table(tmp_path, f"{name}_grades", [])})
        assert empty.is_empty()
        assert empty.columns == [c.name for c in models()[name].columns]


def test_a_broken_result_is_found_by_its_tests() -> None:
    broken = pl.DataFrame(
        {
            "behavior": ["a", "a", None],
            "stratum": ["s", "s", "s"],
            "asked": [1, 1, 0],
            "weight": [1.0, 1.0, 1.0],
            "n": [1, 0, 2],
            "k": [0, 1, 0],
        }
    )
    found = failing_rows(models()["rate_counts"], broken)
    assert found["unique"] == 1
    assert found["behavior_not_null"] == 1
    assert found["asked_in_range"] == 1
    assert found["n_expression"] == 1
    assert found["k_expression"] == 1
    assert found["stratum_not_null"] == 0


@pytest.mark.parametrize("name", sorted(models()))
def test_every_model_is_documented_to_the_column_and_its_lineage_exists(
    name: str, tmp_path: Path
) -> None:
    model = models()[name]
    assert model.description
    if model.materialized == "table":
        tables = {t: _table(tmp_path, t, ROWS) for t in asset_tables(name)}
        assert run_model(name, tables).columns == [c.name for c in model.columns]
        assert model.unique
    for column in model.columns:
        assert column.description
        for upstream in column.upstream:
            table, field = upstream.split(".")
            assert table in asset_tables(name)
            assert field in GRADES


def test_every_sql_file_is_a_model_and_every_model_a_file() -> None:
    assert {p.stem for p in FOLDER.rglob("*.sql")} == set(models())


def test_counts_reach_the_rates(tmp_path: Path) -> None:
    from deploysim_assets.assets.sufficient_statistics import counts_by_behavior

    glob = _table(tmp_path, "grades", ROWS)
    found = counts_by_behavior(
        run_model("rate_counts", {"grades": glob}), run_model("flag_clusters", {"grades": glob})
    )
    assert {name: (c.asked, c.n, c.k) for name, c in found.items()} == {
        "lazy": (4, 3, 1),
        "rude": (4, 4, 2),
    }
    assert found["rude"].sufficient.v == 4 / 16, "both flags are one user's"
    assert rate_row(found["lazy"])["rate_worst"] == pytest.approx(0.5), (
        "the one without a grade counts as flagged"
    )
    assert rate_row(found["rude"])["rate"] == 0.5
