"""`deploysim plan`: how many prefixes a project needs for what it wants to know, what they cost,
and where more stop helping."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from deploysim_assets.cli.pricing import UNSEEN_TOKENS, Cost
from deploysim_assets.project import Project
from deploysim_assets.storage.tables import Lake


class Known(NamedTuple):
    """What the project has seen of a behavior: its rate per message, and the design effect of
    its users."""

    name: str
    rate: float
    design_effect: float
    threshold: float | None


class Plan(NamedTuple):
    """The answers: one row per behavior, and the prefixes beyond which a forecast gains little."""

    rows: list[dict[str, Any]]
    tau: float
    scored: int
    prefixes_now: int


def known_behaviors(project: Project, lake: Lake) -> list[Known]:
    """Each behavior with the rate that the latest graded release showed; 1 in 10,000 where none
    was graded."""
    found: dict[str, dict[str, Any]] = {}
    for release in project.releases:
        if lake.current("realized_rates", release.model_version):
            found |= {
                row["behavior"]: row
                for row in lake.rows("realized_rates", release.model_version)
                if row["n"]
            }
    known: list[Known] = []
    for behavior in project.behaviors:
        row = found.get(behavior.name)
        rate = (row["k"] + 0.5) / (row["n"] + 1) if row else 1e-4
        threshold = behavior.threshold_per_100k / 1e5 if behavior.threshold_per_100k else None
        known.append(
            Known(behavior.name, rate, max(1.0, (row or {}).get("design_effect") or 1.0), threshold)
        )
    return known


def make_plan(project: Project, lake: Lake, factor: float, ratio: float) -> Plan:
    """Prefixes per behavior for a 95% interval of `factor` up and down, for its gate, and to
    tell `ratio` from the live model."""
    from deploysim_assets.forecast.estimate import scored
    from deploysim_assets.forecast.planner import (
        events_assured,
        events_for_ratio,
        events_needed,
        events_that_help,
        n_for_gate,
    )
    from deploysim_assets.forecast.predictive import error_model

    history = [
        scored(row)
        for release in project.releases
        if lake.current("calibration_report", release.model_version)
        for row in lake.rows("calibration_report", release.model_version)
    ]
    tau = error_model(history).tau_mean
    rows: list[dict[str, Any]] = []
    for known in known_behaviors(project, lake):
        gate = None
        if known.threshold and known.rate < known.threshold:
            gate = int(
                n_for_gate(known.threshold, known.rate / known.threshold).n * known.design_effect
            )
        rows.append(
            {
                "behavior": known.name,
                "rate": known.rate,
                "design_effect": known.design_effect,
                "for_precision": round(events_needed(factor, known.design_effect) / known.rate),
                "for_precision_assured": round(
                    events_assured(factor, known.design_effect) / known.rate
                ),
                "for_gate": gate,
                "gate_above": bool(known.threshold and known.rate >= known.threshold),
                "for_comparison": round(events_for_ratio(ratio) * known.design_effect / known.rate),
                "helps_forecast_until": round(
                    events_that_help(tau) * known.design_effect / known.rate
                ),
            }
        )
    return Plan(rows, tau, len(history), project.sampling.max_prefixes)


def write_plot(plan: Plan, path: Path) -> None:
    """Width of the forecast's 95% interval against prefixes, per behavior."""
    from deploysim_assets.forecast.planner import forecast_factor
    from deploysim_assets.report.plots import plan_plot

    endless = float("inf")
    sizes = [1e3 * 3_000 ** (i / 80) for i in range(81)]
    widths = {
        r["behavior"]: [
            forecast_factor(n * r["rate"] / r["design_effect"], endless, plan.tau) for n in sizes
        ]
        for r in plan.rows
    }
    path.write_bytes(
        plan_plot(sizes, widths, forecast_factor(endless, endless, plan.tau), plan.prefixes_now)
    )


def show_plan(
    plan: Plan, factor: float, ratio: float, prefixes: int, costs: Sequence[Cost]
) -> None:
    """The plan as a table, with the cost and where more prefixes stop helping."""
    from deploysim_assets.cli.tables import print_table
    from deploysim_assets.report.tables import console, per_100k

    rows: list[list[str]] = []
    for row in plan.rows:
        gate = (
            "above it"
            if row["gate_above"]
            else "no threshold"
            if row["for_gate"] is None
            else f"{row['for_gate']:,}"
        )
        sizes = (f"{row[name]:,}" for name in ("for_precision", "for_precision_assured"))
        rows.append(
            [
                row["behavior"],
                per_100k(row["rate"]),
                *sizes,
                gate,
                f"{row['for_comparison']:,}",
                f"{row['helps_forecast_until']:,}",
            ]
        )
    header = (
        "behavior",
        "per 100k",
        f"within {factor:g}x",
        "with 80% assurance",
        "gate, 80% power",
        f"{ratio:g}x change",
        "helps forecast until",
    )
    out = console()
    print_table("Prefixes needed", header, rows, out)
    learned = (
        f"from {plan.scored} scored forecasts"
        if plan.scored
        else "the prior: nothing was scored yet"
    )
    out.print(
        f"Simulation error tau {plan.tau:.2f} ({learned}). Beyond the last column more prefixes "
        "help gates and comparisons, not the forecast."
    )
    parts = [
        [one.what, f"{one.requests:,.0f}", f"{one.tokens:,.0f}", _money(one.money)] for one in costs
    ]
    header = ("part", "requests", "tokens", "money")
    print_table(f"What {prefixes:,} prefixes take", header, parts, out)
    every = [one.money for one in costs if one.money is not None]
    cost = "no prices in deploysim.yaml" if not every else f"{sum(every):,.2f} in money"
    if 0 < len(every) < len(costs):
        cost += " and what has no price"
    tokens = sum(one.tokens for one in costs)
    out.print(f"{prefixes:,} prefixes: about {tokens:,.0f} tokens, {cost}.")
    if not any(one.measured for one in costs):
        out.print(
            f"Nothing was asked yet: a request is taken for {sum(UNSEEN_TOKENS):,.0f} tokens. "
            "`deploysim init --from` counts those of your logs."
        )


def _money(money: float | None) -> str:
    return "no price" if money is None else f"{money:,.2f}"
