"""How far a run of requests has come: a live line in a terminal, a log line now and then
elsewhere."""

import sys
import time
from collections.abc import Callable
from typing import NamedTuple

_LOG_EVERY = 30.0
_SHOW_EVERY = 0.5
_SAY_EVERY = 60.0


class Progress(NamedTuple):
    """Where a run of requests stands."""

    done: int
    total: int
    in_flight: int
    retries: int
    money: float
    seconds: float
    waiting: str = ""
    parts: dict[str, int] = {}  # noqa: RUF012 (never changed)

    def __str__(self) -> str:
        rate = self.done / self.seconds if self.seconds > 0 else 0.0
        left = f"{(self.total - self.done) / rate:,.0f} s left" if rate > 0 else "no answer yet"
        spent = f", {self.money:,.2f} spent" if self.money else ""
        parts = ", ".join(f"{n:,} {what}" for what, n in sorted(self.parts.items()))
        what = f"turns ({parts})" if parts else "requests"
        return (
            f"{self.done:,} of {self.total:,} {what}, {rate:,.1f}/s, {self.in_flight} in "
            f"flight, {self.retries:,} retries{spent}, {self.waiting or left}"
        )


class Reporter:
    """Shows progress at a sane pace: the terminal's last line where there is one, else `log`."""

    def __init__(self, log: Callable[[str], None] | None) -> None:
        self._log = log
        self._live = sys.stderr.isatty()
        self._shown_at = self._logged_at = time.monotonic()
        self._said_at = float("-inf")

    def note(self, text: str) -> None:
        """Say something once."""
        if self._log:
            self._log(text)

    def waits(self, text: str) -> None:
        """Say, once a minute at most, that nothing goes on, and why."""
        now = time.monotonic()
        if now - self._said_at >= _SAY_EVERY:
            self._said_at = now
            self.note(text)

    def update(self, progress: Callable[[], Progress]) -> None:
        """Show where things stand, if it is time to."""
        now = time.monotonic()
        if self._live and now - self._shown_at >= _SHOW_EVERY:
            self._shown_at = now
            sys.stderr.write(f"\r\x1b[2K{progress()}")
            sys.stderr.flush()
        if self._log and now - self._logged_at >= _LOG_EVERY:
            self._logged_at = now
            self._log(str(progress()))

    def close(self) -> None:
        """Clear the live line."""
        if self._live:
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()
