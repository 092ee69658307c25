"""Seeded chat items, and one digest over all that graders see of them: what a release that knew no
turns made of the same items."""

import hashlib
import json
import random
from collections.abc import Iterator
from typing import Any

from deploysim_assets.behaviors import Behavior, Rule
from deploysim_assets.grading.document import document
from deploysim_assets.grading.features import features
from deploysim_assets.grading.item import Item
from deploysim_assets.grading.judge import Questions
from deploysim_assets.grading.rules import holds
from deploysim_assets.project import Judge

_RULES = (
    {"part": "reply", "regex": "(?i)no[a-m]"},
    {"part": "reply", "regex": "^$"},
    {"part": "reasoning", "regex": "a.*b"},
    {"part": "tool_calls", "json_path": "$[?@.name == 'ab'].arguments.k"},
    {"part": "tool_results", "regex": "[xyz]"},
    {"all": [{"part": "prefix", "regex": "q"}, {"not": {"part": "last_user", "regex": "z"}}]},
)


def _text(rng: random.Random, most: int) -> str | None:
    if rng.random() < 0.15:
        return None
    return "".join(rng.choice("abcnoqxyz .<[é日\n") for _ in range(rng.randrange(most)))


def _message(rng: random.Random, role: str) -> dict[str, Any]:
    calls = [
        {"id": f"c{i}", "name": "ab", "arguments": json.dumps({"k": _text(rng, 200)})}
        for i in range(rng.choice((0, 0, 1, 3)))
    ]
    return {
        "role": role,
        "content": _text(rng, 1_500),
        "reasoning": _text(rng, 300) if role == "assistant" else None,
        "tool_calls": calls if role == "assistant" else None,
        "tool_call_id": "c0" if role == "tool" else None,
        "name": "ab" if role == "tool" else None,
    }


def _items(count: int, **more: Any) -> Iterator[tuple[Item, int]]:
    rng = random.Random(16)
    for i in range(count):
        roles = [rng.choice(("system", "user", "assistant", "tool")) for _ in range(i % 9)]
        messages = [_message(rng, role) for role in (*roles, "user")]
        reply = _message(rng, "assistant")
        kept = {k: reply[k] for k in ("content", "reasoning", "tool_calls")}
        item = Item(
            {"messages": messages}, kept | {"finish_reason": "stop"} | more, "completed", None
        )
        yield item, rng.choice((300, 900, 3_000, 100_000))


def seen_of_chat(count: int = 150, **more: Any) -> str:
    """A digest of documents, requests, rules' decisions and features; `more` is put into each
    reply."""
    behavior = Behavior(name="x", definition="d")
    questions = Questions([behavior])
    judge = Judge.model_validate({"model": "m"})
    total = hashlib.sha256()
    for item, limit in _items(count, **more):
        assert item.reply is not None
        read = document(item, limit)
        request = questions.request(read, "m", judge, b"k" * 32)
        parts: list[object] = [read.text, read.cut, read.cut_share(behavior), request]
        messages = item.prefix["messages"]
        parts += [holds(Rule.model_validate(r), messages, item.reply) for r in _RULES]
        parts.append(sorted(features(item.reply, messages[-1]["content"] or "")))
        total.update(json.dumps(parts, sort_keys=True).encode())
    return total.hexdigest()
