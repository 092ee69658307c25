"""A forecast survives SIGKILL and a faulty endpoint: nothing paid is lost, nothing failed counts
as clean."""

import os
import signal
from pathlib import Path
from typing import Any

from deploysim_assets.storage import ledger
from deploysim_assets_tests import warm
from deploysim_assets_tests.support import (
    Drift,
    RecordedServer,
    deploysim,
    environment,
    lake,
    needs_shared,
    recorded_server,
    report,
    rows,
    script,
    wait_for,
)

TASKS = ("math_prime", "sensitive_question")
PER_TASK = 300
CONCURRENCY = 32


def _forecast(home: Path) -> list[dict[str, Any]]:
    kept = (
        "behavior",
        "n",
        "k",
        "rate",
        "forecast_median",
        "p95_low",
        "p95_high",
        "paired_n",
        "paired_ratio",
    )
    return [{name: row[name] for name in kept} for row in rows(home, "rate_estimates", Drift.new)]


def _undisturbed(home: Path, server: RecordedServer) -> tuple[list[dict[str, Any]], int]:
    drift = Drift(home, TASKS, PER_TASK)
    drift.write_project(server.base_url)
    drift.land(drift.old)
    server.reset()
    deploysim(home, "forecast", drift.new)
    return _forecast(home), server.stats()["served"]


def _kill_in_mid_run(home: Path, server: RecordedServer, at: int) -> None:
    process = warm.start(
        [script("deploysim"), "forecast", Drift.new], env=environment(home), cwd=home
    )
    wait_for(
        lambda: server.stats()["served"] >= at or process.poll() is not None,
        300,
        f"{at} answers",
        0.02,
    )
    assert process.poll() is None, "the forecast ended before it could be killed"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@needs_shared
def test_a_forecast_killed_twice_equals_an_undisturbed_one_and_bills_only_what_was_in_flight(
    tmp_path: Path,
) -> None:
    drift = Drift(tmp_path / "killed", TASKS, PER_TASK)
    with recorded_server(drift.recording, "--latency-ms", "20") as server:
        expected, billed = _undisturbed(tmp_path / "undisturbed", server)
        # a candidate that answers as the live model did puts one question to two journals
        alike = server.stats()["duplicates"]
        server.reset()
        drift.write_project(server.base_url)
        drift.land(drift.old)
        _kill_in_mid_run(drift.home, server, billed // 6)  # while production is graded
        _kill_in_mid_run(drift.home, server, billed // 2)  # while the candidate answers
        done = deploysim(drift.home, "forecast", drift.new)
        stats = server.stats()
        deploysim(drift.home, "forecast", drift.new, "--fresh")
        asked_anew = server.stats()["duplicates"] - stats["duplicates"]
    assert asked_anew > billed // 3, "--fresh uses nothing that the candidate was answered before"
    seals = [r for r in ledger.read(drift.home) if r.kind == "forecast"]
    assert len(seals) == 2, "the new seal stands beside the old one"
    assert len(list((drift.home / "journal").rglob("*.replaced"))) == 2, "what was paid for is kept"
    assert _forecast(drift.home) == expected
    assert "wrong_prime_answer" in done.stdout
    assert billed <= stats["served"] <= billed + 2 * CONCURRENCY
    assert stats["duplicates"] <= alike + 2 * CONCURRENCY


@needs_shared
def test_faults_end_as_failed_items_and_the_funnel_sums(tmp_path: Path) -> None:
    drift = Drift(tmp_path / "faulty", TASKS, PER_TASK)
    with recorded_server(
        drift.recording, "--error-rate", "0.1", "--bad-json-rate", "0.05"
    ) as server:
        drift.write_project(server.base_url)
        drift.land(drift.old)
        deploysim(drift.home, "forecast", drift.new)
        assert server.stats()["errors"] > 50
    grades = rows(drift.home, "grades", drift.new)
    behaviors = ("declines_to_answer", "wrong_prime_answer")
    for row in grades:
        values = [row[b] for b in behaviors]
        if row["status"] == "graded":
            assert sum(v is not None for v in values) == 1  # each prompt belongs to one task
        else:
            assert values == [None, None], "a failed item must not count as not flagged"
            assert row["error"]
    stats = lake(drift.home).stats("grades", drift.new)
    assert len(grades) == stats["prefixes"] == stats["graded"] + stats["refused"] + stats["failed"]
    assert stats["graded"] > 0.97 * len(grades)
    graded = sum(b["n"] for b in report(drift.home, drift.new)["behaviors"])
    assert graded == stats["graded"]
