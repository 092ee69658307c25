"""When an asset runs by itself. Each condition has the failure that forced its parts (reference: Dagster, section 3)."""

import dagster as dg

_A = dg.AutomationCondition

_READY = ~_A.any_deps_missing() & ~_A.any_deps_in_progress() & ~_A.in_progress() & _A.all_deps_blocking_checks_passed()
"""Inputs complete and sound. Across runs a blocking check blocks only because this asks for it."""

CHEAP = ((_A.missing() & ~_A.execution_failed()) | _A.any_deps_updated().since_last_handled()) & _READY
"""Catch up and follow updates. `eager()` never catches up on inputs that were there before automation was switched on;
`missing()` without `~execution_failed()` retries a failing step on every tick, for ever."""

ONCE = _A.missing() & ~_A.execution_failed() & _READY
"""For paid steps and for what is sealed: runs when it was never made, never again by itself, whatever its inputs do later."""

_MISSING_DEP = _A.any_deps_match(_A.missing() & ~_A.will_be_requested())
_DEPS_MISSING = _MISSING_DEP.ignore(dg.AssetSelection.assets("preregistration"))  # pyright: ignore[reportUnknownVariableType]
FOLLOW_GRADABLE = (
    ((_A.missing() & ~_A.execution_failed()) | _A.any_deps_updated().since_last_handled())
    & ~_DEPS_MISSING
    & ~_A.any_deps_in_progress()
    & ~_A.in_progress()
    & _A.all_deps_blocking_checks_passed()
)
"""CHEAP for production_grades: a registration adds graders but is not needed, as for the first release, which has none.
Paid, yet it may follow updates: its journal holds what was graded, so that a rerun asks only for what is new."""

SUMMARY = (
    ((_A.missing() & ~_A.execution_failed() & _A.any_deps_match(~_A.missing())) | _A.any_deps_updated().since_last_handled())
    & ~_A.any_deps_in_progress()
    & ~_A.in_progress()
)
"""For the scorecard, which sums up the reports there are: some candidate is always still without one."""
