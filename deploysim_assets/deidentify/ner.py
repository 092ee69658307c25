"""Level 2: statistical named-entity recognition with models from local folders, many texts at
once. Nothing is ever downloaded."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportArgumentType=false

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from deploysim_assets.deidentify.addresses import country_spans
from deploysim_assets.deidentify.codes import code_spans
from deploysim_assets.deidentify.entity_spans import joined, mended
from deploysim_assets.deidentify.letter_case import as_written
from deploysim_assets.deidentify.ner_forward import NerForward, UnknownModel
from deploysim_assets.deidentify.onnx_ner import OnnxNer
from deploysim_assets.deidentify.organizations import initial_spans, organization_spans
from deploysim_assets.deidentify.rules import Clock, DetectionError, Span
from deploysim_assets.deidentify.scan_copy import ScanCopy, scan_copy
from deploysim_assets.project import EVERY_LANGUAGE, UNNAMED_LANGUAGE, Ner, ProjectError

LABELS = {
    "PERSON": "PERSON",
    "PER": "PERSON",
    "GPE": "LOCATION",
    "LOC": "LOCATION",
    "FAC": "LOCATION",
    "LOCATION": "LOCATION",
    "ADDRESS": "ADDRESS",
    "ORG": "ORGANIZATION",
    "ORGANIZATION": "ORGANIZATION",
    "NORP": "GROUP",
    "NRP": "GROUP",
    "DATE": "DATE",
    "TIME": "DATE",
    "DATE_TIME": "DATE",
}
"""A model's label -> entity type; any other label is passed over."""
_THRESHOLD = 0.3
_BATCH = 64
_MOST_WORDS = 400_000
"""About 200 MB."""
Recognize = Callable[[Sequence[str]], Iterable[list[tuple[int, int, str]]]]


class _Spacy:
    """A spaCy pipeline's NER alone. Its vocabulary keeps every word that it has met, so the model
    is loaded anew once that has grown by `_MOST_WORDS`."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._load()

    def _load(self) -> None:
        import spacy

        nlp = spacy.load(self._path)
        if "ner" not in nlp.pipe_names:
            raise ValueError("no ner")
        architecture = str(nlp.config["components"]["ner"].get("model", {}).get("tok2vec", {}))
        shared = [n for n in nlp.pipe_names if n in ("tok2vec", "transformer")]
        nlp.select_pipes(enable=[*(shared if "Listener" in architecture else ()), "ner"])
        self._words = nlp.vocab.strings
        self._most = len(self._words) + _MOST_WORDS
        try:
            self._read: Recognize = NerForward(nlp)
        except UnknownModel:
            self._read = partial(_piped, nlp)

    def __call__(self, texts: Sequence[str]) -> Iterator[list[tuple[int, int, str]]]:
        if len(self._words) > self._most:
            self._load()
        yield from self._read(texts)


def _piped(nlp: Any, texts: Sequence[str]) -> Iterator[list[tuple[int, int, str]]]:
    for doc in nlp.pipe(texts, batch_size=_BATCH):
        yield [(e.start_char, e.end_char, e.label_) for e in doc.ents]


def _presidio(recognizer: Any) -> Recognize:
    recognizer.load()

    def recognize(texts: Sequence[str]) -> Iterator[list[tuple[int, int, str]]]:
        for text in texts:
            found = recognizer.analyze(
                text, ["PERSON", "LOCATION", "ADDRESS", "ORGANIZATION"], None
            )
            yield [(r.start, r.end, r.entity_type) for r in found if r.score >= _THRESHOLD]

    return recognize


def _transformers(path: str) -> Recognize:
    from presidio_analyzer.predefined_recognizers import HuggingFaceNerRecognizer

    return _presidio(
        HuggingFaceNerRecognizer(model_name=path, tokenizer_name=path, threshold=_THRESHOLD)
    )


def _gliner(path: str) -> Recognize:
    from presidio_analyzer.predefined_recognizers import GLiNERRecognizer

    labels = {
        "person": "PERSON",
        "name": "PERSON",
        "location": "LOCATION",
        "organization": "ORGANIZATION",
        "street address": "ADDRESS",
    }
    return _presidio(GLiNERRecognizer(model_name=path, entity_mapping=labels, threshold=_THRESHOLD))


class NerDetector:
    """Names, places, organizations, groups, dates and codes by the policy's models, one per
    language."""

    name, level = "ner", 2

    def __init__(self, policy: Ner) -> None:
        os.environ["HF_HUB_OFFLINE"] = "1"
        load = {
            "spacy": _Spacy,
            "onnx": OnnxNer,
            "transformers": _transformers,
            "gliner": _gliner,
        }[policy.engine]
        self._models: dict[str, Recognize] = {}
        loaded: dict[str, Recognize] = {}
        for language, path in policy.models.items():
            try:
                if path not in loaded:
                    loaded[path] = load(path)
                self._models[language.casefold()] = loaded[path]
            except (OSError, ValueError, KeyError, ImportError) as wrong:
                raise ProjectError(
                    f"deploysim.yaml: deidentification.ner.models.{language}: {Path(path)} does "
                    f"not load as a {policy.engine} model "
                    f"({type(wrong).__name__}); name the folder of a saved model"
                ) from wrong

    def _model(self, language: str | None) -> Recognize:
        named = (language or UNNAMED_LANGUAGE).casefold()
        short = named.replace("_", "-").partition("-")[0]
        for key in (named, short, _CODES.get(named, short), EVERY_LANGUAGE):
            if key in self._models:
                return self._models[key]
        raise DetectionError("unsupported_language")

    def spans(self, text: str, language: str | None = None) -> list[Span]:
        """All entities of a text; DetectionError where no model reads the language, or where the
        text takes too long."""
        found = next(iter(self.batch([text], language)))
        if found is None:
            raise DetectionError("time_out")
        return found

    def batch(
        self, texts: Sequence[str], language: str | None = None
    ) -> Iterator[list[Span] | None]:
        """`spans` of many texts of one language, in order; None for one that takes too long.
        DetectionError at the first text that the model fails on, or at any of its batch."""
        recognize = self._model(language)
        copies: list[ScanCopy] = [scan_copy(text) for text in texts]
        written = [as_written(c.text) for c in copies]
        for copy, read, found in zip(copies, written, _read(recognize, written), strict=True):
            try:
                yield _whole_entities(copy, read, found, Clock())
            except TimeoutError:
                yield None


def _read(recognize: Recognize, texts: Sequence[str]) -> Iterator[list[tuple[int, int, str]]]:
    """What the model finds; whatever it raises is a DetectionError that holds nothing of a text."""
    try:
        yield from recognize(texts)
    except (DetectionError, MemoryError):
        raise
    except Exception:  # noqa: BLE001 (every engine raises classes of its own)
        raise DetectionError("model_failed") from None


def _whole_entities(
    copy: ScanCopy, read: str, found: list[tuple[int, int, str]], clock: Clock
) -> list[Span]:
    """What the model found, mended, and what rules add to it; TimeoutError once the clock is up."""
    spans = [
        Span(start, end, LABELS[label])
        for start, end, label in found
        if label in LABELS and end > start
    ]
    spans = mended(read, spans, clock)
    for rule in (code_spans, organization_spans, initial_spans, country_spans):
        for span in rule(copy.text):
            clock.check()
            spans.append(span)
    return sorted(
        {Span(*copy.original(s.start, s.end), s.type) for s in joined(copy.text, spans, clock)}
    )


_CODES = {
    "english": "en",
    "german": "de",
    "french": "fr",
    "spanish": "es",
    "italian": "it",
    "portuguese": "pt",
    "dutch": "nl",
    "chinese": "zh",
    "japanese": "ja",
    "russian": "ru",
}
"""Languages as some logs write them out."""
