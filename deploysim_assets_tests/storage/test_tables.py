"""Table versions: atomic replacement, dotted keys, side tables, and what a crash leaves."""

from pathlib import Path

import polars as pl
import pytest

from deploysim_assets.project import ProjectError
from deploysim_assets.storage.tables import Lake
from deploysim_assets.storage.versions import write_part

SCHEMA = {"model_version": pl.String, "x": pl.Int64}


def _write(lake: Lake, key: str, values: list[int]) -> str:
    with lake.new_version("table", key, SCHEMA, "run") as version:
        for value in values:
            version.add({"model_version": key, "x": value})
    return version.name


def test_a_failed_write_leaves_the_old_version_current(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    first = _write(lake, "a", [1, 2])
    with (
        pytest.raises(RuntimeError, match="boom"),
        lake.new_version("table", "a", SCHEMA, "run") as version,
    ):
        version.add({"model_version": "a", "x": 3})
        raise RuntimeError("boom")
    assert lake.current("table", "a") == first
    assert [r["x"] for r in lake.rows("table", "a")] == [1, 2]


def test_older_versions_stay_readable_by_name(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    first, second = _write(lake, "a", [1]), _write(lake, "a", [2])
    assert lake.current("table", "a") == second
    assert [r["x"] for r in lake.rows("table", "a", first)] == [1]
    assert lake.digest("table", "a", first) != lake.digest("table", "a", second)


def test_keys_with_dots_stay_apart(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    _write(lake, "5.1", [1])
    _write(lake, "5.10", [10])
    assert list(lake.rows("table", "5.1")) == [{"model_version": "5.1", "x": 1}]
    assert list(lake.rows("table", "5.10")) == [{"model_version": "5.10", "x": 10}]


def test_many_rows_are_split_into_files_and_come_back_in_order(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    _write(lake, "a", list(range(230_000)))
    assert len(list(lake.folder("table", "a").glob("run=*/part-*.parquet"))) > 1
    assert [r["x"] for r in lake.rows("table", "a")] == list(range(230_000))


def test_an_empty_table_has_its_columns_and_a_side_table_lies_beside_it(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    with lake.new_version("table", "a", SCHEMA, "run") as version:
        version.side_table("rejects", {"reason": pl.String})
        version.add({"reason": "no"}, "rejects")
        version.stats["rejected"] = 1
    assert lake.scan("table", "a").collect().schema == pl.Schema(SCHEMA)
    assert lake.scan("table", "a", table="rejects").collect()["reason"].to_list() == ["no"]
    assert lake.stats("table", "a") == {"rejected": 1}


def test_a_missing_table_says_what_to_materialize(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="materialize table for a first"):
        Lake(tmp_path / "lake").scan("table", "a")


def test_raw_logs_are_their_owners_alone(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    with lake.new_version("raw_logs", "a", SCHEMA, "run"):
        pass
    assert (tmp_path / "lake" / "raw_logs").stat().st_mode & 0o077 == 0


def test_the_same_rows_give_the_same_bytes_whatever_they_were_cut_out_of(tmp_path: Path) -> None:
    rows = [
        {
            "texts": [
                {"content": text * (300_000 if i == 2 else 1)} for text in (f"text {i}", "said")
            ]
        }
        for i in range(6)
    ]
    schema = {"texts": pl.List(pl.Struct({"content": pl.String}))}
    made, whole = pl.DataFrame(rows[3:], schema=schema), pl.DataFrame(rows, schema=schema)
    whole.write_parquet(tmp_path / "whole")
    frames = [
        made,
        whole[3:],
        pl.read_parquet(tmp_path / "whole")[3:],
        pl.concat([made[:1], whole[4:]]),
    ]
    found = set[bytes]()
    for i, frame in enumerate(frames):
        write_part(frame, tmp_path / f"{i}.parquet")
        found.add((tmp_path / f"{i}.parquet").read_bytes())
    assert len(found) == 1
    assert pl.read_parquet(tmp_path / "0.parquet").to_dicts() == rows[3:]
