"""The form of a reply in interpretable features: markup and format, how it opens and ends, in which
language and tone it speaks. Beside what its words say."""

import re
from collections import Counter
from collections.abc import Iterator

_TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9_:-]{0,30})(?:\s[^<>]{0,200})?>")
_LATEX = re.compile(r"\\([A-Za-z]{2,20})(?=[\s{(\[\\]|$)")
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)([A-Za-z0-9_+#-]{0,20})", re.MULTILINE)
_EMOJI = re.compile("[\U0001f300-\U0001faff\u2600-\u27bf]")
_WORD = re.compile(r"\w+(?:['\u2019]\w+)?")
_SENTENCE_END = re.compile(r"(?<=[.!?\u3002\uff01\uff1f])\s+|\n+")
_FINISHED = re.compile(r"[.!?:;)\]}\"'\u201d\u00bb*_`|>~\u3002\uff01\uff1f\d\u2026]\s*$")
_NUMBER = re.compile(r"\d+")
_FORMATS = {
    "a heading": r"^#{1,6} \S",
    "a numbered list": r"^[ \t]*2[.)] \S",
    "bullets": r"^[ \t]*[-*\u2022] \S",
    "a table": r"\|[ \t]*\n[ \t]*\|?[ \t:|-]{0,20}---?[ \t:|-]{0,300}$",
    "a link": r"\[[^\]\n]{1,200}\]\([^)\s]{1,500}\)|https?://\S",
    "a block quote": r"^>\s*\S",
    "bold words": r"\*\*\S[^*\n]{0,300}\*\*",
    "a rule across": r"^[ \t]*(?:---+|\*\*\*+|___+)[ \t]*$",
    "formulas": r"\$\$|\\\(|\\\[|(?<![\\\w$])\$[^$\s][^$\n]{0,200}[\\^_][^$\n]{0,200}\$",
    "inline code": r"(?<!`)`[^`\n]{1,200}`(?!`)",
}
_FORMAT = {name: re.compile(pattern, re.MULTILINE) for name, pattern in _FORMATS.items()}
_TONES = {
    "greets": r"^\W*(?:hi|hello|hey|dear|greetings|good (?:morning|afternoon|evening))\b",
    "praises the question": r"\b(?:great|good|excellent|wonderful|interesting) question\b",
    "agrees eagerly": r"^\W*(?:sure|certainly|absolutely|of course|definitely)\b",
    "apologizes": r"\b(?:sorry|i apologi[sz]e|my apologies|regret to)\b",
    "thanks": r"\b(?:thank you|thanks for)\b",
    "offers more help": r"\b(?:let me know|feel free to|happy to help|anything else|"
    r"hope (?:this|that) helps)\b",
    "speaks of itself as an AI": r"\bas an? (?:ai|artificial|language model|llm)\b",
    "hedges": r"\b(?:it is important to|it's important to|i'm not (?:sure|certain)|it depends)\b",
    "exclaims": r"!\s*$|!.*!",
    "addresses the user formally": r"\b(?:Ihnen|Ihre[mnrs]?|vous|votre|usted|sir|madam)\b",
    "addresses the user familiarly": r"\b(?:buddy|dude|my friend|dein\w*|\bdir\b|tienes|puedes)\b",
}
_TONE = {
    name: re.compile(pattern, re.IGNORECASE if pattern.islower() else 0)
    for name, pattern in _TONES.items()
}
_FUNCTION_WORDS = {
    "english": "the and is of to in that it you for with are this not have",
    "german": "der die und das ist nicht ein eine zu mit auf den von es sich",
    "french": "le la les et est une des que pour dans pas vous sur qui avec",
    "spanish": "el la los que es en una por con para las del se como pero",
    "portuguese": "o que não uma para com os em do da mais como por você são",
    "italian": "il che di non è per una con del sono della come gli nel più",
    "dutch": "de het een en van is dat niet op te met zijn voor je ook",
    "polish": "nie się na w do jest to że z co jak ale tak od po",
    "turkish": "bir ve bu için ile de da çok olarak daha ne var gibi ama en",
    "swedish": "och att det som en är på för av med inte den till har ett",
}
_WORDS_OF = {name: frozenset(words.split()) for name, words in _FUNCTION_WORDS.items()}
_LEAST_WORDS, _LEAST_SHARE, _LEAD = 8, 0.12, 1.5
_LEAST_QUOTED = 8
_REPEATS = 3
_LONGEST, _TAIL = 50_000, 10_000


def language(text: str) -> str | None:
    """The language of a text in Latin script by its function words; None where it is not clear."""
    words = [word.casefold() for word in _WORD.findall(text[:4_000]) if len(word) > 1]
    if len(words) < _LEAST_WORDS:
        return None
    counts = {name: sum(word in mine for word in words) for name, mine in _WORDS_OF.items()}
    (first, most), (_, second) = Counter(counts).most_common(2)
    return first if most >= _LEAST_SHARE * len(words) and most >= _LEAD * second else None


def _plain(words: list[str]) -> str:
    return " ".join(_NUMBER.sub("0", word.casefold()) for word in words)


def _markup(text: str) -> Iterator[str]:
    closed = {name.casefold() for end, name in _TAG.findall(text) if end}
    for end, name in _TAG.findall(text):
        if not end and name.casefold() in closed:
            yield f"tag: {name.casefold()}"
    yield from (f"latex: {name}" for name in _LATEX.findall(text))
    fences = _FENCE.findall(text)
    if fences:
        yield "code: in fences"
        yield from (f"code: {name.casefold()}" for name in fences[::2] if name)
        if len(fences) % 2:
            yield "cut: a code fence stays open"
    yield from (f"format: {name}" for name, pattern in _FORMAT.items() if pattern.search(text))
    if _EMOJI.search(text):
        yield "format: emoji"


def _speech(text: str, asked: str) -> Iterator[str]:
    yield from (f"tone: {name}" for name, pattern in _TONE.items() if pattern.search(text))
    if text.rstrip().endswith(("?", "\uff1f")):
        yield "asks back"
    mine, theirs = language(text), language(asked)
    if mine and theirs and mine != theirs:
        yield f"language: answers {theirs} in {mine}"
    words, question = (_plain(_WORD.findall(t[:8_000])).split() for t in (text, asked))
    if _runs(words) & _runs(question):
        yield "quotes the question"


def _runs(words: list[str]) -> set[tuple[str, ...]]:
    return {tuple(words[i : i + _LEAST_QUOTED]) for i in range(len(words) - _LEAST_QUOTED + 1)}


def form(text: str, asked: str) -> Iterator[str]:
    """The features of a reply's form, to what a user asked."""
    if not text.strip():
        return
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST - _TAIL]}\n{text[-_TAIL:]}"
    yield from _markup(text)
    yield from _speech(text, asked)
    words = _WORD.findall(text)
    if len(words) >= 6:
        yield f"opening: {_plain(words[:3])}"
        yield f"ending: {_plain(words[-3:])}"
    sentences = Counter(
        plain
        for s in _SENTENCE_END.split(text)
        if len((plain := _plain(_WORD.findall(s))).split()) > 3
    )
    if sentences and max(sentences.values()) >= _REPEATS:
        yield "repeats a sentence"
    if len(words) >= 20 and not _FINISHED.search(text):
        yield "cut: ends in the middle of a sentence"


def form_rule(feature: str) -> dict[str, str] | None:
    """A rule that tells replies with a feature of form, or None."""
    kind, _, detail = feature.partition(": ")
    patterns = {
        "tag": rf"(?i)<{re.escape(detail)}(?:\s[^<>]*)?>",
        "latex": rf"\\{detail}(?:[\s{{(\[\\]|$)",
        "code": r"(?m)^[ \t]*(?:```|~~~)" + ("" if detail == "in fences" else re.escape(detail)),
    }
    if feature == "format: emoji":
        return {"part": "reply", "regex": r"[\x{1f300}-\x{1faff}\x{2600}-\x{27bf}]"}
    if feature == "thinks":
        return {"part": "reasoning", "regex": r"\S"}
    if feature == "asks back":
        return {"part": "reply", "regex": r"[?\x{ff1f}]\s*$"}
    return {"part": "reply", "regex": patterns[kind]} if kind in patterns else None


_SAID = {
    "tag": "wraps text in <{}> tags",
    "latex": "writes LaTeX, \\{}",
    "code": "puts code into fences: {}",
    "format": "formats with {}",
    "tone": "{}",
    "language": "{}",
    "cut": "is cut: {}",
    "opening": "opens with \u201c{}\u201d",
    "ending": "ends with \u201c{}\u201d",
    "phrase": "says \u201c{}\u201d",
    "length": "is of this length: {}",
    "tools": "calls tools: {}",
    "order": "calls tools in this order: {}",
}
_WHOLE = {
    "thinks": "thinks before it answers",
    "refuses": "refuses",
    "asks back": "ends in a question",
    "quotes the question": "repeats the user's words",
    "repeats a sentence": "repeats itself, a sentence three times or more",
    "code: in fences": "puts code into fences",
}


def in_words(feature: str) -> str:
    """What a feature is, in words that follow "the model"."""
    if feature in _WHOLE:
        return _WHOLE[feature]
    kind, _, detail = feature.partition(": ")
    if kind.startswith("tool "):
        return f"calls {feature.removeprefix('tool ')}"
    return _SAID[kind].format(detail) if kind in _SAID else feature


_RANKS = (
    ("tool", "order", "refuses", "answers", "language"),
    ("thinks", "tag", "latex", "code", "format", "cut", "repeats"),
    ("tone", "asks", "quotes"),
    ("phrase", "opening", "ending"),
)


def rank(feature: str) -> int:
    """Where a reviewer looks first: 0 what a model does, 1 the form of what it says, 2 its tone, 3
    its words, 4 how much it says."""
    if feature.startswith("tools:"):
        return len(_RANKS)
    return next((i for i, some in enumerate(_RANKS) if feature.startswith(some)), len(_RANKS))
