"""Log files -> the conversations table: reads, keeps rejects aside, refuses a partition from
which nothing could be read."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from deploysim_assets.logs.conversation import Conversation, Reader, Reject
from deploysim_assets.logs.files import DAMAGE, LogFile, facts
from deploysim_assets.logs.openai_chat import line_of
from deploysim_assets.logs.records import UnreadableError
from deploysim_assets.project import ProjectError

WITHDRAWN = "withdrawn by the user"


class TableWriter(Protocol):
    """Where the rows go: a version of raw_logs with the side table `rejects`."""

    def add(self, row: dict[str, Any], table: str = "") -> None: ...


def read_conversations(
    files: list[LogFile],
    read: Reader,
    model_version: str,
    out: TableWriter,
    *,
    consented: bool = False,
    withdrawn: Callable[[Conversation], bool] = lambda _: False,
) -> dict[str, Any]:
    """Stream all files into `out`; returns the counts (lines, conversations, rejected by reason),
    the first and last message time, and the log files by digest.

    A conversation_id that came before is rejected.  `consented` fills in consent where the source
    carries none; what is `withdrawn` is dropped and counted.  ProjectError for a file that is not
    of its format, and where no conversation could be read.
    """
    seen: set[int] = set()
    reasons: Counter[str] = Counter()
    times: list[datetime] = []
    conversations = 0
    for file in files:
        for item in _items(file, read):
            reject = (
                item
                if isinstance(item, Reject)
                else Reject(item.line, WITHDRAWN)
                if withdrawn(item)
                else _repeated(item, seen)
            )
            if isinstance(item, Conversation) and reject is None:
                row = item.row(model_version, file.name)
                if row["training_allowed"] is None and consented:
                    row["training_allowed"] = True
                out.add(row)
                conversations += 1
                if started := row["started_at"]:
                    times = [min([started, *times]), max([started, *times])]
            elif reject:
                out.add(
                    {"file": file.name, "line": reject.line, "reason": reject.reason}, "rejects"
                )
                reasons[reject.reason] += 1
    if conversations == 0:
        said = "; ".join(f"{n} x {reason}" for reason, n in reasons.most_common(3))
        raise ProjectError(
            f"{', '.join(f.path for f in files[:3]) or 'no file'}: no conversation could be read "
            f"({said or 'no lines'}); "
            "check logs.format and logs.path of the release"
        )
    return {
        "read": conversations + reasons.total(),
        "conversations": conversations,
        "rejected": reasons.total(),
        "rejected_by_reason": dict(reasons),
        "first_message_at": times[0].isoformat() if times else None,
        "last_message_at": times[-1].isoformat() if times else None,
        "log_files": [facts(file) for file in files],
    }


def _repeated(item: Conversation, seen: set[int]) -> Reject | None:
    """The reject of a conversation whose id came before; 8 bytes are kept of each id."""
    identity = int.from_bytes(
        hashlib.blake2b(
            item.conversation_id.encode("utf-8", "surrogatepass"), digest_size=8
        ).digest()
    )
    if identity in seen:
        return Reject(item.line, "conversation_id: stands twice; the first one is kept")
    seen.add(identity)
    return None


def _items(file: LogFile, read: Reader) -> Iterator[Conversation | Reject]:
    """The items of a file; an empty one is a reject, and what is broken as a whole is a
    ProjectError that names it."""
    if file.size == 0:
        yield Reject(0, "the file is empty")
        return
    try:
        with file.open() as stream:
            yield from read(stream)
    except UnreadableError as wrong:
        raise ProjectError(
            f"{file.path}: {wrong}; check logs.format of the release, or take the file out"
        ) from None
    except DAMAGE as wrong:
        raise ProjectError(
            f"{file.path}: cannot be read to its end ({type(wrong).__name__}); the file is "
            "damaged or incomplete"
        ) from None


def import_files(
    files: list[LogFile], read: Reader, target: Path, progress: Callable[[int], None]
) -> dict[str, Any]:
    """Write the conversations of files of any format to an `openai_chat` file at `target`; returns
    the counts, rejects by reason.

    `progress` is told the bytes of each file that is done.  The target appears only when it is
    whole.  ProjectError as for `read_conversations`.
    """
    seen: set[int] = set()
    reasons: Counter[str] = Counter()
    conversations = 0
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".partial")
    with partial.open("wb") as out:
        for file in files:
            for item in _items(file, read):
                reject = item if isinstance(item, Reject) else _repeated(item, seen)
                if reject:
                    reasons[reject.reason] += 1
                elif isinstance(item, Conversation):
                    out.write(line_of(item))
                    conversations += 1
            progress(file.size)
    partial.replace(target)
    return {
        "conversations": conversations,
        "rejected": reasons.total(),
        "rejected_by_reason": dict(reasons),
    }
