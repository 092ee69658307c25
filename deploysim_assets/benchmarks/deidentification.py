"""Levels 0 and 2 against presidio's own analyzer with the same recognizers and the same model, in
MB per CPU-second, side by side in one run.

python -m deploysim_assets.benchmarks.deidentification [--texts 400] [--size 4000] [--seconds 15]
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportMissingParameterType=false, reportIncompatibleMethodOverride=false, reportArgumentType=false

import argparse
import json
import math
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
from presidio_analyzer.nlp_engine import NlpArtifacts, NlpEngine
from presidio_analyzer.predefined_recognizers import PhoneRecognizer

from deploysim_assets.benchmarks.chat_texts import chat_text
from deploysim_assets.deidentify.encoded import EncodedText
from deploysim_assets.deidentify.patterns import PatternDetector
from deploysim_assets.deidentify.phones import REGIONS, FastPhoneRecognizer
from deploysim_assets.deidentify.presidio import (
    THRESHOLD,
    AnyDomainEmail,
    Recognizers,
    recognizers,
)
from deploysim_assets.deidentify.scrub import Asked, Scrubber
from deploysim_assets.project import Deidentification, packaged_ner
from deploysim_assets.report.tables import console, rich_table

_WORD = re.compile(r"\w+")
BYTES_OF_CONVERSATION = 3_000
"""For the extrapolation; a corpus of longer ones takes longer in proportion."""
FLOATS = 119_000
"""Characters, in texts of the same size."""


class Words(NlpEngine):
    """The least that presidio's engines ask for: words, no model."""

    engine_name, is_available = "words", True

    def load(self):
        pass

    def is_loaded(self):
        return True

    def process_text(self, text, language):
        words = [(m.group(), m.start()) for m in _WORD.finditer(text)]
        tokens = [w for w, _ in words]
        return NlpArtifacts(
            [],
            tokens,
            [at for _, at in words],
            [t.lower() for t in tokens],
            self,
            language,
            scores=[],
        )

    def process_batch(
        self, texts, language, batch_size=1, n_process=1, as_tuples=False, **settings
    ):
        for text in texts:
            yield str(text), self.process_text(str(text), language)

    def is_stopword(self, word, language):
        return False

    def is_punct(self, word, language):
        return False

    def get_supported_entities(self):
        return []

    def get_supported_languages(self):
        return ["en"]


def presidio_engine() -> AnalyzerEngine:
    """Presidio's engine with level 0's recognizers, the phone recognizer being its own."""
    own = [r for r in recognizers() if not isinstance(r, FastPhoneRecognizer)]
    registry = RecognizerRegistry(
        recognizers=[*own, PhoneRecognizer(supported_regions=REGIONS)], supported_languages=["en"]
    )
    return AnalyzerEngine(registry=registry, nlp_engine=Words(), supported_languages=["en"])


def model_engine(path: str) -> AnalyzerEngine:
    """Presidio's default engine with its default recognizers and a spaCy model of a folder."""
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    engine = SpacyNlpEngine(models=[{"lang_code": "en", "model_name": path}])
    registry = RecognizerRegistry(supported_languages=["en"])
    registry.load_predefined_recognizers(languages=["en"])
    registry.remove_recognizer("EmailRecognizer")  # it would fetch the public-suffix list
    registry.add_recognizer(AnyDomainEmail())
    return AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=["en"])


def json_text(number: int, size: int) -> str:
    """A tool's answer: records of numbers, ids, times and a few contacts."""
    rng, rows, length = random.Random(number), list[dict[str, Any]](), 0  # noqa: S311 (seeded)
    while length < size:
        rows.append(
            {
                "id": f"{rng.getrandbits(128):032x}",
                "at": f"2026-0{rng.randint(1, 9)}-12T10:{rng.randint(10, 59)}:00Z",
                "amount": rng.randint(100, 99_999) / 100,
                "count": rng.getrandbits(40),
                "status": rng.choice(("open", "paid", "late")),
                "title": f"Order {rng.randint(1, 9999)} of the spring list",
            }
        )
        if rng.random() < 0.1:
            rows[-1]["email"] = f"user{rng.randint(1, 999)}@lindenhof.de"
        length += len(json.dumps(rows[-1]))
    return json.dumps(rows)


def float_text(number: int, size: int) -> str:
    """Coordinates of a vector, eight decimals each."""
    rng = random.Random(number)  # noqa: S311 (seeded)
    return " ".join(f"{rng.random():.8f}" for _ in range(size // 11))


_SLICE = 32


class Speed(NamedTuple):
    """MB per CPU-second, and the share of the texts that was read before the time was up."""

    megabytes: float
    read: float


def megabytes_per_second(
    run: Callable[[list[str]], Iterable[object]], texts: list[str], seconds: float = math.inf
) -> Speed:
    """Size of the texts over the CPU time of one pass, after a pass over a tenth of them, which
    are left out: a scrubber remembers what it has read. No new slice of texts is begun once
    `seconds` of CPU are used up."""
    warm = len(texts) // 10
    list(run(texts[:warm] or ["a first text"]))
    texts, size, read = texts[warm:], 0, 0
    start = time.process_time()
    while read < len(texts) and (read == 0 or time.process_time() - start < seconds):
        some = texts[read : read + _SLICE] if seconds < math.inf else texts
        list(run(some))
        read += len(some)
        size += sum(len(t.encode()) for t in some)
    return Speed(size / 1e6 / (time.process_time() - start), read / len(texts))


def scrubber_at(level: int) -> Scrubber:
    """A scrubber of its own, without anything remembered."""
    return Scrubber(b"benchmark" * 4, Deidentification.model_validate({"min_level": level}))


def scrubbed(scrubber: Scrubber, texts: list[str]) -> Iterator[object]:
    """The whole scrubber: reading ahead, finding, replacing, clearing again."""
    empty = dict.fromkeys(("reasoning", "name", "tool_calls", "tool_call_id"))
    talks = [[empty | {"role": "user", "content": text}] for text in texts]
    yield from scrubber.scrub_all([Asked(talk, str(i), "en") for i, talk in enumerate(talks)])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--texts", type=int, default=400)
    parser.add_argument("--size", type=int, default=4000)
    parser.add_argument(
        "--seconds", type=float, default=15, help="CPU time of one cell, presidio's are cut by it"
    )
    asked = parser.parse_args()
    kinds = {
        "chat": [chat_text(i, asked.size) for i in range(asked.texts)],
        "JSON": [json_text(i, asked.size) for i in range(asked.texts)],
        "floats": [float_text(i, asked.size) for i in range(-(-FLOATS // asked.size))],
    }
    engine, own, detector = presidio_engine(), Recognizers(), PatternDetector()
    loops: dict[str, Callable[[list[str]], Iterable[object]]] = {
        "presidio's analyzer, level 0's recognizers": lambda ts: (
            engine.analyze(t, "en", score_threshold=THRESHOLD) for t in ts
        ),
        "deploysim, the same recognizers": lambda ts: (own.spans(EncodedText(t)) for t in ts),
        "deploysim level 0, own rules too": lambda ts: (detector.spans(t) for t in ts),
        "deploysim level 0, whole scrubber": partial(scrubbed, scrubber_at(0)),
    }
    base = dict.fromkeys(loops, next(iter(loops)))
    if models := packaged_ner():
        named = model_engine(models.models["en"])
        name = "presidio's analyzer, the model of deploysim[names]"
        loops[name] = lambda ts: (named.analyze(t, "en") for t in ts)
        loops["deploysim level 2, whole scrubber"] = partial(scrubbed, scrubber_at(2))
        base |= {name: name, "deploysim level 2, whole scrubber": name}
    rows: list[list[str]] = []
    for kind, texts in kinds.items():
        speeds = dict[str, Speed]()
        for name, loop in loops.items():
            speeds[name] = megabytes_per_second(loop, texts, asked.seconds)
        rows += [
            [
                kind,
                name,
                f"{speed.megabytes:.3f}",
                f"{speed.megabytes / speeds[base[name]].megabytes:.1f}x",
                f"{speed.read:.0%}",
                _hours(speed.megabytes),
            ]
            for name, speed in speeds.items()
        ]
    console().print(
        rich_table(
            f"{asked.texts} texts of {asked.size / 1000:.0f} KB of chat and of JSON, "
            f"{FLOATS / 1000:.0f} KB of floats; {asked.seconds:.0f} CPU-seconds a cell at most",
            ("texts", "", "MB per CPU-second", "ratio", "read", "CPU-hours of 1.3 million"),
            rows,
        )
    )


def _hours(speed: float) -> str:
    """CPU-hours of 1.3 million conversations of BYTES_OF_CONVERSATION."""
    return f"{1.3e6 * BYTES_OF_CONVERSATION / 1e6 / speed / 3600:,.1f}"


if __name__ == "__main__":
    main()
