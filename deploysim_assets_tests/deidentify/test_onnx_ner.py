"""The engine `onnx`: a token classifier made here, which knows a few words by themselves."""

# pyright: reportMissingImports=false, reportMissingTypeStubs=false, reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false

import json
from pathlib import Path
from typing import Any

import pytest

from deploysim_assets.deidentify.onnx_ner import OnnxNer
from deploysim_assets.deidentify.scrub import Scrubber
from deploysim_assets.project import Deidentification, Ner, ProjectError

for _module in ("onnx", "onnxruntime", "tokenizers"):
    pytest.importorskip(_module, reason=f"{_module} comes with the extras onnx and dev")

LABELS = ("O", "B-PER", "I-PER", "B-LOC")
CLASS_OF = {"anna": 1, "lind": 1, "##qvist": 2, "van": 2, "berg": 2, "lund": 3, "bo": 1}
PIECES = ["[UNK]", "[CLS]", "[SEP]", *CLASS_OF, *"the note of was short in and ##x".split()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """logits[token] = table[id]; [UNK] is no entity."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    made = tmp_path_factory.mktemp("onnx") / "model"
    made.mkdir()
    tokenizer: Any = Tokenizer(
        models.WordPiece({p: i for i, p in enumerate(PIECES)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    tokenizer.save(str(made / "tokenizer.json"))
    table = np.zeros((len(PIECES), len(LABELS)), np.float32)
    for i, piece in enumerate(PIECES):
        table[i, CLASS_OF.get(piece, 0)] = 1
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "input_ids"], ["logits"])],
        "tokens",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"])
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "length", 4])],
        [numpy_helper.from_array(table, "table")],
    )
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=9), made / "model.onnx")
    config = {"id2label": dict(enumerate(LABELS)), "max_position_embeddings": 34}
    (made / "config.json").write_text(json.dumps(config))
    return made


def read(folder: Path, text: str) -> list[tuple[str, str]]:
    return [(text[a:b], label) for a, b, label in next(iter(OnnxNer(str(folder))([text])))]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("the note of Anna Lindqvist was short", [("Anna", "PER"), ("Lindqvist", "PER")]),
        ("Anna van Berg and Bo", [("Anna van Berg", "PER"), ("Bo", "PER")]),
        ("Berg in Lund", [("Berg", "PER"), ("Lund", "LOC")]),
        ("Lundx and unheard", [("Lundx", "LOC")]),
        ("", []),
        ("\U0001f600 of Bo", [("Bo", "PER")]),
    ],
)
def test_tokens_become_names(folder: Path, text: str, found: list[tuple[str, str]]) -> None:
    assert read(folder, text) == found


def test_a_long_text_is_read_to_its_end_and_no_name_is_cut(folder: Path) -> None:
    for before in range(20, 60):
        text = "of " * before + "Anna van Berg " + "of " * 70 + "Bo"
        assert read(folder, text) == [("Anna van Berg", "PER"), ("Bo", "PER")]


def test_texts_of_a_batch_stay_apart(folder: Path) -> None:
    texts = [f"{'of ' * (i * 7 % 50)}{name}" for i in range(20) for name in ("Bo", "unheard")]
    found = list(OnnxNer(str(folder))(texts))
    assert [len(one) for one in found] == [1, 0] * 20


def test_the_scrubber_replaces_what_it_finds(folder: Path) -> None:
    policy = Deidentification(ner=Ner(engine="onnx", models={"*": str(folder)}))
    message: dict[str, Any] = dict.fromkeys(("reasoning", "name", "tool_calls", "tool_call_id"))
    text = "the note of Anna Lindqvist was short"
    said = Scrubber(b"k" * 32, policy).scrub([message | {"role": "user", "content": text}], "c")
    assert "Lindqvist" not in said.messages[0]["content"]
    assert said.messages[0]["content"].startswith("the note of ")


@pytest.mark.parametrize("broken", ["model.onnx", "tokenizer.json", "config.json", "labels", "no"])
def test_what_is_no_such_model_is_an_error_that_names_the_folder(
    folder: Path, tmp_path: Path, broken: str
) -> None:
    import shutil

    shutil.copytree(folder, tmp_path / "model")
    if broken == "no":
        (tmp_path / "model" / "tokenizer.json").unlink()
    elif broken == "labels":
        (tmp_path / "model" / "config.json").write_text('{"id2label": {"0": "O"}}')
    else:
        (tmp_path / "model" / broken).write_text("no")
    policy = Deidentification(ner=Ner(engine="onnx", models={"en": "model"}))
    with pytest.raises(ProjectError, match="model does not load as a onnx model"):
        Scrubber(b"k" * 32, policy.at(tmp_path))


def test_a_models_digest_is_that_of_its_files(folder: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(folder, tmp_path / "model")
    models = Ner(engine="onnx", models={"en": "model", "de": "model"})
    before = models.digests(tmp_path)
    assert (
        before["en"]
        == before["de"]
        == Ner(engine="onnx", models={"x": str(folder)}).digests(tmp_path)["x"]
    )
    (tmp_path / "model" / "config.json").write_text("{}")
    assert models.digests(tmp_path) != before
