"""Who has withdrawn: keyed hashes of users and conversations whose rows are dropped from every
later import."""

import json
from pathlib import Path
from typing import NamedTuple, Self

from deploysim_assets.deidentify.keys import Keys, load_keys
from deploysim_assets.logs.conversation import Conversation

WITHDRAWN_FILE = "withdrawn.json"


class Withdrawn(NamedTuple):
    """The hashes, and the keys that make them; without a withdrawal no key is needed."""

    users: frozenset[str]
    conversations: frozenset[str]
    keys: Keys | None

    @classmethod
    def load(cls, home: Path) -> Self:
        """The project's withdrawals so far; ProjectError where there are some and the keys are
        missing."""
        path = home / WITHDRAWN_FILE
        if not path.exists():
            return cls(frozenset(), frozenset(), None)
        held = json.loads(path.read_text())
        return cls(
            frozenset(held["users"]),
            frozenset(held["conversations"]),
            load_keys(home, may_create=False),
        )

    def covers(self, conversation: Conversation) -> bool:
        """Whether the conversation, or its user, was withdrawn."""
        if self.keys is None:
            return False
        user = conversation.user_id
        return self.keys.identify(
            "conversation", conversation.conversation_id
        ) in self.conversations or (
            user is not None and self.keys.identify("user", user) in self.users
        )

    def save(self, home: Path) -> None:
        """Write the hashes, and nothing else, by one rename."""
        partial = home / f".{WITHDRAWN_FILE}"
        partial.write_text(
            json.dumps({"users": sorted(self.users), "conversations": sorted(self.conversations)})
        )
        partial.replace(home / WITHDRAWN_FILE)
