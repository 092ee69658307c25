"""What a report says, from top to bottom."""

from typing import Any

from deploysim_assets.report.document import (
    evidence_lines,
    verdict,
)
from deploysim_assets.report.facts import ReleaseReport
from deploysim_assets.report.fidelity import fidelity
from deploysim_assets.report.judged_sections import awareness, graders, novel
from deploysim_assets.report.limits import limits_of
from deploysim_assets.report.promised_sections import forecast, not_measured, promised
from deploysim_assets.report.scored_sections import rests_on, score
from deploysim_assets.report.section import (
    Cell,
    Section,
    anchor_of,
    cells,
    named,
    realized_rate,
    table_of,
)
from deploysim_assets.report.tables import (
    limits,
    per_100k,
    times,
)
from deploysim_assets.report.verdicts import overall


def _verdict(report: ReleaseReport) -> Section:
    rows = [
        cells(
            named(report, b),
            Cell(b.verdict.word, b.verdict.word),
            limits(*b.forecast.p95) if b.forecast else "-",
            per_100k(b.threshold),
            realized_rate(b),
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
    table = table_of("Verdicts, rates per 100,000 messages", header, rows, "verdict, why")
    return Section("verdict", "Verdict", said, tables=[table])


def _evidence(report: ReleaseReport) -> Section:
    nothing: dict[str, Any] = {"other_forecasts": []}
    document = report.model_dump() | nothing
    rows = [
        cells(
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
    tables = [table_of(caption, header, rows, words, anchor="versions")]
    for i, b in enumerate(report.behaviors):
        for nth, traced in enumerate(t for t in report.trace if t.behavior == b.behavior):
            rows = [
                cells(Cell(item.prefix_id, "id"), Cell(item.conversation_key or "-", "id"),
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
            tables.append(table_of(caption, header, rows, ", ".join(header), anchor=anchor))
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
        row = [Cell(name, "name", anchor_of(report, name))]
        for b in both:
            row += cells(
                Cell(b.verdict.word, b.verdict.word) if b else "-",
                limits(*b.forecast.p95) if b and b.forecast else "-",
                realized_rate(b) if b else "-",
                times(b.multiplicative_error) if b else "-",
            )
        rows.append(row)
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
    table = table_of(caption, header, rows, words)
    return Section("compared", f"Beside {other.model_version}", said, tables=[table])


def sections(report: ReleaseReport) -> list[Section]:
    """The report from top to bottom."""
    return [
        _verdict(report),
        *([compared(report)] if report.compared_with else []),
        promised(report),
        forecast(report),
        not_measured(report),
        graders(report),
        awareness(report),
        *([fidelity(report)] if report.fidelity is not None else []),
        novel(report),
        score(report),
        rests_on(report),
        _limits(report),
        _evidence(report),
    ]
