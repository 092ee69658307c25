"""Which occasion of grading sentinels a partition is in the middle of: noted down before anything
is asked, so that a run that was killed goes on with it instead of paying for another."""

from pathlib import Path

import orjson

from deploysim_assets.project import ProjectError
from deploysim_assets.storage import disk


def _file(journal: Path) -> Path:
    return journal.with_name(f"{journal.name.removesuffix('.jsonl')}.occasions.json")


def intended(journal: Path) -> dict[str, int]:
    """The number of the occasion that was begun last, per grading; ProjectError where the file
    cannot be read."""
    file = _file(journal)
    try:
        return {grading: int(number) for grading, number in orjson.loads(file.read_bytes()).items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, AttributeError):
        wrong = f"{file}: not a list of occasions; take it away and run again"
        raise ProjectError(wrong) from None


def intend(journal: Path, grading_id: str, number: int) -> None:
    """Note down that an occasion is begun, forced to disk."""
    content = intended(journal) | {grading_id: number}
    disk.replace(_file(journal), orjson.dumps(content, option=orjson.OPT_SORT_KEYS))
