"""The figures of tables: the same ones in the page and in Dagster's UI."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from deploysim_assets.report.figures import Drawing
from deploysim_assets.report.tables import kind_of


def forecast_drawing(model: str, rows: Sequence[Mapping[str, Any]]) -> Drawing:
    """Forecast against threshold, from rows with behavior, forecast, threshold and live."""
    return Drawing(
        "forecast", f"Forecast for {model}",
        f"Forecast of {len(rows)} behaviors of {model} with 50, 80 and 95% intervals, thresholds "
        "and the live model's rates; the table has the figures.", rows,
    )  # fmt: skip


def calibration_drawing(title: str, rows: Sequence[Mapping[str, Any]]) -> Drawing:
    """Predicted against realized, from rows with behavior (None: no names), forecast, realized and
    resolved."""
    return Drawing(
        "calibration", title,
        f"{title}: {len(rows)} pairs, forecast across, production up, on logarithmic axes, with "
        "the band within 1.5x; the table has the figures.", rows,
    )  # fmt: skip


def noise_drawing(model: str, rows: Sequence[Mapping[str, Any]]) -> Drawing:
    """Errors beside their noise floors, from rows with behavior, error, floor and resolved."""
    return Drawing(
        "noise_floor", f"Error and noise floor: {model}",
        f"Multiplicative error of {len(rows)} behaviors of {model}, each beside the error that "
        "counting alone would show; the table has the figures.", rows,
    )  # fmt: skip


def coverage_drawing(rows: Sequence[Mapping[str, Any]]) -> Drawing:
    """Coverage over releases, from rows with model_version, behaviors, in_95 and its limits."""
    return Drawing(
        "coverage", "Coverage over releases",
        "Share of behaviors inside the 95% forecast for each scored release; the table has the "
        "figures.", rows,
    )  # fmt: skip


def smoothed(rate: float, n: float) -> float:
    """A rate with half a count added, so that a zero has a place on a logarithmic axis."""
    return rate + 0.5 / n


def live_rate(live_k: float | None, live_n: float | None, before: float | None) -> float | None:
    """The live model's rate: on the same prefixes, else what its production showed."""
    return (live_k or 0.0) / live_n if live_n else before


def of_estimates(model: str, estimates: Iterable[Mapping[str, Any]]) -> Drawing:
    """The forecast's figure from rows of rate_estimates."""

    def before(row: Mapping[str, Any]) -> float | None:
        n = row["persistence_n"]
        return row["persistence_k"] / n if n else None

    rows = [
        {
            "behavior": row["behavior"],
            "forecast": {"median": row["forecast_median"]}
            | {p: (row[f"{p}_low"], row[f"{p}_high"]) for p in ("p50", "p80", "p95")},
            "threshold": row["threshold"],
            "live": live_rate(row.get("live_k"), row.get("live_n"), before(row)),
        }
        for row in estimates
        if row.get("forecast_median") is not None
    ]
    return forecast_drawing(model, rows)


def of_scores(name: str, scores: Sequence[Mapping[str, Any]]) -> Drawing:
    """Predicted against realized from rows of calibration_report; those of several releases have
    no names."""
    several = len({row["model_version"] for row in scores}) > 1
    kind = kind_of(scores).capitalize()
    rows = [
        {
            "behavior": None if several else row["behavior"],
            "forecast": smoothed(row["forecast"], row["forecast_n"]),
            "realized": smoothed(row["realized"], row["realized_n"]),
            "resolved": row["resolved"],
        }
        for row in scores
        if row["forecast_n"] and row["realized_n"]
    ]
    return calibration_drawing(f"{kind}{'s' if several else ''} and production: {name}", rows)


def noise_of_scores(model: str, scores: Iterable[Mapping[str, Any]]) -> Drawing:
    """Errors beside their noise floors from rows of calibration_report."""
    rows = [
        {
            "behavior": row["behavior"],
            "error": row["multiplicative_error"],
            "floor": row["noise_floor"],
            "resolved": row["resolved"],
        }
        for row in scores
    ]
    return noise_drawing(model, rows)
