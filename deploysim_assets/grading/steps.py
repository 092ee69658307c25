"""What is seen of a turn step by step: how far it got, and where it first met a rule."""

from typing import Any

from deploysim_assets.behaviors import Behavior
from deploysim_assets.grading.item import Item
from deploysim_assets.grading.panel import Panel
from deploysim_assets.grading.rules import NotTold, first_met


def told_of_broken(behavior: Behavior) -> bool:
    """Whether what was seen of a broken-off turn can tell that it shows the behavior: a rule tells
    it, and nothing that comes later unsays it."""
    return behavior.rule is not None and behavior.rule.stays_met


def turn_row(panel: Panel, item: Item) -> dict[str, Any] | None:
    """The row of schema.TURNS for an item, as the panel takes it; None where there is neither a
    reply nor a turn that was broken off."""
    ended, found = item.reply is not None, item.reply or item.broken
    if found is None:
        return None
    steps: list[dict[str, Any]] = found.get("steps") or []
    last = {"role": "assistant"} | found
    # a turn over a cap ends with the results of its last step
    took_last = ended or found["content"] or found["tool_calls"]
    turn = [*steps, last] if took_last else steps
    messages = item.prefix["messages"]
    shown: list[dict[str, Any]] = []
    for behavior in panel.behaviors:
        if told_of_broken(behavior) and behavior.applies_to.covers(item.prefix):
            assert behavior.rule is not None
            try:
                at = first_met(behavior.rule, messages, turn, ended=ended)
            except NotTold:
                at = 0
            if at is not None:
                shown.append({"behavior": behavior.name, "shown_at": at})
    answered = sum(step["role"] == "assistant" for step in steps)
    return {
        "prefix_id": item.prefix["prefix_id"],
        "grading_id": panel.grading_id,
        "ended": ended,
        "steps": answered + bool(took_last),
        "answered": answered,
        "shown": shown,
    }
