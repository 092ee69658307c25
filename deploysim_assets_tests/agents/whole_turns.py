"""Turns with tools, as short as tests want to write them."""

from typing import Any


def said(*calls: tuple[str | None, str, str], content: str | None = None) -> dict[str, Any]:
    """A message of the model with calls (id, name, arguments)."""
    return {
        "role": "assistant",
        "content": content,
        "reasoning": None,
        "tool_calls": [{"id": i, "name": n, "arguments": a} for i, n, a in calls],
        "tool_call_id": None,
        "name": None,
        "source": None,
    }


def result(of: str | None, content: str, source: str = "production") -> dict[str, Any]:
    """The result of a call."""
    return {
        "role": "tool",
        "content": content,
        "reasoning": None,
        "tool_calls": [],
        "tool_call_id": of,
        "name": None,
        "source": source,
    }


def turn(*steps: dict[str, Any], content: str | None = "Done.") -> dict[str, Any]:
    """A turn of these steps and a last message."""
    return {
        "content": content,
        "reasoning": None,
        "tool_calls": [],
        "finish_reason": "stop",
        "steps": list(steps),
    }
