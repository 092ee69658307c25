"""A restore drill: the home goes to a bucket, its disk is lost, it comes back, nothing is billed
again."""

import json
import shutil
from pathlib import Path

from deploysim_assets.benchmarks.tampering import copy_of
from deploysim_assets.deidentify.keys import KEY_FILE
from deploysim_assets.storage import ledger
from deploysim_assets_tests.s3 import served
from deploysim_assets_tests.support import deploysim, lake, rows


def _done(home: Path, *arguments: str, **extra: str) -> str:
    keys = json.loads((home.parent / "kept" / KEY_FILE).read_text())
    named = {"DEPLOYSIM_ID_KEY": keys["ids"], "DEPLOYSIM_SURROGATE_KEY": keys["surrogates"]}
    return deploysim(home, *arguments, **named, **extra).stdout


def test_a_lost_home_comes_back_from_a_bucket(scored: Path, tmp_path: Path) -> None:
    home = copy_of(scored, tmp_path / "home")
    head, estimates = ledger.head(home), rows(home, "rate_estimates", "aurora-2")
    with served() as s3:
        _kept(home)
        deploysim(home, "home", "copy", str(home), s3.url("backup"), **s3.environment)
        shutil.rmtree(home)
        home.mkdir()
        deploysim(home, "home", "copy", s3.url("backup"), str(home), **s3.environment)
    audit = json.loads(_done(home, "audit", "ledger", "--json"))
    assert (audit["holds"], audit["head"]) == (True, head.hash)
    # made again they come from the journal: the endpoint is gone
    completions = rows(home, "candidate_completions", "aurora-2")
    (lake(home).folder("candidate_completions", "aurora-2") / "_CURRENT").unlink()
    _done(home, "forecast", "aurora-2")
    assert rows(home, "candidate_completions", "aurora-2") == completions
    assert rows(home, "rate_estimates", "aurora-2") == estimates
    assert json.loads(_done(home, "audit", "ledger", "--json"))["holds"]


def _kept(home: Path) -> None:
    (home.parent / "kept").mkdir()
    shutil.copy(home / KEY_FILE, home.parent / "kept" / KEY_FILE)
