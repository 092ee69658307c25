"""What a judge reads of an item: one JSON document under one limit, long texts without their
middle, in a block that no text inside it can end."""

import hmac
import re
from collections.abc import Iterator
from hashlib import sha256
from typing import Any, NamedTuple

import orjson

from deploysim_assets.behaviors import Behavior
from deploysim_assets.grading.item import Item

PARTS = ("content", "reasoning", "tool_calls", "tool_results")
_PLAIN = b"abcdefghijklmnopqrstuvwxyz "
_PLAIN_TOKENS, _OTHER_TOKENS = 1 / 3, 0.8
_LEAST_TOKENS = 40
_CONTROL = re.compile(
    rb"<(?=[|\xef]|/?(?:s|bos|eos|pad|unk|system|user|assistant|tool_call|(?:start|end)_of_\w+)>)"
    rb"|\[(?=/?(?:INST|SYS|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\])"
)
"""Marks that chat templates end a message with. Many servers turn them into control tokens wherever
they stand, so that JSON's quotes would not hold them."""


class Document(NamedTuple):
    """The document as JSON text, the characters of the item that were left out of it, the share of
    each part of the reply that was, and how many steps the reply has."""

    text: str
    cut: int
    cut_of_reply: dict[str, tuple[int, int]]
    steps: int = 0

    def cut_share(self, behavior: Behavior) -> float:
        """How much of what a behavior goes by in the reply the judge was not shown, 0 to 1."""
        reads = {
            "content": True,
            "reasoning": behavior.reasoning,
            "tool_calls": behavior.tool_calls,
            "tool_results": behavior.tool_calls,
        }
        sizes = [size for part, size in self.cut_of_reply.items() if reads[part]]
        return sum(gone for gone, _ in sizes) / max(sum(whole for _, whole in sizes), 1)


def estimated_tokens(text: bytes) -> float:
    """A count of tokens that real tokenizers stay under on prose, code, base64 and every script:
    three lower-case letters or blanks a token, 0.8 tokens for each other byte."""
    other = len(text.translate(None, _PLAIN))
    return (len(text) - other) * _PLAIN_TOKENS + other * _OTHER_TOKENS


def _json(value: Any) -> bytes:
    return _CONTROL.sub(lambda m: b"\\u%04x" % m[0][0], orjson.dumps(value))


def _call(call: dict[str, Any]) -> dict[str, Any]:
    return {"name": call["name"], "arguments": call["arguments"]}


def _turn(message: dict[str, Any]) -> dict[str, Any]:
    turn = {
        name: message[name]
        for name in ("role", "name", "reasoning", "content")
        if message.get(name) is not None
    }
    calls: list[dict[str, Any]] = message.get("tool_calls") or []
    return turn | ({"tool_calls": [_call(call) for call in calls]} if calls else {})


def document(item: Item, limit: int) -> Document:
    """What a judge reads of an item, in at most `limit` estimated tokens. The steps of a turn stand
    in the reply, in their order.

    Where it does not fit, the reply keeps half of the room, or what the conversation leaves it; of
    both the longest texts (contents, reasoning, tool arguments and results alike) lose their middle
    first; only where a conversation has too many turns for that do turns go, oldest first, but not
    the system messages, the first user turn and the last one. Of a reply with too many steps those
    in the middle go.
    """
    assert item.reply is not None
    conversation, reply = [_turn(m) for m in item.prefix["messages"]], _turn(item.reply)
    steps = [_turn(step) for step in item.reply.get("steps") or ()]
    whole = _json({"conversation": conversation, "reply": _reply([*steps, reply])})
    if estimated_tokens(whole) <= limit:
        return Document(whole.decode(), 0, {}, len(steps))
    return _Cutting(conversation, steps, reply, limit).document()


def _reply(turn: list[dict[str, Any]]) -> dict[str, Any]:
    """The messages of a turn as the one reply that is graded."""
    return {"steps": turn[:-1]} | turn[-1] if len(turn) > 1 else turn[-1]


_Slot = tuple[dict[str, Any], str]


def _slots(turn: dict[str, Any]) -> Iterator[_Slot]:
    """Every place of a turn that holds a text of any length."""
    for name in ("name", "reasoning", "content"):
        if turn.get(name):
            yield turn, name
    for call in turn.get("tool_calls", ()):
        yield from ((call, name) for name in ("name", "arguments") if call[name])


def _size(turn: dict[str, Any]) -> int:
    return sum(len(place[name]) for place, name in _slots(turn))


def _least(turn: dict[str, Any]) -> int:
    """The tokens that a turn takes at its least."""
    return sum(min(_LEAST_TOKENS, len(place[name])) + 8 for place, name in _slots(turn)) + 8


def _cap(sizes: list[float], room: float) -> float:
    """The size to which the largest must shrink so that all together fit into the room."""
    left = len(sizes)
    for size in sorted(sizes):
        if size * left > room:
            return room / left
        room, left = room - size, left - 1
    return float("inf")


class _Cutting:
    """An item that does not fit, and how it is made to."""

    def __init__(
        self,
        conversation: list[dict[str, Any]],
        steps: list[dict[str, Any]],
        reply: dict[str, Any],
        limit: int,
    ) -> None:
        self._conversation, self._limit = conversation, limit
        self._turn = [*steps, reply]
        self._total = sum(map(_size, [*conversation, *self._turn]))

    def document(self) -> Document:
        room = float(self._limit)
        while True:
            shown, turn, dropped = self._shown(room)
            left = self._total - sum(map(_size, [*shown, *turn]))
            told = {"left_out": f"{dropped} messages, {left} characters in all"}
            text = _json({"conversation": shown} | told | {"reply": _reply(turn)})
            needed = estimated_tokens(text)
            if needed <= self._limit:
                steps = len(self._turn) - 1
                return Document(text.decode(), left, self._parts(turn), steps)
            room = 0.95 * room * self._limit / needed

    def _parts(self, turn: list[dict[str, Any]]) -> dict[str, tuple[int, int]]:
        whole, shown = _part_sizes(self._turn), _part_sizes(turn)
        return {part: (n - shown[part], n) for part, n in whole.items() if n}

    def _shown(self, room: float) -> tuple[list[dict[str, Any]], list[dict[str, Any]], int]:
        reply_needs = estimated_tokens(_json(_reply(self._turn)))
        others = estimated_tokens(_json(self._conversation))
        of_reply = min(reply_needs, max(room / 2, room - others))
        kept_steps = self._kept_steps(of_reply)
        turn = self._fitted(kept_steps, of_reply)
        left = room - min(estimated_tokens(_json(_reply(turn))), of_reply)
        kept = self._kept(left)
        dropped = len(self._conversation) - len(kept) + len(self._turn) - len(kept_steps)
        return self._fitted(kept, left), turn, dropped

    def _kept_steps(self, room: float) -> list[dict[str, Any]]:
        """The messages of the turn that stay: all, where each can be shown at its least; else those
        at its beginning and its end."""
        least = [_least(message) for message in self._turn]
        needed, gone, middle = sum(least), set[int](), len(least) // 2
        for i in sorted(range(1, len(least) - 1), key=lambda i: abs(i - middle)):
            if needed <= room:
                break
            gone.add(i)
            needed -= least[i]
        return [message for i, message in enumerate(self._turn) if i not in gone]

    def _kept(self, room: float) -> list[dict[str, Any]]:
        """The turns that stay: all, where each can be shown at its least."""
        turns = self._conversation
        users = [i for i, turn in enumerate(turns) if turn["role"] == "user"]
        ever = {i for i, turn in enumerate(turns) if turn["role"] == "system"}
        ever |= {*users[:1], len(turns) - 1}
        least = [_least(turn) for turn in turns]
        needed, gone = sum(least), set[int]()
        for i in (*(i for i in range(len(turns)) if i not in ever), *sorted(ever)[:-1]):
            if needed <= room:
                break
            gone.add(i)
            needed -= least[i]
        return [turn for i, turn in enumerate(turns) if i not in gone]

    @staticmethod
    def _fitted(turns: list[dict[str, Any]], room: float) -> list[dict[str, Any]]:
        """Copies of turns whose long texts, and lists of calls, lost their middle."""
        if estimated_tokens(_json(turns)) <= room + 2:  # the brackets of the list
            return turns
        made: list[dict[str, Any]] = []
        for turn in turns:
            copy = dict(turn)
            if calls := turn.get("tool_calls"):
                most = max(2, int(room / len(turns) / (2 * _LEAST_TOKENS)))
                if len(calls) > most:
                    calls = [*calls[: most - most // 2], *calls[len(calls) - most // 2 :]]
                copy["tool_calls"] = [dict(call) for call in calls]
            made.append(copy)
        slots = [slot for turn in made for slot in _slots(turn)]
        sizes = [estimated_tokens(_json(place[name])) for place, name in slots]
        # names of fields, quotes and brackets: what is left of the room is for the texts
        frame = estimated_tokens(_json(made)) - sum(sizes)
        cap = _cap(sizes, max(room - frame, 0.0))
        for (place, name), size in zip(slots, sizes, strict=True):
            if size > cap:
                place[name] = _without_middle(place[name], cap / size)
        return made


def _part_sizes(turn: list[dict[str, Any]]) -> dict[str, int]:
    """Characters of each part of a turn's messages; what a tool answered is no word of the
    model."""
    sizes: dict[str, int] = dict.fromkeys(PARTS, 0)
    for message in turn:
        if message.get("role") == "tool":
            sizes["tool_results"] += _size(message)
            continue
        for part in ("content", "reasoning", "tool_calls"):
            if part in message:
                sizes[part] += _size({part: message[part]})
    return sizes


def _without_middle(text: str, share: float) -> str:
    """A text without its middle, of about a share of its length; one that is no longer than the
    mark that would stand for it stays whole."""
    mark = f" [{len(text)} characters, the middle left out] "
    keep = max(int(len(text) * share) - len(mark), 0)
    if len(mark) + keep >= len(text):
        return text
    tail = keep // 2
    return text[: keep - tail] + mark + text[len(text) - tail :]


def block(text: str, secret: bytes, *what: str) -> str:
    """A document between two lines that hold a code: an HMAC over the document and what it is
    asked for. Whoever wrote the document cannot know it, and every rerun has the same."""
    named = hmac.new(secret, "\x1f".join((*what, text)).encode(), sha256).hexdigest()[:24]
    return f"BEGIN {named}\n{text}\nEND {named}"


def in_block(content: str) -> str:
    """The document of a user message that `block` made."""
    return content.split("\n", 2)[1]
