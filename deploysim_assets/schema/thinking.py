"""Thinking that a model wrote into its reply: told apart from the reply, alike on both sides."""

import re
from collections.abc import Mapping
from typing import Any

_NAMES = "think|thinking|seed:think"
_OPEN = re.compile(rf"\s*(?:<(?P<tag>{_NAMES})>|\[THINK\])", re.IGNORECASE)
_CLOSE = re.compile(rf"</(?:{_NAMES})>|\[/THINK\]", re.IGNORECASE)
_HINTS = ("think>", "think]", "thinking>")


def split_thinking(text: str) -> tuple[str | None, str]:
    """The thinking at the start of a text, None where there is none, and the reply behind it.

    Thinking that nothing closes is all there is: the reply is empty.  Where a chat template opened
    it in the prompt, the text holds the closing tag alone, on a line that it begins or ends; a tag
    that a reply merely talks of is left in it.
    """
    low = text.lower()
    if not any(hint in low for hint in _HINTS):
        return None, text
    thoughts: list[str] = []
    rest = text
    while opened := _OPEN.match(rest):
        closed = _CLOSE.search(rest, opened.end())
        if closed is None:
            return "\n".join([*thoughts, rest[opened.end() :].strip()]), ""
        thoughts.append(rest[opened.end() : closed.start()].strip())
        rest = rest[closed.end() :]
    if not thoughts and (closed := _CLOSE.search(rest)):
        before, after = rest[: closed.start()], rest[closed.end() :]
        alone = before.endswith("\n") or after.startswith("\n") or not after.strip()
        if alone and not _opens(before):
            return before.strip(), after.lstrip()
    return ("\n".join(thoughts), rest.lstrip()) if thoughts else (None, text)


def _opens(text: str) -> bool:
    low = text.lower()
    return any(f"<{name}>" in low for name in _NAMES.split("|")) or "[think]" in low


def separated(reply: Mapping[str, Any]) -> dict[str, Any]:
    """A REPLY with the thinking in its content moved to its reasoning, in the model's steps as in
    the last message."""
    apart = _apart(reply)
    steps: list[dict[str, Any]] = reply.get("steps") or []
    if steps:
        apart["steps"] = [_apart(s) if s["role"] == "assistant" else s for s in steps]
    return apart


def _apart(message: Mapping[str, Any]) -> dict[str, Any]:
    thought, rest = split_thinking(message["content"]) if message["content"] else (None, None)
    if thought is None:
        return dict(message)
    both = "\n".join(part for part in (message["reasoning"], thought) if part)
    return dict(message) | {"content": rest, "reasoning": both or None}
