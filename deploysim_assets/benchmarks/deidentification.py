"""Level 0 detection against presidio's own loops with the same recognizers, in MB per CPU-second,
side by side in one run.

python -m deploysim_assets.benchmarks.deidentification [--texts 400] [--size 4000]
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportMissingParameterType=false, reportIncompatibleMethodOverride=false, reportArgumentType=false

import argparse
import re
import time
from collections.abc import Callable, Iterable

from presidio_analyzer import AnalyzerEngine, BatchAnalyzerEngine, RecognizerRegistry
from presidio_analyzer.nlp_engine import NlpArtifacts, NlpEngine
from presidio_analyzer.predefined_recognizers import PhoneRecognizer

from deploysim_assets.benchmarks.chat_texts import chat_text
from deploysim_assets.deidentify.encoded import EncodedText
from deploysim_assets.deidentify.patterns import THRESHOLD, PatternDetector, recognizers
from deploysim_assets.deidentify.phones import REGIONS, FastPhoneRecognizer
from deploysim_assets.report.tables import console, rich_table

_WORD = re.compile(r"\w+")


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


def megabytes_per_second(run: Callable[[list[str]], Iterable[object]], texts: list[str]) -> float:
    """Size of the texts over the CPU time of one pass, after a pass over a tenth of them."""
    list(run(texts[: len(texts) // 10]))
    start = time.process_time()
    list(run(texts))
    return sum(len(t.encode()) for t in texts) / 1e6 / (time.process_time() - start)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--texts", type=int, default=400)
    parser.add_argument("--size", type=int, default=4000)
    asked = parser.parse_args()
    texts = [chat_text(i, asked.size) for i in range(asked.texts)]
    engine, detector = presidio_engine(), PatternDetector()
    batch = BatchAnalyzerEngine(engine)
    loops: dict[str, Callable[[list[str]], Iterable[object]]] = {
        "presidio, one text at a time": lambda ts: (
            engine.analyze(t, "en", score_threshold=THRESHOLD) for t in ts
        ),
        "presidio, BatchAnalyzerEngine": lambda ts: batch.analyze_iterator(
            ts, "en", score_threshold=THRESHOLD
        ),
        "deploysim, the same recognizers": lambda ts: (
            detector.presidio_spans(EncodedText(t)) for t in ts
        ),
        "deploysim level 0 (own rules too)": lambda ts: (detector.spans(t) for t in ts),
    }
    speeds = {name: megabytes_per_second(loop, texts) for name, loop in loops.items()}
    base = speeds["presidio, one text at a time"]
    rows = [[name, f"{speed:.2f}", f"{speed / base:.1f}x"] for name, speed in speeds.items()]
    console().print(
        rich_table(
            f"{asked.texts} chat-like texts of {asked.size / 1000:.0f} KB",
            ("", "MB per CPU-second", "ratio"),
            rows,
        )
    )


if __name__ == "__main__":
    main()
