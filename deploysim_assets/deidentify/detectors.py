"""The detectors that a policy asks for: 0 patterns and secrets, 1 plus gazetteer and cues, 2
plus statistical NER."""

from pathlib import Path
from typing import Protocol

from deploysim_assets.deidentify.rules import Span
from deploysim_assets.project import Deidentification, ProjectError


class Detector(Protocol):
    """Finds identifiers of one kind. `spans` raises DetectionError where it could not scan the
    whole text."""

    name: str
    level: int

    def spans(self, text: str, language: str | None = None) -> list[Span]:
        """Found entities, [start, end) in code points; `language` is what the log says of the
        conversation."""
        ...


def detectors(policy: Deidentification) -> list[Detector]:
    """One detector per level up to the policy's; ProjectError where a model does not load. It
    never falls back to a lower level."""
    from deploysim_assets.deidentify.patterns import PatternDetector

    found: list[Detector] = [PatternDetector()]
    if policy.min_level >= 1:
        from deploysim_assets.deidentify.gazetteer import GazetteerDetector

        found.append(GazetteerDetector())
    if policy.min_level >= 2:
        from deploysim_assets.deidentify.ner import NerDetector

        models = policy.effective_ner
        if models is None:
            raise ProjectError(f"deploysim.yaml: {policy.unreachable(Path())}")
        found.append(NerDetector(models))
    return found
