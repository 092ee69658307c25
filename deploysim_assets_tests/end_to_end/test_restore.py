"""A restore drill: the home goes to a bucket, its disk is lost, it comes back, nothing is billed
again."""

import shutil
from pathlib import Path

from click.testing import CliRunner

from deploysim_assets.benchmarks.tampering import audited, copy_of
from deploysim_assets.cli.commands import main
from deploysim_assets.deidentify.keys import KEY_FILE
from deploysim_assets.storage import ledger
from deploysim_assets_tests.s3 import served
from deploysim_assets_tests.support import defined, lake, rows


def _copied(source: str, target: str) -> None:
    done = CliRunner().invoke(main, ["home", "copy", source, target])
    assert done.exit_code == 0, done.output


def test_a_lost_home_comes_back_from_a_bucket(scored: Path, tmp_path: Path) -> None:
    home = copy_of(scored, tmp_path / "home")
    head = ledger.head(home)
    completions = rows(home, "candidate_completions", "aurora-2")
    kept = shutil.copy(home / KEY_FILE, tmp_path)
    with served() as s3:
        _copied(str(home), s3.url("backup"))
        shutil.rmtree(home)
        _copied(s3.url("backup"), str(home))
    assert ledger.head(home) == head
    assert audited(home).holds
    # made again they come from the journal: the endpoint is gone
    (lake(home).folder("candidate_completions", "aurora-2") / "_CURRENT").unlink()
    shutil.copy(kept, home)
    told = defined(
        home,
        "again = [a for a in defs.assets if isinstance(a, dg.AssetsDefinition)",
        "         and a.key.to_user_string() == 'candidate_completions']",
        "done = dg.materialize(again, instance=instance, partition_key='aurora-2',",
        "                      resources=defs.resources)",
        "print(json.dumps({'ok': done.success}))",
    )
    assert told["ok"]
    assert rows(home, "candidate_completions", "aurora-2") == completions
