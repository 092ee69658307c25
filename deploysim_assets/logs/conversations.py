"""Log files -> the conversations table: reads, keeps rejects aside, refuses a partition from
which nothing could be read."""

import contextlib
import fcntl
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol, TypeVar

from deploysim_assets.logs.calls import CallReader
from deploysim_assets.logs.conversation import Conversation, Reader, Reject
from deploysim_assets.logs.files import LogFile, facts, is_damage
from deploysim_assets.logs.openai_chat import line_of
from deploysim_assets.logs.records import DAMAGED, UnreadableError
from deploysim_assets.logs.tools import complete
from deploysim_assets.project import ProjectError

WITHDRAWN = "withdrawn by the user"

Item = TypeVar("Item")


class TableWriter(Protocol):
    """Where the rows go: a version of raw_logs with the side table `rejects`."""

    def add(self, row: dict[str, Any], table: str = "") -> None: ...


class Read(NamedTuple):
    """A conversation or a reject, and the file that it stands in."""

    file: LogFile
    item: Conversation | Reject


def items(
    files: Sequence[LogFile], read: Reader, progress: Callable[[int], None] = lambda _: None
) -> Iterator[Read]:
    """All conversations and rejects of files, each with its file; a conversation that its log does
    not name is named by file and line.

    `progress` is told the bytes of each file that is done.  ProjectError for a file that is not of
    its format or out of reach; one that breaks off is a reject, and what came before it is kept.
    """
    for file, item in _all(files, read, progress):
        if isinstance(item, Conversation):
            item.conversation_id = item.conversation_id or f"{file.name}:{item.line}"
            complete(item)
        yield Read(file, item)


def _all(
    files: Sequence[LogFile], read: Reader, progress: Callable[[int], None]
) -> Iterator[tuple[LogFile, Conversation | Reject]]:
    if isinstance(read, CallReader):  # the calls of a conversation may lie in several files
        calls = (_guarded(f, read.calls, lambda r: (r.line, r), progress) for f in files)
        for number, item in read.over(calls):
            yield files[number], item
        return
    for file in files:
        for item in _guarded(file, read, lambda r: r, progress):
            yield file, item


def _guarded(
    file: LogFile,
    read: Callable[..., Iterator[Item]],
    rejected: Callable[[Reject], Item],
    progress: Callable[[int], None],
) -> Iterator[Item]:
    """What a reader finds in a file; an empty one is a reject."""
    if file.size == 0:
        yield rejected(Reject(0, "the file is empty"))
        return
    try:
        with file.open() as stream:
            yield from read(stream)
    except UnreadableError as wrong:
        raise ProjectError(
            f"{file.path}: {wrong}; check logs.format of the release, or take the file out"
        ) from None
    except Exception as wrong:
        if is_damage(wrong):
            yield rejected(Reject(0, DAMAGED.reason))
        elif isinstance(wrong, OSError):
            raise ProjectError(
                f"{file.path}: cannot be read to its end ({type(wrong).__name__}); see that the "
                "file is in reach, and run again"
            ) from None
        else:
            raise
    progress(file.size)


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
    carries none; what is `withdrawn` is dropped and counted.  ProjectError as for `items`, and
    where no conversation could be read.
    """
    seen: set[int] = set()
    reasons: Counter[str] = Counter()
    times: list[datetime] = []
    conversations = 0
    for file, item in items(files, read):
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
            out.add({"file": file.name, "line": reject.line, "reason": reject.reason}, "rejects")
            reasons[reject.reason] += 1
    if conversations == 0:
        raise ProjectError(nothing_read(files, reasons))
    return {
        "read": conversations + reasons.total(),
        "conversations": conversations,
        "rejected": reasons.total(),
        "rejected_by_reason": dict(reasons),
        "first_message_at": times[0].isoformat() if times else None,
        "last_message_at": times[-1].isoformat() if times else None,
        "log_files": [facts(file) for file in files],
    }


def nothing_read(files: Sequence[LogFile], reasons: Counter[str]) -> str:
    """What to say where no conversation could be read."""
    said = "; ".join(f"{n} x {reason}" for reason, n in reasons.most_common(3))
    return (
        f"{', '.join(f.path for f in files[:3]) or 'no file'}: no conversation could be read "
        f"({said or 'no lines'}); check logs.format and logs.path of the release"
    )


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


class Imported(NamedTuple):
    """What an import found."""

    conversations: int
    rejected: Counter[str]


def import_files(
    files: Sequence[LogFile],
    read: Reader,
    write: Callable[[Conversation, LogFile], object],
    progress: Callable[[int], None],
) -> Imported:
    """Hand the conversations of files of any format to `write`; returns their number, and the
    rejects by reason. ProjectError as for `items`, and where no conversation could be read."""
    seen: set[int] = set()
    reasons: Counter[str] = Counter()
    conversations = 0
    for file, item in items(files, read, progress):
        reject = item if isinstance(item, Reject) else _repeated(item, seen)
        if reject:
            reasons[reject.reason] += 1
        elif isinstance(item, Conversation):
            write(item, file)
            conversations += 1
    if conversations == 0:
        raise ProjectError(nothing_read(files, reasons))
    return Imported(conversations, reasons)


def import_into(
    target: Path, files: Sequence[LogFile], read: Reader, progress: Callable[[int], None]
) -> Imported:
    """As `import_files`, into an `openai_chat` file, which appears only when it is whole and on
    the disk: an import that was killed is run again and gives the same file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".partial")
    with partial.open("ab") as out, _alone(out, partial):
        out.truncate(0)
        try:
            found = import_files(
                files, read, lambda item, file: out.write(line_of(item, file.name)), progress
            )
            out.flush()
            os.fsync(out.fileno())
        except BaseException:
            partial.unlink()
            raise
        partial.replace(target)
    return found


@contextlib.contextmanager
def _alone(out: BinaryIO, path: Path) -> Generator[None]:
    """The file for oneself; ProjectError where another import writes it, or has just done so."""
    busy = ProjectError(f"{path}: another import is writing it; wait for it to end, then run again")
    try:
        fcntl.flock(out, fcntl.LOCK_EX | fcntl.LOCK_NB)
        mine = path.stat().st_ino == os.fstat(out.fileno()).st_ino
    except OSError:
        raise busy from None
    if not mine:
        raise busy
    yield
