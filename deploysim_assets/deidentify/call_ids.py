"""Ids of tool calls, which lead back to the provider's logs."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from deploysim_assets.deidentify.finds import Found
from deploysim_assets.deidentify.leaves import Leaf
from deploysim_assets.deidentify.rules import Span

_CALL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{7,63}")
_COUNTED = re.compile(r"[a-z]{0,8}[_-]?[0-9]{1,5}")


def add_named(
    messages: Sequence[Mapping[str, Any]], leaves: list[Leaf], spans: list[Found]
) -> None:
    """Add to `spans` where texts name ids of calls; those that are counted lead nowhere."""
    calls = [c.get("id") for m in messages for c in m["tool_calls"] or ()]
    given = {i for i in (*calls, *(m.get("tool_call_id") for m in messages)) if i}
    ids = {i for i in given if _CALL_ID.fullmatch(i) and not _COUNTED.fullmatch(i)}
    if not ids:
        return
    for i, leaf in enumerate(leaves):
        if not leaf.type:
            named = [m for m in _CALL_ID.finditer(leaf.text) if m.group() in ids]
            spans[i] += tuple(Span(m.start(), m.end(), "ACCOUNT") for m in named)


def numbered(message: dict[str, Any], ids: dict[str, str]) -> dict[str, Any]:
    """A message whose ids of calls are numbered through the conversation; `ids` holds the numbers
    given so far."""

    def other(value: str | None) -> str | None:
        return ids.setdefault(value, f"call_{len(ids) + 1}") if value else value

    calls: list[dict[str, Any]] | None = message["tool_calls"]
    if not calls and not message.get("tool_call_id"):
        return message
    renamed = calls and [c | ({"id": other(c["id"])} if c.get("id") else {}) for c in calls]
    return message | {"tool_calls": renamed, "tool_call_id": other(message.get("tool_call_id"))}
