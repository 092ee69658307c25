"""Tokens and money, added up and compared."""

from dataclasses import dataclass
from typing import Literal

MORE_OF_ROOM = 20
"""Of what is left of a budget, one part in so many is set aside at once beyond what is needed."""
_ROUNDING = 1e-9

Lacks = Literal["", "tokens", "money"]


@dataclass(frozen=True)
class Sum:
    """Tokens and money."""

    tokens: float = 0.0
    money: float = 0.0

    def plus(self, other: "Sum") -> "Sum":
        """Both together."""
        return Sum(self.tokens + other.tokens, self.money + other.money)

    def times(self, factor: float) -> "Sum":
        """So often."""
        return Sum(self.tokens * factor, self.money * factor)

    def minus(self, other: "Sum") -> "Sum":
        """What is left without the other."""
        return self.plus(other.times(-1))

    def within(self, other: "Sum") -> bool:
        """Whether neither is more than the other's."""
        return (
            self.tokens <= other.tokens + _ROUNDING and self.money <= other.money + _ROUNDING
        )  # sums of floats

    def lesser(self, other: "Sum") -> "Sum":
        """The lesser tokens and the lesser money."""
        return Sum(min(self.tokens, other.tokens), min(self.money, other.money))

    def greater(self, other: "Sum") -> "Sum":
        """The greater tokens and the greater money."""
        return Sum(max(self.tokens, other.tokens), max(self.money, other.money))

    def lack(self, room: "Sum") -> Lacks:
        """Of what there is no room for this."""
        if self.within(room):
            return ""
        return "tokens" if self.tokens > room.tokens + _ROUNDING else "money"


def listed(of: Sum) -> list[float]:
    """As it stands in an object."""
    return [of.tokens, of.money]
