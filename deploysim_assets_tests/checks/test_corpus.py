"""The suites on the corpora: each expectation can fail, and its result holds numbers alone."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from deploysim_assets.checks.corpus import (
    PREFIXES,
    RAW_LOGS,
    prefix_numbers,
    raw_log_numbers,
    total_variation,
)
from deploysim_assets.checks.expectations import Expectation, validate
from deploysim_assets.project import LogSource
from deploysim_assets.schema import CONVERSATIONS
from deploysim_assets.schema import PREFIXES as PREFIX_SCHEMA

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
