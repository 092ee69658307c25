"""What the report says of the time before the release: promises, forecast, and what was not
measured."""

from deploysim_assets.report.document import (
    broken_off_lines,
    funnel_lines,
    registered_again,
)
from deploysim_assets.report.drawings import (
    forecast_drawing,
    live_rate,
)
from deploysim_assets.report.facts import Behavior, ReleaseReport
from deploysim_assets.report.figures import Drawing
from deploysim_assets.report.section import (
    Cell,
    Section,
    Table,
    cells,
    named,
    table_of,
)
from deploysim_assets.report.tables import (
    between,
    limits,
    observed,
    per_100k,
    times,
)

_PROMISES = {
    "registration": "registered",
    "forecast": "forecast sealed",
    "realized": "production counted",
    "score": "scored",
}


def promised(report: ReleaseReport) -> Section:
    """The records of the ledger, and what was fixed before the first reply."""
    rows = [
        cells(
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
    tables = [table_of("Records of the ledger", header, rows, ", ".join(header))]
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
            table_of(
                "Fixed before the first reply", ("what", "how"),
                [cells(*one) for one in fixed], "how",
            )
        )  # fmt: skip
    document = report.model_dump()
    said = [*registered_again(document)]
    if not report.promises:
        said.append("Nothing was promised: this release has no registration and no forecast.")
    return Section("promised", "What was promised, and when", said, tables=tables if rows else ())


def _live_rate(b: Behavior) -> float | None:
    return live_rate(b.live_k, b.live_n, b.persistence.rate if b.persistence else None)


def forecast(report: ReleaseReport) -> Section:
    """Forecast and intervals against threshold and live model."""
    shown = [b for b in report.behaviors if b.forecast]
    if not shown:
        return Section("forecast", "Forecast", ["There is no forecast of this release."])
    drawn = [
        {"behavior": b.behavior, "forecast": b.forecast.model_dump(), "threshold": b.threshold,
         "live": _live_rate(b)}
        for b in shown if b.forecast
    ]  # fmt: skip
    rows = [
        cells(
            named(report, b),
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
    table = table_of("Forecast, rates per 100,000 messages", header, rows)
    return Section("forecast", "Forecast", said,
                   [forecast_drawing(report.model_version, drawn)], [table])  # fmt: skip


def _reasons(lost: dict[str, int]) -> str:
    found = sorted(lost.items(), key=lambda item: -item[1])
    return ", ".join(f"{n:,} {reason.replace('_', ' ')}" for reason, n in found if n) or "-"


def broken_off(report: ReleaseReport) -> Table | None:
    """What rests on turns that were broken off; None where none was."""
    rows = [
        cells(
            named(report, b),
            f"{b.broken_off.broken_off:,}",
            f"{b.broken_off.shown:,}",
            b.broken_off.estimator,
            per_100k(b.rate),
            limits(b.broken_off.if_so_p95_low, b.broken_off.if_so_p95_high),
            limits(*b.forecast.p95) if b.forecast else "-",
            per_100k(b.broken_off.none_rate),
            per_100k(b.broken_off.every_rate),
            b.broken_off.if_so_gate or "-",
        )
        for b in report.behaviors
        if b.broken_off
    ]
    header = (
        "behavior", "broken off", "after they showed it", "rate told by", "rate",
        "95% supposing so", "95% whatever they come to", "rate if none showed it",
        "rate if all showed it", "gate supposing so",
    )  # fmt: skip
    title = "What rests on turns that were broken off, per 100,000 messages"
    return table_of(title, header, rows, "rate told by") if rows else None


def not_measured(report: ReleaseReport) -> Section:
    """What was lost on the way, and what it may hide."""
    document = report.model_dump()
    said = [*funnel_lines(document), *broken_off_lines(document)]
    floor = [b.behavior for b in report.behaviors if b.below_floor]
    if floor:
        said.append(
            "Fewer than five events were simulated, so that the forecast says little more than an "
            f"upper limit: {', '.join(floor)}."
        )
    said += [
        f"{b.behavior}: no reply was graded in {', '.join(b.uncovered)}."
        for b in report.behaviors
        if b.uncovered
    ]
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
            cells(s.what, f"{s.stays:,}", f"{sum(s.lost.values()):,}", _reasons(s.lost))
            for s in report.steps
        ]
        tables.append(
            table_of("From logs to graded replies", ("step", "stays", "lost", "why"), rows, "why")
        )
    partial = [b for b in report.behaviors if (b.asked or 0) > (b.n or 0)]
    if partial:
        rows = [
            cells(
                named(report, b), f"{b.asked:,}", f"{b.n or 0:,}",
                f"{(b.asked or 0) - (b.n or 0):,}",
                per_100k(b.rate_best), per_100k(b.rate_worst),
            )
            for b in partial
        ]  # fmt: skip
        header = ("behavior", "asked", "graded", "missing", "rate if none flagged",
                  "rate if all flagged")  # fmt: skip
        tables.append(table_of("What missing grades may hide, per 100,000 messages", header, rows))
    if (rests := broken_off(report)) is not None:
        tables.append(rests)
    if not said and not tables:
        said = ["Nothing of this release was simulated."]
    return Section("not-measured", "What was not measured", said, figures, tables)
