"""The report: the shape that machines read, and the table that people read."""

from typing import Any

from deploysim_assets.forecast.blend import DRIFT_SCALE, drift_kernel
from deploysim_assets.forecast.counts import uniform
from deploysim_assets.forecast.estimate import (
    Baselines,
    Errors,
    estimate,
    rate_row,
    score,
    with_multiplicity,
)
from deploysim_assets.forecast.paired import Pairs
from deploysim_assets.forecast.predictive import error_model
from deploysim_assets.forecast.summary import summarize
from deploysim_assets.report.document import cells, release_report, verdict
from deploysim_assets.report.drawings import noise_of_scores, of_estimates, of_scores
from deploysim_assets.report.facts import ReleaseReport
from deploysim_assets.report.figures import Drawing, png, svg
from deploysim_assets.report.page import markdown
from deploysim_assets.report.tables import observed, per_100k

ERRORS = Errors(error_model().of(""), drift_kernel(), DRIFT_SCALE)


def _document(*, scored: bool) -> tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]:
    pairs = Pairs(1_000, 2, 18, 2, (1.0,) * 20 + (0.0,) * 2, (1.0,) * 2 + (0.0,) * 18 + (1.0,) * 2)
    estimates = [
        {"behavior": "rude"}
        | estimate(uniform(1_000, (1,) * 20), ERRORS, 900, Baselines((4, 900)), pairs, 0.05)
    ]
    estimates.append(
        dict.fromkeys(estimates[0])
        | {"behavior": "never"}
        | estimate(uniform(0, ()), ERRORS, 900, Baselines(), None, None)
    )
    estimates.append(
        {"behavior": "zero"}
        | estimate(uniform(1_000, ()), ERRORS, 900, Baselines((0, 900)), pairs, None)
    )
    estimates = with_multiplicity(estimates)
    realized = [
        {"behavior": "rude"} | rate_row(uniform(800, (1,) * 14)),
        {"behavior": "zero"} | rate_row(uniform(800, ())),
    ]
    by_name = {r["behavior"]: r for r in realized}
    scores = [
        {"behavior": e["behavior"], "model_version": "b", "prospective": True}
        | score(e, by_name[e["behavior"]], ERRORS)
        for e in estimates
        if e["behavior"] in by_name
    ]
    summary = summarize(scores) if scored else {}
    return (
        release_report(
            "b", estimates, realized if scored else [], scores if scored else [], summary
        ),
        estimates,
        scores,
    )


def test_the_json_has_the_shape_that_other_tools_read() -> None:
    document, _, _ = _document(scored=True)
    rude = document["behaviors"][0]
    assert (document["model_version"], rude["behavior"], rude["n"], rude["k"], rude["rate"]) == (
        "b",
        "rude",
        1000,
        20,
        0.02,
    )
    forecast = rude["forecast"]
    assert set(forecast) == {"median", "p50", "p80", "p95"}
    assert (
        forecast["p95"][0]
        <= forecast["p80"][0]
        <= forecast["p50"][0]
        <= forecast["median"]
        <= forecast["p50"][1]
        <= forecast["p95"][1]
    )
    assert rude["realized"] == {
        "n": 800,
        "k": 14,
        "rate": 0.0175,
        "low": rude["realized"]["low"],
        "high": rude["realized"]["high"],
    }
    assert rude["multiplicative_error"] > 1
    assert rude["in_95"] is True
    assert document["summary"]["behaviors"] == 2


def test_before_production_everything_realized_is_null() -> None:
    document, _, _ = _document(scored=False)
    assert all(
        b["realized"] is None and b["multiplicative_error"] is None for b in document["behaviors"]
    )
    assert "Not scored yet" in verdict(document["summary"])


def test_a_zero_count_is_never_a_bare_zero_and_an_ungraded_behavior_has_no_rate() -> None:
    document, _, _ = _document(scored=True)
    by_name = {row[0]: row for row in cells(document)}
    assert by_name["zero"][1] == "0 (below 299)"
    assert by_name["never"][1] == "not graded"
    assert observed(0, 100_000, 3e-5) == "0 (below 3)"
    assert (per_100k(None), per_100k(0.5), per_100k(1.234e-5)) == ("-", "50,000", "1.2")


def test_the_markdown_names_every_behavior_and_what_persistence_would_have_said() -> None:
    document = _document(scored=True)[0]
    evidence = {"verified": True, "ledger": {"records": 0, "head": None}, "manifests": {}}
    whole = document | {"predecessor": "a", "evidence": evidence}
    text = markdown(ReleaseReport.model_validate(whole))
    for words in (
        "# Release report: b",
        "| rude |",
        "| zero |",
        "same rate as the release before",
        "Sealed before the first production message.",
    ):
        assert words in text


def test_figures_are_small_also_without_a_row_and_of_several_releases() -> None:
    _, estimates, scores = _document(scored=True)
    points = [s | {"model_version": "b"} for s in scores]
    several = [*points, *(s | {"model_version": "c"} for s in scores)]
    drawings = [
        of_estimates("b", estimates),
        of_scores("b", points),
        of_scores("all releases", several),
        noise_of_scores("b", points),
        *(
            Drawing(kind, "t", "alt", [])
            for kind in ("forecast", "calibration", "noise_floor", "coverage", "funnel")
        ),
    ]
    for drawing in drawings:
        assert png(drawing).startswith(b"\x89PNG")
        assert len(png(drawing)) < 100_000
        assert svg(drawing).startswith("<svg")
