"""A home of the release before there were turns: read in today's columns, sealed and audited as it
was, and what was said in the turns of today is forgotten with those who said it."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from deploysim_assets.evidence.audit import HomeAudit
from deploysim_assets.project import ProjectError
from deploysim_assets.schema import COMPLETIONS, MESSAGE, PREFIXES, TOOL_CALL, grades
from deploysim_assets.storage import disk, ledger, manifests
from deploysim_assets.storage.forgetting import doomed_by
from deploysim_assets.storage.tables import Lake, Made
from deploysim_assets.storage.turns import contents, said_in
from deploysim_assets.storage.versions import Version

OLD_REPLY = pl.Struct(
    {
        "content": pl.String,
        "reasoning": pl.String,
        "tool_calls": pl.List(TOOL_CALL),
        "finish_reason": pl.String,
    }
)
OLD_PREFIXES = pl.Schema(
    {
        name: OLD_REPLY if name == "production_completion" else dtype
        for name, dtype in PREFIXES.items()
        if name not in ("tools", "tools_inferred", "commit", "clock")
    }
)
OLD_COMPLETIONS = pl.Schema(
    dict(COMPLETIONS.items())
    | {
        "message": OLD_REPLY,
        "status": pl.Enum(["completed", "refused", "filtered", "failed", "empty", "truncated"]),
    }
)
OLD_GRADES = pl.Schema(
    dict(grades(["lies"]).items())
    | {"status": pl.Enum(["graded", "refused", "filtered", "failed", "empty", "truncated"])}
)
REPLY = {"content": "yes", "reasoning": None, "tool_calls": None, "finish_reason": "stop"}
ID = "01" * 16


def message(role: str, content: str) -> dict[str, Any]:
    return dict.fromkeys(f.name for f in MESSAGE.fields) | {"role": role, "content": content}


def _row(schema: pl.Schema, **known: Any) -> dict[str, Any]:
    return dict.fromkeys(schema) | {"prefix_id": ID} | known


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """Tables as format 1 had them, the forecast's grades sealed."""
    home = tmp_path / "home"
    lake = Lake.of(home)

    def write(asset: str, key: str, schema: pl.Schema, row: dict[str, Any], **more: Any) -> None:
        with lake.new_version(asset, key, schema, **more) as version:
            assert isinstance(version, Version)
            version.add(row)

    def seal(made: Made) -> None:
        ledger.append(home, "forecast", "m-2", {"rows": []}, {made.path: made.manifest})

    with monkeypatch.context() as then:
        then.setattr(manifests, "FORMAT", 1)
        asked = [message("user", "Is it?") | {"at": datetime(2026, 5, 1, tzinfo=UTC)}]
        prefix = _row(OLD_PREFIXES, messages=asked, production_completion=REPLY, weight=1.0)
        write("deidentified_prefixes", "m-1", OLD_PREFIXES, prefix)
        done = _row(OLD_COMPLETIONS, message=REPLY, status="completed")
        write("candidate_completions", "m-2", OLD_COMPLETIONS, done)
        graded = _row(OLD_GRADES, status="graded", lies=False)
        write("grades", "m-2", OLD_GRADES, graded, seal=seal)
    return Lake.of(home)


def test_old_tables_are_read_in_todays_columns(lake: Lake) -> None:
    for asset, key, schema in (
        ("deidentified_prefixes", "m-1", PREFIXES),
        ("candidate_completions", "m-2", COMPLETIONS),
        ("grades", "m-2", grades(["lies"])),
    ):
        found = lake.scan(asset, key).collect()
        assert dict(found.schema) == dict(schema), asset
    [prefix] = lake.rows("deidentified_prefixes", "m-1")
    assert prefix["production_completion"] == REPLY | {"steps": []}
    assert prefix["messages"][0]["at"] == datetime(2026, 5, 1, tzinfo=UTC)
    assert [prefix[k] for k in ("tools", "tools_inferred", "commit", "clock")] == [None] * 4
    [done] = lake.rows("candidate_completions", "m-2")
    assert (done["status"], done["message"]["steps"]) == ("completed", [])


def test_old_and_new_rows_of_an_asset_can_stand_in_one_frame(lake: Lake) -> None:
    old = lake.scan("candidate_completions", "m-2").collect()
    row = _row(COMPLETIONS, status="capped", message=REPLY | {"steps": []})
    both = pl.concat([old, pl.DataFrame([row], schema=COMPLETIONS)])
    assert both["status"].to_list() == ["completed", "capped"]


def test_old_seals_hold_by_the_bytes_they_were_made_of(lake: Lake) -> None:
    def faults() -> list[str]:
        found = [str(f) for f in HomeAudit(lake, {}, lambda _: {}).whole().faults]
        return [f for f in found if "names no registration" not in f]

    assert faults() == []
    assert lake.manifest("grades", "m-2").predicate["format"] == 1  # pyright: ignore[reportOptionalMemberAccess]
    part = next((lake.base / "grades").rglob("part-*.parquet"))
    frame = pl.read_parquet(part)
    frame.with_columns(lies=~pl.col("lies")).write_parquet(part)
    assert any("was changed after it was written" in fault for fault in faults())


def test_an_old_table_that_comes_out_the_same_stays_and_is_not_sealed_anew(lake: Lake) -> None:
    before = lake.current("grades", "m-2")
    again = lake.write("grades", "m-2", pl.DataFrame([_row(OLD_GRADES, status="graded",
                       lies=False)], schema=OLD_GRADES))  # fmt: skip
    assert again == before
    row = _row(grades(["lies"]), status="graded", lies=False)
    new = lake.write("grades", "m-2", pl.DataFrame([row], schema=grades(["lies"])))
    assert new != before
    assert lake.manifest("grades", "m-2").predicate["format"] == 2  # pyright: ignore[reportOptionalMemberAccess]
    assert len([r for r in ledger.read(lake.home) if r.kind == "forecast"]) == 1


def test_a_table_of_a_later_release_is_refused_with_the_mend(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as later:
        later.setattr(manifests, "FORMAT", 3)
        row = _row(COMPLETIONS, status="completed")
        lake.write("candidate_completions", "m-3", pl.DataFrame([row], schema=COMPLETIONS))
    with pytest.raises(ProjectError, match="was written by a later deploysim"):
        lake.current("candidate_completions", "m-3")


def test_texts_of_old_and_new_turns_are_found(lake: Lake) -> None:
    [part] = (lake.base / "deidentified_prefixes").rglob("part-*.parquet")
    old = pl.scan_parquet(part)
    names = said_in("production_completion", old.collect_schema())
    assert old.select(contents("messages"), *names).collect().row(0) == ("Is it?", "yes")
    step = {"role": "tool", "content": "7741", "source": "production"}
    row = _row(COMPLETIONS, status="completed", message=REPLY | {"steps": [step, step]})
    new = pl.LazyFrame([row], schema=COMPLETIONS)
    assert new.select(said_in("message", new.collect_schema())).collect().row(0) == (
        "yes",
        "7741\n7741",
    )


def _turn(*steps: tuple[str, str]) -> dict[str, Any]:
    return REPLY | {
        "steps": [{"role": "tool", "content": c, "name": "read", "source": s} for c, s in steps]
    }


def test_who_was_given_the_results_of_somebody_forgotten_is_forgotten_with_them(
    tmp_path: Path,
) -> None:
    lake = Lake.of(tmp_path / "home")

    def write(asset: str, key: str, schema: pl.Schema, rows: list[dict[str, Any]]) -> None:
        lake.write(asset, key, pl.DataFrame(rows, schema=schema))

    ids = {name: f"{n:032x}" for n, name in enumerate(("ann", "bob", "cat", "dan"), 1)}
    prefixes = [
        {"prefix_id": ids["ann"], "user_key": "ann", "messages": [message("user", "go")],
         "production_completion": _turn(("ann's diary", "production"), ("ok", "production"))},
        {"prefix_id": ids["bob"], "user_key": "bob", "messages": [message("tool", "ok")],
         "production_completion": _turn()},
        {"prefix_id": ids["cat"], "user_key": "cat", "messages": [], "production_completion": None},
        {"prefix_id": ids["dan"], "user_key": "dan", "messages": [], "production_completion": None},
    ]  # fmt: skip
    write("deidentified_prefixes", "m-1", PREFIXES, prefixes)
    completions = [
        {"prefix_id": ids["ann"], "message": _turn(("ann's diary", "recorded"))},
        {"prefix_id": ids["bob"], "message": _turn(("ann's diary", "library"))},
        {"prefix_id": ids["cat"], "message": _turn(("ok", "library"))},  # bob's tools said so, too
        {"prefix_id": ids["dan"], "message": _turn(("ann's diary", "model"))},  # said again
    ]
    write("candidate_completions", "m-2", COMPLETIONS, completions)

    def doomed(user: str) -> set[str]:
        found = doomed_by(lake, [user], [], lambda _, one: one).prefixes
        return {name for name, one in ids.items() if one in found}

    assert doomed("ann") == {"ann", "bob", "dan"}
    assert doomed("bob") == {"bob"}
    assert disk.names(lake.base)
