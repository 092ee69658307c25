"""Log files -> the conversations table: reads, keeps rejects aside, refuses a partition from
which nothing could be read."""

import contextlib
import fcntl
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol, TypeVar

from deploysim_assets.logs.calls import CallReader
from deploysim_assets.logs.conversation import Conversation, Reader, Reject, Whose
from deploysim_assets.logs.earlier import EarlierReading, OfFile
from deploysim_assets.logs.files import Digest, LogFile, digest, facts, is_damage
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
    files: Sequence[LogFile],
    read: Reader,
    progress: Callable[[int], None] = lambda _: None,
    said: Mapping[str, Digest] | None = None,
) -> Iterator[Read]:
    """All conversations and rejects of files, each with its file; a conversation that its log does
    not name is named by file and line.

    `progress` is told the bytes of each file that is done.  ProjectError for a file that is not of
    its format or out of reach, and, of the files (by path) that are `said` to hold something, for
    one of which something else was read; one that breaks off is a reject, and what came before it
    is kept.
    """
    for file, item in _all(files, read, progress, said or {}):
        if isinstance(item, Conversation):
            item.conversation_id = item.conversation_id or f"{file.name}:{item.line}"
            complete(item)
        yield Read(file, item)


def _all(
    files: Sequence[LogFile],
    read: Reader,
    progress: Callable[[int], None],
    said: Mapping[str, Digest],
) -> Iterator[tuple[LogFile, Conversation | Reject]]:
    if isinstance(read, CallReader):  # the calls of a conversation may lie in several files
        calls = (
            _guarded(f, read.calls, lambda r: (r.line, r), progress, said.get(f.path))
            for f in files
        )
        for number, item in read.over(calls):
            yield files[number], item
        return
    for file in files:
        for item in _guarded(file, read, lambda r: r, progress, said.get(file.path)):
            yield file, item


def _guarded(
    file: LogFile,
    read: Callable[..., Iterator[Item]],
    rejected: Callable[[Reject], Item],
    progress: Callable[[int], None],
    said: Digest | None,
) -> Iterator[Item]:
    """What a reader finds in a file; an empty one is a reject."""
    if file.size == 0:
        yield rejected(Reject(0, "the file is empty"))
        return
    try:
        with file.open(said) as stream:
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


class _Reading:
    """Rows and rejects on their way into a table, counted. The first conversation of an id is
    kept; 8 bytes are kept of each id."""

    def __init__(self, out: TableWriter, keep: Callable[[Conversation], dict[str, Any] | Reject]):
        self._out, self._keep = out, keep
        self._seen: set[int] = set()
        self._times: list[datetime] = []
        self.reasons: Counter[str] = Counter()
        self.conversations = 0

    def take(self, file: LogFile, item: Conversation | Reject) -> None:
        """What a reader found."""
        row = item if isinstance(item, Reject) else self._keep(item)
        if isinstance(item, Conversation) and not isinstance(row, Reject):
            row = _repeated(item, self._seen) or row
        if isinstance(row, Reject):
            self._reject({"file": file.name, "line": row.line, "reason": row.reason})
            return
        self._out.add(row | {"log_file": file.name})
        self.conversations += 1
        self._span(row["started_at"])

    def take_over(self, held: OfFile, give: Callable[[int, int], None]) -> bool:
        """What an earlier reading made of a file, as it is; False where another file has a
        conversation of it by now."""
        mine = {_identity(name) for name in held.ids}
        if not mine.isdisjoint(self._seen):
            return False
        self._seen |= mine
        give(held.start, held.stop)
        self.conversations += held.stop - held.start
        for time in held.times:
            self._span(time)
        for row in held.rejects:
            self._reject(row)
        return True

    def _reject(self, row: dict[str, Any]) -> None:
        self._out.add(row, "rejects")
        self.reasons[row["reason"]] += 1

    def _span(self, time: datetime | None) -> None:
        if time:
            self._times = [min([time, *self._times]), max([time, *self._times])]

    def counts(self) -> dict[str, Any]:
        times = self._times
        return {
            "read": self.conversations + self.reasons.total(),
            "conversations": self.conversations,
            "rejected": self.reasons.total(),
            "rejected_by_reason": dict(sorted(self.reasons.items())),
            "first_message_at": times[0].isoformat() if times else None,
            "last_message_at": times[-1].isoformat() if times else None,
        }


class Taken(NamedTuple):
    """An earlier reading that was made alike, and what adds rows of it to the table by number."""

    reading: EarlierReading
    give: Callable[[int, int], None]


def read_conversations(
    files: list[LogFile],
    read: Reader,
    model_version: str,
    out: TableWriter,
    *,
    consented: bool = False,
    withdrawn: Callable[[Whose], bool] = lambda _: False,
    earlier: Taken | None = None,
) -> dict[str, Any]:
    """Stream all files into `out`; returns the counts (lines, conversations, rejected by reason),
    the first and last message time, the log files by digest, and how many of them `earlier` spared.

    A conversation_id that came before is rejected.  `consented` fills in consent where the source
    carries none; what is `withdrawn` is dropped and counted.  ProjectError as for `items`, where no
    conversation could be read, and for a file that was changed meanwhile.
    """

    def keep(item: Conversation) -> dict[str, Any] | Reject:
        if withdrawn(Whose(item.conversation_id, item.user_id)):
            return Reject(item.line, WITHDRAWN)
        row = item.row(model_version)
        if row["training_allowed"] is None and consented:
            row["training_allowed"] = True
        return row

    reading = _Reading(out, keep)
    before = [digest(file) for file in files]
    said = {file.path: found for file, found in zip(files, before, strict=True)}
    spared: dict[str, dict[str, Any]] = {}
    if earlier is None or isinstance(read, CallReader):
        for file, item in items(files, read, said=said):
            reading.take(file, item)
    else:
        for file in files:
            held = earlier.reading.of(file)
            gone = held is not None and any(map(withdrawn, map(Whose, held.ids, held.users)))
            if held is not None and not gone and reading.take_over(held, earlier.give):
                spared[file.name] = held.facts
                continue
            for _, item in items([file], read, said=said):
                reading.take(file, item)
    if reading.conversations == 0:
        raise ProjectError(nothing_read(files, reading.reasons))
    return reading.counts() | {
        "log_files": [
            spared.get(file.name) or _unchanged(file, was)
            for file, was in zip(files, before, strict=True)
        ],
        "files_spared": len(spared),
    }


def _unchanged(file: LogFile, was: Digest) -> dict[str, Any]:
    found = facts(file)
    if (found["sha256"], found["bytes"]) != was:
        raise ProjectError(
            f"{file.path}: was changed while it was read; logs may grow, but what stands there "
            "stays: run again"
        )
    return found


def nothing_read(files: Sequence[LogFile], reasons: Counter[str]) -> str:
    """What to say where no conversation could be read."""
    said = "; ".join(f"{n} x {reason}" for reason, n in reasons.most_common(3))
    return (
        f"{', '.join(f.path for f in files[:3]) or 'no file'}: no conversation could be read "
        f"({said or 'no lines'}); check logs.format and logs.path of the release"
    )


REPEATED = "conversation_id: stands twice; the first one is kept"


def _identity(conversation_id: str) -> int:
    name = conversation_id.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest())


def _repeated(item: Conversation, seen: set[int]) -> Reject | None:
    """The reject of a conversation whose id came before."""
    identity = _identity(item.conversation_id)
    if identity in seen:
        return Reject(item.line, REPEATED)
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
