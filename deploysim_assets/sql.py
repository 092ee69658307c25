"""Runs the models of dbt_like_sql/ on DuckDB, each as an asset with its SQL, column lineage and
data tests."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Literal, cast

import dagster as dg
import duckdb
import polars as pl
import yaml
from pydantic import BaseModel, ConfigDict, Field

from deploysim_assets.automation import CHEAP, ONCE
from deploysim_assets.checks.meanings import sql_test
from deploysim_assets.checks.specs import partitioned_check
from deploysim_assets.io_manager import making, table_result
from deploysim_assets.project import Project
from deploysim_assets.releases import CANDIDATES, FROM_PREDECESSOR, MODELS
from deploysim_assets.schema.meanings import Meaning
from deploysim_assets.storage.tables import Lake

_PACKAGED = Path(__file__).parent / "dbt_like_sql"
FOLDER = _PACKAGED if _PACKAGED.exists() else Path(__file__).parent.parent / "dbt_like_sql"
_MODELS_SIDE = frozenset({"production_grades", "self_grades"})


class Range(BaseModel):
    model_config = ConfigDict(extra="forbid")
    min: float | None = None
    max: float | None = None


class Test(BaseModel):
    model_config = ConfigDict(extra="forbid")
    accepted_range: Range | None = None
    expression: str | None = None


class Column(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    description: str
    unit: str = ""
    tests: list[Literal["not_null"] | Test] = []
    upstream: list[str] = Field(default=[], alias="from")


class Model(BaseModel):
    """One entry of models.yml."""

    model_config = ConfigDict(extra="forbid")
    name: str
    materialized: Literal["view", "table"]
    partitions: Literal["candidates", "models"]
    description: str
    unique: list[str] = []
    columns: list[Column]

    @property
    def file(self) -> Path:
        folder = "staging" if self.materialized == "view" else "marts"
        return FOLDER / folder / f"{self.name}.sql"

    @property
    def sql(self) -> str:
        return self.file.read_text()

    @property
    def tables(self) -> list[str]:
        """The tables that the SQL reads: assets, and views of models.yml. What it names itself
        (`x as (`) is neither."""
        own = re.findall(r"^(?:with )?([a-z_]+) as \($", self.sql, re.MULTILINE)
        return sorted(set(re.findall(r"\b(?:from|join)\s+([a-z_]+)", self.sql)) - set(own))

    def meanings(self) -> dict[str, Meaning]:
        """What each column means."""
        return {c.name: Meaning(c.description, c.unit) for c in self.columns}

    def data_tests(self) -> dict[str, str]:
        """Test name -> a condition that every row must meet."""
        found: dict[str, str] = {}
        for column in self.columns:
            for test in column.tests:
                if test == "not_null":
                    found[f"{column.name}_not_null"] = f"{column.name} is not null"
                elif test.accepted_range:
                    bounds = (
                        [f"{column.name} >= {test.accepted_range.min}"]
                        if test.accepted_range.min is not None
                        else []
                    )
                    bounds += (
                        [f"{column.name} <= {test.accepted_range.max}"]
                        if test.accepted_range.max is not None
                        else []
                    )
                    found[f"{column.name}_in_range"] = " and ".join(bounds)
                elif test.expression:
                    found[f"{column.name}_expression"] = test.expression
        return found


@cache
def models() -> dict[str, Model]:
    """The models of models.yml by name."""
    # the loader in C, where there is one: every run reads this file, in Python for 30 ms
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    listed = yaml.load((FOLDER / "models.yml").read_text(), loader)["models"]  # noqa: S506
    return {m.name: m for m in map(Model.model_validate, listed)}


def asset_tables(name: str) -> list[str]:
    """The assets that a model reads, through views."""
    found: set[str] = set()
    for table in models()[name].tables:
        inner = models().get(table)
        found |= set(asset_tables(table)) if inner and inner.materialized == "view" else {table}
    return sorted(found)


def views_of(name: str) -> list[str]:
    """A model and the views that it reads, which all shape its table."""
    inner = [t for t in models()[name].tables if t in models()]
    views = [t for t in inner if models()[t].materialized == "view"]
    return sorted({name, *(v for view in views for v in views_of(view))})


def run_model(name: str, tables: Mapping[str, str]) -> pl.DataFrame:
    """Run a model on DuckDB in memory; `tables` gives the Parquet glob of each asset that it
    reads."""
    with duckdb.connect(":memory:") as connection:
        for table, glob in tables.items():
            connection.read_parquet(glob, hive_partitioning=False).create_view(table)

        def views(model: str) -> None:
            for table in models()[model].tables:
                if table in models() and table not in tables:
                    views(table)
                    connection.execute(f"create or replace view {table} as {models()[table].sql}")

        views(name)
        return connection.sql(models()[name].sql).pl()


def failing_rows(model: Model, frame: pl.DataFrame) -> dict[str, int]:
    """How many rows break each data test of a model."""
    table = cast("object", frame.to_arrow())
    with duckdb.connect(":memory:") as connection:
        connection.register("result", table)

        def count(sql: str) -> int:
            return int(connection.sql(sql).fetchall()[0][0])

        broken = {
            test: count(f"select count(*) from result where ({holds}) is not true")
            for test, holds in model.data_tests().items()
        }
        if model.unique:
            keys = ", ".join(model.unique)
            broken["unique"] = count(
                f"select count(*) from (select {keys} from result group by all having count(*) > 1)"
            )
        return broken


def _is_models_side(table: str) -> bool:
    return table in _MODELS_SIDE or (table in models() and models()[table].partitions == "models")


def _asset(model: Model) -> dg.AssetsDefinition:
    candidates = model.partitions == "candidates"
    partitions = CANDIDATES if candidates else MODELS
    reads = asset_tables(model.name)
    deps = [
        dg.AssetDep(
            t, partition_mapping=FROM_PREDECESSOR if candidates and _is_models_side(t) else None
        )
        for t in reads
    ]

    @dg.asset(
        name=model.name,
        partitions_def=partitions,
        deps=deps,
        automation_condition=ONCE if candidates else CHEAP,
        group_name="self_replay"
        if "self_grades" in reads
        else "candidate_side"
        if candidates
        else "production_side",
        kinds={"duckdb", "sql"},
        description=f"{model.description}\n\n```sql\n{model.sql}```",
    )
    def run(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        project: dg.ResourceParam[Project],
    ) -> dg.MaterializeResult[None]:
        key = context.partition_key
        settings = {
            "sql": {t: models()[t].sql for t in views_of(model.name)},
            "column_lineage": {c.name: c.upstream for c in model.columns if c.upstream},
        }
        lake = making(context, lake, settings)
        sources = {
            t: project.predecessor(key) if candidates and _is_models_side(t) else key for t in reads
        }
        frame = run_model(model.name, {t: lake.glob(t, source) for t, source in sources.items()})
        lake.write(model.name, key, frame)
        return table_result(lake, model.name, key, {}, said=model.meanings())

    return run


def _tests(model: Model) -> dg.AssetChecksDefinition:
    """The data tests of a model, in an op of their own: once an asset names checks among its specs,
    automation asks for those by name, and Dagster then leaves out the checks of every other asset
    of the run."""
    partitions = CANDIDATES if model.partitions == "candidates" else MODELS
    tests = {t: f"`{holds}` in every row" for t, holds in model.data_tests().items()}
    if model.unique:
        tests["unique"] = f"No two rows have the same {', '.join(model.unique)}"

    @dg.multi_asset_check(
        name=f"{model.name}_tests",
        specs=[
            partitioned_check(
                t, model.name, partitions, blocking=True, said=sql_test(model.name, holds)
            )
            for t, holds in tests.items()
        ],
    )
    def run(
        context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]
    ) -> Iterator[dg.AssetCheckResult]:
        frame = lake.held().scan(model.name, context.partition_key).collect()
        broken = failing_rows(model, frame)
        lake.keep_verdict(model.name, context.partition_key, {t: n == 0 for t, n in broken.items()})
        for test, rows in broken.items():
            yield dg.AssetCheckResult(
                check_name=test, passed=rows == 0, metadata={"failing_rows": rows}
            )

    return run


def _tables(*, self_replay: bool) -> list[Model]:
    """The models that are tables; those of the self replay only where there is one."""
    tables = [m for m in models().values() if m.materialized == "table"]
    return [m for m in tables if self_replay or "self_grades" not in asset_tables(m.name)]


def sql_assets(*, self_replay: bool) -> list[dg.AssetsDefinition]:
    """One asset per table model; views are part of the models that read them."""
    return [_asset(m) for m in _tables(self_replay=self_replay)]


def sql_checks(*, self_replay: bool) -> list[dg.AssetChecksDefinition]:
    """The data tests of each table model."""
    return [_tests(m) for m in _tables(self_replay=self_replay)]
