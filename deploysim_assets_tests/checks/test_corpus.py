"""The suites on the corpora: each expectation can fail, and its result holds numbers alone."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploysim_assets.checks.corpus import (
    PREFIXES,
    RAW_LOGS,
    prefix_numbers,
    raw_log_numbers,
    raw_logs_results,
    total_variation,
)
from deploysim_assets.checks.expectations import Expectation, validate
from deploysim_assets.project import LogSource, Project
from deploysim_assets.schema import CONVERSATIONS
from deploysim_assets.schema import PREFIXES as PREFIX_SCHEMA
from deploysim_assets.storage.tables import Lake

EMPTY = dict.fromkeys(("tool_calls", "tool_call_id", "name", "reasoning", "at"))


def message(role: str, content: str) -> dict[str, Any]:
    return EMPTY | {"role": role, "content": content}


def conversation(number: int, **more: Any) -> dict[str, Any]:
    started = datetime.now(UTC) - timedelta(days=1)
    dialog = [message("user", "hello"), message("assistant", "hi")]
    fields = {
        "conversation_id": f"c{number}",
        "model_version": "m",
        "started_at": started,
        "training_allowed": True,
        "messages": dialog,
    }
    return fields | more


def prefix(number: int, content: str = "hello", role: str = "user", **more: Any) -> dict[str, Any]:
    reply = {"content": "hi", "reasoning": None, "tool_calls": []}
    return {
        "prefix_id": f"p{number}",
        "training_allowed": True,
        "messages": [message(role, content)],
        "production_completion": reply,
    } | more


@pytest.mark.parametrize(
    ("tools", "agents", "passed"),
    [(True, False, False), (True, True, True), (False, False, True)],
)
def test_tools_without_an_agents_section_are_a_warning(
    tmp_path: Path, tools: bool, agents: bool, passed: bool
) -> None:
    tool = {"name": "read", "description": None, "parameters": None, "read_only": None}
    rows = [conversation(1, tools=[tool] if tools else None), conversation(2)]
    lake = Lake.of(tmp_path)
    with lake.new_version("raw_logs", "m", CONVERSATIONS) as version:
        version.extend(pl.DataFrame(rows, schema=CONVERSATIONS))
        version.stats |= {"read": 2, "rejected": 0, "conversations": 2}
    project = Project.model_validate(
        {
            "home": tmp_path,
            "releases": [{"model_version": "m", "logs": {"format": "openai_chat", "path": "x"}}],
            "endpoint": {"base_url": "http://127.0.0.1:1/v1"},
            "behaviors": [{"name": "x", "definition": "d"}],
            "judge": {"model": "j"},
            "deidentification": {"min_level": 0},
        }
        | ({"agents": {}} if agents else {})
    )
    found = {r.check_name: r for r in raw_logs_results(project, lake, "m")}["tools_are_replayed"]
    assert (found.passed, found.severity) == (passed, dg.AssetCheckSeverity.WARN)


def failed_raw(rows: list[dict[str, Any]]) -> set[str]:
    verdicts = validate(raw_log_numbers(pl.LazyFrame(rows, schema=CONVERSATIONS)), RAW_LOGS)
    assert set(verdicts) == {e.check for e in RAW_LOGS}
    return {name for name, verdict in verdicts.items() if not verdict.passed}


def failed_prefixes(rows: list[dict[str, Any]]) -> set[str]:
    verdicts = validate(prefix_numbers(pl.LazyFrame(rows, schema=PREFIX_SCHEMA)), PREFIXES)
    assert set(verdicts) == {e.check for e in PREFIXES}
    return {name for name, verdict in verdicts.items() if not verdict.passed}


def test_a_sound_corpus_passes() -> None:
    assert failed_raw([conversation(i) for i in range(5)]) == set()
    assert failed_prefixes([prefix(i, "write to kai.x1@example.com") for i in range(5)]) == set()


def _turn_that_leaks(what: str) -> dict[str, Any]:
    step = {"role": "tool", "content": what, "tool_calls": None, "name": "read"}
    reply = {"content": "hi", "reasoning": None, "tool_calls": [], "steps": [step]}
    return {"production_completion": reply}


@pytest.mark.parametrize("what", ["kai@corp-real.com", "sk-" + "a1" * 12])
def test_an_identifier_in_a_step_or_a_tool_is_seen(what: str) -> None:
    check = {"no_residual_mailbox" if "@" in what else "no_residual_secret"}
    assert failed_prefixes([prefix(1, **_turn_that_leaks(what))]) == check
    for place in ("description", "parameters"):
        tool = {"name": "read", "description": None, "parameters": None} | {place: what}
        assert failed_prefixes([prefix(1, tools=[tool])]) == check
    assert failed_prefixes([prefix(1, **_turn_that_leaks("nothing"), tools=[])]) == set()


@pytest.mark.parametrize(
    ("rows", "check"),
    [
        ([conversation(1), conversation(1)], "conversation_ids_unique"),
        ([conversation(1), conversation(2, model_version="other")], "one_model_version"),
        ([conversation(1, messages=[])], "conversations_have_messages"),
        (
            [conversation(1, started_at=datetime.now(UTC) + timedelta(days=2))],
            "not_from_the_future",
        ),
        (
            [
                conversation(i, messages=[message("user", "a"), message("user", "b")])
                for i in range(3)
            ],
            "roles_alternate",
        ),
        ([conversation(1, messages=[message("user", "")])], "lengths_plausible"),
        ([conversation(i, training_allowed=None) for i in range(3)], "consent_known"),
        (
            [
                conversation(
                    i,
                    messages=[message("user", "?" * 50)],
                    started_at=datetime(2026, 1, 1, tzinfo=UTC),
                )
                for i in range(2)
            ],
            "conversations_shipped_once",
        ),
    ],
)
def test_each_expectation_on_raw_logs_can_fail(rows: list[dict[str, Any]], check: str) -> None:
    assert check in failed_raw(rows)


def test_conversations_outside_the_declared_window_fail_and_without_one_none_do() -> None:
    rows = pl.LazyFrame([conversation(1)], schema=CONVERSATIONS)
    for source, passes in (
        (LogSource(format="x", path="y"), True),
        (LogSource(format="x", path="y", since=datetime.now(UTC)), False),
        (LogSource(format="x", path="y", until=datetime.now(UTC) - timedelta(days=2)), False),
        (
            LogSource(
                format="x",
                path="y",
                since=datetime.now(UTC) - timedelta(days=2),
                until=datetime.now(UTC),
            ),
            True,
        ),
    ):
        assert (
            validate(raw_log_numbers(rows, source), RAW_LOGS)["inside_the_release_window"].passed
            == passes
        )


@pytest.mark.parametrize(
    ("rows", "check"),
    [
        ([prefix(1), prefix(1)], "prefix_ids_unique"),
        ([prefix(1, role="assistant")], "last_turn_is_the_users"),
        ([prefix(1, production_completion=None)], "has_production_reply"),
        ([prefix(1, training_allowed=None)], "consent_is_true"),
        ([prefix(1, "write to ann@lindenhof.de")], "no_residual_mailbox"),
        ([prefix(1, "my key is sk-abcdefghijklmnopqrstuvwx")], "no_residual_secret"),
        ([], "has_prefixes"),
    ],
)
def test_each_expectation_on_prefixes_can_fail(rows: list[dict[str, Any]], check: str) -> None:
    assert check in failed_prefixes(rows)


def test_a_failing_result_holds_numbers_and_no_cell() -> None:
    frame = pl.DataFrame({"text": ["secret words", "secret words", "x"]})
    verdict = validate(
        frame, [Expectation("unique", "ExpectColumnValuesToBeUnique", {"column": "text"})]
    )["unique"]
    assert not verdict.passed
    assert all(isinstance(v, float) for v in verdict.numbers.values())
    assert "secret" not in str(verdict)


def test_a_failing_check_says_where_the_rows_are_and_shows_the_bound() -> None:
    rows = [
        conversation(i, messages=[] if i % 2 else [message("user", "x")], log_file="logs/a.jsonl")
        | {"log_line": i + 1}
        for i in range(60)
    ]
    verdict = validate(raw_log_numbers(pl.LazyFrame(rows, schema=CONVERSATIONS)), RAW_LOGS)[
        "conversations_have_messages"
    ]
    assert verdict.places is not None
    assert verdict.places.startswith("logs/a.jsonl: lines 2, 4, 6, ")
    assert verdict.places.endswith("40 and 10 more")
    assert verdict.numbers["unexpected_count"] == 30
    assert verdict.numbers["value_at_least"] == 1
    assert verdict.numbers["unexpected_percent_allowed"] == 0
    of_prefixes = validate(
        prefix_numbers(pl.LazyFrame([prefix(7, role="assistant")], schema=PREFIX_SCHEMA)), PREFIXES
    )
    assert of_prefixes["last_turn_is_the_users"].places == "prefixes p7"
    assert of_prefixes["has_prefixes"].numbers["observed_value_at_least"] == 1


@given(
    values=st.lists(st.one_of(st.none(), st.integers(-3, 3)), min_size=1, max_size=30),
    kind=st.sampled_from(
        [
            ("ExpectColumnValuesToBeBetween", {"min_value": 0}),
            ("ExpectColumnValuesToBeBetween", {"min_value": -1, "max_value": 1}),
            ("ExpectColumnValuesToBeUnique", {}),
            ("ExpectColumnValuesToNotBeNull", {}),
        ]
    ),
)
@settings(max_examples=25, deadline=None)
def test_the_rows_that_are_named_are_those_that_great_expectations_counts(
    values: list[int | None], kind: tuple[str, dict[str, Any]]
) -> None:
    frame = pl.DataFrame({"x": values}, schema={"x": pl.Float64})
    expectation = Expectation("check", kind[0], {"column": "x", **kind[1]})
    broken = expectation.offending()
    assert broken is not None
    counted = validate(frame, [expectation])["check"].numbers["unexpected_count"]
    assert frame.filter(broken).height == counted


def test_an_expectation_that_cannot_be_computed_fails() -> None:
    frame = pl.DataFrame({"x": [1]})
    assert not validate(
        frame, [Expectation("missing", "ExpectColumnValuesToBeUnique", {"column": "y"})]
    )["missing"].passed


def test_drift_is_the_share_of_traffic_that_moved() -> None:
    def traffic(*languages: str | None) -> pl.LazyFrame:
        return pl.LazyFrame({"language": languages}, schema={"language": pl.String})

    assert total_variation(traffic("en", "de"), traffic("de", "en"), "language") == 0
    assert total_variation(
        traffic("en", "en", "de", None), traffic("en", "en", "en", "en"), "language"
    ) == pytest.approx(0.5)
    assert total_variation(traffic("en"), traffic("de"), "language") == 1
