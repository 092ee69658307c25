"""Level 2: statistical named-entity recognition through presidio, with models from local
folders. Nothing is ever downloaded."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportArgumentType=false

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from presidio_analyzer import RecognizerResult

from deploysim_assets.deidentify.rules import DetectionError, Span
from deploysim_assets.deidentify.scan_copy import scan_copy
from deploysim_assets.project import EVERY_LANGUAGE, Ner, ProjectError

TYPES = ("PERSON", "LOCATION", "ADDRESS")
_THRESHOLD = 0.3
Recognize = Callable[[str], list[RecognizerResult]]


def _spacy(path: str) -> Recognize:
    from presidio_analyzer.nlp_engine import SpacyNlpEngine
    from presidio_analyzer.predefined_recognizers import SpacyRecognizer

    engine = SpacyNlpEngine(models=[{"lang_code": "en", "model_name": path}])
    engine.load()
    recognizer = SpacyRecognizer()

    def recognize(text: str) -> list[RecognizerResult]:
        return recognizer.analyze(text, list(TYPES), engine.process_text(text, "en"))

    return recognize


def _transformers(path: str) -> Recognize:
    from presidio_analyzer.predefined_recognizers import HuggingFaceNerRecognizer

    recognizer = HuggingFaceNerRecognizer(
        model_name=path, tokenizer_name=path, threshold=_THRESHOLD
    )
    recognizer.load()
    return lambda text: recognizer.analyze(text, list(TYPES), None)


def _gliner(path: str) -> Recognize:
    from presidio_analyzer.predefined_recognizers import GLiNERRecognizer

    labels = {
        "person": "PERSON",
        "name": "PERSON",
        "location": "LOCATION",
        "street address": "ADDRESS",
    }
    recognizer: Any = GLiNERRecognizer(model_name=path, entity_mapping=labels, threshold=_THRESHOLD)
    recognizer.load()
    return lambda text: recognizer.analyze(text, list(TYPES), None)


class NerDetector:
    """Names and places by the policy's models, one per language."""

    name, level = "ner", 2

    def __init__(self, policy: Ner) -> None:
        os.environ["HF_HUB_OFFLINE"] = "1"
        load = {"spacy": _spacy, "transformers": _transformers, "gliner": _gliner}[policy.engine]
        self._models: dict[str, Recognize] = {}
        for language, path in policy.models.items():
            try:
                self._models[language.casefold()] = load(path)
            except (OSError, ValueError, ImportError) as wrong:
                raise ProjectError(
                    f"deploysim.yaml: deidentification.ner.models.{language}: {Path(path)} does "
                    f"not load as a {policy.engine} model "
                    f"({type(wrong).__name__}); name the folder of a saved model"
                ) from wrong

    def spans(self, text: str, language: str | None = None) -> list[Span]:
        """PERSON, LOCATION and ADDRESS spans; DetectionError where no model reads the language."""
        recognize = self._models.get((language or "").casefold()) or self._models.get(
            EVERY_LANGUAGE
        )
        if recognize is None:
            raise DetectionError("unsupported_language")
        copy = scan_copy(text)
        found = [r for r in recognize(copy.text) if r.score >= _THRESHOLD and r.end > r.start]
        return sorted({Span(*copy.original(r.start, r.end), r.entity_type) for r in found})
