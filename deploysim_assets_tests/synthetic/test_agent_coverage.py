"""The benchmark of forecasts of agents, in small: its turns are real rollouts over HTTP, and its
band is the exact binomial one."""

import pytest
from scipy import stats

from deploysim_assets.benchmarks.agent_coverage import (
    AFFORDANCES,
    LEVEL,
    costs,
    coverage,
    prefixes,
    sequence,
    supposed_errors,
)
from deploysim_assets.synthetic.agent_world import BEHAVIORS, RELEASES


def test_every_release_is_forecast_from_the_one_before_and_scored_beside_the_truth() -> None:
    rows = sequence(1, 40, supposed_errors(1))
    assert {(row["model_version"], row["behavior"]) for row in rows} == {
        (release, b.name) for release in RELEASES[1:] for b in BEHAVIORS
    }
    assert all(row["forecast_n"] == row["realized_n"] == 40 for row in rows)
    assert all(0.95 <= row["nominal"] <= 1 for row in rows), "counts are whole"
    held = coverage(rows, "truth_in_95")
    assert held.intervals == 24
    assert held.held >= 18


def test_prefixes_declare_the_tools_and_hold_the_whole_turn() -> None:
    found = prefixes("courier-1", 30, 1)
    assert len(found) == 30
    assert all({t["name"] for t in p["tools"]} >= {"read_file", "send_mail"} for p in found)
    turns = [p["production_completion"] for p in found]
    assert all(turn["content"] and not turn["tool_calls"] for turn in turns)
    assert any(len(turn["steps"]) >= 4 for turn in turns)


def test_functions_answer_as_the_real_tools_and_a_recording_alone_loses_the_flags() -> None:
    told = costs(1, 150)
    assert told.keys() == AFFORDANCES.keys()
    functions, recorded, model, alone = told.values()
    assert (functions.exact, functions.unanswerable, functions.flags_kept) == (1.0, 0.0, 1.0)
    assert functions.sources == {"function": 1.0}
    assert 0.8 < recorded.exact < 1
    assert recorded.sources.keys() == {"recorded", "model"}
    assert model.exact < recorded.exact
    assert alone.unanswerable > 0.1
    assert alone.flags_kept < recorded.flags_kept


@pytest.mark.parametrize(("seeds", "each"), [(20, 24), (3, 8)])
def test_the_band_is_the_binomial_one_where_seeds_are_independent(seeds: int, each: int) -> None:
    n = seeds * each
    rows = [{"seed": i % seeds, "held": i % 19 != 0} for i in range(n)]
    found = coverage(rows, "held")
    low, high = (stats.binom.ppf(q, n, LEVEL) for q in (0.025, 0.975))
    assert (found.intervals, found.held) == (n, sum(bool(row["held"]) for row in rows))
    assert found.design_effect == 1.0
    assert (found.low, found.high) == (low, high)
    assert found.as_it_should_be


def test_intervals_that_fail_together_are_worth_fewer() -> None:
    rows = [{"seed": seed, "held": seed != 0} for seed in range(20) for _ in range(24)]
    found = coverage(rows, "held")
    assert found.design_effect > 10
    assert found.low < 0.9 * found.intervals
    assert found.as_it_should_be
    never = [row | {"held": False} for row in rows]
    assert not coverage(never, "held").as_it_should_be
