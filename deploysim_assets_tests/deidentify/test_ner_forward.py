"""Level 2's own forward pass finds what spaCy's pipeline finds, whatever the text."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploysim_assets.benchmarks.chat_texts import chat_text
from deploysim_assets.deidentify import ner
from deploysim_assets.deidentify.ner_forward import NerForward, UnknownModel


@cache
def pipeline() -> Any:
    """A pipeline with NER of the small English model's architecture, its weights drawn at random:
    every move comes up. That of the extra `names`, where it is installed, is measured by
    benchmarks."""
    import numpy as np
    import spacy

    nlp = spacy.blank("en")
    config = {"model": {"tok2vec": TOK2VEC}}
    recognizer: Any = nlp.add_pipe("ner", config=config)
    for label in ("PERSON", "ORG", "DATE"):
        recognizer.add_label(label)
    nlp.initialize()
    rng = np.random.default_rng(7)
    upper = recognizer.model.get_ref("upper")
    upper.set_param("W", rng.normal(size=upper.get_param("W").shape).astype("f"))
    upper.set_param("b", rng.normal(size=upper.get_param("b").shape).astype("f"))
    for layer in recognizer.model.walk():
        if layer.has_param("pad") is True:
            layer.set_param("pad", rng.normal(size=layer.get_param("pad").shape).astype("f"))
    return nlp


@cache
def forward() -> NerForward:
    return NerForward(pipeline())


TOK2VEC = {
    "@architectures": "spacy.Tok2Vec.v2",
    "embed": {
        "@architectures": "spacy.MultiHashEmbed.v2",
        "width": 32,
        "attrs": ["NORM", "PREFIX", "SUFFIX", "SHAPE"],
        "rows": [500, 100, 250, 250],
        "include_static_vectors": False,
    },
    "encode": {
        "@architectures": "spacy.MaxoutWindowEncoder.v2",
        "width": 32,
        "depth": 4,
        "window_size": 1,
        "maxout_pieces": 3,
    },
}


def by_spacy(texts: Sequence[str]) -> list[list[tuple[int, int, str]]]:
    return [[(e.start_char, e.end_char, e.label_) for e in d.ents] for d in pipeline().pipe(texts)]


WORDS = st.sampled_from(
    ["Anna", "don't", "12", "May", "\n\n", "  ", "Dr.", "x@y.de", "漢字", "\U0001f600", ",", "of"]
)
TEXTS = st.lists(WORDS | st.text(max_size=8), max_size=30).map(" ".join)


@settings(deadline=None, max_examples=40)
@given(st.lists(TEXTS, max_size=5))
def test_entities_are_those_of_spacys_pipeline(texts: list[str]) -> None:
    assert list(forward()(texts)) == by_spacy(texts)


def test_long_texts_and_many_of_them() -> None:
    texts = [chat_text(i, 1_500 * (i % 3)) for i in range(12)]
    found = by_spacy(texts)
    assert {label for one in found for *_, label in one} == {"PERSON", "ORG", "DATE"}
    assert list(forward()(texts)) == found


def test_another_architecture_is_left_to_spacy() -> None:
    import spacy

    nlp = spacy.blank("en")
    config = {"model": {"tok2vec": {**TOK2VEC, "encode": MISH}}}
    recognizer: Any = nlp.add_pipe("ner", config=config)
    recognizer.add_label("X")
    nlp.initialize()
    with pytest.raises(UnknownModel):
        NerForward(nlp)


MISH = {
    "@architectures": "spacy.MishWindowEncoder.v2",
    "width": 32,
    "depth": 2,
    "window_size": 1,
}


def test_a_vocabulary_that_has_grown_is_let_go(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline().to_disk(tmp_path / "model")
    monkeypatch.setattr(ner, "_MOST_WORDS", 50)
    model = ner._Spacy(str(tmp_path / "model"))  # pyright: ignore[reportPrivateUsage]
    texts = [" ".join(f"w{i}x{n}" for n in range(60)) for i in range(3)]
    for text in texts:
        assert list(model([text])) == by_spacy([text])
    words = model._words  # pyright: ignore[reportPrivateUsage]
    assert texts[0].split()[0] not in words
    assert texts[2].split()[0] in words
