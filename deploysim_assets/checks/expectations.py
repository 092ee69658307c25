"""Great Expectations over a small frame of numbers, with results that hold numbers only: its
defaults copy offending cells."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

from typing import Any, NamedTuple

import polars as pl

_NUMBERS_ONLY = {"result_format": "BASIC", "partial_unexpected_count": 0}


class Expectation(NamedTuple):
    """A named expectation: the GX class's name and its arguments."""

    check: str
    kind: str
    arguments: dict[str, Any]


class Verdict(NamedTuple):
    """Whether an expectation holds, and the numbers GX gives beside it."""

    passed: bool
    numbers: dict[str, float]


def _raised(info: dict[str, Any]) -> bool:
    """GX reports a failing metric in one of two shapes instead of raising it."""
    return info.get("raised_exception") is True or any(
        isinstance(v, dict) and v.get("raised_exception") for v in info.values()
    )


def validate(frame: pl.DataFrame, expectations: list[Expectation]) -> dict[str, Verdict]:
    """Validate a frame; verdict by check name. A fresh context per call: a shared one gives
    another thread's answers."""
    import great_expectations as gx
    import great_expectations.expectations as gxe

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    batch = (
        context.data_sources.add_pandas("pandas")
        .add_dataframe_asset("frame")
        .add_batch_definition_whole_dataframe("whole")
    )
    suite = gx.ExpectationSuite(name="suite")
    for expectation in expectations:
        suite.add_expectation(
            getattr(gxe, expectation.kind)(
                **expectation.arguments, meta={"check": expectation.check}
            )
        )
    loaded = batch.get_batch(batch_parameters={"dataframe": frame.to_pandas()})
    result = loaded.validate(suite, result_format=_NUMBERS_ONLY)
    verdicts: dict[str, Verdict] = {}
    for found in result.results:
        numbers = {
            k: float(v) for k, v in (found.result or {}).items() if isinstance(v, int | float)
        }
        passed = bool(found.success) and not _raised(found.exception_info or {})
        verdicts[(found.expectation_config.meta or {})["check"]] = Verdict(passed, numbers)
    return verdicts
