"""The statistics on recordings of real releases and on people's labels."""

import numpy as np
import polars as pl

from deploysim_assets.benchmarks.backtest import AGENTDOJO, Labels, agentdojo, backtest, llmdrift
from deploysim_assets.forecast import grader_error
from deploysim_assets.forecast.summary import summarize
from deploysim_assets.forecast.weighted import Gamma
from deploysim_assets_tests.support import SHARED, needs_shared


@needs_shared
def test_recorded_gpt_releases_are_forecast_far_better_than_by_the_release_before() -> None:
    found = summarize(backtest(llmdrift(SHARED / "data")))
    assert found["behaviors"] == 8
    assert found["median_error"] < 1.25
    assert found["persistence_median_error"] > found["median_error"] + 0.2
    assert found["in_95"] >= 7
    assert found["direction_right"] == found["moved"] > 0


@needs_shared
def test_injections_carried_out_by_recorded_agents_are_forecast_across_a_family() -> None:
    labels = agentdojo(SHARED / "data")
    one = Labels(
        labels.frame.filter(pl.col("behavior").str.starts_with("injection_done")), AGENTDOJO[:1]
    )
    rows = backtest(one)
    found = summarize(rows)
    assert found["behaviors"] == 12
    assert found["in_95"] >= 10
    assert found["direction_right"] / found["moved"] > 0.7
    assert found["persistence_skill"] > 0.3, "agents changed a lot between these releases"
    assert found["intrinsic_error"] < 2


@needs_shared
def test_what_people_confirm_of_a_judge_is_found_from_a_few_labels() -> None:
    labels = pl.read_parquet(SHARED / "data" / "xstest_labels" / "labels.parquet")
    judged = labels.filter(pl.col("gpt4_label").str.contains(r"^\d_"))
    judge, people = (
        judged[c].str.starts_with("2_").to_numpy() for c in ("gpt4_label", "final_label")
    )
    unsafe = judged.filter((pl.col("model") == "llama2new") & pl.col("prompt_is_unsafe"))
    shares = [unsafe[c].str.starts_with("2_").mean() for c in ("final_label", "gpt4_label")]
    assert shares[0] > 0.95
    assert shares[1] < 0.8, "the judge calls far fewer of them refusals than people do"

    both, judge_only, people_only = (
        int((judge & people).sum()),
        int((judge & ~people).sum()),
        int((~judge & people).sum()),
    )
    kappa = grader_error.cohen_kappa(both, judge_only, people_only, int((~judge & ~people).sum()))
    assert kappa.low < kappa.value < kappa.high < 0.97
    alpha = grader_error.krippendorff_alpha(np.stack([judge, people], axis=1), draws=200)
    assert abs(alpha.value - kappa.value) < 0.02

    rng, held, n = np.random.default_rng(8), np.zeros(3), len(judge)
    flags = Gamma(judge.sum() + 0.5, n)
    for _ in range(200):
        audited = rng.choice(np.flatnonzero(judge), 120, replace=False)
        missed = rng.choice(np.flatnonzero(~judge), 120, replace=False)
        seeds = rng.choice(np.flatnonzero(people), 120, replace=False)
        right, hits = int(people[audited].sum()), int(judge[seeds].sum())
        confirmed = grader_error.confirmed_rate(flags, right, 120)
        corrected = grader_error.corrected_rate(flags, right, 120, hits, 120)
        bounds = grader_error.two_stage_bounds(
            int(judge.sum()), n, right, 120, int(people[missed].sum()), 120
        )
        held += [
            confirmed.low <= both / n <= confirmed.high,
            corrected.low <= people.mean() <= corrected.high,
            bounds[0] <= people.mean() <= bounds[1],
        ]
    assert np.all(held / 200 > 0.93)
