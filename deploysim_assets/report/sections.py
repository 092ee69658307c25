"""What a report says, from top to bottom: sentences, tables and figures, not yet HTML."""

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from itertools import zip_longest
from typing import Any, NamedTuple

from deploysim_assets.report.document import (
    evidence_lines,
    funnel_lines,
    registered_again,
    verdict,
)
from deploysim_assets.report.drawings import (
    calibration_drawing,
    coverage_drawing,
    forecast_drawing,
    live_rate,
    noise_drawing,
    smoothed,
)
from deploysim_assets.report.facts import Behavior, Fidelity, ReleaseReport
from deploysim_assets.report.fidelity import SOURCES, area, fidelity_lines, of, percent
from deploysim_assets.report.figures import Drawing
from deploysim_assets.report.judges import drift_words, judge_lines, kappa_words
from deploysim_assets.report.limits import limits_of
from deploysim_assets.report.tables import (
    between,
    limits,
    observed,
    per_100k,
    summary_lines,
    times,
)
from deploysim_assets.report.verdicts import overall

_YES = {True: "yes", False: "no", None: "-"}
_SHORT = 16


class Cell(NamedTuple):
    """A cell of a table: text, what it is (a verdict's word, `code`), and an anchor that it leads
    to."""

    text: str
    kind: str = ""
    anchor: str = ""


class Table(NamedTuple):
    """A table with its caption; the `figures` are those columns that hold numbers."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    figures: AbstractSet[int] = frozenset()
    anchor: str = ""


class Section(NamedTuple):
    """A part of the report under a heading; the first tables hold the figures' figures, in their
    order."""

    anchor: str
    title: str
    said: Sequence[str]
    figures: Sequence[Drawing] = ()
    tables: Sequence[Table] = ()

    @property
    def pairs(self) -> list[tuple[Drawing | None, Table | None]]:
        """Each figure with the table that has its figures, then the other tables."""
        return list(zip_longest(self.figures, [table for table in self.tables if table.rows]))


def _table(
    caption: str,
    header: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    words: str = "",
    **more: str,
) -> Table:
    """A table without the columns that say nothing in any row; `words` names those that hold
    words, by their header."""
    worded = {*words.split(", "), header[0]}
    shown = [
        i for i in range(len(header))
        if not i or any(row[i].text != "-" for row in rows)
    ]  # fmt: skip
    figures = frozenset(n for n, i in enumerate(shown) if header[i] not in worded)
    kept = [[row[i] for i in shown] for row in rows]
    return Table(caption, [header[i] for i in shown], kept, figures, **more)


def _cells(*texts: str | Cell) -> list[Cell]:
    return [text if isinstance(text, Cell) else Cell(text) for text in texts]


def anchor_of(report: ReleaseReport, behavior: str) -> str:
    """The anchor of what a behavior's figures rest on, "" where nothing of it was flagged."""
    names = [b.behavior for b in report.behaviors]
    traced = any(t.behavior == behavior for t in report.trace)
    return f"trace-{names.index(behavior)}" if traced and behavior in names else ""


def _named(report: ReleaseReport, behavior: Behavior) -> Cell:
    return Cell(behavior.behavior, "name", anchor_of(report, behavior.behavior))


def _verdict(report: ReleaseReport) -> Section:
    rows = [
        _cells(
            _named(report, b),
            Cell(b.verdict.word, b.verdict.word),
            limits(*b.forecast.p95) if b.forecast else "-",
            per_100k(b.threshold),
            _rate(b),
            b.verdict.why + (f"; accepted: {b.verdict.accepted}" if b.verdict.accepted else ""),
        )
        for b in report.behaviors
    ]
    _, sentence = overall([b.verdict.model_dump() for b in report.behaviors])
    said = [sentence, verdict(report.summary)]
    worse = [b.behavior for b in report.behaviors if b.regression]
    if worse:
        said.append(
            f"More often than the live model on the same prefixes (Holm, 5%): {', '.join(worse)}."
        )
    header = ("behavior", "verdict", "95% forecast", "limit", "realized", "why")
    table = _table("Verdicts, rates per 100,000 messages", header, rows, "verdict, why")
    return Section("verdict", "Verdict", said, tables=[table])


def _rate(b: Behavior) -> str:
    if b.realized is None:
        return "-"
    return observed(b.realized.k, b.realized.n, b.realized.high, b.realized.rate)


_PROMISES = {
    "registration": "registered",
    "forecast": "forecast sealed",
    "realized": "production counted",
    "score": "scored",
}


def _promised(report: ReleaseReport) -> Section:
    rows = [
        _cells(
            f"{p.record}",
            _PROMISES[p.kind],
            f"{p.at:%Y-%m-%d %H:%M:%S} UTC",
            p.by or "not told",
            "signed" if p.signed else "not signed",
            Cell(p.hash, "code"),
        )
        for p in report.promises
    ]
    header = ("record", "what", "when", "by", "signature", "hash")
    tables = [_table("Records of the ledger", header, rows, ", ".join(header))]
    terms = report.terms
    if terms:
        estimator = "; ".join(f"{name}: {value}" for name, value in terms.estimator.items())
        fixed = [
            ("traffic replayed", f"{terms.prefixes:,} prefixes of {terms.predecessor}, "
                                 f"{terms.prefixes_version}, seed {terms.seed}"),
            ("asked as", terms.asked_as),
            ("judge", ", ".join(terms.judge) or "none: rules alone"),
            ("behaviors", f"{terms.behaviors}, {terms.thresholds} with a threshold"),
            ("de-identification", f"at least level {terms.min_level}"),
            ("replies that were cut", terms.truncated),
            ("early stopping", "on" if terms.early_stopping else "off"),
            ("estimator", estimator),
        ]  # fmt: skip
        tables.append(
            _table(
                "Fixed before the first reply", ("what", "how"),
                [_cells(*one) for one in fixed], "how",
            )
        )  # fmt: skip
    document = report.model_dump()
    said = [*registered_again(document)]
    if not report.promises:
        said.append("Nothing was promised: this release has no registration and no forecast.")
    return Section("promised", "What was promised, and when", said, tables=tables if rows else ())


def _live_rate(b: Behavior) -> float | None:
    return live_rate(b.live_k, b.live_n, b.persistence.rate if b.persistence else None)


def _forecast(report: ReleaseReport) -> Section:
    shown = [b for b in report.behaviors if b.forecast]
    if not shown:
        return Section("forecast", "Forecast", ["There is no forecast of this release."])
    drawn = [
        {"behavior": b.behavior, "forecast": b.forecast.model_dump(), "threshold": b.threshold,
         "live": _live_rate(b)}
        for b in shown if b.forecast
    ]  # fmt: skip
    rows = [
        _cells(
            _named(report, b),
            observed(b.k or 0, b.n or 0, b.high, b.rate),
            per_100k(b.forecast.median) if b.forecast else "-",
            limits(*b.forecast.p50) if b.forecast else "-",
            limits(*b.forecast.p95) if b.forecast else "-",
            per_100k(b.threshold),
            per_100k(_live_rate(b)),
            times(b.paired_ratio) + between(b.paired_low, b.paired_high),
        )
        for b in shown
    ]
    header = (
        "behavior", "simulated", "forecast", "50%", "95%", "limit", "live model",
        "candidate / live",
    )  # fmt: skip
    said = [
        "The simulated rate is what the candidate's replies showed; the forecast is where "
        "production should fall, sampling and the simulator's own error together.",
        "Candidate / live compares both on the same prefixes, with its 95% interval: above 1 the "
        "candidate does it more often.",
    ]
    table = _table("Forecast, rates per 100,000 messages", header, rows)
    return Section("forecast", "Forecast", said,
                   [forecast_drawing(report.model_version, drawn)], [table])  # fmt: skip


def _reasons(lost: dict[str, int]) -> str:
    found = sorted(lost.items(), key=lambda item: -item[1])
    return ", ".join(f"{n:,} {reason.replace('_', ' ')}" for reason, n in found if n) or "-"


def _not_measured(report: ReleaseReport) -> Section:
    said = funnel_lines(report.model_dump())
    floor = [b.behavior for b in report.behaviors if b.below_floor]
    if floor:
        said.append(
            "Fewer than five events were simulated, so that the forecast says little more than an "
            f"upper limit: {', '.join(floor)}."
        )
    for b in report.behaviors:
        if b.uncovered:
            said.append(f"{b.behavior}: no reply was graded in {', '.join(b.uncovered)}.")
    figures: list[Drawing] = []
    tables: list[Table] = []
    if report.steps:
        drawn = [
            {"what": s.what, "unit": s.unit, "stays": s.stays, "lost": sum(s.lost.values())}
            for s in report.steps
        ]
        figures.append(
            Drawing("funnel", "From logs to graded replies",
                    "How many conversations, prefixes and replies stay at each step; the table "
                    "below has the figures and the reasons.", drawn)
        )  # fmt: skip
        rows = [
            _cells(s.what, f"{s.stays:,}", f"{sum(s.lost.values()):,}", _reasons(s.lost))
            for s in report.steps
        ]
        tables.append(
            _table("From logs to graded replies", ("step", "stays", "lost", "why"), rows, "why")
        )
    partial = [b for b in report.behaviors if (b.asked or 0) > (b.n or 0)]
    if partial:
        rows = [
            _cells(
                _named(report, b), f"{b.asked:,}", f"{b.n or 0:,}",
                f"{(b.asked or 0) - (b.n or 0):,}",
                per_100k(b.rate_best), per_100k(b.rate_worst),
            )
            for b in partial
        ]  # fmt: skip
        header = ("behavior", "asked", "graded", "missing", "rate if none flagged",
                  "rate if all flagged")  # fmt: skip
        tables.append(_table("What missing grades may hide, per 100,000 messages", header, rows))
    if not said and not tables:
        said = ["Nothing of this release was simulated."]
    return Section("not-measured", "What was not measured", said, figures, tables)


def _graders(report: ReleaseReport) -> Section:
    rows: list[list[Cell]] = []
    for b in report.behaviors:
        if b.grader_id is None:
            continue
        p = b.precision
        rows.append(
            _cells(
                _named(report, b),
                b.grader or "-",
                Cell(b.grader_id, "code"),
                f"{p.precision:.2f}{between(p.precision_low, p.precision_high)}"
                if p and p.precision is not None else "not measured",
                f"{p.recall:.2f}{between(p.recall_low, p.recall_high)}"
                if p and p.recall is not None else "not measured",
                _stable(report, b),
                _drift(report, b),
            )
        )  # fmt: skip
    graders = report.graders
    said: list[str] = []
    if graders.served_by:
        named = ", ".join(f"{model} ({n:,} replies)" for model, n in graders.served_by.items())
        said.append(f"The judge's server named itself: {named}.")
    said += judge_lines(report.model_dump())
    if graders.cut_documents:
        said.append(
            f"{graders.cut_documents:,} replies were too long for the judge and lost their middle."
        )
    if not any(b.precision for b in report.behaviors):
        said.append(
            "No person has labeled replies of this release, so that the graders' precision is not "
            "known: `deploysim audit graders` draws replies to label."
        )
    said.append(
        "The same graders count both sides; an imprecise one shrinks every error and change."
    )
    header = ("behavior", "kind", "identity", "precision", "recall", "judged twice", "drift")
    tables = [_table("Graders", header, rows, ", ".join(header))] if rows else []
    return Section("graders", "Graders", said, tables=tables)


def _stable(report: ReleaseReport, b: Behavior) -> str:
    """How far the judge agreed with itself on the simulated replies."""
    if b.grader == "rule":
        return "always the same"
    facts = report.judge.get("simulated", {})
    agreed = facts.get("self_agreement", {}).get(b.behavior)
    return kappa_words(agreed, facts["repeats"][b.behavior]) if agreed else "not measured"


def _drift(report: ReleaseReport, b: Behavior) -> str:
    """Whether the judge is the one that it was, by the sentinels of every side."""
    rows = [
        row
        for facts in report.judge.values()
        for row in facts["drift"]
        if row["behavior"] == b.behavior and row["p_holm"] is not None
    ]
    if b.grader == "rule":
        return "a rule does not"
    if not rows:
        return "not measured"
    worst = min(rows, key=lambda row: row["p_holm"])
    return f"{'drifted' if worst['drifted'] else 'none seen'}: {drift_words(worst)}"


def _awareness(report: ReleaseReport) -> Section:
    title = "Evaluation awareness"
    if report.awareness is None:
        said = [
            "Not measured. `awareness` in deploysim.yaml asks an independent detector whether the "
            "simulated conversations look like a test, and whether the model says so."
        ]
        return Section("awareness", title, said)
    rows = [
        _cells(
            a.measure, a.population, f"{a.k:,} of {a.n:,}", per_100k(a.rate),
            limits(a.low, a.high),
            times(a.to_production) + between(a.to_production_low, a.to_production_high)
            if a.to_production is not None else "-",
        )
        for a in report.awareness
    ]  # fmt: skip
    more = [a.measure for a in report.awareness if a.to_production_low and a.to_production_low > 1]
    said = [
        f"More in simulation than in production: {', '.join(more)}. A model that takes the "
        "simulation for a test may behave better in it than in production."
        if more
        else "Nothing shows that the model takes the simulation for a test more than production."
    ]
    header = ("measure", "population", "flagged", "rate", "95%", "simulated / production")
    table = _table("Evaluation awareness, rates per 100,000 replies", header, rows, "population")
    return Section("awareness", title, said, tables=[table])


def _fidelity(report: ReleaseReport) -> Section:
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
        of_set = (r for r in of(found, measure) if r.affordances == name)
        return next((r for r in of_set if r.tool is None and r.source in (None, "completed")), None)

    def cell(row: Fidelity | None, shown: Callable[[Fidelity], str]) -> str:
        return "-" if row is None else shown(row)

    rows = [
        _cells(
            name.replace("+", ", ") + (" (as in the forecast)" if name in used else ""),
            cell(first("turns", name), lambda r: f"{r.k:,} of {r.n:,}"),
            cell(first("taken_for_real", name), percent),
            cell(first("told_apart", name), area),
            cell(first("json_equal", name), percent),
        )
        for name in names
    ]
    header = ("what may answer a call", "turns ended", "taken for real", "area under the curve",
              "same results")  # fmt: skip
    tables = [_table("Simulated turns by affordances", header, rows)]
    every = [row for row in found if row.every_affordance]
    for by in ("source", "tool"):
        keys = [str(getattr(r, by)) for r in of(every, "exact") if getattr(r, by) is not None]
        chosen = {
            key: {r.measure: r for r in every if getattr(r, by) == key and r.measure != "turns"}
            for key in keys
        }
        rows = [
            _cells(
                SOURCES.get(key, key),
                f"{measured['exact'].n:,}",
                percent(measured["exact"]),
                percent(measured["json_equal"]),
                f"{measured['fields'].value:.0%}",
                cell(measured.get("taken_for_real"), percent),
            )
            for key, measured in chosen.items()
        ]
        header = (by, "calls", "same text", "same value", "fields", "taken for real")
        tables.append(
            _table(f"Results of calls that the real turn made too, by {by}", header, rows)
        )
    return Section("fidelity", title, list(fidelity_lines(found)), tables=tables)


def _novel(report: ReleaseReport) -> Section:
    title = "What no behavior names"
    if report.novel is None:
        return Section("novel", title, ["Not looked at yet."])
    if not report.novel:
        return Section("novel", title, ["No difference between candidate and live model was found "
                                        "that the behaviors do not name."])  # fmt: skip
    by = {"novel_behaviors": "exact tests", "open_findings": "the judge's own words"}
    rows = [
        _cells(
            f"{n.finding}", by[n.source], n.says, f"{n.candidate_only:,}",
            "-" if n.live_only is None else f"{n.live_only:,}",
            "-" if n.q_value is None else f"{n.q_value:.2g}",
        )
        for n in report.novel
    ]  # fmt: skip
    said = [
        "A difference is no verdict: newer models also write differently. `deploysim behaviors "
        "adopt` makes a finding a behavior."
    ]
    header = ("no.", "found by", "what", "candidate", "live", "q")
    table = _table("Findings, in replies", header, rows, "found by, what")
    return Section("novel", title, said, tables=[table])


def _score(report: ReleaseReport) -> Section:
    title = "After release"
    scored = [b for b in report.behaviors if b.multiplicative_error is not None and b.realized]
    if not scored:
        said = [verdict(report.summary)]
        if any(b.realized for b in report.behaviors):
            said = ["Production was counted, and there is no forecast to hold against it."]
        return Section("score", title, said, *_history(report))
    pairs = [
        {
            "behavior": b.behavior, "forecast": smoothed(b.rate or 0.0, b.n or 1),
            "realized": smoothed(b.realized.rate or 0.0, b.realized.n),
            "resolved": bool(b.resolved), "error": b.multiplicative_error, "floor": b.noise_floor,
        }
        for b in scored if b.realized and b.realized.n
    ]  # fmt: skip
    rows = [
        _cells(
            _named(report, b),
            observed(b.k or 0, b.n or 0, b.high, b.rate),
            limits(*b.forecast.p95) if b.forecast else "-",
            _rate(b),
            times(b.multiplicative_error)
            + ("" if b.resolved else " unresolved")
            + (", judge drifted" if b.judge_drifted else ""),
            times(b.noise_floor),
            _YES[b.in_95],
            _YES[b.direction_right],
        )
        for b in scored
    ]
    header = (
        "behavior", "simulated", "95% forecast", "realized", "error", "noise floor", "in 95%",
        "direction right",
    )  # fmt: skip
    table = _table("Score, rates per 100,000 messages", header, rows)
    rows = [
        _cells(
            _named(report, b),
            times(b.multiplicative_error),
            times(b.persistence_error),
            times(b.previous_simulation_error),
            times(b.challenging_prompts_error),
            times(b.blend_error),
        )
        for b in scored
    ]
    header = (
        "behavior", "forecast", "same rate as before", "last release's simulation",
        "challenging prompts", "blend",
    )  # fmt: skip
    baselines = _table("Errors of the forecast and of what it is held against", header, rows)
    figures, tables = _history(report)
    drawn = [
        calibration_drawing(f"Forecast and production: {report.model_version}", pairs),
        noise_drawing(report.model_version, pairs),
    ]
    said = [
        "Error is how many times the forecast was too high or too low; the noise floor is the "
        "median error that a perfect simulator would show with these counts.",
        *summary_lines(report.summary),
        *_others(report),
    ]
    return Section("score", title, said, [*drawn, *figures], [table, baselines, *tables])


def _others(report: ReleaseReport) -> Iterator[str]:
    nothing: dict[str, Any] = {"acceptances": [], "evidence": None}
    document = report.model_dump() | nothing
    yield from evidence_lines(document)


def _history(report: ReleaseReport) -> tuple[list[Drawing], list[Table]]:
    if not report.history:
        return [], []
    drawn = [h.model_dump() for h in report.history]
    rows = [
        _cells(
            h.model_version,
            "forecast" if h.prospective else "backtest",
            f"{h.resolved} of {h.behaviors}",
            times(h.median_error),
            times(h.noise_floor),
            times(h.persistence_median_error),
            times(h.blend_median_error),
            f"{h.in_95} of {h.behaviors}{between(h.in_95_low, h.in_95_high)}",
        )
        for h in report.history
    ]
    header = ("release", "kind", "resolved", "median error", "noise floor", "same as before",
              "blend", "inside 95%")  # fmt: skip
    return [coverage_drawing(drawn)], [_table("Scored releases", header, rows, "kind")]


def _rests_on(report: ReleaseReport) -> Section:
    title = "What the intervals rest on"
    if not any(b.forecast for b in report.behaviors):
        return Section("rests-on", title, ["There is no forecast of this release."])
    replays = sum("/self replay/" in one for one in report.taught_by)
    scored = len(report.taught_by) - replays
    said = [
        "Prior of the simulation's error, before a release was scored: a Student t (4 degrees of "
        "freedom) of scale tau, tau lognormal around 0.5 (log sd 0.5), with a bias of each "
        "behavior (half-normal, 0.25) around a common one (normal, 0.2), on the log scale.",
        f"This forecast had learned from {scored} scored release{'' if scored == 1 else 's'} and "
        f"{replays} replay{'' if replays == 1 else 's'} of a deployed model on its own traffic"
        + ("." if report.taught_by else ": it rests on the prior alone. `self_replay` in "
           "deploysim.yaml teaches the first forecast."),
    ]  # fmt: skip
    figures: list[Drawing] = []
    tables: list[Table] = []
    if report.narrowing:
        said.append(
            "The factor is what the simulation's error alone adds to the 95% interval, up and "
            "down, before counting noise. Expected ones suppose that coming errors are as large as "
            "the model now expects."
        )
        figures.append(
            Drawing("narrowing", "How the 95% interval narrows with each scored release",
                    "The factor up and down that the simulation's error adds to the 95% interval, "
                    "by scored releases; the table below has the figures.",
                    [a.model_dump() for a in report.narrowing])
        )  # fmt: skip
        rows = [
            _cells(f"{a.releases}", f"{a.pairs:,}", f"{a.factor:.2f}x", _YES[a.expected])
            for a in report.narrowing
        ]
        header = ("scored releases and replays", "pairs", "factor up and down", "expected")
        tables.append(_table("How the 95% interval narrows", header, rows))
    second = [(b, b.second_forecasts["blend"]) for b in report.behaviors
              if "blend" in b.second_forecasts]  # fmt: skip
    if second:
        said.append(
            "The blend is a second forecast, which knows the rate of the release before; gates and "
            "directions never use it. Prefer it for behaviors with few simulated events where "
            "nothing suggests that the rate moved. Do not where the candidate differs from the "
            "live model on the same prefixes: on recorded releases of real models, whose rates had "
            "moved, its median error was 1.66x and the simulation's 1.20x."
        )
        rows = [
            _cells(
                _named(report, b),
                limits(*b.forecast.p95) if b.forecast else "-",
                per_100k(blend.median),
                limits(*blend.p95),
                "the simulation: it moved" if b.paired_low and b.paired_high
                and not b.paired_low <= 1 <= b.paired_high
                else "the blend: few events, no sign of a move" if b.below_floor
                else "either",
            )
            for b, blend in second
        ]  # fmt: skip
        header = ("behavior", "95% forecast", "blend", "95% blend", "prefer")
        tables.append(_table("Second forecast, rates per 100,000 messages", header, rows, "prefer"))
    return Section("rests-on", title, said, figures, tables)


def _evidence(report: ReleaseReport) -> Section:
    nothing: dict[str, Any] = {"other_forecasts": []}
    document = report.model_dump() | nothing
    rows = [
        _cells(
            f"{m.asset}[{m.partition}]" if m.partition else m.asset,
            Cell(m.version, "code"),
            f"{m.at:%Y-%m-%d %H:%M} UTC",
            m.by,
            Cell(m.code, "code"),
            Cell(m.manifest, "code"),
        )
        for m in report.made
    ]
    header = ("table", "version", "made", "by", "code", "manifest (SHA-256)")
    caption, words = "Table versions that the figures rest on", ", ".join(header)
    tables = [_table(caption, header, rows, words, anchor="versions")]
    for i, b in enumerate(report.behaviors):
        for nth, traced in enumerate(t for t in report.trace if t.behavior == b.behavior):
            rows = [
                _cells(Cell(item.prefix_id, "id"), Cell(item.conversation_key or "-", "id"),
                       Cell(item.request_key or "-", "id"))
                for item in traced.items
            ]  # fmt: skip
            shown = "" if traced.flagged == len(rows) else f", {len(rows)} shown"
            caption = (
                f"{b.behavior}, {traced.side}: {traced.flagged:,} flagged{shown}, grader "
                f"{traced.grader_id or 'not known'}"
            )
            header = ("prefix", "conversation", "request")
            anchor = f"trace-{i}{'-more' * nth}"
            tables.append(_table(caption, header, rows, ", ".join(header), anchor=anchor))
    said = [
        *evidence_lines(document),
        "Keyed ids alone, no text. From a behavior's name above to its flagged items here; "
        f"`deploysim trace {report.model_version} BEHAVIOR` goes on to file and line of the logs.",
    ]
    return Section("evidence", "Evidence", said, tables=tables if report.made else ())


def _limits(report: ReleaseReport) -> Section:
    return Section("limits", "What this report cannot say", limits_of(report))


def compared(report: ReleaseReport) -> Section:
    """The report beside the one that it is compared with."""
    other = report.compared_with
    assert other is not None, "there is another one to compare with"
    mine, theirs = ({b.behavior: b for b in r.behaviors} for r in (report, other))
    rows: list[list[Cell]] = []
    unlike: list[str] = []
    for name in dict.fromkeys([*mine, *theirs]):
        both = mine.get(name), theirs.get(name)
        cells = [Cell(name, "name", anchor_of(report, name))]
        for b in both:
            cells += _cells(
                Cell(b.verdict.word, b.verdict.word) if b else "-",
                limits(*b.forecast.p95) if b and b.forecast else "-",
                _rate(b) if b else "-",
                times(b.multiplicative_error) if b else "-",
            )
        rows.append(cells)
        if both[0] and both[1] and both[0].grader_id != both[1].grader_id:
            unlike.append(name)
    parts = ("verdict", "95% forecast", "realized", "error")
    header = ["behavior", *(f"{r.model_version}: {p}" for r in (report, other) for p in parts)]
    said = [f"{r.model_version}: {overall([b.verdict.model_dump() for b in r.behaviors])[1]}"
            for r in (report, other)]  # fmt: skip
    if unlike:
        said.append(
            f"Not the same grader on both, so that rates cannot be compared: {', '.join(unlike)}."
        )
    words = ", ".join(name for name in header if name.endswith(": verdict"))
    caption = f"{report.model_version} beside {other.model_version}, rates per 100,000 messages"
    table = _table(caption, header, rows, words)
    return Section("compared", f"Beside {other.model_version}", said, tables=[table])


def sections(report: ReleaseReport) -> list[Section]:
    """The report from top to bottom."""
    return [
        _verdict(report),
        *([compared(report)] if report.compared_with else []),
        _promised(report),
        _forecast(report),
        _not_measured(report),
        _graders(report),
        _awareness(report),
        *([_fidelity(report)] if report.fidelity is not None else []),
        _novel(report),
        _score(report),
        _rests_on(report),
        _limits(report),
        _evidence(report),
    ]
