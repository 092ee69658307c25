"""What a report says of the judge: whether it stayed the same, and what people should look at."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

SIDES = {"simulated": "simulated", "live": "of the live model", "realized": "in production"}
"""How a report names the replies of each side."""


def kappa_words(agreed: Mapping[str, Any], table: Iterable[int]) -> str:
    """How far a judge agrees with itself: kappa with its 95% interval and how many verdicts
    differ; without a flag there is no kappa."""
    both, first, second, neither = table
    n = both + first + second + neither
    differ = f"{first + second:,} of {n:,} verdicts differ"
    if not (both + first + second) or not (neither + first + second):
        return f"no kappa ({'flagged' if both else 'not flagged'} in all of {n:,})"
    return f"kappa {agreed['value']:.2f} ({agreed['low']:.2f} to {agreed['high']:.2f}), {differ}"


def drift_words(row: Mapping[str, Any]) -> str:
    """How a drifted judge changed on a behavior."""
    return (
        f"{row['to_clean'] + row['to_flagged']:,} of {row['n']:,} sentinels changed "
        f"({row['to_clean']:,} to clean, {row['to_flagged']:,} to flagged; "
        f"{row['changed_at_draw']:,} between the two gradings at the draw), p {row['p_holm']:.2g}"
    )


def judge_lines(document: Mapping[str, Any]) -> list[str]:
    """What is worth knowing of the judge on each side of a report, as sentences."""
    sides: Mapping[str, Mapping[str, Any]] = document.get("judge", {})
    return [
        *_drift_lines(sides),
        *(line for side, facts in sides.items() for line in _side_lines(SIDES[side], facts)),
    ]


def _drift_lines(sides: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    drifted, smallest, counts = False, 1.0, list[int]()
    for side, facts in sides.items():
        for row in facts["drift"]:
            counts.append(row["n"])
            smallest = min(smallest, 1.0 if row["p_holm"] is None else row["p_holm"])
            if row["drifted"]:
                drifted = True
                yield (
                    f"The judge is not the one that it was (replies {SIDES[side]}, "
                    f"{row['behavior']}): {drift_words(row)}. Figures of {row['behavior']} on the "
                    "two sides are not comparable: what differs may be the judge."
                )
        new = sorted({name for row in facts["drift"] for name in row["new_servers"]})
        if new:
            yield (
                f"Beside the replies {SIDES[side]} the judge's server named {', '.join(new)}, "
                "which did not answer when the sentinels were drawn."
            )
    unwatched = [SIDES[side] for side, facts in sides.items() if not facts["drift"]]
    if unwatched:
        yield (
            f"Nobody watched whether the judge stayed the same for replies {', '.join(unwatched)}:"
            " no sentinels were graded beside them."
        )
    elif sides and not drifted:
        yield (
            f"The judge stayed the same, as far as {min(counts):,} sentinels tell (smallest p, by "
            f"Holm: {smallest:.2g})."
        )


def _side_lines(side: str, facts: Mapping[str, Any]) -> Iterator[str]:
    if signs := facts.get("signs_of_attack", 0):
        yield (
            f"Replies {side}: {signs:,} of {facts['graded']:,} show signs that a text tries to "
            "steer the judge; people should look at them (`judge_notes.steers`)."
        )
    if unsupported := facts.get("unsupported_flags", 0):
        yield (
            f"Replies {side}: {unsupported:,} of {facts['flags']:,} flags are unsupported: what "
            "they quote stands nowhere in what was graded."
        )
    for member, counted in facts.get("members", {}).items():
        if counted["votes"]:
            share = counted["dissent"] / counted["votes"]
            yield (
                f"Replies {side}: {member} voted otherwise than its panel in "
                f"{counted['dissent']:,} of {counted['votes']:,} verdicts ({share:.1%})."
            )
    agreement: Mapping[str, Any] = facts.get("self_agreement", {})
    for name, agreed in agreement.items():
        words = kappa_words(agreed, facts["repeats"][name])
        yield f"Replies {side}: the judge against itself on {name}: {words}."
