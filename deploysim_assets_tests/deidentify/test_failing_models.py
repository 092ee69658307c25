"""A names model that fails in mid-corpus: its conversation is quarantined, every other one is
cleaned, and no error holds what it read."""

# pyright: reportMissingImports=false, reportMissingTypeStubs=false, reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploysim_assets.assets.deidentified_prefixes import clean_release
from deploysim_assets.assets.raw_logs import read_release
from deploysim_assets.assets.registry_lines import registry_line
from deploysim_assets.deidentify.keys import Keys
from deploysim_assets.deidentify.ner import NerDetector
from deploysim_assets.deidentify.prefixes import Cut, Drawn, cut_prefixes
from deploysim_assets.deidentify.rules import DetectionError
from deploysim_assets.deidentify.scrub import Scrubber
from deploysim_assets.logs.sampling import DrawnTurn
from deploysim_assets.project import Deidentification, Ner
from deploysim_assets.project.file import load_project
from deploysim_assets.storage.manifests import Run
from deploysim_assets.storage.tables import Lake
from deploysim_assets_tests.support import SHARED, needs_shared

KEYS = Keys(b"1" * 32, b"2" * 32)
FATAL = "qwertzuiop"
CONVERSATIONS, EVERY = 40, 8


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spaCy pipeline in a folder whose `ner` raises where a text holds FATAL, and names Anna."""
    import spacy
    from spacy.language import Language
    from spacy.tokens import Doc, Span

    def read(doc: Doc) -> Doc:
        if FATAL in doc.text:
            raise IndexError(f"no vector for {doc.text}")
        doc.ents = [Span(doc, t.i, t.i + 1, "PERSON") for t in doc if t.text == "Anna"]
        return doc

    Language.component("fails_on_a_word", func=read)
    nlp = spacy.blank("en")
    nlp.add_pipe("fails_on_a_word", name="ner")
    folder = tmp_path_factory.mktemp("failing")
    nlp.to_disk(folder)
    return folder


def is_fatal(number: int) -> bool:
    return number % EVERY == 3


def talk(number: int) -> dict[str, Any]:
    asked = f"I met Anna, case {number}" + (f", {FATAL}" if is_fatal(number) else "")
    return {
        "conversation_id": f"c{number}", "user_id": None, "started_at": "2026-05-01T10:00:00Z",
        "training_allowed": True, "language": "en",
        "messages": [
            {"role": "user", "content": asked}, {"role": "assistant", "content": "And then?"},
        ],
    }  # fmt: skip


def test_a_corpus_is_made_without_the_conversations_that_the_model_fails_on(
    failing: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = {
        "releases": [
            {"model_version": "m", "logs": {"format": "openai_chat", "path": "logs.jsonl"}}
        ],
        "endpoint": {"base_url": "http://127.0.0.1:1/v1"},
        "behaviors": [
            {
                "name": "b", "definition": "d", "grader": "rule",
                "rule": {"part": "reply", "regex": "x"},
            }
        ],
        "deidentification": {
            "min_level": 2, "ner": {"engine": "spacy", "models": {"en": str(failing)}}
        },
    }  # fmt: skip
    (tmp_path / "deploysim.yaml").write_text(yaml.safe_dump(config))
    lines = [json.dumps(talk(i)) + "\n" for i in range(CONVERSATIONS)]
    (tmp_path / "logs.jsonl").write_text("".join(lines))
    project = load_project(tmp_path)
    lake = Lake.of(tmp_path).during(Run("run", "test", {"release": registry_line(project, "m")}))
    read_release(lake, project, "m")
    stats = clean_release(lake, project, "m", KEYS, project.deidentification.at(tmp_path))
    lost = sum(map(is_fatal, range(CONVERSATIONS)))
    assert stats["quarantined_by_reason"] == {"model_failed": lost}
    assert stats["released"] == CONVERSATIONS - lost == stats["drawn"] - lost
    said = [row["messages"][0]["content"] for row in lake.rows("deidentified_prefixes", "m")]
    assert len(said) == CONVERSATIONS - lost
    assert all(text.startswith("I met ") and "Anna" not in text for text in said)
    aside = list(lake.rows("deidentified_prefixes", "m", table="quarantine"))
    assert {row["reason"] for row in aside} == {"model_failed"}
    assert FATAL not in "".join([*said, *map(repr, aside), json.dumps(stats), *capfd.readouterr()])


def test_what_a_model_raises_is_said_without_its_words(failing: Path) -> None:
    detector = NerDetector(Ner(engine="spacy", models={"*": str(failing)}))
    with pytest.raises(DetectionError) as failed:
        detector.spans(f"a text with {FATAL}")
    assert str(failed.value) == "model_failed"
    assert failed.value.__cause__ is None
    assert failed.value.__suppress_context__, "a traceback would print the model's own message"


def classifier(folder: Path, of_word: dict[str, int], classes: tuple[str, ...], fatal: str) -> Path:
    """A token classifier: logits[token] = table[id]. The id of `fatal` is beyond the table, so
    that onnxruntime itself fails on it."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    words = {w: i for i, w in enumerate(["[UNK]", *of_word, fatal])}
    tokenizer: Any = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    table = np.zeros((len(words) - 1, len(classes)), np.float32)
    for word, kind in of_word.items():
        table[words[word], kind] = 1
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "input_ids"], ["logits"])],
        "tokens",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"])
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "length", None])],
        [numpy_helper.from_array(table, "table")],
    )
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=9), folder / "model.onnx")
    config = {"id2label": dict(enumerate(classes)), "max_position_embeddings": 130}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def real_conversations() -> Iterator[dict[str, Any]]:
    empty = dict.fromkeys(("reasoning", "name", "tool_calls", "tool_call_id", "at"))
    with gzip.open(SHARED / "data" / "hh_harmless" / "test.jsonl.gz") as file:
        for raw in file:
            row = json.loads(raw)
            said = [*row["prefix"], {"role": "assistant", "content": row["preferred"]}]
            yield {
                "conversation_id": str(row["id"]), "user_id": None, "model_version": "m",
                "surface": "web", "language": "en", "training_allowed": True, "tools": None,
                "messages": [empty | m for m in said],
            }  # fmt: skip


@needs_shared
def test_a_classifier_reads_real_conversations_and_loses_none(tmp_path: Path) -> None:
    for module in ("onnx", "onnxruntime", "tokenizers"):
        pytest.importorskip(module, reason=f"{module} comes with the extras onnx and dev")
    fatal = "lawyer"
    folder = classifier(
        tmp_path, {"john": 1, "texas": 2, "london": 2, "bob": 1}, ("O", "B-PER", "B-LOC"), fatal
    )
    policy = Deidentification(min_level=2, ner=Ner(engine="onnx", models={"en": str(folder)}))
    scrubber = Scrubber(KEYS.surrogates, policy)
    talks = list(real_conversations())[::4]
    drawn = [Drawn(t, [DrawnTurn(len(t["messages"]) - 2, "", 1.0)]) for t in talks]
    cut = Cut([], [])
    for at in range(0, len(drawn), 100):
        some = cut_prefixes(drawn[at : at + 100], KEYS, scrubber)
        cut.prefixes.extend(some.prefixes)
        cut.quarantined.extend(some.quarantined)
    keyed = {KEYS.identify("conversation", t["conversation_id"]): t for t in talks}
    holds = {
        key for key, t in keyed.items() if any(fatal in _words(m["content"]) for m in t["messages"])
    }
    out = {row["conversation_key"]: row["reason"] for row in cut.quarantined}
    assert len(out) == len(cut.quarantined)
    assert set(out) >= holds, "what the model failed on does not leave"
    assert {out[key] for key in holds} == {"model_failed"}
    assert "model_failed" not in {reason for key, reason in out.items() if key not in holds}
    assert len(holds) >= 3
    assert {*out, *(p["conversation_key"] for p in cut.prefixes)} == set(keyed)
    assert len(cut.prefixes) == len(talks) - len(out)
    named = 0
    for prefix in cut.prefixes:
        before = keyed[prefix["conversation_key"]]["messages"]
        after = [*prefix["messages"], prefix["production_completion"]]
        for old, new in zip(before, after, strict=True):
            for name in ("john", "bob", "london"):
                named += name in _words(old["content"])
                assert name not in _words(new["content"])
    assert named >= 3


def _words(text: str) -> set[str]:
    return set("".join(c if c.isalnum() else " " for c in text.lower()).split())
