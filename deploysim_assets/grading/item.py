"""What is graded: a prefix and one reply to it, simulated or real, in one shape so that both sides are measured alike."""

from typing import Any, NamedTuple


class Item(NamedTuple):
    """A reply in its context. `prefix` holds the prefix row's keys and columns; `reply` is a schema.REPLY, or None where there is none."""

    prefix: dict[str, Any]
    reply: dict[str, Any] | None
    status: str
    error: str | None
