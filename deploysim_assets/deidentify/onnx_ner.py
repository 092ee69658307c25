"""Token classifiers as ONNX files (engine `onnx`): a folder with `model.onnx`, `tokenizer.json` and
`config.json`, as Optimum's `optimum-cli export onnx --task token-classification` writes it."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportMissingImports=false

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deploysim_assets.deidentify.rules import DetectionError

_FILES = ("model.onnx", "tokenizer.json", "config.json")
_LONGEST = 512
_OVERLAP = 64
"""Tokens that two windows of a long text share, so that no name is cut in both."""
_BATCH = 16
Found = list[tuple[int, int, str]]


class _Window(NamedTuple):
    text: int
    encoding: Any


class OnnxNer:
    """Entities of texts by a token classifier, in one thread: there is a process per core."""

    def __init__(self, path: str) -> None:
        """ValueError where the folder is no such model."""
        import onnxruntime
        from tokenizers import Tokenizer

        folder = Path(path)
        for name in _FILES:
            if not (folder / name).is_file():
                raise FileNotFoundError(name)
        config: dict[str, Any] = json.loads((folder / "config.json").read_text())
        self._labels = [config["id2label"][str(i)] for i in range(len(config["id2label"]))]
        longest = min(_LONGEST, int(config.get("max_position_embeddings", _LONGEST + 2)) - 2)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        try:
            self._tokenizer: Any = Tokenizer.from_file(str(folder / "tokenizer.json"))
            self._session: Any = onnxruntime.InferenceSession(
                str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
            )
            self._inputs = {one.name for one in self._session.get_inputs()}
            self._tokenizer.enable_truncation(longest, stride=min(_OVERLAP, longest // 4))
            self._tokenizer.no_padding()
            classes = self._logits(self._windows(["A probe."])).shape[2]
        except Exception as wrong:  # both libraries raise classes of their own, and Exception
            raise ValueError(type(wrong).__name__) from wrong
        if classes != len(self._labels):
            raise ValueError("labels")

    def __call__(self, texts: Sequence[str]) -> Iterator[Found]:
        """The entities of each text as (start, end, label), in order; what either of two windows
        finds counts. DetectionError where the model fails."""
        found: list[set[tuple[int, int, str]]] = [set() for _ in texts]
        windows = sorted(self._windows(texts), key=lambda w: len(w.encoding))
        for at in range(0, len(windows), _BATCH):
            some = windows[at : at + _BATCH]
            try:
                chosen = self._logits(some).argmax(axis=2)
            except Exception:  # noqa: BLE001 (onnxruntime's classes, whose messages hold values)
                raise DetectionError("model_failed") from None
            for window, classes in zip(some, chosen, strict=True):
                found[window.text].update(self._entities(window.encoding, classes))
        return (_union(spans) for spans in found)

    def _windows(self, texts: Sequence[str]) -> list[_Window]:
        encodings: list[Any] = self._tokenizer.encode_batch(list(texts))
        return [
            _Window(i, e) for i, whole in enumerate(encodings) for e in (whole, *whole.overflowing)
        ]

    def _logits(self, windows: Sequence[_Window]) -> NDArray[np.float32]:
        """(windows, tokens, labels)."""
        width = max(1, *(len(w.encoding) for w in windows))
        given = np.zeros((3, len(windows), width), np.int64)
        for i, (_, e) in enumerate(windows):
            given[0, i, : len(e)] = e.ids
            given[1, i, : len(e)] = e.attention_mask
            given[2, i, : len(e)] = e.type_ids
        names = ("input_ids", "attention_mask", "token_type_ids")
        feeds = {n: given[i] for i, n in enumerate(names) if n in self._inputs}
        return self._session.run(None, feeds)[0]

    def _entities(
        self, encoding: Any, classes: NDArray[np.int64]
    ) -> Iterator[tuple[int, int, str]]:
        """Neighboring tokens of one label, a begun word whole: B- of a piece within a word begins
        nothing."""
        start = end = 0
        label, word = "", None
        for i, (a, b) in enumerate(encoding.offsets):
            of_word = encoding.word_ids[i]
            if of_word is None or a == b:
                continue
            prefix, _, kind = self._labels[classes[i]].rpartition("-")
            within = of_word == word
            word = of_word
            if kind != "O" and label == kind and (within or prefix not in ("B", "S", "U")):
                end = b
                continue
            if within and label:
                end = b
                continue
            if label:
                yield start, end, label
            label, start, end = ("", 0, 0) if kind == "O" else (kind, a, b)
        if label:
            yield start, end, label


def _union(spans: set[tuple[int, int, str]]) -> Found:
    """Overlapping spans of one label as one."""
    out: Found = []
    last: dict[str, int] = {}
    for start, end, label in sorted(spans):
        at = last.get(label)
        if at is not None and start < out[at][1]:
            out[at] = (out[at][0], max(end, out[at][1]), label)
        else:
            last[label] = len(out)
            out.append((start, end, label))
    return out
