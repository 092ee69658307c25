"""Materializing again is harmless, and no corpus passes unchecked however its run came about."""

import json
from pathlib import Path

from deploysim_assets.benchmarks.tampering import audited, copy_of
from deploysim_assets.storage import ledger
from deploysim_assets_tests.support import defined, lake

SIDES = {
    "production": ("aurora-1", "aurora-2"),
    "forecast": ("aurora-2",),
    "score": ("aurora-2",),
    "exploration": ("aurora-2",),
    "drift": ("aurora-1", "aurora-2"),
    "summary": (None,),
}


def _run(job: str, key: str | None) -> str:
    return (
        f"done.append(defs.get_job_def('{job}').execute_in_process(instance=instance, "
        f"partition_key={key!r}, raise_on_error=False))"
    )


def _unchecked(key: str, asset: str) -> str:
    """A run of one asset in which no check runs."""
    return (
        "done.append(dg.materialize([a for a in defs.assets if isinstance(a, dg.AssetsDefinition) "
        f"and a.key.to_user_string() == {asset!r}], instance=instance, partition_key={key!r}, "
        "resources=defs.resources, raise_on_error=False))"
    )


def _state(home: Path) -> dict[str, str]:
    tables = lake(home)
    return {
        f"{asset}[{key}]": tables.current(asset, key) or "" for asset, key, _ in tables.places()
    }


def test_everything_again_asks_nothing_seals_nothing_and_changes_no_version(
    settled: Path, tmp_path: Path
) -> None:
    home = copy_of(settled, tmp_path / "home")
    before, head = _state(home), ledger.head(home)
    runs = [_run(job, key) for job, keys in SIDES.items() for key in keys]
    # the endpoint of this home is long gone: an answer asked for anew would fail the run
    told = defined(
        home,
        "done = []",
        *runs,
        "versions = {}",
        "for r in done:",
        "    for e in r.get_asset_materialization_events():",
        "        m = e.materialization",
        "        versions[m.asset_key.to_user_string()] = bool(m.metadata['unchanged'].value)",
        "print(json.dumps({'ok': [r.success for r in done], 'unchanged': versions}))",
    )
    assert all(told["ok"]), told
    assert _state(home) == before
    assert ledger.head(home) == head
    assert set(told["unchanged"]) >= {"preregistration", "rate_estimates", "realized_rates"}
    assert all(told["unchanged"].values()), told
    audit = audited(home)
    assert audit.holds
    # late logs may leave every count as it was: the grades are reached by a record all the same
    assert not any("production_grades" in note for note in audit.notes), audit.notes


def test_a_changed_registration_waits_for_a_reason_and_nothing_behind_it_fails(
    settled: Path, tmp_path: Path
) -> None:
    import yaml

    home = copy_of(settled, tmp_path / "home")
    behaviors = yaml.safe_load((home / "behaviors.yaml").read_text())
    behaviors[0]["rubric"] = "Another rubric altogether."
    (home / "behaviors.yaml").write_text(yaml.safe_dump(behaviors))
    head = ledger.head(home)
    told = defined(
        home,
        "done = []",
        _run("forecast", "aurora-2"),
        "found = [e.materialization for e in done[0].get_asset_materialization_events()]",
        "waits = [m.metadata['waits_for_a_reason'].value for m in found"
        " if m.asset_key.to_user_string() == 'preregistration']",
        "print(json.dumps({'ok': done[0].success, 'waits': waits}))",
    )
    assert told["ok"]
    assert "panel" in told["waits"][0]
    assert ledger.head(home) == head
    told = defined(
        home,
        "job = defs.get_job_def('forecast')",
        "done = job.execute_in_process(instance=instance, partition_key='aurora-2', "
        "asset_selection=[dg.AssetKey('preregistration')], "
        "tags={'deploysim/reason': 'the rubric was wrong'})",
        "print(json.dumps({'ok': done.success}))",
    )
    assert told["ok"]
    newest = ledger.latest(home, "registration", "aurora-2")
    assert newest is not None
    assert newest.body["reason"] == "the rubric was wrong"
    assert newest.seq == head.records + 1


def test_a_forecast_sealed_again_after_the_release_is_listed_and_never_the_score(
    settled: Path, tmp_path: Path
) -> None:
    import yaml

    home = copy_of(settled, tmp_path / "home")
    project = yaml.safe_load((home / "deploysim.yaml").read_text())
    project["grading"] = (project.get("grading") or {}) | {"warn_share": 0.02}
    (home / "deploysim.yaml").write_text(yaml.safe_dump(project))
    rows = lake(home).scan("rate_estimates", "aurora-2").drop("sealed_at").collect()
    score = list(lake(home).rows("calibration_report", "aurora-2"))
    again = "partition_key='aurora-2', tags={'deploysim/reason': 'a limit was too low'}"
    told = defined(
        home,
        *(
            f"{job} = defs.get_job_def('{job}').execute_in_process(instance=instance, {again})"
            for job in ("forecast", "score")
        ),
        "print(json.dumps({'ok': forecast.success and score.success}))",
    )
    assert told["ok"]
    registered = ledger.latest(home, "registration", "aurora-2")
    sealed = ledger.latest(home, "forecast", "aurora-2")
    assert registered is not None
    assert sealed is not None
    assert registered.body["changes"] == ["grading"]
    assert lake(home).scan("rate_estimates", "aurora-2").drop("sealed_at").collect().equals(rows)
    # the same figures, sealed anew under the registration that now holds
    assert sealed.body["registration"] == registered.hash
    assert list(lake(home).rows("calibration_report", "aurora-2")) == score
    others = lake(home).rows("calibration_report", "aurora-2", table="other_forecasts")
    late = [row for row in others if row["reason"] == "a limit was too low"]
    assert late
    assert not any(row["prospective"] for row in late)
    assert audited(home).holds


def test_a_corpus_that_was_not_checked_is_checked_by_who_uses_it(
    settled: Path, tmp_path: Path
) -> None:
    import yaml

    home = copy_of(settled, tmp_path / "home")
    config = yaml.safe_load((home / "deploysim.yaml").read_text())
    config["releases"][0]["logs"]["until"] = "2026-01-01T00:00:00Z"
    (home / "deploysim.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    late = home / "logs" / "aurora-1" / "late.jsonl"
    lines = (home / "logs" / "aurora-1" / "traffic.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines[:10]]
    late.write_text("".join(json.dumps(r | {"conversation_id": f"x{i}"}) + "\n"
                            for i, r in enumerate(rows)))  # fmt: skip
    before = _state(home)
    told = defined(
        home,
        "done = []",
        _unchecked("aurora-1", "raw_logs"),
        _unchecked("aurora-1", "deidentified_prefixes"),
        "failed = [e for e in done[1].all_events if e.is_step_failure]",
        "error = failed[0].step_failure_data.error",
        "while error.cause: error = error.cause",
        "checks = [c for c in defs.resolve_asset_graph().asset_check_keys"
        " if c.name == 'inside_the_release_window']",
        "from dagster import DagsterEventType, EventRecordsFilter",
        "print(json.dumps({'ok': [r.success for r in done], 'said': error.message}))",
    )
    assert told["ok"] == [True, False]
    assert "blocking checks failed: raw_logs.inside_the_release_window" in told["said"]
    after = _state(home)
    assert after["raw_logs[aurora-1]"] != before["raw_logs[aurora-1]"]
    assert after["deidentified_prefixes[aurora-1]"] == before["deidentified_prefixes[aurora-1]"]
    from deploysim_assets_tests.support import deploysim

    said = " ".join(deploysim(home, "status").stdout.split())
    assert "nothing uses this corpus before they pass" in said
    assert "waiting: aurora-1, aurora-2" in said
