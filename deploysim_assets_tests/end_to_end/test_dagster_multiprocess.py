"""Two forecasts at once under the multiprocess executor, by GraphQL; gates that fail are told."""

from pathlib import Path

from deploysim_assets.benchmarks.counting_endpoint import receiver
from deploysim_assets.benchmarks.dagster_operations import missing_only
from deploysim_assets.benchmarks.dagster_site import site, wait_for
from deploysim_assets_tests.support import WarmSite


def test_what_is_missing_is_made_once_however_many_ask_for_it(
    settled: Path, tmp_path: Path
) -> None:
    with receiver() as (address, posted):
        settings = {
            "DEPLOYSIM_WEBHOOK_URL": address,
            "DEPLOYSIM_WEBHOOK_STYLE": "slack",
        }
        # no release stays below a threshold of one in 100,000 messages with so few of them
        with site(settled, tmp_path / "home", "multiprocess", 3, 1.0, WarmSite, **settings) as at:
            missing_only(at)
            for candidate in ("aurora-2b", "aurora-2c"):
                said = f"the forecast of {candidate} does not pass its gates"
                wait_for(lambda said=said: any(said in p["text"] for p in posted), "the alert")
    assert all(set(body) == {"text"} for body in posted)
