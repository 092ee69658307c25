"""What a working folder knows of its bucket: which content each of its files has there, and how far
each journal is there."""

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from deploysim_assets.storage.objects import State

FILE = ".bucket.sqlite"
_TABLES = """
CREATE TABLE IF NOT EXISTS objects (name TEXT PRIMARY KEY, state TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS journals (name TEXT PRIMARY KEY, there INTEGER NOT NULL,
    base TEXT NOT NULL, segment INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS opened (name TEXT PRIMARY KEY, withdrawals TEXT NOT NULL);
"""


class Reach(NamedTuple):
    """How far a journal is in the bucket: the first `there` bytes of the file here, made of `base`
    (an object that holds the whole journal of some time) and the segments up to a number."""

    there: int = 0
    base: State = MappingProxyType({})
    segment: int = 0


class Known:
    """A small database, which the processes of a host share."""

    def __init__(self, home: Path) -> None:
        self._file = home / FILE
        with closing(self._opened()) as database, database:
            database.executescript(_TABLES)

    def _opened(self) -> sqlite3.Connection:
        return sqlite3.connect(self._file, timeout=60)

    def states(self) -> dict[str, State]:
        """Name -> the content that the file here has."""
        with closing(self._opened()) as database:
            found = database.execute("SELECT name, state FROM objects")
            return {name: json.loads(state) for name, state in found}

    def state(self, name: str) -> State | None:
        """The content that a file here has; None where it is not known."""
        with closing(self._opened()) as database:
            query = "SELECT state FROM objects WHERE name = ?"
            found = database.execute(query, (name,)).fetchone()
        return json.loads(found[0]) if found else None

    def note(self, states: Mapping[str, State]) -> None:
        """The files here now have these contents."""
        rows = [(name, json.dumps(dict(state))) for name, state in states.items()]
        with closing(self._opened()) as database, database:
            database.executemany("INSERT OR REPLACE INTO objects VALUES (?, ?)", rows)

    def drop(self, names: list[str]) -> None:
        """These are gone."""
        with closing(self._opened()) as database, database:
            database.executemany("DELETE FROM objects WHERE name = ?", [(n,) for n in names])

    def reach(self, journal: str) -> Reach:
        """How far a journal is there."""
        with closing(self._opened()) as database:
            query = "SELECT there, base, segment FROM journals WHERE name = ?"
            found = database.execute(query, (journal,)).fetchone()
        return Reach(found[0], json.loads(found[1]), found[2]) if found else Reach()

    def journals(self) -> list[str]:
        """The journals that are in the bucket as far as is known."""
        with closing(self._opened()) as database:
            return [name for (name,) in database.execute("SELECT name FROM journals")]

    def drop_journal(self, name: str) -> None:
        """It is gone, or put away under another name."""
        with closing(self._opened()) as database, database:
            database.execute("DELETE FROM journals WHERE name = ?", (name,))

    def opened_under(self, journal: str) -> str | None:
        """The state of the withdrawals when a journal was last opened here, None where it never
        was."""
        with closing(self._opened()) as database:
            query = "SELECT withdrawals FROM opened WHERE name = ?"
            found = database.execute(query, (journal,)).fetchone()
        return found[0] if found else None

    def note_opened(self, journal: str, withdrawals: str) -> None:
        """A journal is opened under this state of the withdrawals."""
        with closing(self._opened()) as database, database:
            row = (journal, withdrawals)
            database.execute("INSERT OR REPLACE INTO opened VALUES (?, ?)", row)

    def note_reach(self, journal: str, reach: Reach) -> None:
        """The journal is there that far."""
        row = (journal, reach.there, json.dumps(dict(reach.base)), reach.segment)
        with closing(self._opened()) as database, database:
            database.execute("INSERT OR REPLACE INTO journals VALUES (?, ?, ?, ?)", row)
