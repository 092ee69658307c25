"""Plots and tables that Dagster's UI shows without a click: no part reaches its limit, nothing is
left out."""

from hypothesis import given
from hypothesis import strategies as st

from deploysim_assets.report.inline import Span, calibration_spans, text_plot, text_table
from deploysim_assets.report.tables import calibration_markdown, markdown_table

SHOWN_AT_ONCE = 1000
RATES = st.one_of(st.just(0.0), st.floats(1e-3, 1e5))


@given(
    st.lists(st.tuples(st.text("abc_", min_size=1, max_size=60), RATES, RATES, RATES), max_size=60)
)
def test_every_line_is_in_a_part_that_the_ui_shows_at_once(
    found: list[tuple[str, float, float, float]],
) -> None:
    spans = [Span(n, min(a, b), max(a, b), [("F", m), ("R", a)]) for n, a, b, m in found]
    parts = text_plot(spans, "F forecast")
    assert all(len(part) < SHOWN_AT_ONCE for part in parts)
    lines = [line for part in parts for line in part.split("\n") if "·" in line or "═" in line]
    assert len(lines) == len(spans)
    assert len({len(line) for line in lines}) <= 1
    for line in lines:
        assert "*" in line or ("F" in line and "R" in line)


def test_marks_stand_where_the_axis_says() -> None:
    line = text_plot([Span("x", 10, 1000, [("F", 10.0), ("R", 1000.0)])], "")[0].split("\n")[2]
    assert line == "x F" + "═" * 42 + "R"


def test_a_long_table_is_split_and_each_part_has_the_header() -> None:
    table = "Rates.\n\n" + markdown_table(["a", "b"], [["x" * 40, str(i)] for i in range(100)])
    parts = text_table(table)
    assert len(parts) > 1
    assert all(len(p) < SHOWN_AT_ONCE and p.startswith("Rates.\n\n| a | b |") for p in parts)
    assert sum(p.count("x" * 40) for p in parts) == 100


def test_the_table_and_the_plot_say_backtest_where_it_is_one() -> None:
    row = {
        "behavior": "rude", "prospective": False, "forecast": 0.01, "forecast_n": 100,
        "forecast_k": 1, "forecast_high": 0.03, "realized": 0.02, "realized_n": 100,
        "realized_k": 2, "realized_low": 0.01, "realized_high": 0.05, "multiplicative_error": 2.0,
        "resolved": False, "noise_floor": 1.5, "in_95": True,
    }  # fmt: skip
    assert calibration_markdown([row]).startswith("Backtest, per 100,000")
    assert "| backtest |" in calibration_markdown([row])
    assert "B" in text_plot(calibration_spans([row]), "")[0]
    assert calibration_markdown([row | {"prospective": True}]).startswith("Forecast, ")
