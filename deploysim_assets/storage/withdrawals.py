"""Who has withdrawn: keyed hashes of users and conversations whose rows are dropped from every
later import, and the plan of a withdrawal that is under way."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, Self

from deploysim_assets.project import ProjectError
from deploysim_assets.storage import disk
from deploysim_assets.storage.ledger import Record

WITHDRAWALS_FILE = "withdrawn.json"
PLAN_FILE = "withdrawal.plan.json"


class Withdrawals(NamedTuple):
    """The keyed hashes of those who have withdrawn."""

    users: frozenset[str] = frozenset()
    conversations: frozenset[str] = frozenset()

    @classmethod
    def load(cls, home: Path) -> Self:
        """The project's withdrawals so far; ProjectError where the list is damaged."""
        path = home / WITHDRAWALS_FILE
        try:
            held = json.loads(path.read_bytes())
            return cls(frozenset(held["users"]), frozenset(held["conversations"]))
        except FileNotFoundError:
            return cls()
        except (ValueError, KeyError, TypeError):
            raise ProjectError(
                f"{path}: damaged, so that nobody can tell who withdrew; restore it from a copy"
            ) from None

    def save(self, home: Path) -> None:
        """Write the hashes, and nothing else, whole or not at all."""
        held = {name: sorted(getattr(self, name)) for name in self._fields}
        disk.replace(home / WITHDRAWALS_FILE, json.dumps(held).encode())


class Withdrawn(NamedTuple):
    """What a withdrawal made of a file: the digest that it had before, has since, and its bytes
    since."""

    before: str
    after: str
    bytes: int


class WithdrawnFiles:
    """What withdrawals made of files, by the records of the ledger."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._withdrawn: dict[str, list[Withdrawn]] = {}
        for record in records:
            for file, changes in record.body.get("files", {}).items():
                self._withdrawn.setdefault(file, []).extend(Withdrawn(*one) for one in changes)

    def expected(self, file: str, digest: str) -> str:
        """The digest that a file has today, if it had `digest` when it was written and only
        withdrawals that the ledger records have changed it since."""
        return self.expected_state(file, digest, 0)[0]

    def expected_state(self, file: str, digest: str, size: int) -> tuple[str, int]:
        """The same of a digest with the number of bytes that it is over."""
        for change in self._withdrawn.get(file, []):
            if change.before == digest:
                digest, size = change.after, change.bytes
        return digest, size

    def was_withdrawn_from(self, file: str) -> bool:
        """Whether a withdrawal took rows or lines out of a file."""
        return file in self._withdrawn


class Mark(NamedTuple):
    """The state of the withdrawals when a run began to read."""

    sha256: str

    def still_holds(self, home: Path) -> None:
        """ProjectError where somebody withdrew since: what the run has read may hold their rows."""
        if under_way(home) or _mark(home) != self:
            raise ProjectError(
                "users withdrew while this ran, so what it made was thrown away; materialize it "
                "again (what was paid for is in the journal)"
            )


def _mark(home: Path) -> Mark:
    path = home / WITHDRAWALS_FILE
    return Mark(hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "")


def open_mark(home: Path) -> Mark:
    """The state of the withdrawals now; ProjectError while one is not carried out to its end."""
    if under_way(home):
        raise ProjectError(
            f"{home / PLAN_FILE}: a withdrawal is not carried out to its end; `deploysim forget` "
            "finishes it, and nothing is read or written before"
        )
    return _mark(home)


def under_way(home: Path) -> bool:
    """Whether a withdrawal was begun and is not carried out to its end."""
    return (home / PLAN_FILE).exists()


def save_plan(home: Path, plan: dict[str, Any]) -> None:
    """Write down what a withdrawal will remove, readable by the owner alone: it names people."""
    disk.replace(home / PLAN_FILE, json.dumps(plan).encode(), 0o600)


def load_plan(home: Path) -> dict[str, Any] | None:
    """The plan of a withdrawal that was begun and not finished, or None."""
    try:
        return json.loads((home / PLAN_FILE).read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        raise ProjectError(
            f"{home / PLAN_FILE}: damaged, so that nobody can tell what was to be removed; take it "
            "away, and forget the same users and conversations again"
        ) from None


def drop_plan(home: Path) -> None:
    """Take the plan away, with what a kill left of it: everything in it is done and recorded."""
    for left in home.glob(f".{PLAN_FILE}.*.partial"):
        left.unlink()
    disk.unlink(home / PLAN_FILE)
