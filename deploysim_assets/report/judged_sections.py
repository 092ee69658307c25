"""What the report says of the graders, of evaluation awareness and of what no behavior names."""

from deploysim_assets.report.facts import Behavior, ReleaseReport
from deploysim_assets.report.judges import drift_words, judge_lines, kappa_words
from deploysim_assets.report.section import (
    Cell,
    Section,
    cells,
    named,
    table_of,
)
from deploysim_assets.report.tables import (
    between,
    limits,
    per_100k,
    times,
)


def graders(report: ReleaseReport) -> Section:
    """Who graded: identity, precision, stability, drift."""
    rows: list[list[Cell]] = []
    for b in report.behaviors:
        if b.grader_id is None:
            continue
        p = b.precision
        rows.append(
            cells(
                named(report, b),
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
        servers = ", ".join(f"{model} ({n:,} replies)" for model, n in graders.served_by.items())
        said.append(f"The judge's server named itself: {servers}.")
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
    tables = [table_of("Graders", header, rows, ", ".join(header))] if rows else []
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


def awareness(report: ReleaseReport) -> Section:
    """Whether the model takes the simulation for a test."""
    title = "Evaluation awareness"
    if report.awareness is None:
        said = [
            "Not measured. `awareness` in deploysim.yaml asks an independent detector whether the "
            "simulated conversations look like a test, and whether the model says so."
        ]
        return Section("awareness", title, said)
    rows = [
        cells(
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
    table = table_of("Evaluation awareness, rates per 100,000 replies", header, rows, "population")
    return Section("awareness", title, said, tables=[table])


def novel(report: ReleaseReport) -> Section:
    """Differences between candidate and live model that the behaviors do not name."""
    title = "What no behavior names"
    if report.novel is None:
        return Section("novel", title, ["Not looked at yet."])
    if not report.novel:
        return Section("novel", title, ["No difference between candidate and live model was found "
                                        "that the behaviors do not name."])  # fmt: skip
    by = {"novel_behaviors": "exact tests", "open_findings": "the judge's own words"}
    rows = [
        cells(
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
    table = table_of("Findings, in replies", header, rows, "found by, what")
    return Section("novel", title, said, tables=[table])
