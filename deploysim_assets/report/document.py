"""The release report: one document for people and machines, rates as fractions."""

from collections.abc import Mapping, Sequence
from typing import Any

from deploysim_assets.report.judges import SIDES
from deploysim_assets.report.tables import (
    limits,
    observed,
    per_100k,
    times,
)
from deploysim_assets.report.verdicts import verdict_of
from deploysim_assets.schema import AS_OTHERS, WHOLE_TURNS

HEADER = (
    "behavior",
    "forecast",
    "95% forecast",
    "before",
    "realized",
    "error",
    "noise floor",
    "in 95%",
    "precision",
    "if missing flagged",
    "judge",
    "gate",
)


_ESTIMATED = (
    *(
        "asked",
        "n",
        "k",
        "uncovered",
        "rate",
        "low",
        "high",
        "rate_best",
        "rate_worst",
        "below_floor",
        "threshold",
        "gate",
        "stopped",
        "live_n",
        "live_k",
    ),
    *(
        "paired_ratio",
        "paired_low",
        "paired_high",
        "paired_p",
        "paired_p_holm",
        "paired_q",
        "regression",
    ),
)
_BROKEN_OFF = (
    "estimator", "broken_off", "shown", "if_so_low", "if_so_high", "if_so_p95_low",
    "if_so_p95_high", "if_so_gate", "decides_gate", "none_rate", "every_rate",
)  # fmt: skip
_QUALITY = (
    "precision",
    "precision_low",
    "precision_high",
    "recall",
    "recall_low",
    "recall_high",
    "kappa",
    "confirmed_rate",
    "labels",
)
_SCORED = (
    *(
        "multiplicative_error",
        "noise_floor",
        "resolved",
        "in_50",
        "in_80",
        "in_95",
        "direction_right",
        "log_score",
        "crps",
    ),
    *("persistence_error", "previous_simulation_error", "challenging_prompts_error", "blend_error"),
)


def _second(estimate: dict[str, Any], name: str) -> dict[str, Any]:
    limits_of = {
        f"p{level}": [estimate[f"{name}_p{level}_{end}"] for end in ("low", "high")]
        for level in (80, 95)
    }
    return {"median": estimate[f"{name}_median"], **limits_of}


def _behavior(
    name: str,
    estimate: dict[str, Any] | None,
    realized: dict[str, Any] | None,
    scored: dict[str, Any] | None,
    accepted: str | None,
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "behavior": name,
        "n": None,
        "k": None,
        "rate": None,
        "forecast": None,
        "realized": None,
        "verdict": verdict_of(estimate or {}, accepted),
    }
    if estimate:
        row |= {k: estimate.get(k) for k in _ESTIMATED}
        if (broken := estimate.get("broken_off")) is not None:
            row["broken_off"] = {name: broken.get(name) for name in _BROKEN_OFF}
        if estimate["forecast_median"] is not None:
            intervals = {
                f"p{level}": [estimate[f"p{level}_low"], estimate[f"p{level}_high"]]
                for level in (50, 80, 95)
            }
            row["forecast"] = {"median": estimate["forecast_median"], **intervals}
            row["second_forecasts"] = {
                name: _second(estimate, name)
                for name in ("blend", "drift_prior")
                if estimate.get(f"{name}_median") is not None
            }
        if estimate["persistence_n"]:
            counts = estimate["persistence_n"], estimate["persistence_k"]
            row["persistence"] = {"n": counts[0], "k": counts[1], "rate": counts[1] / counts[0]}
    if realized:
        row["realized"] = {k: realized[k] for k in ("n", "k", "rate", "low", "high")}
    return row | {k: scored.get(k) if scored else None for k in _SCORED}


def release_report(
    model_version: str,
    estimates: list[dict[str, Any]],
    realized: list[dict[str, Any]],
    scored: list[dict[str, Any]],
    summary: dict[str, Any],
    registrations: Sequence[dict[str, Any]] = (),
    quality: Mapping[str, dict[str, Any]] | None = None,
    funnel: Mapping[str, dict[str, Any]] | None = None,
    judge: Mapping[str, dict[str, Any]] | None = None,
    accepted: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The report of a release from the rows of its tables and the bodies of its registrations;
    what is not there yet is null.

    `funnel` holds the counts of replies by state of each side: simulated, live and realized;
    `judge` what is known of the judge there; `accepted` who took which behavior's verdict on the
    record.
    """
    by_name = [{row["behavior"]: row for row in rows} for rows in (estimates, realized, scored)]
    names = list(dict.fromkeys(name for rows in by_name for name in rows))
    forecast, counted, held = by_name
    behaviors = [
        _behavior(
            name, forecast.get(name), counted.get(name), held.get(name), (accepted or {}).get(name)
        )
        for name in names
    ]
    for behavior in behaviors:
        found = (quality or {}).get(behavior["behavior"])
        behavior["precision"] = found and {name: found[name] for name in _QUALITY}
        behavior["judge_drifted"] = sorted(
            side
            for side, facts in (judge or {}).items()
            for row in facts["drift"]
            if row["drifted"] and row["behavior"] == behavior["behavior"]
        )
    registered = [
        {name: body[name] for name in ("version", "at", "reason", "changes")}
        for body in registrations
    ]
    return {
        "model_version": model_version,
        "behaviors": behaviors,
        "summary": summary,
        "registrations": registered,
        "funnel": dict(funnel or {}),
        "judge": dict(judge or {}),
    }


_UNTOLD = 0.01


def funnel_lines(document: dict[str, Any]) -> list[str]:
    """What became of the replies of each side where one is missing, as sentences; which gates are
    blocked by it; and whether both sides tell if a reply was cut."""
    lines: list[str] = []
    for side, counts in document["funnel"].items():
        prefixes, missing = counts["prefixes"], {s: c for s, c in counts["states"].items() if c}
        graded = missing.pop("graded", 0)
        if missing:
            said = ", ".join(f"{c:,} {s} ({c / prefixes:.1%})" for s, c in missing.items())
            lines.append(f"Replies {SIDES[side]}: {graded:,} of {prefixes:,} graded, {said}.")
        if others := counts.get("served_by_others"):
            named = ", ".join(f"{model} ({n:,} answers)" for model, n in others.items())
            lines.append(
                f"Replies {SIDES[side]} were asked of {counts['asked_of']}; the server names "
                f"another model: {named}. If that is not the same one under another name, the "
                "forecast is of that one."
            )
        if counts.get("blocks"):
            lines.append(
                f"All gates are blocked: more than {counts['blocks']:.0%} of the replies "
                f"{SIDES[side]} are no answers."
            )
        if counts["untold"] > _UNTOLD * prefixes:
            lines.append(
                f"Whether replies {SIDES[side]} were cut is unknown for {counts['untold']:,} of "
                f"{prefixes:,}, since the logs do not say how they ended: they are taken for "
                "whole, which the simulated ones are not, so the two sides are not alike."
            )
    return lines


def broken_off_lines(document: dict[str, Any]) -> list[str]:
    """How rates are told where turns were broken off, and which gates that decides, as
    sentences."""
    found = {b["behavior"]: b["broken_off"] for b in document["behaviors"] if b.get("broken_off")}
    if not found:
        return []
    most = max(one["broken_off"] + one["shown"] for one in found.values())
    lines = [
        f"Up to {most:,} simulated turns were broken off before their end. Limits and gates go "
        "from none of them showing a behavior to every one; the rates between rest on turns being "
        "broken off at a step whatever they would have done next. That fails where what breaks "
        "them off is part of what is asked: a tool that nothing answers is the one that does harm, "
        "or a long turn is over a cap. The comparison with the live model takes turns that came to "
        "their end alone."
    ]
    told = {
        AS_OTHERS: "as if they had gone on as others did from the same step",
        WHOLE_TURNS: "by the turns that came to their end alone",
    }
    for estimator, how in told.items():
        named = [name for name, one in found.items() if one["estimator"] == estimator]
        if named:
            lines.append(f"Told {how}: {', '.join(named)}.")
    decided = [
        f"{name} (supposing so: {one['if_so_gate']})"
        for name, one in found.items()
        if one["decides_gate"]
    ]
    if decided:
        lines.append(f"Blocked, since such turns decide the gate: {', '.join(decided)}.")
    return lines


def registered_again(document: dict[str, Any]) -> list[str]:
    """One sentence for each registration, where there is more than one."""
    if len(document["registrations"]) < 2:
        return []
    said = "Registration {version}, {at:%Y-%m-%d %H:%M} UTC: {reason}{changed}."
    changed = {True: "", False: " (changed: {})"}
    return [
        said.format(**r, changed=changed[not r["changes"]].format(", ".join(r["changes"])))
        for r in document["registrations"]
    ]


def evidence_lines(document: dict[str, Any]) -> list[str]:
    """What the report rests on, who accepted what, and which other forecasts there were."""
    said = [
        "{by} accepted {behavior} ({gate}) at {at:%Y-%m-%d %H:%M} UTC: {reason}.".format(**one)
        for one in document.get("acceptances", [])
    ]
    for other in document.get("other_forecasts", []):
        errors = ", ".join(f"{b} {times(e)}" for b, e in other["errors"].items()) or "not scored"
        said.append(
            f"Another forecast, sealed {other['sealed_at']:%Y-%m-%d %H:%M} UTC "
            f"({other['reason']}): {errors}."
        )
    evidence = document.get("evidence")
    if evidence:
        ledger, audit = evidence["ledger"], evidence["last_full_audit"]
        head = (ledger["head"] or "")[:16]
        if ledger.get("newest_cited"):
            said.append(
                f"Newest record of the ledger that this rests on: {ledger['records']}, {head}. "
                "`deploysim report` says how far the ledger goes now, and what the last full audit "
                "said."
            )
            return said
        said.append(f"Ledger: {ledger['records']} records, head {head}.")
        said.append(
            f"Last full audit (noted down, not sealed): {audit['at'][:16].replace('T', ' ')} UTC, "
            f"{'everything held' if audit['holds'] else '{} faults'.format(audit['faults'])}, "
            f"head {audit['head'][:16]}."
            if audit
            else "No full audit yet: `deploysim audit ledger` walks down to the log files."
        )
    return said


def cells(document: dict[str, Any]) -> list[list[str]]:
    """The report's table, one row per behavior, rates per 100,000 messages."""
    rows: list[list[str]] = []
    for b in document["behaviors"]:
        p95 = b["forecast"]["p95"] if b["forecast"] else (None, None)
        before = b.get("persistence")
        rows.append(
            [
                b["behavior"],
                "-" if b["n"] is None else observed(b["k"], b["n"], b.get("high"), b["rate"]),
                limits(*p95),
                per_100k(before["rate"]) if before else "-",
                observed(*(b["realized"][name] for name in ("k", "n", "high", "rate")))
                if b["realized"]
                else "-",
                times(b["multiplicative_error"]) + ("*" if b["resolved"] is False else ""),
                times(b["noise_floor"]),
                {True: "yes", False: "no", None: "-"}[b["in_95"]],
                f"{b['precision']['precision']:.2f}"
                if b["precision"] and b["precision"]["precision"] is not None
                else "-",
                per_100k(b.get("rate_worst")) if (b.get("asked") or 0) > (b["n"] or 0) else "-",
                "drifted" if b["judge_drifted"] else "-",
                b.get("gate") or "-",
            ]
        )
    return rows


_OPTIONAL = {"precision": "-", "if missing flagged": "-", "judge": "-", "gate": "no threshold"}
"""Columns that are left out where every behavior has this in them."""


def table(document: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the report's table, without the columns that would say nothing."""
    rows = cells(document)
    shown = [
        i
        for i, name in enumerate(HEADER)
        if name not in _OPTIONAL or any(row[i] not in ("-", _OPTIONAL[name]) for row in rows)
    ]
    return [HEADER[i] for i in shown], [[row[i] for i in shown] for row in rows]


def verdict(summary: dict[str, Any]) -> str:
    """One sentence on how good the forecast was."""
    if not summary.get("behaviors"):
        return "Not scored yet: production of this release has not been graded."
    when = (
        "Sealed before the first production message."
        if summary["prospective"]
        else "Made after production had begun: not a forecast, a backtest."
    )
    return (
        f"Median error {times(summary['median_error'])} over {summary['resolved']} of "
        f"{summary['behaviors']} behaviors with enough events "
        f"(a perfect simulator: {times(summary['noise_floor'])}; same rate as the release "
        f"before: {times(summary['persistence_median_error'])}). "
        f"{summary['in_95']} of {summary['behaviors']} inside the 95% forecast; "
        f"direction right in {summary['direction_right']} of {summary['moved']} that moved. {when}"
    )
