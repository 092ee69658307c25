"""The score of many behaviors together (statistics.md, section 5): medians, coverage, direction,
skill, each with its interval."""

from typing import Any

import numpy as np
from scipy import stats

from deploysim_assets.forecast.estimate import scored
from deploysim_assets.forecast.predictive import tau_profile
from deploysim_assets.forecast.rates import clopper_pearson
from deploysim_assets.forecast.scores import median_interval, skill

BASELINES = ("persistence", "previous_simulation", "challenging_prompts", "blend")
"""What the forecast is compared with. The blend is no baseline but the second forecast: there
the sign says which one was nearer."""

_MEDIAN_OF_T4 = 0.7407
_LEAST_PAIRS = 3


def _median(rows: list[dict[str, Any]], name: str) -> float | None:
    values = [r[name] for r in rows if r.get(name) is not None]
    return float(np.median(values)) if values else None


def _mean(rows: list[dict[str, Any]], name: str) -> float | None:
    values = [r[name] for r in rows if r.get(name) is not None]
    return float(np.mean(values)) if values else None


def _skill(rows: list[dict[str, Any]], baseline: str) -> dict[str, Any]:
    both = [r for r in rows if r.get(f"{baseline}_error") is not None]
    found: dict[str, Any] = {
        f"{baseline}_pairs": len(both),
        f"{baseline}_median_error": _median(
            [r for r in both if r["resolved"]], f"{baseline}_error"
        ),
    }
    if both:
        gained = skill(
            [r["behavior"] for r in both],
            [r["multiplicative_error"] for r in both],
            [r[f"{baseline}_error"] for r in both],
        )
        found |= dict(
            zip(
                (f"{baseline}_skill", f"{baseline}_p", f"{baseline}_wilcoxon_p"),
                gained,
                strict=True,
            )
        )
    return found


def change_correlation(rows: list[dict[str, Any]]) -> float | None:
    """Pearson correlation of called and realized log changes over resolved pairs. That of log
    rates says nothing: persistence has .95."""
    pairs = [
        (r["called_change"], r["realized_change"])
        for r in rows
        if r["resolved"] and r.get("realized_change") is not None
    ]
    if len(pairs) < _LEAST_PAIRS or min(np.ptp(pairs, axis=0)) == 0:
        return None
    return float(stats.pearsonr(*zip(*pairs, strict=True)).statistic)


def intrinsic_error(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The median error that would remain with endless counts, exp(.7407 tau), with its 95%
    interval; needs three pairs."""
    if len(rows) < _LEAST_PAIRS:
        return {}
    names = ("intrinsic_error", "intrinsic_error_low", "intrinsic_error_high")
    return {
        name: float(np.exp(_MEDIAN_OF_T4 * tau))
        for name, tau in zip(names, tau_profile([scored(r) for r in rows]), strict=True)
    }


def summarize(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The score of many behaviors: point errors over the resolved pairs, interval and direction
    scores over all that can be judged."""
    resolved = [r for r in rows if r["resolved"]]
    moved = [r for r in rows if r["moved"]]
    right = sum(bool(r["direction_right"]) for r in moved)
    found: dict[str, Any] = {
        "behaviors": len(rows),
        "resolved": len(resolved),
        "unresolved": [f"{r['model_version']} {r['behavior']}" for r in rows if not r["resolved"]],
        "median_error": _median(resolved, "multiplicative_error"),
        "noise_floor": _median(resolved, "noise_floor"),
        **intrinsic_error(rows),
        **{f"in_{level}": sum(r[f"in_{level}"] for r in rows) for level in (50, 80, 95)},
        "moved": len(moved),
        "direction_right": right,
        "direction_ceiling": _mean(moved, "direction_ceiling"),
        "change_correlation": change_correlation(rows),
        "log_score": _mean(rows, "log_score"),
        "crps": _mean(rows, "crps"),
        "regret": sum(r["regret"] for r in rows),
        "blend_in_95": sum(bool(r.get("blend_in_95")) for r in rows),
        "prospective": all(r["prospective"] for r in rows),
    }
    if resolved:
        limits = median_interval([r["multiplicative_error"] for r in resolved])
        found |= dict(zip(("median_error_low", "median_error_high"), limits, strict=True))
    if rows:
        found |= dict(
            zip(
                ("in_95_low", "in_95_high"), clopper_pearson(found["in_95"], len(rows)), strict=True
            )
        )
    if moved:
        found |= dict(
            zip(
                ("direction_low", "direction_high"), clopper_pearson(right, len(moved)), strict=True
            )
        )
    for baseline in BASELINES:
        found |= _skill(rows, baseline)
    return found
