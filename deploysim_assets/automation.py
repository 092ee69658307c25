"""When an asset runs by itself. Each condition has the failure that forced its parts (reference:
Dagster, section 3)."""

import dagster as dg

from deploysim_assets.releases import PROJECT

_A = dg.AutomationCondition

_READY = (
    ~_A.any_deps_missing()
    & ~_A.any_deps_in_progress()
    & ~_A.in_progress()
    & _A.all_deps_blocking_checks_passed()
)
"""Inputs complete and sound. Across runs a blocking check blocks only because this asks for it."""

_BECAME_MISSING = _A.missing().newly_true() | (_A.missing() & _A.initial_evaluation())
_NEVER_MADE = (
    _BECAME_MISSING.since(_A.newly_requested() | _A.newly_updated())
    & _A.missing()
    & ~_A.execution_failed()
)
"""Missing, and not yet asked for. Plain `missing()` asks again when a tick has read the asset's
record just before its run ends and the state of the run just after (seen on a loaded machine),
and without `~execution_failed()` on every tick, for ever."""

_UPDATE = _A.any_deps_updated()
_LATER_THAN_IT = _A.any_deps_match(_A.newly_updated()).since(_A.newly_updated())  # pyright: ignore[reportUnknownVariableType]
"""Of an input and the asset that one tick sees updated both, the input is the later one: only a
bare `newly_updated` tells Dagster when."""
_BY_HAND = _A.newly_updated() & ~_A.any_new_update_has_run_tags(
    tag_values={"dagster/from_automation_condition": "true"}
)
_UPDATED = _UPDATE.since(
    (_A.newly_requested() & ~_UPDATE) | (_BY_HAND & ~_LATER_THAN_IT) | _A.initial_evaluation()
)
"""An input was updated since the asset was asked for, or made by hand. `since_last_handled()` also
takes the end of a run that automation asked for as the moment up to which its inputs were seen, and
that moment as the later one where a tick sees both: a page was left without the score that came
two seconds behind it (seen on a loaded machine), a table without what came while it was made."""

CHEAP = (_NEVER_MADE | _UPDATED) & _READY
"""Catch up and follow updates. `eager()` never catches up on inputs that were there before
automation was switched on."""

_STILL_MISSING = _UPDATED & _A.missing() & ~_A.execution_failed()
"""Asked for and skipped, as a run skips all that stands behind batches that the provider has not
finished; now its input came by another run. Only where there are batches: it has the race of
plain `missing()`, and sealed a forecast twice on a loaded machine."""

ONCE = (
    (_NEVER_MADE | _STILL_MISSING) if PROJECT and PROJECT.uses_batches else _NEVER_MADE
) & _READY
"""For paid steps and for what is sealed: runs when it was never made, never again by itself,
whatever its inputs do later."""

_MISSING_DEP = _A.any_deps_match(_A.missing() & ~_A.will_be_requested())
_DEPS_MISSING = _MISSING_DEP.ignore(dg.AssetSelection.assets("preregistration"))  # pyright: ignore[reportUnknownVariableType]
FOLLOW_GRADABLE = (
    (_NEVER_MADE | _UPDATED)
    & ~_DEPS_MISSING
    & ~_A.any_deps_in_progress()
    & ~_A.in_progress()
    & _A.all_deps_blocking_checks_passed()
)
"""CHEAP for production_grades: a registration adds graders but is not needed, as for the first
release, which has none. Paid, yet it may follow updates: its journal holds what was graded, so
that a rerun asks only for what is new."""

_FORECAST_MISSING = _MISSING_DEP.allow(dg.AssetSelection.assets("rate_estimates"))  # pyright: ignore[reportUnknownVariableType]
PAGE = (
    (_NEVER_MADE | _UPDATED) & ~_FORECAST_MISSING & ~_A.any_deps_in_progress() & ~_A.in_progress()
)
"""For the page of a release, which says what there is: made once there is a forecast, and again
with whatever else it shows. Checks do not hold it back: a red one is what a reader looks for."""

_THERE_IS_ONE = _A.any_deps_match(~_A.missing()).ignore(dg.AssetSelection.assets("grader_drift"))  # pyright: ignore[reportUnknownVariableType]
SUMMARY = (
    ((_NEVER_MADE & _THERE_IS_ONE) | _UPDATED) & ~_A.any_deps_in_progress() & ~_A.in_progress()
)
"""For what sums up whatever there is: of reports some candidate is always still without one, and of
the two sides of a release one comes first."""
