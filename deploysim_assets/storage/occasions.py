"""Which occasion of grading sentinels a partition is in the middle of: noted down before anything
is asked, so that a run that was killed goes on with it instead of paying for another."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import orjson

from deploysim_assets.project import ProjectError
from deploysim_assets.storage import disk
from deploysim_assets.storage.journal import JOURNALS

_ENDING = ".occasions.json"


def _file(journal: Path) -> Path:
    return journal.with_name(journal.name.removesuffix(".jsonl") + _ENDING)


def occasion_files(home: Path) -> list[Path]:
    """The notes beside all journals of a home."""
    return sorted((home / JOURNALS).rglob(f"[!.]*{_ENDING}"))


def without_prefixes(file: Path, gone: frozenset[str]) -> tuple[bytes, int]:
    """The notes of a file without the prefixes that somebody withdrew, and how many those were."""
    known = {
        grading: (number, [i for i in drawn if i not in gone], len(drawn))
        for grading, (number, drawn) in orjson.loads(file.read_bytes()).items()
    }
    content = {grading: [number, kept] for grading, (number, kept, _) in known.items()}
    removed = sum(drawn - len(kept) for _, kept, drawn in known.values())
    return orjson.dumps(content, option=orjson.OPT_SORT_KEYS), removed


class Intent(NamedTuple):
    """The occasion that was begun last: its number, and the prefixes that were drawn on it where
    the set is not sealed yet."""

    number: int
    drawn: tuple[str, ...] = ()


def intended(journal: Path) -> dict[str, Intent]:
    """What was begun last, per grading; ProjectError where the file cannot be read."""
    file = _file(journal)
    try:
        return {
            grading: Intent(int(number), tuple(map(str, drawn)))
            for grading, (number, drawn) in orjson.loads(file.read_bytes()).items()
        }
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, AttributeError):
        wrong = f"{file}: not a list of occasions; take it away and run again"
        raise ProjectError(wrong) from None


def intend(journal: Path, grading_id: str, number: int, drawn: Sequence[str] = ()) -> None:
    """Note down that an occasion is begun, forced to disk."""
    known = intended(journal) | {grading_id: Intent(number, tuple(drawn))}
    content = {grading: [one.number, one.drawn] for grading, one in known.items()}
    disk.replace(_file(journal), orjson.dumps(content, option=orjson.OPT_SORT_KEYS))
