"""`deploysim audit ledger`: one changed byte of the ledger, a rubric, the prefix set or a sealed
forecast is found and named."""

import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
import yaml

from deploysim_assets.cli.demo import ship, synthetic_endpoint, write_project
from deploysim_assets.storage import ledger
from deploysim_assets_tests.support import deploysim, lake, report


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Registered, forecast, registered again with a reason, forecast, shipped and scored; every
    record is signed."""
    home = tmp_path_factory.mktemp("honest")
    for command in (
        ["genpkey", "-algorithm", "ed25519", "-out", "key.pem"],
        ["pkey", "-in", "key.pem", "-pubout", "-out", "public.pem"],
    ):
        subprocess.run(["openssl", *command], cwd=home, check=True, capture_output=True)
    signing = {"DEPLOYSIM_SIGNING_KEY": str(home / "key.pem")}
    with synthetic_endpoint(2) as base_url:
        write_project(home, base_url, 80)
        ship(home, "aurora-1", 80, 2, datetime.now(UTC) - timedelta(days=3), timedelta(minutes=1))
        deploysim(home, "forecast", "aurora-2", **signing)
        behaviors = yaml.safe_load((home / "behaviors.yaml").read_text())
        behaviors[0]["rubric"] = "Two needless questions are one flag."
        (home / "behaviors.yaml").write_text(yaml.safe_dump(behaviors))
        noted = deploysim(home, "audit", "ledger").stdout
        assert f"note: behavior {behaviors[0]['name']}: not as registered for aurora-2" in noted
        refused = deploysim(home, "register", "aurora-2", check=False, **signing)
        assert refused.returncode == 1
        assert "needs a reason" in refused.stderr
        deploysim(home, "register", "aurora-2", "--reason", "the rubric was ambiguous", **signing)
        deploysim(home, "forecast", "aurora-2", **signing)
        ship(home, "aurora-2", 80, 2, datetime.now(UTC), timedelta(microseconds=50))
        deploysim(home, "backfill", "aurora-2", **signing)
    return home


@pytest.fixture
def home(honest: Path, tmp_path: Path) -> Path:
    shutil.copytree(
        honest, tmp_path / "home", ignore=shutil.ignore_patterns("storage", "schedules", "history")
    )
    return tmp_path / "home"


def said(home: Path, *options: str) -> str:
    done = deploysim(home, "audit", "ledger", *options, check=False)
    assert done.returncode == 1, done.stdout
    return done.stderr


def test_an_honest_project_holds_and_the_report_shows_both_registrations(honest: Path) -> None:
    assert (
        "4 records hold: the chain, the signatures, every seal"
        in deploysim(honest, "audit", "ledger", "--public-key", str(honest / "public.pem")).stdout
    )
    registered = report(honest, "aurora-2")["registrations"]
    assert [r["version"] for r in registered] == [1, 2]
    assert registered[1]["reason"] == "the rubric was ambiguous"
    assert {"panel", "grader_ids"} <= set(registered[1]["changes"])
    assert "Registration 2" in deploysim(honest, "report", "aurora-2", "--format", "md").stdout


def _change(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))


def _parquet(
    home: Path, asset: str, key: str, change: Callable[[pl.DataFrame], pl.DataFrame]
) -> None:
    file = next(
        iter(
            sorted(
                (lake(home).folder(asset, key) / (lake(home).current(asset, key) or "")).glob(
                    "part-*.parquet"
                )
            )
        )
    )
    change(pl.read_parquet(file)).write_parquet(file)


def test_one_byte_of_the_ledger(home: Path) -> None:
    _change(home / ledger.LEDGER_FILE, b"needless questions", b"nEedless questions")
    assert "line 3: the record's hash does not match" in said(home)


def test_one_word_of_a_rubric_in_the_registration(home: Path) -> None:
    _parquet(
        home,
        "preregistration",
        "aurora-2",
        lambda f: f.with_columns(pl.col("body").str.replace("needless", "useless")),
    )
    assert "preregistration/" in (found := said(home))
    assert "says something else (panel)" in found


def test_one_byte_of_the_prefix_set(home: Path) -> None:
    version = ledger.read(home)[0].body["prefixes"]["version"]
    file = next(
        (lake(home).folder("deidentified_prefixes", "aurora-1") / version).glob("part-*.parquet")
    )
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert "is not the registered one: it was changed after" in said(home)


def test_one_figure_of_a_sealed_forecast(home: Path) -> None:
    name = pl.col("behavior") == "harassment"
    _parquet(
        home,
        "rate_estimates",
        "aurora-2",
        lambda f: f.with_columns(
            p95_high=pl.when(name).then(pl.col("p95_high") / 2).otherwise(pl.col("p95_high"))
        ),
    )
    assert (
        "rate_estimates says something else for harassment (p95_high) than what was sealed"
        in said(home)
    )


def test_a_record_taken_out_of_the_end_is_missed_by_the_lake(home: Path) -> None:
    lines = (home / ledger.LEDGER_FILE).read_text().splitlines()
    (home / ledger.LEDGER_FILE).write_text("\n".join(lines[:3]) + "\n")
    assert "is not in the ledger: its seal was taken out" in said(home)


def test_completions_older_than_the_registration(home: Path) -> None:
    _parquet(
        home,
        "candidate_completions",
        "aurora-2",
        lambda f: f.with_columns(pl.col("requested_at") - pl.duration(days=1)),
    )
    assert "before the registration at" in said(home)


def test_a_forecast_that_was_made_after_production_began(home: Path) -> None:
    stats = (
        lake(home).folder("raw_logs", "aurora-2")
        / (lake(home).current("raw_logs", "aurora-2") or "")
        / "_STATS.json"
    )
    first = lake(home).stats("raw_logs", "aurora-2")["first_message_at"]
    stats.write_text(stats.read_text().replace(first, "2020-01-01T00:00:00+00:00"))
    assert "yet production began at 2020-01-01" in said(home)


def test_a_ledger_made_anew_without_the_key_is_not_signed(home: Path) -> None:
    records = ledger.read(home)
    (home / ledger.LEDGER_FILE).unlink()
    for record in records:
        ledger.append(home, record.kind, record.model_version, record.body)
    assert "line 1: is not signed" in said(home, "--public-key", str(home / "public.pem"))


def test_what_a_user_had_taken_out_is_explained_by_the_withdrawal(home: Path) -> None:
    logged = next((home / "logs" / "aurora-1").glob("*.jsonl")).read_text().splitlines()[0]
    deploysim(home, "forget", "--user-id", yaml.safe_load(logged)["user_id"])
    held = deploysim(home, "audit", "ledger", check=False)
    assert held.returncode == 0, held.stderr
