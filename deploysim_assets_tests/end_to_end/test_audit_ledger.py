"""A ledger whose every record is signed, a release registered twice, and a forecast made too late:
what `deploysim audit ledger` says of them. Single changes of any kind are in test_evidence.py."""

import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from deploysim_assets.cli.demo import ship, synthetic_endpoint, write_project
from deploysim_assets.storage import ledger
from deploysim_assets_tests import warm
from deploysim_assets_tests.support import deploysim, environment, lake, report

OPENS = Path(__file__).parent / "opens.py"


def _key(home: Path, name: str) -> Path:
    for command in (
        ["genpkey", "-algorithm", "ed25519", "-out", f"{name}.pem"],
        ["pkey", "-in", f"{name}.pem", "-pubout", "-out", f"{name}.public.pem"],
    ):
        subprocess.run(["openssl", *command], cwd=home, check=True, capture_output=True)
    return home / f"{name}.pem"


def _watched(home: Path, *commands: list[str]) -> list[Any]:
    """Run commands in one process, signed, and say who opened what of the home."""
    done = warm.run(
        [sys.executable, str(OPENS), json.dumps(commands)],
        env=environment(home, DEPLOYSIM_SIGNING_KEY=str(home / "key.pem")),
        cwd=home,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """Registered, forecast, registered again with a reason, forecast, shipped and scored; and who
    opened what of the home meanwhile."""
    home = tmp_path_factory.mktemp("signed")
    _key(home, "key")
    opened: list[Any] = []
    with synthetic_endpoint(2) as base_url:
        write_project(home, base_url, 40)
        ship(home, "aurora-1", 40, 2, datetime.now(UTC) - timedelta(days=3), timedelta(minutes=1))
        opened += _watched(home, ["forecast", "aurora-2"])
        behaviors = yaml.safe_load((home / "behaviors.yaml").read_text())
        behaviors[0]["rubric"] = "Two needless questions are one flag."
        (home / "behaviors.yaml").write_text(yaml.safe_dump(behaviors))
        noted = deploysim(home, "audit", "ledger").stdout
        assert f"note: behavior {behaviors[0]['name']}: not as registered for aurora-2" in noted
        key = {"DEPLOYSIM_SIGNING_KEY": str(home / "key.pem")}
        refused = deploysim(home, "register", "aurora-2", check=False, **key)
        assert refused.returncode == 64
        assert "needs a reason" in refused.stderr
        ship(
            home, "aurora-2", 40, 2, datetime.now(UTC) + timedelta(minutes=5), timedelta(seconds=1)
        )
        again = ["register", "aurora-2", "--reason", "the rubric was ambiguous"]
        opened += _watched(home, again, ["forecast", "aurora-2"], ["backfill", "aurora-2"])
    return home, opened


@pytest.fixture
def home(signed: tuple[Path, list[Any]], tmp_path: Path) -> Path:
    ignored = shutil.ignore_patterns("storage", "schedules", "history")
    return shutil.copytree(signed[0], tmp_path / "home", ignore=ignored)


def said(home: Path, *options: str) -> str:
    done = deploysim(home, "audit", "ledger", *options, check=False)
    assert done.returncode == 1, done.stdout
    return done.stderr


def test_only_storage_opens_what_storage_holds(signed: tuple[Path, list[Any]]) -> None:
    _, opened = signed
    through = {top for by_storage, top, _, _ in opened if by_storage}
    assert {"lake", "ledger", "journal", "locks", "withdrawn.json"} <= through
    assert [one for one in opened if not one[0]] == []


def test_every_record_is_signed_and_the_report_shows_both_registrations(
    signed: tuple[Path, list[Any]],
) -> None:
    home, _ = signed
    public = ["--public-key", str(home / "key.public.pem")]
    held = deploysim(home, "audit", "ledger", *public).stdout
    assert "records hold: the chain, the signatures, every seal" in held
    records = ledger.read(home)
    assert records[0].kind == ledger.KEY
    assert all(r.envelope["signatures"] for r in records)
    registered = report(home, "aurora-2")["registrations"]
    assert [r["version"] for r in registered] == [1, 2]
    assert registered[1]["reason"] == "the rubric was ambiguous"
    assert {"panel", "grader_ids"} <= set(registered[1]["changes"])
    assert "Registration 2" in deploysim(home, "report", "aurora-2", "--format", "md").stdout


def test_a_key_is_handed_over_on_the_record(home: Path) -> None:
    new = _key(home, "new")
    public = ["--public-key", str(home / "key.public.pem")]
    old = {"DEPLOYSIM_SIGNING_KEY": str(home / "key.pem")}
    unsigned = deploysim(home, "audit", "rotate-key", str(new), check=False)
    assert unsigned.returncode == 64
    assert "is unset" in unsigned.stderr
    wrong = deploysim(home, "audit", "rotate-key", str(home / "deploysim.yaml"), check=False, **old)
    assert "not a readable PEM key" in wrong.stderr
    done = deploysim(home, "audit", "rotate-key", str(new), **old)
    assert "signs from the next record on" in done.stdout
    user = json.loads((home / "logs/aurora-1/traffic.jsonl").read_text().splitlines()[0])["user_id"]
    before = (home / "logs/aurora-1/traffic.jsonl").read_bytes()
    refused = deploysim(home, "forget", "--user-id", user, check=False, **old)
    assert refused.returncode == 64
    assert "is another" in refused.stderr
    assert (home / "logs/aurora-1/traffic.jsonl").read_bytes() == before
    assert not (home / "withdrawal.plan.json").exists()
    deploysim(home, "forget", "--user-id", user, DEPLOYSIM_SIGNING_KEY=str(new))
    held = deploysim(home, "audit", "ledger", *public).stdout
    assert "the signatures" in held
    assert "log lines withdrawn on" in held
    other = said(home, "--public-key", str(home / "new.public.pem"))
    assert "names another first signing key than the one given" in other


def test_a_ledger_made_anew_without_the_key_is_not_signed(home: Path) -> None:
    records = ledger.read(home)
    shutil.rmtree(home / ledger.LEDGER)
    for record in records:
        if record.kind != ledger.KEY:
            ledger.append(
                home, record.kind, record.model_version, record.body, record.seals, record.at
            )
    assert "is not signed by the key in force" in said(
        home, "--public-key", str(home / "key.public.pem")
    )


def test_completions_older_than_the_registration_are_named(home: Path) -> None:
    folder = lake(home).folder("candidate_completions", "aurora-2")
    part = next(
        (folder / (lake(home).current("candidate_completions", "aurora-2") or "")).glob("p*")
    )
    frame = pl.read_parquet(part, hive_partitioning=False)
    frame.with_columns(pl.col("requested_at") - pl.duration(days=9)).write_parquet(part)
    found = said(home)
    assert "before the registration at" in found
    assert "was changed after it was written" in found
