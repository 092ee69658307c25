"""What is graded: a prefix and one reply to it, simulated or real, in one shape so that both
sides are measured alike."""

from typing import Any, NamedTuple, Self


class Item(NamedTuple):
    """A reply in its context. `prefix` holds the prefix row's keys and columns; `reply` is a
    schema.REPLY, or None where there is none."""

    prefix: dict[str, Any]
    reply: dict[str, Any] | None
    status: str
    error: str | None

    @classmethod
    def of_completion(cls, prefix: dict[str, Any], completion: dict[str, Any]) -> Self:
        """A simulated reply, from its row of a table of completions; one that was not completed
        has none."""
        reply = completion["message"] if completion["status"] == "completed" else None
        return cls(prefix, reply, completion["status"], completion["error"])

    @classmethod
    def of_production(cls, prefix: dict[str, Any]) -> Self:
        """What the deployed model really answered, from the prefix's row."""
        return cls(prefix, prefix["production_completion"], "completed", None)
