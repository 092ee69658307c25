"""Rollouts at a third of faults, killed five times: the turns in the end are those of a calm run,
and nothing is billed twice but what was in flight. `benchmarks.rollouts` runs more of them."""

from deploysim_assets.benchmarks.chaos import trials
from deploysim_assets.benchmarks.rollouts import ROLLOUTS, step_cost

COUNT = 14


def test_faults_and_kills_change_nothing_in_the_turns() -> None:
    (one,) = trials(1, COUNT, ROLLOUTS)
    assert one.same
    assert one.twice <= one.in_flight
    assert sum(one.states.values()) == COUNT and not one.states["failed"]
    assert all(one.states[s] for s in ("completed", "unanswerable", "capped", "filtered"))


def test_a_step_costs_little_beside_its_request() -> None:
    cost = step_cost(20)
    assert cost.steps == 240
    assert cost.ours < 8 * cost.bare, f"{cost.ours:.2f} ms beside {cost.bare:.2f} ms of a bare loop"
