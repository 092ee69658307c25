"""Sentinels: drawn by lot, sealed, and a test that sees a judge that changed and no other."""

import copy
import random
from typing import Any

import orjson
import pytest

from deploysim_assets.behaviors import Behavior
from deploysim_assets.endpoint.wire import request_key
from deploysim_assets.grading.item import Item
from deploysim_assets.grading.panel import Panel
from deploysim_assets.grading.run import GradingRun
from deploysim_assets.grading.sentinels import (
    Lots,
    Sentinel,
    digest,
    drift,
    occasion,
    sealed,
    served_differently,
    still_there,
    unseal,
)
from deploysim_assets.project import Judge

NAMES = [f"b{i}" for i in range(10)]


def rows(rng: random.Random, count: int = 2_000) -> list[dict[str, Any]]:
    return [
        {"prefix_id": f"{i:016x}", "status": "graded"} | {n: rng.random() < 0.03 for n in NAMES}
        for i in range(count)
    ]


def draw(some: list[dict[str, Any]], seed: str, most: int = 10_000) -> dict[str, Any]:
    lots = Lots(NAMES, seed, 20)
    for row in some:
        lots.add(row)
    return lots.drawn(most)


def item(content: str, prefix_id: str = "p") -> Item:
    message = {"role": "user", "content": "hi", "tool_calls": None, "reasoning": None, "name": None}
    prefix = {
        "prefix_id": prefix_id, "messages": [message], "surface": "web", "language": "en",
        "stratum": "all", "weight": 1.0, "user_key": "u",
    }  # fmt: skip
    reply = {"content": content, "reasoning": None, "tool_calls": []}
    return Item(prefix, reply, "completed", None)


def occasion_of(rng: random.Random, noise: float, moved: float) -> list[Any]:
    """A set drawn and graded twice by a judge with so much noise, and graded again by one that
    misses a share of what it flagged."""
    some = rows(rng, 1_000)
    chosen = draw(some, "1")
    truth = {r["prefix_id"]: {n: bool(r[n]) for n in NAMES} for r in some}

    def grade(miss: float = 0.0) -> dict[str, dict[str, bool | None]]:
        return {
            i: {n: (truth[i][n] and rng.random() >= miss) != (rng.random() < noise) for n in NAMES}
            for i in chosen
        }

    sentinels = [Sentinel(i, "production", "d", names) for i, names in chosen.items()]
    record = sealed("g", {}, sentinels, grade(), grade(), {})
    return drift(orjson.loads(orjson.dumps(record)), grade(moved))


def test_the_draw_is_by_lot_balanced_and_the_same_in_any_order() -> None:
    some = rows(random.Random(1))
    chosen = draw(some, "1")
    assert chosen == draw(some[::-1], "1")
    assert chosen != draw(some, "2")
    for name in NAMES:
        for flagged in (True, False):
            there = sum((name, flagged) in names for names in chosen.values())
            assert there == min(20, sum(r[name] is flagged for r in some))
    assert len(chosen) <= 20 * (len(NAMES) + 2), "a clean reply serves for many behaviors"
    failed = [r | {"status": "failed"} for r in some]
    assert draw(failed, "1") == {}


def test_a_small_draw_gives_every_lot_its_turn() -> None:
    some = rows(random.Random(1))
    few = draw(some, "1", most=30)
    assert len(few) == 30
    for name in NAMES:
        assert sum((name, True) in names for names in few.values()) >= 2


def test_the_draw_keeps_the_verdicts_of_what_it_chose_and_forgets_the_others() -> None:
    some = rows(random.Random(2), 20_000)
    lots = Lots(NAMES, "1", 20)
    for row in some:
        lots.add(row)
    by_id = {r["prefix_id"]: r for r in some}
    chosen = lots.drawn(10_000)
    assert all(lots.verdicts(p) == {n: by_id[p][n] for n in NAMES} for p in chosen)
    assert len(lots._verdicts) < 2_000, "memory is flat"


def test_a_set_that_was_touched_is_not_the_one_that_was_sealed() -> None:
    one = Sentinel("p", "production", digest(item("x")), (("b0", True),))
    verdicts = {"p": {"b0": True}}
    record = orjson.loads(orjson.dumps(sealed("g", {}, [one], verdicts, verdicts, {})))
    assert unseal(record) == [one]
    for change in ("first", "items", "grading_id"):
        touched = copy.deepcopy(record)
        touched[change] = {"p": {"b0": False}} if change == "first" else touched[change][:0]
        with pytest.raises(ValueError, match="not the one that was sealed"):
            unseal(touched)


def test_what_was_withdrawn_or_is_no_longer_the_same_leaves_the_set() -> None:
    kept = [Sentinel(p, "production", digest(item(p)), (("b0", True),)) for p in ("a", "b", "c")]
    now = {"a": item("a"), "b": item("b, edited")}
    assert [one.prefix_id for one, _ in still_there(kept, lambda s: now.get(s.prefix_id))] == ["a"]


def test_a_judge_of_many_minds_has_not_drifted() -> None:
    """Family-wise at 1%: two sets of a hundred would be many."""
    for noise in (0.0, 0.05, 0.2):
        rng = random.Random(int(noise * 100))
        false = sum(any(d.drifted for d in occasion_of(rng, noise, 0.0)) for _ in range(40))
        assert false <= 2


def test_a_judge_that_misses_most_of_what_it_flagged_has() -> None:
    rng = random.Random(3)
    seen = [sum(d.drifted for d in occasion_of(rng, 0.02, 0.9)) for _ in range(10)]
    assert sum(seen) >= 70, "of a hundred, with twenty flagged items each"
    quiet = occasion_of(rng, 0.0, 0.0)
    assert all((d.p_value, d.to_flagged, d.to_clean) == (1.0, 0, 0) for d in quiet)


def test_missing_verdicts_are_no_change_and_nothing_graded_is_no_evidence() -> None:
    sentinels = [Sentinel(f"{i}", "production", "d", (("b0", True),)) for i in range(20)]
    flagged = {one.prefix_id: {"b0": True} for one in sentinels}
    record = sealed("g", {}, sentinels, flagged, flagged, {})
    nothing = drift(record, {i: {"b0": None} for i in flagged})
    assert [(d.n, d.p_value, d.drifted) for d in nothing] == [(0, 1.0, False)]
    half = {i: {"b0": False if int(i) < 10 else None} for i in flagged}
    found = drift(record, half)[0]
    assert (found.n, found.to_clean, found.drifted) == (10, 10, True)
    assert found.p_value == pytest.approx(0.5**10)


def test_an_occasion_asks_anew_and_again_finds_what_it_asked() -> None:
    panel = Panel((Behavior(name="b0", definition="d"),), Judge(model="judge"))

    def key(name: str) -> str:
        run = GradingRun(panel, None, b"k" * 32, occasion=name)  # type: ignore[arg-type]
        return request_key(next(run.requests([item("x")])))

    first = occasion("g", "production_grades", "m", "run=1")
    assert key(first) == key(first)
    other = occasion("g", "production_grades", "m", "run=2")
    assert len({key(""), key(first), key(other)}) == 3


def test_a_model_that_answers_under_another_name_is_told() -> None:
    assert served_differently({"m fp_1": 9}, {"m fp_1": 4, "m fp_2": 5}) == (["m fp_2"], [])
    assert served_differently({"m": 1}, {"m": 2}) == ([], [])
