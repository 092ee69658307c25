"""Interpretable features of a reply: what the novelty audit compares between candidate and live
model."""

import itertools
import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any, cast

import orjson

from deploysim_assets.grading.form import form, form_rule
from deploysim_assets.schema import turn_calls, turn_messages

_REFUSAL = re.compile(
    r"\b(i|we)('m| am|'re| are)? (can(no|')t|cannot|won't|will not|unable to|not able to) "
    r"(help|assist|do|provide|comply|continue|answer)\b"
    r"|\bi must decline\b|\bas an ai\b",
    re.IGNORECASE,
)
_WORDS = re.compile(r"\w+(?:'\w+)?")
_SENTENCE = re.compile(r"[.!?\n]+")
_NUMBER = re.compile(r"\d+")
_PHRASE = 5
_ARITHMETIC = re.compile(r"^\s*[\d\s.,()]+[-+*/x^%=][-+*/x^%\d\s.,()=]*$")
_SHAPES = (
    ("arithmetic", _ARITHMETIC),
    ("a number", re.compile(r"^\s*-?\d+([.,]\d+)?\s*$")),
    ("a URL", re.compile(r"^\s*https?://\S+\s*$")),
    ("a path", re.compile(r"^\s*[\w.~-]*(/[\w.~-]+)+/?\s*$")),
    ("an e-mail address", re.compile(r"^\s*\S+@\S+\.\S+\s*$")),
    ("empty", re.compile(r"^\s*$")),
)
_KINDS = {
    "bool": "a truth value",
    "int": "a number",
    "float": "a number",
    "list": "a list",
    "dict": "an object",
}
_LENGTHS = (
    (1, "empty"),
    (200, "under 200 characters"),
    (1_000, "200 to 1,000 characters"),
    (4_000, "1,000 to 4,000 characters"),
)


def shape(value: object) -> str:
    """What kind of thing a tool's argument is."""
    if not isinstance(value, str):
        return _KINDS.get(type(value).__name__, "nothing")
    return next((name for name, pattern in _SHAPES if pattern.match(value)), "text")


def _script(text: str) -> str | None:
    """The script that most letters of a text are of."""
    counts: dict[str, int] = {}
    for letter in text[:2_000]:
        if letter.isalpha():
            name = unicodedata.name(letter, "?").split()[0]
            counts[name] = counts.get(name, 0) + 1
    return max(counts, key=counts.__getitem__, default=None)


def _of_calls(calls: list[Mapping[str, Any]]) -> Iterator[str]:
    count = len(
        calls
    )  # none is no feature: as the complement of the others it would be found with each of them
    if count:
        yield (
            "tools: one call"
            if count == 1
            else "tools: 2 to 4 calls"
            if count < 5
            else "tools: 5 or more calls"
        )
    names = [call["name"] for call in calls]
    yield from (f"order: {a} before {b}" for a, b in itertools.pairwise(names) if a != b)
    for call in calls:
        try:
            parsed: Any = orjson.loads(call["arguments"] or "{}")
        except ValueError:
            yield f"tool {call['name']}: arguments are no JSON"
            continue
        arguments = cast("dict[str, Any]", parsed) if isinstance(parsed, dict) else {"?": parsed}
        yield f"tool {call['name']}({', '.join(sorted(arguments))})"
        yield from (
            f"tool {call['name']}: {key} is {shape(value)}" for key, value in arguments.items()
        )


def features(reply: dict[str, Any], last_user: str) -> set[str]:
    """The features of a reply (schema.REPLY) to a user's last message: tool calls, refusal,
    language, length, form (`form`), thinking, phrases of five words. Of an agent calls, thinking
    and phrases are those of the whole turn, the rest is of its last message."""
    text = reply["content"] or ""
    written = [m for m in turn_messages(reply) if m["role"] == "assistant"]
    found = set(_of_calls([*turn_calls(reply)]))
    found.add(
        "length: "
        f"{next((name for least, name in _LENGTHS if len(text) < least), 'over 4,000 characters')}"
    )
    found |= set(form(text, last_user))
    if any(m["reasoning"] for m in written):
        found.add("thinks")
    if _REFUSAL.search(text):
        found.add("refuses")
    script, asked = _script(text), _script(last_user)
    if script and asked and script != asked:
        found.add(f"answers {asked.casefold()} script in {script.casefold()}")
    for sentence in _SENTENCE.split("\n".join(m["content"] or "" for m in written)):
        words = [_NUMBER.sub("0", word.casefold()) for word in _WORDS.findall(sentence)]
        found |= {
            f"phrase: {' '.join(words[i : i + _PHRASE])}" for i in range(len(words) - _PHRASE + 1)
        }
    return found


def rule_of(feature: str) -> dict[str, Any] | None:
    """A rule that finds replies with a feature, in the form of behaviors.yaml; None for one that
    a rule cannot tell."""
    if feature.startswith("phrase: "):
        words = (
            re.escape(word).replace("0", r"\p{Nd}+")
            for word in feature.removeprefix("phrase: ").split()
        )
        # re2's \b and \W know ASCII letters alone
        between = r"[^\p{L}\p{N}_]"
        regex = rf"(?i)(?:^|{between})" + rf"{between}+".join(words) + rf"(?:{between}|$)"
        return {"part": "reply", "regex": regex}
    if feature == "refuses":
        return {"part": "reply", "regex": "(?i)" + _REFUSAL.pattern}
    if match := re.match(r"tool (\S+): (\S+) is arithmetic$", feature):
        return {
            "part": "tool_calls",
            "json_path": f"$[?@.name == '{match[1]}'].arguments.{match[2]}",
            "regex": _ARITHMETIC.pattern,
        }
    if match := re.match(r"tool ([^(:]+)\(", feature):
        return {"part": "tool_calls", "json_path": f"$[?@.name == '{match[1]}']"}
    return form_rule(feature)
