"""Texts on one sheet: whatever a pattern finds in a text by itself marks it there, too, and a gate
that reads shapes lets through what one that reads digits does."""

import random

import pytest
import re2
from hypothesis import given, settings
from hypothesis import strategies as st

from deploysim_assets.deidentify import (
    hidden_text,
    keyed_text,
    live_rules,
    phones,
    presidio,
    scan_copy,
)
from deploysim_assets.deidentify.canaries import CANARIES
from deploysim_assets.deidentify.gate import Gate, of_shape
from deploysim_assets.deidentify.linear import Linear
from deploysim_assets.deidentify.patterns import PatternDetector
from deploysim_assets.deidentify.sheets import Sheet

CUES = (
    "", "", "", "Cookie: session=", "set-cookie: a=", "plate: ", "vin ", "call ", "passport no ",
    "id", "@", "x", "\n", " ", "-", "é", "号", "password = ", "48.137154, 11.576124 ", "http://",
)  # fmt: skip


def told(rng: random.Random, kind: str) -> str:
    """A canary, whole or cut, at the start of a text or behind something."""
    value = CANARIES[kind](rng)
    start, end = sorted((rng.choice((0, 0, len(value) // 2)), rng.choice((len(value),) * 3 + (3,))))
    return rng.choice(CUES) + value[start:end] + rng.choice(("", "", "\n", ".", " here", "°N"))


def texts(seed: int, count: int) -> list[str]:
    rng = random.Random(seed)
    return [told(rng, kind) for kind in rng.choices(list(CANARIES), k=count)]


def patterns() -> list[Linear]:
    held = [
        value
        for module in (hidden_text, keyed_text, live_rules, phones, scan_copy)
        for value in vars(module).values()
        if isinstance(value, Linear)
    ]
    windows = [presidio._window(kind) for kind in presidio._GATES]  # pyright: ignore
    return [*held, *windows, *live_rules._STARTS]  # pyright: ignore


@pytest.mark.parametrize("seed", range(4))
def test_a_text_that_matches_by_itself_is_touched_on_a_sheet(seed: int) -> None:
    encoded = [text.encode() for text in texts(seed, 250)]
    sheet = Sheet(encoded)
    for pattern in patterns():
        alone = {i for i, text in enumerate(encoded) if pattern.search(text)}
        touched = sheet.touched(pattern)
        assert touched == sorted(set(touched))
        assert alone <= set(touched), pattern.pattern


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text("a1|\n", max_size=6).map(str.encode), min_size=1, max_size=6))
def test_a_match_from_one_text_into_the_next_hides_none(some: list[bytes]) -> None:
    for pattern in (r"1[^1]*1", r"(?:^|[^a])1", r"[\n|]+a", r"(?s:a.{0,9}1)", r"\|\n1"):
        touched = Sheet(some).touched(Linear(pattern))
        assert {i for i, t in enumerate(some) if Linear(pattern).search(t)} <= set(touched)
        assert set(touched) <= set(range(len(some)))


@pytest.mark.parametrize("seed", range(3))
def test_what_is_found_in_many_short_texts_is_found_in_each(seed: int) -> None:
    some, detector = texts(seed, 120), PatternDetector()
    assert detector.batch(some) == [detector.spans(text) for text in some]


def test_a_shape_matches_wherever_its_pattern_does() -> None:
    rng = random.Random("shapes")
    some = [t.encode() for t in texts(1, 150)]
    some += ["".join(rng.choices("0123456789-. AX", k=24)).encode() for _ in range(150)]
    for rule in live_rules.RULES:
        exact, shape = Linear(rule.core.pattern), Linear(of_shape(rule.core.pattern))
        for text in some:
            if exact.search(text):
                assert shape.search(text.translate(bytes.maketrans(b"123456789", b"0" * 9)))


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"7[^0-9]8", "7a8"), (r"a[^1-8]b", "a9b"), (r"[^\]3]4", "]24"), (r"\d{3}\x{31}", "2341"),
        (r"[+\-5]9{2,3}", "-999"), (r"\[1\]", "[1]"), (r"[]1]x", "2x]x"), (r"\p{Nd}8", "38"),
    ],
)  # fmt: skip
def test_shapes_of_classes_escapes_and_counts(pattern: str, text: str) -> None:
    gate = Gate({5: pattern, 7: "never-there"})
    assert (5 in gate.passing(text.encode())) >= bool(re2.search(pattern, text))


def test_a_gate_that_gives_up_lets_all_through() -> None:
    gate = Gate({1: "x+", 2: "[0-9]{5}"})
    assert gate.passing(b"neither") == set()
    assert gate.passing(b"12345") == {2}
    gate._set = type("GivesUp", (), {"Match": staticmethod(lambda _: None)})()  # pyright: ignore
    assert gate.passing(b"neither") == {1, 2}
