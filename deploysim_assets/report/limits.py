"""What a report cannot say, in plain words."""

from collections.abc import Iterator

from deploysim_assets.report.facts import ReleaseReport

_LOWEST_LEVEL_WITH_NAMES = 1


def limits_of(report: ReleaseReport) -> list[str]:
    """The limits of the method, and those of this release."""
    return [
        "It counts what its graders look for. Harm that no behavior names is seen, if at all, "
        "under “What no behavior names”.",
        "It speaks of the traffic that was replayed: what users of the release before asked, who "
        "consented, in the sample drawn. New users and new uses after release are not in it.",
        "Below about five simulated events a forecast is little more than an upper limit.",
        "The user's next turn is not simulated: each reply is the first that the candidate gives.",
        *_of_this(report),
    ]


def _of_this(report: ReleaseReport) -> Iterator[str]:
    if report.summary and not report.summary.get("prospective"):
        yield (
            "The forecast was sealed after production had begun: it is a backtest, and shows less "
            "than a forecast would."
        )
    if report.fidelity is not None:
        yield (
            "Tools were simulated: no call of the candidate reached a real system, and what it "
            "would have found there is known only as far as “Simulated tools” tells."
        )
    if report.terms and report.terms.min_level < _LOWEST_LEVEL_WITH_NAMES:
        yield "De-identification at level 0 cannot tell names from other words."
    if not report.taught_by and any(b.forecast for b in report.behaviors):
        yield "Nothing was known of this simulation's errors: the intervals rest on a prior."
    unlabeled = [b.behavior for b in report.behaviors if b.grader_id and not b.precision]
    if unlabeled and len(unlabeled) < len(report.behaviors):
        yield f"Nobody has held these graders against people: {', '.join(unlabeled)}."
    elif unlabeled:
        yield "Nobody has held the graders against people: a flag is the grader's word."
    if report.judge and not all(facts["drift"] for facts in report.judge.values()):
        yield "Whether the judge changed under its name between the two sides was not measured."
    drifted = [b.behavior for b in report.behaviors if b.judge_drifted]
    if drifted:
        yield (
            "The judge changed its verdicts on sealed sentinels: what differs between the sides "
            f"may be the judge in {', '.join(drifted)}."
        )
    if not report.evidence.verified:
        yield "The seals of these figures were not checked, or do not hold: trust none of them."
