"""Mixed faults, an outage, SIGKILLs and torn lines: the tables in the end are those of a calm run,
and nothing is billed twice but what was in flight. `benchmarks.chaos` runs more seeds."""

from collections import Counter

from deploysim_assets.benchmarks.chaos import FAULTS, RESTARTS, trials
from deploysim_assets.schema import GRADE_STATES

SEEDS, COUNT = 3, 80


def test_a_third_of_faults_and_kills_change_nothing_in_the_tables() -> None:
    found = trials(SEEDS, COUNT)
    dealt = sum((one.faults for one in found), Counter[str]())
    assert set(dealt) == {*FAULTS, "outage"}, "every fault was dealt"
    for one in found:
        assert one.same
        assert one.starts <= RESTARTS + 1
        assert one.twice <= one.in_flight
        assert set(one.states) == set(GRADE_STATES)
        of_chat = {s: n for s, n in one.states.items() if s not in ("unanswerable", "capped")}
        assert all(of_chat.values()), "every state came up"
        assert sum(one.states.values()) == COUNT, "every prefix is in exactly one"
