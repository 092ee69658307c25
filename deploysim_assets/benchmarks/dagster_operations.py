"""A finished project under Dagster's own webserver and daemon, worked as an operator works it: by
GraphQL, with backfills, cancellations, kills and late logs.

    python -m deploysim_assets.benchmarks.dagster_operations --executor multiprocess --seed 1

makes a finished home and carries out every operation of OPERATIONS on it, one after the other, and
prints what each took and found; ends with 1 where one did not find what it must. The endpoint
counts what it is asked, so that "paid for twice" is a number. The daemon looks at backfills every
three seconds here: the open-source one does so every 30, which is no setting.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from deploysim_assets.benchmarks.dagster_site import CONCURRENCY, FRESHNESS, Site, site, wait_for
from deploysim_assets.storage import ledger

FORECAST = (
    "preregistration", "candidate_completions", "grades", "rate_counts", "flag_clusters",
    "paired_counts", "paired_clusters", "rate_estimates",
)  # fmt: skip


def everything_again(at: Site) -> str:
    """All assets and partitions of the finished releases once more, in one backfill: nothing is
    asked, nothing sealed, no version changes, and every check says something."""
    before, head, asked = at.versions(), ledger.head(at.home), at.endpoint.asked
    finished = ("aurora-1", "aurora-2")
    chosen = {
        asset: [k for k in keys if k in finished]
        for asset, keys in at.materializable().items()
        if not keys or any(k in finished for k in keys)
    }
    # what people's labels say was never made in this home
    chosen.pop("grader_quality", None)
    assert at.ended(at.backfill(chosen)) == "COMPLETED_SUCCESS"
    assert at.failed() == []
    assert at.versions() == before
    assert ledger.head(at.home) == head
    assert at.endpoint.asked == asked
    assert at.unexplained() == []
    return f"{sum(len(k) or 1 for k in chosen.values())} partitions, {at.endpoint.asked} asked"


def each_alone(at: Site, assets: Sequence[str] = ()) -> str:
    """Every asset of a finished release in a run of its own, all at once: nothing is asked, nothing
    sealed, no version changes."""
    before, head, asked = at.versions(), ledger.head(at.home), at.endpoint.asked
    alone = [
        asset
        for asset, keys in at.materializable().items()
        if "aurora-2" in keys and (not assets or asset in assets)
    ]
    runs = [at.launch([asset], "aurora-2") for asset in alone]
    assert at.all_ended(runs) == ["SUCCESS"] * len(runs), at.failed()
    assert at.versions() == before
    assert ledger.head(at.home) == head
    assert at.endpoint.asked == asked
    return f"{len(runs)} runs, {at.endpoint.asked - asked} asked"


def late_logs(at: Site) -> str:
    """Logs of an old release land late: a new score stands beside the old one, and the forecast is
    untouched."""
    seals, scores = at.seals("aurora-2"), at.seals("aurora-2", "score")
    reports = at.lake.versions("calibration_report", "aurora-2")
    folder = at.home / "logs" / "aurora-2"
    # a flagged one, often enough to be drawn: equal counts would be no new score
    row = json.loads(at.flagged_line("aurora-2"))
    late = [row | {"conversation_id": f"later-{i}"} for i in range(60)]
    (folder / "later.jsonl").write_text("".join(json.dumps(row) + "\n" for row in late))
    production = (
        "raw_logs", "deidentified_prefixes", "production_grades", "production_rate_counts",
        "production_flag_clusters", "realized_rates", "calibration_report",
    )  # fmt: skip
    chosen: dict[str, list[str]] = {asset: ["aurora-2"] for asset in production}
    assert at.ended(at.backfill(chosen | {"scorecard": []})) == "COMPLETED_SUCCESS"
    assert at.lake.versions("calibration_report", "aurora-2")[:-1] == reports
    assert at.seals("aurora-2") == seals
    assert at.seals("aurora-2", "score")[:-1] == scores
    return f"{len(scores) + 1} scores of {len(seals)} forecasts"


def _forecast_is_whole(at: Site, candidate: str) -> None:
    rows = list(at.lake.rows("grades", candidate))
    assert rows, candidate
    assert {row["status"] for row in rows} == {"graded"}
    assert len(at.seals(candidate, "registration")) == len(at.seals(candidate)) == 1


def missing_only(at: Site) -> str:
    """What is missing of two candidates, one by a backfill and one in a single run, both at once,
    and a third run that wants the same replies: nothing is paid for twice, each is sealed once."""
    before, asked, paid = at.versions(), at.endpoint.asked, at.answers()
    at.endpoint.seconds = 0.05
    missing = {
        asset: ["aurora-2b"]
        for asset, keys in at.missing().items()
        if "aurora-2b" in keys and asset in FORECAST
    }
    assert set(missing) == set(FORECAST)
    backfill = at.backfill(missing)
    runs = [at.launch(FORECAST, "aurora-2c")]
    wait_for(lambda: bool(at.lake.current("preregistration", "aurora-2b")), "the registration")
    runs.append(at.launch(["candidate_completions"], "aurora-2b"))
    assert at.ended(backfill) == "COMPLETED_SUCCESS"
    assert at.all_ended(runs) == ["SUCCESS"] * len(runs), at.failed()
    at.endpoint.seconds = 0.0
    for candidate in ("aurora-2b", "aurora-2c"):
        _forecast_is_whole(at, candidate)
    now = at.versions()
    assert {place: now[place] for place in before} == before, "what was there is as it was"
    assert at.endpoint.asked - asked <= at.answers() - paid
    return f"{at.endpoint.asked - asked} asked for {at.answers() - paid} answers"


def canceled_and_resumed(at: Site, candidate: str = "aurora-2d") -> str:
    """A backfill is canceled while the candidate is asked, and launched again from where it failed:
    it ends, and only what was in flight is paid for twice."""
    asked, paid = at.endpoint.asked, at.answers()
    at.endpoint.seconds = 0.5
    backfill = at.backfill({asset: [candidate] for asset in FORECAST})
    wait_for(lambda: at.endpoint.asked >= asked + 2 * CONCURRENCY, "answers", every=0.05)
    at.cancel(backfill)
    assert at.ended(backfill) == "CANCELED"
    at.endpoint.seconds = 0.0
    left = [r["status"] for r in at.runs(tags=[{"key": "dagster/backfill", "value": backfill}])]
    assert set(left) == {"CANCELED"}, left
    assert at.lake.current("candidate_completions", candidate) is None
    assert at.ended(at.resume(backfill)) == "COMPLETED_SUCCESS"
    _forecast_is_whole(at, candidate)
    assert at.endpoint.asked - asked <= at.answers() - paid + 2 * CONCURRENCY
    return f"{at.endpoint.asked - asked} asked for {at.answers() - paid} answers"


def daemon_killed(at: Site, candidate: str = "aurora-2c") -> str:
    """The daemon alone is killed (-9) while a run of it asks the candidate, and started again."""
    asked, paid = at.endpoint.asked, at.answers()
    at.endpoint.seconds = 0.5
    backfill = at.backfill({asset: [candidate] for asset in FORECAST})
    wait_for(lambda: at.endpoint.asked >= asked + 2 * CONCURRENCY, "answers", every=0.05)
    (run,) = at.runs(tags=[{"key": "dagster/backfill", "value": backfill}])
    at.kill_daemon()
    shown = [at.status(run["runId"]), at.backfill_status(backfill)]
    assert shown == ["STARTED", "REQUESTED"], shown
    at.endpoint.seconds = 0.0
    at.start_daemon()
    ended = at.ended(backfill)
    (first,) = at.all_ended([run["runId"]])
    if ended != "COMPLETED_SUCCESS":
        assert at.ended(at.resume(backfill)) == "COMPLETED_SUCCESS"
    _forecast_is_whole(at, candidate)
    assert at.endpoint.asked - asked <= at.answers() - paid + 2 * CONCURRENCY
    return (
        f"run {first}, backfill {ended}; {at.endpoint.asked - asked} asked for "
        f"{at.answers() - paid} answers"
    )


def freshness_by_the_clock(at: Site) -> str:
    """The schedules run their checks for every release that has the table, by partition."""
    wanted = {
        (check, release)
        for check, asset in FRESHNESS.items()
        for release in ("aurora-1", "aurora-2")
        if at.lake.current(asset, release)
    }

    def carried_out() -> set[tuple[str, str]]:
        tags = {
            (run["jobName"].removeprefix("check_"), tag["value"])
            for run in at.runs(statuses=["SUCCESS"])
            for tag in run["tags"]
            if tag["key"] == "dagster/partition"
        }
        return tags & wanted

    wait_for(lambda: carried_out() == wanted, f"runs of {wanted}", every=2)
    for check, release in wanted:
        assert at.checked(FRESHNESS[check], check)[release] is True
    return f"{len(wanted)} checks by the clock"


OPERATIONS: tuple[Callable[[Site], str], ...] = (
    everything_again, each_alone, late_logs, missing_only, canceled_and_resumed, daemon_killed,
    freshness_by_the_clock,
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--executor", choices=["in_process", "multiprocess"], default="in_process")
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--home", type=Path, help="A finished home; default: one is made.")
    parser.add_argument("--only", nargs="*", help="Names of operations; default: all.")
    options = parser.parse_args()
    from deploysim_assets.benchmarks.tampering import finished_home

    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        finished = options.home or Path(folder) / "finished"
        if options.home is None:
            # after a withdrawal the sample fills up, which is new work
            finished_home(finished, seed=options.seed, forgotten=False)
        for operation in OPERATIONS:
            if options.only and operation.__name__ not in options.only:
                continue
            home = Path(folder) / operation.__name__
            begun = time.monotonic()
            with site(finished, home, options.executor, options.seed) as at:
                ready = time.monotonic()
                try:
                    found = operation(at)
                except AssertionError as failed:
                    where = traceback.extract_tb(failed.__traceback__)[-1].line
                    found, wrong = f"WRONG: {failed} ({where})", wrong + 1
            took = time.monotonic() - ready
            print(  # noqa: T201
                f"{operation.__name__:22} {options.executor:13} {took:6.0f} s (after "
                f"{ready - begun:.0f} s to start): {found}", flush=True,
            )  # fmt: skip
            shutil.rmtree(home)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
