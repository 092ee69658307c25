"""What the report says after the release, and what its intervals rest on."""

from collections.abc import Iterator
from typing import Any

from deploysim_assets.report.document import (
    evidence_lines,
    verdict,
)
from deploysim_assets.report.drawings import (
    calibration_drawing,
    coverage_drawing,
    noise_drawing,
    smoothed,
)
from deploysim_assets.report.facts import ReleaseReport
from deploysim_assets.report.figures import Drawing
from deploysim_assets.report.section import (
    YES,
    Section,
    Table,
    cells,
    named,
    realized_rate,
    table_of,
)
from deploysim_assets.report.tables import (
    between,
    limits,
    observed,
    per_100k,
    summary_lines,
    times,
)


def score(report: ReleaseReport) -> Section:
    """The forecast against production, its baselines, and all scored releases."""
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
        cells(
            named(report, b),
            observed(b.k or 0, b.n or 0, b.high, b.rate),
            limits(*b.forecast.p95) if b.forecast else "-",
            realized_rate(b),
            times(b.multiplicative_error)
            + ("" if b.resolved else " unresolved")
            + (", judge drifted" if b.judge_drifted else ""),
            times(b.noise_floor),
            YES[b.in_95],
            YES[b.direction_right],
        )
        for b in scored
    ]
    header = (
        "behavior", "simulated", "95% forecast", "realized", "error", "noise floor", "in 95%",
        "direction right",
    )  # fmt: skip
    table = table_of("Score, rates per 100,000 messages", header, rows)
    rows = [
        cells(
            named(report, b),
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
    baselines = table_of("Errors of the forecast and of what it is held against", header, rows)
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
        cells(
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
    return [coverage_drawing(drawn)], [table_of("Scored releases", header, rows, "kind")]


def rests_on(report: ReleaseReport) -> Section:
    """The prior of the simulation's error, what taught it, and the second forecast."""
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
            cells(f"{a.releases}", f"{a.pairs:,}", f"{a.factor:.2f}x", YES[a.expected])
            for a in report.narrowing
        ]
        header = ("scored releases and replays", "pairs", "factor up and down", "expected")
        tables.append(table_of("How the 95% interval narrows", header, rows))
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
            cells(
                named(report, b),
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
        tables.append(
            table_of("Second forecast, rates per 100,000 messages", header, rows, "prefer")
        )
    return Section("rests-on", title, said, figures, tables)
