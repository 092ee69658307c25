"""What is graded: a prefix and one reply to it, simulated or real, in one shape so that both
sides are measured alike."""

from typing import Any, NamedTuple, Self

from deploysim_assets.schema import BROKEN_OFF, reply_state, separated


class Item(NamedTuple):
    """A reply in its context. `prefix` holds the prefix row's keys and columns; `reply` is a
    schema.REPLY, or None where there is none to be graded.

    `cut` is the reply of an item whose status is "truncated": Panel.admitted makes it the one to
    be graded where the panel grades such replies. `broken` is what was seen of a turn that was
    broken off: no reply.
    """

    prefix: dict[str, Any]
    reply: dict[str, Any] | None
    status: str
    error: str | None
    cut: dict[str, Any] | None = None
    broken: dict[str, Any] | None = None

    @classmethod
    def of_completion(cls, prefix: dict[str, Any], completion: dict[str, Any]) -> Self:
        """A simulated reply, from its row of a table of completions; one that was not completed
        has none."""
        return cls._of(prefix, completion["message"], completion["status"], completion["error"])

    @classmethod
    def of_production(cls, prefix: dict[str, Any]) -> Self:
        """What the deployed model really answered, from the prefix's row."""
        reply = separated(prefix["production_completion"])
        return cls._of(prefix, reply, reply_state(reply), None)

    @classmethod
    def _of(
        cls, prefix: dict[str, Any], reply: dict[str, Any], status: str, error: str | None
    ) -> Self:
        return cls(
            prefix,
            reply if status == "completed" else None,
            status,
            error,
            reply if status == "truncated" else None,
            reply if status in BROKEN_OFF else None,
        )
