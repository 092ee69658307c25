"""The check that replies are whole: above which share of non-answers it warns, or is an error."""

import dagster as dg
import pytest

from deploysim_assets.project import Grading
from deploysim_assets.release_checks.replies import whole_replies
from deploysim_assets.schema import UNANSWERED

ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN


@pytest.mark.parametrize("state", UNANSWERED)
def test_every_kind_of_non_answer_warns_and_is_an_error_above_its_limit(state: str) -> None:
    few, some, many = (
        whole_replies({"prefixes": 100, state: count}, Grading()) for count in (1, 5, 11)
    )
    assert few.passed
    assert (some.passed, some.severity) == (False, WARN)
    assert (many.passed, many.severity) == (False, ERROR)


def test_kinds_are_counted_together_and_cut_replies_that_are_graded_only_warn() -> None:
    each = dict.fromkeys(UNANSWERED, 3)
    assert whole_replies({"prefixes": 100, **each}, Grading()).severity == ERROR
    graded = whole_replies({"prefixes": 100, "truncated": 90}, Grading(truncated="grade"))
    assert (graded.passed, graded.severity) == (False, WARN)
