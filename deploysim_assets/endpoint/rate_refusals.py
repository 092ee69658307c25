"""Which refusals for the rate of requests (429) call for fewer requests: a server that refuses some
at random would else starve a run."""

import math

_STEP = 1 / 32
_FEW = 0.03
_WATCHED, _STILL = 32, 0.06
_IN_VAIN, _UNHEEDED_FOR = 2, 10.0
_MOST = 0.5


class RateRefusals:
    """How many requests are refused, and whether our rate is why: then hardly any is right after
    the rate was cut to what the server lets through. Where two cuts in a row were in vain, refusals
    are not heeded for ten seconds, unless they are more than half of all."""

    def __init__(self) -> None:
        self._share = 0.0
        self._sent_before = 0
        self._watched = self._refused = 0
        self._in_vain = 0
        self._unheeded_until = -math.inf

    def note(self, *, refused: bool) -> None:
        """A request was answered or refused."""
        self._share += _STEP * (refused - self._share)
        if self._sent_before:
            self._sent_before -= 1
        elif self._watched < _WATCHED:
            self._watched += 1
            self._refused += refused

    def call_for_a_cut(self, now: float) -> bool:
        """Whether the refusals since the last cut do."""
        if self._watched < _WATCHED or self._share <= _FEW:
            return False
        return now >= self._unheeded_until or self._share > _MOST

    def cut(self, now: float, in_flight: int) -> None:
        """The rate was cut while so many requests were in flight, which tell nothing of it."""
        if self._watched >= _WATCHED:
            self._in_vain = self._in_vain + 1 if self._refused > _STILL * self._watched else 0
        if self._in_vain >= _IN_VAIN:
            self._in_vain = _IN_VAIN - 1
            self._unheeded_until = now + _UNHEEDED_FOR
        self._share, self._sent_before = 0.0, in_flight
        self._watched = self._refused = 0
