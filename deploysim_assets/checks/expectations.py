"""Great Expectations over a small frame of numbers, with results that hold numbers only: its
defaults copy offending cells."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

import importlib
import sys
from types import ModuleType
from typing import Any, NamedTuple

import polars as pl

_NUMBERS_ONLY = {"result_format": "BASIC", "partial_unexpected_count": 0}
_PLACE = ("log_file", "log_line", "prefix_id")
"""Columns that say where a row comes from. GX never sees them."""
_UNUSED = ("scipy.stats", "altair")
"""What great_expectations imports for expectations and pages that are not used here: a third of
the time that it takes to load."""
_NAMED = 20
"""How many rows a failing check names."""


class Expectation(NamedTuple):
    """A named expectation: the GX class's name and its arguments."""

    check: str
    kind: str
    arguments: dict[str, Any]

    @property
    def bounds(self) -> dict[str, float]:
        """What the figures are held against, named so that the UI, which sorts, shows each beside
        its figure."""
        about = "value" if self.offending() is not None else "observed_value"
        found = {
            f"{about}_{ours}": float(self.arguments[f"{end}_value"])
            for end, ours in (("min", "at_least"), ("max", "at_most"))
            if f"{end}_value" in self.arguments
        }
        if about == "value":
            found["unexpected_percent_allowed"] = 100.0 * (1 - self.arguments.get("mostly", 1))
        return found

    def offending(self) -> pl.Expr | None:
        """The rows that break it, as GX sees them; None where it is about the table as a whole."""
        column = pl.col(self.arguments.get("column", ""))
        match self.kind:
            case "ExpectColumnValuesToBeBetween":
                low, high = (self.arguments.get(f"{end}_value") for end in ("min", "max"))
                below = column < low if low is not None else pl.lit(value=False)
                above = column > high if high is not None else pl.lit(value=False)
                return (below | above).fill_null(value=False)
            case "ExpectColumnValuesToBeUnique":
                return column.is_duplicated() & column.is_not_null()
            case "ExpectColumnValuesToNotBeNull":
                return column.is_null()
            case _:
                return None


class Verdict(NamedTuple):
    """Whether an expectation holds, the numbers GX gives with the bounds beside them, and where
    the rows are that break it."""

    passed: bool
    numbers: dict[str, float]
    places: str | None = None


def _raised(info: dict[str, Any]) -> bool:
    """GX reports a failing metric in one of two shapes instead of raising it."""
    return info.get("raised_exception") is True or any(
        isinstance(v, dict) and v.get("raised_exception") for v in info.values()
    )


def named_places(found: pl.DataFrame) -> str:
    """Where rows are, for people: lines by file where the frame has these, else prefix ids, the
    first few of them."""
    shown = found.head(_NAMED)
    more = f" and {found.height - shown.height:,} more" if found.height > shown.height else ""
    if "log_file" not in found.columns:
        return f"prefixes {', '.join(shown['prefix_id'])}{more}"
    lines = shown.group_by("log_file", maintain_order=True).agg("log_line")
    files = (f"{file}: lines {', '.join(map(str, at))}" for file, at in lines.iter_rows())
    return f"{'; '.join(files)}{more}"


class _Later(ModuleType):
    """A module that is loaded when something of it is first used. (importlib's LazyLoader loads
    when another module imports it, before Python 3.12.)"""

    def __getattr__(self, name: str) -> Any:
        if name in ("__spec__", "__wrapped__", "__warningregistry__"):
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


def _load_later(*names: str) -> None:
    for name in names:
        sys.modules.setdefault(name, _Later(name))


def validate(numbered: pl.DataFrame, expectations: list[Expectation]) -> dict[str, Verdict]:
    """Validate a frame of numbers; verdict by check name. A fresh context per call: a shared one
    gives another thread's answers."""
    _load_later(*_UNUSED)
    import great_expectations as gx
    import great_expectations.expectations as gxe

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    batch = (
        context.data_sources.add_pandas("pandas")
        .add_dataframe_asset("frame")
        .add_batch_definition_whole_dataframe("whole")
    )
    places = [column for column in _PLACE if column in numbered.columns]
    frame = numbered.drop(places)
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
    by_name = {e.check: e for e in expectations}
    for found in result.results:
        numbers = {
            k: float(v) for k, v in (found.result or {}).items() if isinstance(v, int | float)
        }
        passed = bool(found.success) and not _raised(found.exception_info or {})
        check = (found.expectation_config.meta or {})["check"]
        broken = None if passed or not places else by_name[check].offending()
        where = None if broken is None else named_places(numbered.filter(broken).select(places))
        verdicts[check] = Verdict(passed, numbers | by_name[check].bounds, where)
    return verdicts
