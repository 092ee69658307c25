"""Which conversations an earlier cleaning has done already, and old and new rows in one order.

Cleaning is a pure function of a conversation, its drawn turns, the keys, the policy, its models and
the code. Where none of these changed, its rows are taken from the version before; only the weight
and the stratum of a turn, which the draw gives it, may be others.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
import polars as pl

from deploysim_assets.deidentify.keys import Keys
from deploysim_assets.deidentify.prefixes import Cut, Drawn, Turn
from deploysim_assets.schema import CONVERSATIONS

_NOT_READ = frozenset(("log_file", "log_line"))
"""Columns of raw_logs that no cleaning sees: where a conversation stands."""
_TIMED = "time_out"
"""A reason of quarantine that another run may not have."""


def as_cleaned(conversation: Mapping[str, Any]) -> bytes:
    """A digest of all that cleaning may read of a row of raw_logs."""
    read = {name: conversation[name] for name in CONVERSATIONS if name not in _NOT_READ}
    return hashlib.blake2b(orjson.dumps(read, option=orjson.OPT_SORT_KEYS), digest_size=32).digest()


class Taken(NamedTuple):
    """The rows of a conversation in the earlier table, from `start` on, one for each turn drawn;
    or its rows in quarantine."""

    start: int
    turns: Sequence[Turn]
    quarantined: Sequence[dict[str, Any]]
    surface: str | None


class EarlierCleaning:
    """An earlier cleaning with the same keys, policy, models and code.

    `prefixes` are the columns conversation_key and turn_index of its table, `quarantine` its side
    table, `before` the digest (`as_cleaned`) of each conversation that it may have read.
    """

    def __init__(
        self, prefixes: pl.DataFrame, quarantine: pl.DataFrame, before: Mapping[str, bytes]
    ) -> None:
        self._before = before
        self._turns: dict[str, tuple[int, list[int]]] = {}
        for number, (key, turn) in enumerate(prefixes.iter_rows()):
            self._turns.setdefault(key, (number, []))[1].append(turn)
        self._quarantined: dict[str, list[dict[str, Any]]] = {}
        for row in quarantine.iter_rows(named=True):
            self._quarantined.setdefault(row["conversation_key"], []).append(row)

    def of(
        self, conversation: Mapping[str, Any], turns: Sequence[Turn], keys: Keys
    ) -> Taken | None:
        """The rows of a conversation, if it was cleaned for the same turns; None where not."""
        name = conversation["conversation_id"]
        key = keys.identify("conversation", name)
        held, quarantined = self._turns.get(key), self._quarantined.get(key, [])
        if held is not None:
            same = held[1] == [turn.turn_index for turn in turns]
        else:
            drawn = [keys.identify("prefix", name, str(turn.turn_index)) for turn in turns]
            same = drawn == [r["prefix_id"] for r in quarantined]
        if not same or any(r["reason"] == _TIMED for r in quarantined):
            return None
        return Taken(held[0] if held else 0, turns, quarantined, conversation["surface"])

    def read_before(self, conversation: Mapping[str, Any]) -> bool:
        """Whether the earlier cleaning read this very row of raw_logs."""
        return self._before.get(conversation["conversation_id"]) == as_cleaned(conversation)


def in_order(
    conversations: Iterable[Drawn | Taken],
    clean: Callable[[Iterator[Drawn]], Iterable[Cut]],
    key: Callable[[Drawn], str],
    put: Callable[[Taken | Cut], None],
) -> None:
    """Hand on what was taken and what was cleaned, in the order of the conversations. `clean` may
    read ahead; `key` is the conversation_key that its rows bear."""
    waiting: deque[Taken | str] = deque()

    def to_clean() -> Iterator[Drawn]:
        for one in conversations:
            if isinstance(one, Drawn):
                waiting.append(key(one))
                yield one
            elif waiting:
                waiting.append(one)
            else:
                put(one)

    for cut in clean(to_clean()):
        done = _by_conversation(cut)
        while waiting and (isinstance(waiting[0], Taken) or waiting[0] in done):
            first = waiting.popleft()
            put(first if isinstance(first, Taken) else done[first])
    for left in waiting:
        assert isinstance(left, Taken), "each conversation that is cleaned gives a row"
        put(left)


def _by_conversation(cut: Cut) -> dict[str, Cut]:
    found: dict[str, Cut] = {}
    for row in cut.prefixes:
        found.setdefault(row["conversation_key"], Cut([], [])).prefixes.append(row)
    for row in cut.quarantined:
        found.setdefault(row["conversation_key"], Cut([], [])).quarantined.append(row)
    return found


def with_draw(frame: pl.DataFrame, taken: Sequence[tuple[Turn, str | None]]) -> pl.DataFrame:
    """Rows of an earlier table with the weight and the stratum of today's draw; of each its turn
    and its conversation's surface."""
    return frame.with_columns(
        pl.Series("stratum", [t.stratum or surface or "unknown" for t, surface in taken]),
        pl.Series("weight", [t.weight for t, _ in taken], pl.Float64),
    )
