"""Checks on raw_logs and deidentified_prefixes: a bad corpus must not reach a forecast."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

import dagster as dg
import polars as pl

from deploysim_assets.checks.expectations import Expectation, validate
from deploysim_assets.checks.specs import partitioned_check
from deploysim_assets.logs.sampling import CHARACTERS
from deploysim_assets.project import LogSource, Project
from deploysim_assets.releases import MODELS
from deploysim_assets.storage.tables import Lake
from deploysim_assets.storage.verified import verified_stats

RAW_LOGS = [
    Expectation("conversation_ids_unique", "ExpectColumnValuesToBeUnique", {"column": "id_hash"}),
    Expectation(
        "one_model_version",
        "ExpectColumnUniqueValueCountToBeBetween",
        {"column": "model_hash", "min_value": 1, "max_value": 1},
    ),
    Expectation(
        "conversations_have_messages",
        "ExpectColumnValuesToBeBetween",
        {"column": "messages", "min_value": 1},
    ),
    Expectation(
        "not_from_the_future",
        "ExpectColumnValuesToBeBetween",
        {"column": "seconds_ahead", "max_value": 0},
    ),
    Expectation(
        "inside_the_release_window",
        "ExpectColumnValuesToBeBetween",
        {"column": "seconds_outside", "max_value": 0},
    ),
    Expectation(
        "roles_alternate",
        "ExpectColumnValuesToBeBetween",
        {"column": "repeated_roles", "max_value": 0, "mostly": 0.9},
    ),
    Expectation(
        "lengths_plausible",
        "ExpectColumnValuesToBeBetween",
        {"column": "characters", "min_value": 1, "mostly": 0.99},
    ),
    Expectation(
        "conversations_shipped_once",
        "ExpectColumnValuesToBeBetween",
        {"column": "repeats", "max_value": 0, "mostly": 0.99},
    ),
    Expectation(
        "consent_known", "ExpectColumnValuesToNotBeNull", {"column": "consent", "mostly": 0.5}
    ),
]
PREFIXES = [
    Expectation("prefix_ids_unique", "ExpectColumnValuesToBeUnique", {"column": "id_hash"}),
    Expectation(
        "last_turn_is_the_users",
        "ExpectColumnValuesToBeBetween",
        {"column": "ends_with_user", "min_value": 1},
    ),
    Expectation(
        "has_production_reply",
        "ExpectColumnValuesToBeBetween",
        {"column": "replied", "min_value": 1},
    ),
    Expectation(
        "consent_is_true", "ExpectColumnValuesToBeBetween", {"column": "consent", "min_value": 1}
    ),
    Expectation(
        "no_residual_mailbox",
        "ExpectColumnValuesToBeBetween",
        {"column": "residual_mailboxes", "max_value": 0},
    ),
    Expectation(
        "no_residual_secret",
        "ExpectColumnValuesToBeBetween",
        {"column": "residual_keys", "max_value": 0},
    ),
    Expectation("has_prefixes", "ExpectTableRowCountToBeBetween", {"min_value": 1}),
]
_WARNINGS = frozenset(
    {
        "not_from_the_future",
        "roles_alternate",
        "lengths_plausible",
        "conversations_shipped_once",
        "answered_by_one_release",
        "consent_known",
        "like_the_release_before",
        "tools_are_replayed",
    }
)
DRIFT = "like_the_release_before"
TOOLS = "tools_are_replayed"
ONE_RELEASE = "answered_by_one_release"
_MOST_DRIFT = 0.2
FUNNEL = "funnel_sums"
CANARIES = "canary_recall"
_LEAST_RECALL = 0.99


_TEXT = pl.element().struct.field("content").fill_null("")
_MAILBOX = r"(?-u)[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+"
_RESERVED = r"(?-u)@(?:db\.)?example\.(?:com|org|net)"
_KEY = r"(?-u)\b(?:sk-[A-Za-z0-9]{20,}|gh[pousr]_[A-Za-z0-9]{30,}|AKIA[0-9A-Z]{16})"


def _matches(pattern: str) -> pl.Expr:
    """How often a pattern stands in a prefix's texts, in what an agent did next and in its tools,
    by polars' engine: another one than the detectors'."""
    steps = pl.col("production_completion").struct.field("steps")
    in_messages = _TEXT.str.count_matches(pattern)
    in_tools = pl.sum_horizontal(
        pl.element().struct.field(name).fill_null("").str.count_matches(pattern)
        for name in ("description", "parameters")
    )
    found = [
        pl.col("messages").list.eval(in_messages).list.sum(),
        steps.list.eval(in_messages).list.sum().fill_null(0),
        pl.col("tools").list.eval(in_tools).list.sum().fill_null(0),
    ]
    return pl.sum_horizontal(one.cast(pl.Int64) for one in found)


def _repeated_roles() -> pl.Expr:
    """Pairs of neighboring user messages."""
    role = pl.element().struct.field("role")
    return (
        pl.col("messages")
        .list.eval((role == "user") & (role.shift(1) == "user"))
        .list.sum()
        .cast(pl.Int64)
    )


_LEAST_SAID = 40


def _repeats() -> pl.Expr:
    """Whether one before it says the same at the same time, 1 or 0: where a log is shipped twice
    under other ids, each conversation counts twice. Very short ones come again by chance."""
    role = pl.element().struct.field("role")
    said = pl.when(role.is_in(["user", "assistant"])).then(_TEXT)
    texts = pl.col("messages").list.eval(said).list.join("\x1e", ignore_nulls=True).hash()
    again = pl.struct(texts, pl.col("started_at")).is_first_distinct().not_()
    told = pl.col("started_at").is_not_null() & (CHARACTERS >= _LEAST_SAID)
    return (again & told).cast(pl.Int8)


def total_variation(now: pl.LazyFrame, before: pl.LazyFrame, column: str) -> float:
    """Half the sum of the differences between the shares of a column's values: 0 alike, 1 with
    nothing in common."""

    def shares(frame: pl.LazyFrame) -> dict[str, float]:
        counted = frame.group_by(pl.col(column).fill_null("unknown")).agg(pl.len()).collect()
        total = int(counted["len"].sum())
        return {str(value): int(count) / total for value, count in counted.iter_rows()}

    here, there = shares(now), shares(before)
    return sum(abs(here.get(v, 0) - there.get(v, 0)) for v in {*here, *there}) / 2


def _drift(project: Project, lake: Lake, model: str) -> dg.AssetCheckResult:
    """Surfaces and languages against the release before: a large change weakens a forecast, and
    does not forbid it."""
    before = project.release(model).predecessor
    if before is None or lake.current("raw_logs", before) is None:
        return dg.AssetCheckResult(
            check_name=DRIFT,
            passed=True,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"compared_with": before or "none"},
        )
    now, then = lake.scan("raw_logs", model), lake.scan("raw_logs", before)
    distances = {column: total_variation(now, then, column) for column in ("surface", "language")}
    passed = max(distances.values()) <= _MOST_DRIFT
    return dg.AssetCheckResult(
        check_name=DRIFT,
        passed=passed,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"compared_with": before, **distances, "distance_allowed": _MOST_DRIFT},
    )


def _tools(project: Project, lake: Lake, model: str) -> dg.AssetCheckResult:
    """Turns with tools are asked once where the project replays no agents: their forecast is one of
    first messages."""
    with_tools = pl.col("tools").list.len().fill_null(0) > 0
    counted = lake.scan("raw_logs", model).select(with_tools.sum()).collect().item()
    return dg.AssetCheckResult(
        check_name=TOOLS,
        passed=project.agents is not None or not counted,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "conversations_with_tools": int(counted),
            "mend": "`agents: {}` in deploysim.yaml replays their turns call by call",
        },
    )


def raw_log_numbers(raw: pl.LazyFrame, source: LogSource | None = None) -> pl.DataFrame:
    """What the suite on raw_logs looks at: numbers per conversation, so that no text enters
    Great Expectations."""
    early = (
        pl.lit(source.since) - pl.col("started_at")
        if source and source.since
        else pl.lit(timedelta(0))
    )
    late = (
        pl.col("started_at") - pl.lit(source.until)
        if source and source.until
        else pl.lit(timedelta(0))
    )
    return raw.select(
        pl.col("conversation_id").hash().alias("id_hash"),
        pl.col("model_version").hash().alias("model_hash"),
        pl.col("messages").list.len().alias("messages"),
        (pl.col("started_at") - datetime.now(UTC)).dt.total_seconds().alias("seconds_ahead"),
        pl.max_horizontal(early.dt.total_seconds(), late.dt.total_seconds()).alias(
            "seconds_outside"
        ),
        pl.col("training_allowed").cast(pl.Float64).alias("consent"),
        _repeated_roles().alias("repeated_roles"),
        _repeats().alias("repeats"),
        CHARACTERS,
        "log_file",
        "log_line",
    ).collect(engine="streaming")


def prefix_numbers(prefixes: pl.LazyFrame) -> pl.DataFrame:
    """What the suite on deidentified_prefixes looks at."""
    reply = pl.col("production_completion")
    return prefixes.select(
        pl.col("prefix_id").hash().alias("id_hash"),
        (pl.col("messages").list.last().struct.field("role") == "user")
        .cast(pl.Int8)
        .alias("ends_with_user"),
        reply.is_not_null().cast(pl.Int8).alias("replied"),
        (_matches(_MAILBOX) - _matches(_RESERVED)).alias("residual_mailboxes"),
        _matches(_KEY).alias("residual_keys"),
        pl.col("training_allowed").fill_null(value=False).cast(pl.Int8).alias("consent"),
        "prefix_id",
    ).collect(engine="streaming")


def _specs(asset: str, names: list[str]) -> list[dg.AssetCheckSpec]:
    return [partitioned_check(n, asset, MODELS, blocking=n not in _WARNINGS) for n in names]


def _results(frame: pl.DataFrame, suite: list[Expectation]) -> Iterator[dg.AssetCheckResult]:
    for check, verdict in validate(frame, suite).items():
        severity = dg.AssetCheckSeverity.WARN if check in _WARNINGS else dg.AssetCheckSeverity.ERROR
        where: dict[str, str | float] = {"where": verdict.places} if verdict.places else {}
        yield dg.AssetCheckResult(
            check_name=check,
            passed=verdict.passed,
            severity=severity,
            metadata=where | verdict.numbers,
        )


def raw_logs_results(project: Project, lake: Lake, model: str) -> Iterator[dg.AssetCheckResult]:
    """Keys, shapes and times of the conversations; lines read = rejected + conversations."""
    stats = lake.stats("raw_logs", model)
    rows = lake.written_rows("raw_logs", model)
    counts = {name: stats[name] for name in ("read", "rejected", "conversations")}
    sums = (
        counts["read"] == counts["rejected"] + counts["conversations"]
        and rows == counts["conversations"]
    )
    yield dg.AssetCheckResult(check_name=FUNNEL, passed=sums, metadata=counts)
    yield _drift(project, lake, model)
    yield _tools(project, lake, model)
    yield from _results(
        raw_log_numbers(lake.scan("raw_logs", model), project.release(model).logs),
        RAW_LOGS,
    )


def _canary_result(counts: Mapping[str, int] | None) -> dg.AssetCheckResult:
    """Canaries of every type, script and container through the scrubber as it was installed where
    the table was made; the bound is over all of them. A table of an earlier deploysim does not say,
    then it is asked here."""
    from deploysim_assets.deidentify.audit import Cell, canaries

    counts = counts or canaries()
    whole = Cell("all", "all", "all", counts["planted"], counts["caught"])
    metadata = {
        "planted": whole.planted,
        "caught": whole.caught,
        "lower_95": whole.lower,
        "lower_95_at_least": _LEAST_RECALL,
    }
    return dg.AssetCheckResult(
        check_name=CANARIES, passed=whole.lower >= _LEAST_RECALL, metadata=metadata
    )


def _one_release(project: Project, lake: Lake, model: str) -> dg.AssetCheckResult:
    """Turns that stand among those of another release, too: a reply is of one model."""
    mine = lake.scan("deidentified_prefixes", model).select("prefix_id")
    shared = {
        other: int(
            lake.scan("deidentified_prefixes", other)
            .join(mine, on="prefix_id", how="semi")
            .select(pl.len())
            .collect()
            .item()
        )
        for other in (release.model_version for release in project.releases)
        if other != model and lake.current("deidentified_prefixes", other)
    }
    return dg.AssetCheckResult(
        check_name=ONE_RELEASE,
        passed=not any(shared.values()),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"shared_with": {other: n for other, n in shared.items() if n}},
    )


def prefixes_results(project: Project, lake: Lake, model: str) -> Iterator[dg.AssetCheckResult]:
    """Keys and shapes of the prefixes; conversations = eligible + ineligible, drawn = released +
    quarantined."""
    stats = verified_stats(lake, "deidentified_prefixes", model)
    rows = lake.written_rows("deidentified_prefixes", model)
    names = ("conversations", "eligible", "ineligible", "drawn", "released", "quarantined")
    counts = {name: stats[name] for name in names}
    sums = (
        counts["conversations"]
        == lake.stats("raw_logs", model, stats["raw_logs_version"])["conversations"]
        and counts["conversations"] == counts["eligible"] + counts["ineligible"]
        and counts["drawn"] == counts["released"] + counts["quarantined"]
        and counts["released"] == rows
    )
    yield dg.AssetCheckResult(check_name=FUNNEL, passed=sums, metadata=counts)
    yield _canary_result(stats.get("canaries"))
    yield _one_release(project, lake, model)
    yield from _results(prefix_numbers(lake.scan("deidentified_prefixes", model)), PREFIXES)


_SUITES = {"raw_logs": raw_logs_results, "deidentified_prefixes": prefixes_results}


def checked(project: Project, lake: Lake, asset: str, model: str) -> list[dg.AssetCheckResult]:
    """Run the suite of a corpus on its current version, and keep what the blocking ones said: not
    where another version became current meanwhile, on which they run anew."""
    version = lake.current(asset, model)
    results = list(_SUITES[asset](project, lake.held(), model))
    blocking = {r.check_name or "": r.passed for r in results if r.check_name not in _WARNINGS}
    if lake.current(asset, model) == version:
        lake.keep_verdict(asset, model, blocking)
    return results


@dg.multi_asset_check(
    name="raw_logs_quality",
    specs=_specs("raw_logs", [FUNNEL, DRIFT, TOOLS, *(e.check for e in RAW_LOGS)]),
)
def raw_logs_quality(
    context: dg.AssetCheckExecutionContext,
    lake: dg.ResourceParam[Lake],
    project: dg.ResourceParam[Project],
) -> Iterator[dg.AssetCheckResult]:
    """Keys, shapes and times of the conversations; lines read = rejected + conversations."""
    yield from checked(project, lake, "raw_logs", context.partition_key)


@dg.multi_asset_check(
    name="prefixes_quality",
    specs=_specs(
        "deidentified_prefixes", [FUNNEL, CANARIES, ONE_RELEASE, *(e.check for e in PREFIXES)]
    ),
)
def prefixes_quality(
    context: dg.AssetCheckExecutionContext,
    lake: dg.ResourceParam[Lake],
    project: dg.ResourceParam[Project],
) -> Iterator[dg.AssetCheckResult]:
    """Keys and shapes of the prefixes; conversations = eligible + ineligible, drawn = released +
    quarantined."""
    yield from checked(project, lake, "deidentified_prefixes", context.partition_key)


CORPUS_CHECKS = [raw_logs_quality, prefixes_quality]
