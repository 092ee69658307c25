"""Levels 1 and 2, policies and replacements: names by list, cue and model, aliases of one
person, and what is refused."""

import random
from pathlib import Path
from typing import Any

import pytest
from presidio_analyzer.nlp_engine import SpacyNlpEngine

from deploysim_assets.deidentify.gazetteer import GazetteerDetector
from deploysim_assets.deidentify.names import first_names, other_name, script_of
from deploysim_assets.deidentify.ner import NerDetector
from deploysim_assets.deidentify.rules import DetectionError
from deploysim_assets.deidentify.scrub import Quarantined, Scrubber
from deploysim_assets.project import Deidentification, Ner, ProjectError

KEY = b"k" * 32
NAMES = (
    "Anna Lindqvist",
    "Marco Bianchi",
    "Keiko Tanaka",
    "Omar Haddad",
    "Julia Novak",
    "Peter Brandt",
)


def message(content: str, role: str = "user") -> dict[str, Any]:
    return dict.fromkeys(("reasoning", "name", "tool_calls", "tool_call_id", "at")) | {
        "role": role,
        "content": content,
    }


def scrub(
    scrubber: Scrubber, *texts: str, scope: str = "c", language: str | None = None
) -> list[str]:
    return [
        m["content"] for m in scrubber.scrub([message(t) for t in texts], scope, language).messages
    ]


@pytest.fixture(scope="module")
def gazetteer() -> Scrubber:
    return Scrubber(KEY, Deidentification(min_level=1))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spaCy model of our own that knows six names in a few sentences: enough to show the
    wiring, no claim on recall."""
    import spacy
    from spacy.training import Example

    rng = random.Random(3)
    nlp = spacy.blank("en")
    nlp.add_pipe("ner").add_label("PERSON")
    examples = []
    for _ in range(160):
        before, after = rng.choice(
            (
                ("yesterday ", " sent the file"),
                ("please ask ", " about it"),
                ("the note of ", " was short"),
                ("", " called me back"),
            )
        )
        name = rng.choice(NAMES)
        examples.append(
            Example.from_dict(
                nlp.make_doc(f"{before}{name}{after}"),
                {"entities": [(len(before), len(before) + len(name), "PERSON")]},
            )
        )
    optimizer = nlp.initialize(lambda: examples, sgd=None)
    for _ in range(6):
        rng.shuffle(examples)
        nlp.update(examples, sgd=optimizer, drop=0.1)
    folder = tmp_path_factory.mktemp("model") / "ner"
    nlp.to_disk(folder)
    return folder


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("I met Laura Fischer in the train", "Laura Fischer"),
        ("Dear Sophie, thank you", "Sophie"),
        ("please call Dr. Grzegorz tomorrow", "Grzegorz"),
        ("hello, my name is Zsigmond and I need help", "Zsigmond"),
        ("меня зовут Иван Петров", "Иван Петров"),
        ("我叫王伟，想问一下", "王伟"),
        ("she lives at 221 Baker Street with two cats", "221 Baker Street"),
        ("ich wohne in der Lindenstraße 12 hinten", "Lindenstraße 12"),
    ],
)
def test_lists_cues_and_streets_give_names_away(gazetteer: Scrubber, text: str, name: str) -> None:
    assert any(name in text[s.start : s.end] for s in GazetteerDetector().spans(text))
    cleaned = scrub(gazetteer, text)[0]
    assert name not in cleaned
    assert script_of(cleaned[::-1]) == script_of(text[::-1])


@pytest.mark.parametrize(
    "text",
    [
        "May I ask something",
        "the Grand Canyon",
        "New York Times",
        "def Main(Args): pass",
        "It will rain in June",
    ],
)
def test_words_that_are_names_too_prove_nothing_alone(text: str) -> None:
    assert GazetteerDetector().spans(text) == []


def test_a_person_keeps_one_surrogate_through_name_first_name_and_mailbox(
    gazetteer: Scrubber,
) -> None:
    whole, first, box = scrub(
        gazetteer,
        "I wrote to Laura Fischer today",
        "Dear Laura, hello",
        "it is laura.fischer@lindenhof.de now",
    )
    given, family = whole.removeprefix("I wrote to ").removesuffix(" today").split()
    assert given.casefold() in first_names()
    assert {given, family}.isdisjoint({"Laura", "Fischer"})
    assert first == f"Dear {given}, hello"
    local = box.removeprefix("it is ").partition("@")[0]
    ascii_only = "".join(c for c in f"{given}.{family}".lower() if c.isascii())
    assert local.rstrip("0123456789") == ascii_only or not f"{given}{family}".isascii()
    other = scrub(gazetteer, "I wrote to Laura Fischer today", scope="another")[0]
    assert other != whole, "surrogates of two conversations cannot be linked"


def test_a_surrogate_name_is_never_the_name(gazetteer: Scrubber) -> None:
    for name in ("Laura", "Иван", "王", "Schmidt"):
        assert all(other_name(name, n).casefold() != name.casefold() for n in range(3_000))


def test_placeholders_number_the_entities_of_a_conversation() -> None:
    scrubber = Scrubber(KEY, Deidentification(min_level=1, replacement="placeholders"))
    texts = (
        "Dear Sophie Martin",
        "my card is 4111 1111 1111 1111",
        "Dear Sophie",
        "from ann@lindenhof.de and bob@lindenhof.de",
    )
    assert scrub(scrubber, *texts) == [
        "Dear <PERSON_1>",
        "my card is <CREDIT_CARD_1>",
        "Dear <PERSON_1>",
        "from <EMAIL_ADDRESS_1> and <EMAIL_ADDRESS_2>",
    ]


def test_a_model_from_a_folder_finds_what_no_list_holds(model: Path) -> None:
    scrubber = Scrubber(
        KEY, Deidentification(min_level=2, ner=Ner(engine="spacy", models={"*": str(model)}))
    )
    assert scrubber.level == 2
    cleaned = scrub(scrubber, "the note of Anna Lindqvist was short")[0]
    assert "Lindqvist" not in cleaned
    assert cleaned.startswith("the note of ")


def test_a_language_without_a_model_is_quarantined(model: Path) -> None:
    policy = Deidentification(min_level=2, ner=Ner(engine="spacy", models={"English": str(model)}))
    with pytest.raises(DetectionError, match="unsupported_language"):
        NerDetector(policy.ner or Ner(engine="spacy", models={"x": ""})).spans("bonjour", "French")
    scrubber = Scrubber(KEY, policy)
    assert scrub(scrubber, "nothing here", language="english") == ["nothing here"]
    for language in ("French", None):
        with pytest.raises(Quarantined, match="unsupported_language"):
            scrub(scrubber, "nothing here", language=language)
    only = Scrubber(KEY, Deidentification.model_validate({"min_level": 0, "languages": ["en"]}))
    assert scrub(only, "hello", language="EN") == ["hello"]
    with pytest.raises(Quarantined, match="unsupported_language"):
        scrub(only, "hello")


def test_what_the_policy_needs_and_is_not_there_is_named_with_its_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploysim_assets.project.deidentification.packaged_ner", lambda: None)
    assert "accept in writing that names stay" in (Deidentification().unreachable(tmp_path) or "")
    absent = Deidentification(ner=Ner(engine="gliner", models={"en": "models/en"}))
    assert "pip install 'deploysim[gliner]'" in (absent.unreachable(tmp_path) or "")
    nowhere = Deidentification(ner=Ner(engine="spacy", models={"en": "models/en"}))
    assert "no such folder (en: models/en)" in (nowhere.unreachable(tmp_path) or "")
    (tmp_path / "models" / "en").mkdir(parents=True)
    assert nowhere.unreachable(tmp_path) is None
    with pytest.raises(ProjectError, match="does not load as a spacy model"):
        Scrubber(KEY, nowhere.at(tmp_path))
    assert Deidentification(min_level=0).unreachable(tmp_path) is None


def test_no_model_is_ever_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a download was tried")

    monkeypatch.setattr("spacy.cli.download", refuse)
    monkeypatch.setattr(
        SpacyNlpEngine,
        "_download_spacy_model_if_needed",
        staticmethod(lambda name: None if Path(name).exists() else refuse()),
    )
    with pytest.raises(ProjectError):
        NerDetector(Ner(engine="spacy", models={"en": str(tmp_path)}))
