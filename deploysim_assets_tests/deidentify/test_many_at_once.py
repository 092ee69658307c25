"""Texts that are scanned many at a time come out as they would one by one, and one that takes too
long costs no other."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploysim_assets.deidentify import patterns, rules
from deploysim_assets.deidentify.encoded import EncodedText
from deploysim_assets.deidentify.hidden_text import Hidden
from deploysim_assets.deidentify.leaves import Leaf
from deploysim_assets.deidentify.patterns import PatternDetector
from deploysim_assets.deidentify.replacing import Output, Replacer
from deploysim_assets.deidentify.rules import Clock, DetectionError
from deploysim_assets.deidentify.scrub import Asked, Quarantined, Scrubbed, Scrubber
from deploysim_assets.project import Deidentification

EMPTY: dict[str, Any] = dict.fromkeys(("reasoning", "name", "tool_calls", "tool_call_id"))
LEVEL_0, LEVEL_1 = (Deidentification(min_level=level) for level in (0, 1))
PIECES = st.sampled_from(
    (
        "ann.lee@lindenhof.de", "Ann Lee", "Dear Ms. Lee,", "+49 30 901820", "call 555-01\n42 now",
        "4111 1111\n1111 1111", "DE89 3704 0044 0532 0130 00", "81.2.69.142", "sk-proj-Ab3dEf6hI",
        "j9lMn2pQr5tUv8x", '{"password": "hunter2", "n": 1}', "my key is", "@lindenhof.de", "室",
        "tel: 030 1111.", "YW5uLmxlZUBsaW5kZW5ob2YuZGU=", "\n", " ", "Here is what I know.", "７５",
        "4f6c2d1e-9b7a-4c3d-8e5f-0a1b2c3d4e5f", "3.14159265", "\u200b",
        "NHS 943 476 5919", "\ud800",
    )
)  # fmt: skip
PROSE = st.lists(PIECES, max_size=9).map("".join) | st.text(max_size=40)
KEYS = st.sampled_from(("id", "name", "note", "ssn", "value", "key", "columns", "rows", "7", ""))
VALUES = st.recursive(
    PROSE | st.integers(0, 10**16) | st.floats(allow_nan=False, allow_infinity=False) | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
ANSWERS = st.lists(st.dictionaries(KEYS, VALUES, max_size=4), max_size=3).map(json.dumps)
TEXTS = PROSE | ANSWERS
TALKS = st.lists(st.lists(TEXTS, min_size=1, max_size=3), min_size=1, max_size=6)


def asked(texts: list[str], scope: str) -> Asked:
    roles = ("user", "assistant")
    return Asked([EMPTY | {"role": roles[i % 2], "content": t} for i, t in enumerate(texts)], scope)


def alone(scrubber: Scrubber, one: Asked) -> Scrubbed | str:
    try:
        return scrubber.scrub(*one)
    except Quarantined as why:
        return str(why)


@settings(max_examples=40, deadline=None)
@given(TALKS, st.sampled_from((LEVEL_0, LEVEL_1)))
def test_conversations_come_out_as_each_would_alone(
    talks: list[list[str]], policy: Deidentification
) -> None:
    conversations = [asked(texts, str(i)) for i, texts in enumerate(talks)]
    together = Scrubber(b"k" * 32, policy).scrub_all(conversations)
    said = [str(r) if isinstance(r, Quarantined) else r for r in together]
    assert said == [alone(Scrubber(b"k" * 32, policy), one) for one in conversations]


@settings(max_examples=60, deadline=None)
@given(st.lists(TEXTS, max_size=8))
def test_texts_are_found_the_same_in_together_and_one_by_one(texts: list[str]) -> None:
    detector = PatternDetector()
    assert detector.batch(texts) == [detector.spans(text) for text in texts]


def test_a_text_that_takes_too_long_costs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = "this takes long: YW5uLmxlZUBsaW5kZW5ob2YuZGU= for ann@lindenhof.de"

    def hidden(encoded: EncodedText, bare: EncodedText) -> Iterator[Hidden]:
        if encoded.text == slow:
            raise TimeoutError
        return iter(())

    monkeypatch.setattr(patterns, "hidden_texts", hidden)
    before, found, after = PatternDetector().batch(["bob@a.example.de", slow, "eve@b.example.de"])
    assert found is None
    assert [s.type for s in before or ()] == [s.type for s in after or ()] == ["EMAIL_ADDRESS"]
    with pytest.raises(DetectionError, match="time_out"):
        PatternDetector().spans(slow)
    fine, out = Scrubber(b"k" * 32).scrub_all(
        [asked(["bob@a.example.de"], "1"), asked([slow], "2")]
    )
    assert isinstance(fine, Scrubbed)
    assert isinstance(out, Quarantined)
    assert str(out) == "time_out"


def test_a_clock_counts_only_while_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def burn(seconds: float) -> None:
        until = time.thread_time() + seconds
        while time.thread_time() < until:
            pass

    monkeypatch.setattr(rules, "MAX_SECONDS", 0.05)
    clock, other = Clock(), Clock()
    now = clock.stop()
    other.start(now)
    burn(0.06)
    with pytest.raises(TimeoutError):
        other.check()
    clock.start(other.stop())
    clock.check()
    burn(0.06)
    with pytest.raises(TimeoutError):
        clock.check()


def test_what_an_output_holds_beside_what_was_issued_quarantines_in_a_batch() -> None:
    scrubber = Scrubber(b"k" * 32)
    replacer: Replacer = scrubber._replacer  # pyright: ignore[reportPrivateUsage]
    leaf = Leaf("name ann@lindenhof.de")
    output = Output("name x y, and bob@lindenhof.de", [(5, 8)])
    replacer.read_ahead([(leaf, output)])
    with pytest.raises(DetectionError, match="residual"):
        replacer.rid(leaf, output, scrubber._treatment("c", None))  # pyright: ignore[reportPrivateUsage]


@given(st.text(max_size=40), st.lists(st.integers(0, 40), max_size=6))
def test_places_may_be_asked_for_in_any_order(text: str, at: list[int]) -> None:
    encoded = EncodedText(text)
    starts = [len(text[:i].encode(errors="replace")) for i in range(len(text) + 1)]
    for i in (i for i in at if i <= len(text)):
        assert encoded.index(starts[i]) == i
        assert encoded.size(0, i) == starts[i]
