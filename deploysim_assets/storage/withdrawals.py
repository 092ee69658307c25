"""Who has withdrawn: keyed hashes of users and conversations whose rows are dropped from every
later import."""

import json
from pathlib import Path
from typing import NamedTuple, Self

WITHDRAWALS_FILE = "withdrawn.json"


class Withdrawals(NamedTuple):
    """The keyed hashes of those who have withdrawn."""

    users: frozenset[str] = frozenset()
    conversations: frozenset[str] = frozenset()

    @classmethod
    def load(cls, home: Path) -> Self:
        """The project's withdrawals so far."""
        path = home / WITHDRAWALS_FILE
        if not path.exists():
            return cls()
        held = json.loads(path.read_text())
        return cls(frozenset(held["users"]), frozenset(held["conversations"]))

    def save(self, home: Path) -> None:
        """Write the hashes, and nothing else, by one rename."""
        partial = home / f".{WITHDRAWALS_FILE}"
        held = {name: sorted(getattr(self, name)) for name in self._fields}
        partial.write_text(json.dumps(held))
        partial.replace(home / WITHDRAWALS_FILE)
