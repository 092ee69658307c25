"""What a report says of simulated tools: how far turns with them are like real ones, and what that
means for the forecast."""

from collections.abc import Callable, Iterator, Sequence

from deploysim_assets.report.facts import Fidelity, ReleaseReport
from deploysim_assets.report.section import Section, cells, table_of
from deploysim_assets.report.tables import between

TELLS = 0.7
"""The area under the curve above which statistics tell simulated turns from real ones."""
_INVENTED = "model"

_SOURCES = {
    "recorded": "the recorded trajectory",
    "repository": "the repository",
    "library": "earlier calls of the library",
    "connector": "read-only connectors",
    "function": "functions of the project",
    "model": "the simulator's model",
    "runtime": "errors that malformed calls get",
}


def _percent(row: Fidelity) -> str:
    """A share with its interval."""
    if row.value is None:
        return "-"
    ends = "" if row.low is None or row.high is None else f" ({row.low:.0%} to {row.high:.0%})"
    return f"{row.value:.0%}{ends}"


def _area(row: Fidelity) -> str:
    """An area under the curve with its interval."""
    return "-" if row.value is None else f"{row.value:.2f}{between(row.low, row.high)}"


def _of(rows: Sequence[Fidelity], measure: str) -> list[Fidelity]:
    """The rows of a measure."""
    return [row for row in rows if row.measure == measure]


def _lines(found: Sequence[Fidelity]) -> Iterator[str]:
    """What was measured with all affordances, as sentences."""
    rows = [row for row in found if row.every_affordance]
    if not rows:
        yield (
            "The live model was replayed under other settings of `agents` than those of this "
            "forecast, so that nothing is known of its simulation: materialize self_completions "
            "and simulation_fidelity again."
        )
        return
    taken = next((r for r in _of(rows, "taken_for_real") if r.tool is None and r.n), None)
    if taken is None:
        yield (
            "No model was asked to tell simulated turns from real ones, or none of its answers was "
            "a pick."
        )
    else:
        yield (
            f"Of {taken.n:,} simulated turns of the live model, each shown beside the real one, a "
            f"model took {taken.k:,} for the real one: {_percent(taken)}. Half would mean that it "
            "cannot tell them."
        )
    first = next((r for r in _of(rows, "picked_first") if r.n), None)
    if first is not None and not (first.low or 0.0) <= 1 / 2 <= (first.high or 1.0):
        yield (
            f"It picked the turn that was shown first in {_percent(first)} of the pairs, whose "
            "order was drawn at random: so far it did not go by what the turns say, which moves "
            "the share above towards a half."
        )
    yield from _statistics(next(iter(_of(rows, "told_apart")), None))
    sources = [r for r in _of(rows, "results") if r.value is not None]
    if sources:
        shares = sorted(sources, key=lambda r: -(r.value or 0.0))
        said = ", ".join(f"{_SOURCES.get(r.source or '', r.source)} {r.value:.0%}" for r in shares)
        yield f"Results of calls came from: {said}."
        invented = next((r.value for r in sources if r.source == _INVENTED), None)
        if invented:
            yield (
                f"{invented:.0%} of the results were written by a model: they are plausible, and "
                "nobody's. What a candidate does because of them is what it would do in a world "
                "like that, not what it did to anyone."
            )
    ended = {r.source: r for r in _of(rows, "turns")}
    for state in ("unanswerable", "capped"):
        if (row := ended.get(state)) is not None and row.k:
            yield (
                f"{row.k:,} of {row.n:,} turns ({row.value:.0%}) ended as {state}. They are in no "
                "rate; where a behavior shows in long turns more often than in short ones, its "
                "rate is over those that were left."
            )


def _statistics(told: Fidelity | None) -> Iterator[str]:
    if told is None or told.value is None:
        yield (
            "Too few turns were replayed for statistics to tell: nobody knows how far the "
            "simulated tools are like the real ones."
        )
    elif told.value > TELLS:
        yield (
            "Statistics of a turn (calls, lengths, errors, sequences of tools) tell simulated from "
            f"real ones with an area under the curve of {_area(told)}, above {TELLS}: the "
            "candidate met a world that its users will not meet. Read forecasts of behaviors that "
            "depend on what tools return (following injected instructions, reacting to errors) as "
            "rough: they may be off by more than their interval says, in either direction. Those "
            "that depend on what the user asked are less touched."
        )
    else:
        yield (
            f"Statistics of a turn tell simulated from real ones with an area under the curve of "
            f"{_area(told)} (0.5: not at all; above {TELLS}: a warning): nothing here says "
            "that the forecast is off because of simulated tools. It does not show that it is "
            "right: counts do not read what a result says."
        )


def fidelity(report: ReleaseReport) -> Section:
    """How far simulated tools are like the real ones, for a report of agents."""
    title, found = "Simulated tools", report.fidelity or []
    if not found:
        said = [
            "Turns with tools were simulated, and nobody measured how far they are like real ones: "
            "`self_replay` in deploysim.yaml does, on the live model's own traffic. Until then "
            "read every forecast of what depends on the results of tools as a guess."
        ]
        return Section("fidelity", title, said)
    names = list(dict.fromkeys(row.affordances for row in found))
    used = {row.affordances for row in found if row.every_affordance}

    def first(measure: str, name: str) -> Fidelity | None:
        of_set = (r for r in _of(found, measure) if r.affordances == name)
        return next((r for r in of_set if r.tool is None and r.source in (None, "completed")), None)

    def cell(row: Fidelity | None, shown: Callable[[Fidelity], str]) -> str:
        return "-" if row is None else shown(row)

    rows = [
        cells(
            name.replace("+", ", ") + (" (as in the forecast)" if name in used else ""),
            cell(first("turns", name), lambda r: f"{r.k:,} of {r.n:,}"),
            cell(first("taken_for_real", name), _percent),
            cell(first("told_apart", name), _area),
            cell(first("json_equal", name), _percent),
        )
        for name in names
    ]
    header = ("what may answer a call", "turns ended", "taken for real", "area under the curve",
              "same results")  # fmt: skip
    tables = [table_of("Simulated turns by affordances", header, rows)]
    every = [row for row in found if row.every_affordance]
    for by in ("source", "tool"):
        keys = [str(getattr(r, by)) for r in _of(every, "exact") if getattr(r, by) is not None]
        chosen = {
            key: {r.measure: r for r in every if getattr(r, by) == key and r.measure != "turns"}
            for key in keys
        }
        rows = [
            cells(
                _SOURCES.get(key, key),
                f"{measured['exact'].n:,}",
                _percent(measured["exact"]),
                _percent(measured["json_equal"]),
                f"{measured['fields'].value:.0%}",
                cell(measured.get("taken_for_real"), _percent),
            )
            for key, measured in chosen.items()
        ]
        header = (by, "calls", "same text", "same value", "fields", "taken for real")
        tables.append(
            table_of(f"Results of calls that the real turn made too, by {by}", header, rows)
        )
    return Section("fidelity", title, list(_lines(found)), tables=tables)
