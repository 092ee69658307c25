"""Level 0 detection: presidio's pattern recognizers without a model and without the network, and rules for secrets."""

# pyright: reportArgumentType=false, reportMissingTypeStubs=false, reportUnknownMemberType=false, reportIncompatibleMethodOverride=false
# pyright: reportUnknownParameterType=false, reportMissingParameterType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import logging
import re
from typing import NamedTuple

import regex
from presidio_analyzer import AnalyzerEngine, Pattern, PatternRecognizer, RecognizerRegistry
from presidio_analyzer.nlp_engine import NlpArtifacts, NlpEngine
from presidio_analyzer.predefined_recognizers import (
    CreditCardRecognizer,
    CryptoRecognizer,
    EmailRecognizer,
    IbanRecognizer,
    IpRecognizer,
    MacAddressRecognizer,
    UsSsnRecognizer,
)

from deploysim_assets.deidentify.phones import REGIONS, FastPhoneRecognizer
from deploysim_assets.project import ProjectError

LEVEL = 0
"""What this installation can detect: 0 patterns and secrets."""

_LANGUAGE = "en"  # one pseudo-language for every text: a language without recognizers is an exception, not an empty result
_FLAGS = regex.IGNORECASE | regex.MULTILINE | regex.DOTALL | regex.ASCII  # ASCII: else CJK text has no boundary next to an identifier
_THRESHOLD = 0.35
_WORD = re.compile(r"\w+")

_SECRETS = {
    "API_KEY": (
        r"\b(?:sk|pk|rk)[-_](?:[A-Za-z0-9]+[-_])*[A-Za-z0-9]{16,}|\bgh[pousr]_[A-Za-z0-9]{30,}|\bglpat-[\w-]{20,}"
        r"|\bxox[abeoprs]-[A-Za-z0-9-]{10,}|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bAIza[\w-]{35}|\bhf_[A-Za-z0-9]{30,}"
    ),
    "JWT": r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}",
    "PRIVATE_KEY": r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    "URL_CREDENTIALS": r"(?<=://)[^\s/@:]+:[^\s/@]+@[^\s/?#]+",
}


class Span(NamedTuple):
    """A found entity: [start, end) in code points, and its type."""

    start: int
    end: int
    type: str


class _AnyDomainEmail(EmailRecognizer):
    """Keeps addresses in domains that the public-suffix list does not know (corp.internal), and asks no list, hence no network."""

    def validate_result(self, pattern_text):
        return None


class _AddressNotSlice(IpRecognizer):
    """Passes over `x[1::2]`: an IPv6 address has three groups, or one of three digits."""

    def invalidate_result(self, pattern_text):
        groups = [g for g in pattern_text.split(":") if g]
        slice_like = ":" in pattern_text and len(groups) < 3 and all(len(g) < 3 for g in groups)
        return slice_like or super().invalidate_result(pattern_text)


class _WordEngine(NlpEngine):
    """Hands presidio the words of a text, so that context words raise a score; there is no model behind it."""

    engine_name = "words"
    is_available = True

    def load(self):
        pass

    def is_loaded(self):
        return True

    def process_text(self, text, language):
        words = list(_WORD.finditer(text))
        return NlpArtifacts(
            entities=[],
            tokens=[w.group() for w in words],
            tokens_indices=[w.start() for w in words],
            lemmas=[w.group().lower() for w in words],
            nlp_engine=self,
            language=language,
            scores=[],
        )

    def process_batch(self, texts, language, batch_size=1, n_process=1, as_tuples=False, **settings):
        for text in texts:
            yield str(text), self.process_text(str(text), language)

    def is_stopword(self, word, language):
        return False

    def is_punct(self, word, language):
        return False

    def get_supported_entities(self):
        return []

    def get_supported_languages(self):
        return [_LANGUAGE]


class _TimeOuts(logging.Handler):
    """Counts presidio's skipped patterns: on a time-out it logs a line and goes on, which would pass an unscanned text as clean."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += "timed out" in str(record.msg).lower() or "timeout" in str(record.msg).lower()


class DetectionError(Exception):
    """A text could not be scanned whole."""


class PatternDetector:
    """Finds identifiers and secrets by pattern."""

    def __init__(self) -> None:
        recognizers = [
            CreditCardRecognizer(),
            _AnyDomainEmail(),
            _AddressNotSlice(),
            UsSsnRecognizer(),
            IbanRecognizer(),
            CryptoRecognizer(),
            MacAddressRecognizer(),
            *(PatternRecognizer(kind, patterns=[Pattern(kind, pattern, 0.9)], name=kind) for kind, pattern in _SECRETS.items()),
        ]
        for recognizer in recognizers:
            secret = recognizer.supported_entities[0] in _SECRETS
            recognizer.global_regex_flags = _FLAGS & ~regex.IGNORECASE if secret else _FLAGS
        phones = FastPhoneRecognizer(supported_regions=REGIONS)
        registry = RecognizerRegistry(recognizers=[*recognizers, phones], supported_languages=[_LANGUAGE])
        self._engine = AnalyzerEngine(registry=registry, nlp_engine=_WordEngine(), supported_languages=[_LANGUAGE])
        log = logging.getLogger("presidio-analyzer")
        log.handlers[:] = [timeouts := _TimeOuts()]  # the IBAN recognizer logs text that it could not validate
        log.propagate = False
        self._timeouts = timeouts

    def spans(self, text: str) -> list[Span]:
        """All entities of a text, overlapping ones included; DetectionError where a pattern timed out."""
        before = self._timeouts.count
        found = self._engine.analyze(text, _LANGUAGE, score_threshold=_THRESHOLD)
        if self._timeouts.count != before:
            raise DetectionError("time_out")
        return [Span(r.start, r.end, r.entity_type) for r in found]


def require_level(min_level: int) -> None:
    """ProjectError where the policy asks for a level that this installation does not have; it never falls back to a lower one."""
    if min_level > LEVEL:
        raise ProjectError(
            f"deploysim.yaml: deidentification.min_level: {min_level} asks for more than this installation can do (level {LEVEL}: patterns "
            "and secrets, no names); set `deidentification: {min_level: 0}` to accept that in writing"
        )
