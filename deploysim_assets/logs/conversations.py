"""Log files -> the conversations table: reads, keeps rejects aside, refuses a partition from which nothing could be read."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from deploysim_assets.logs.conversation import Conversation, Reject
from deploysim_assets.project import ProjectError


class TableWriter(Protocol):
    """Where the rows go: a version of raw_logs with the side table `rejects`."""

    def add(self, row: dict[str, Any], table: str = "") -> None: ...


def log_files(home: Path, pattern: str) -> list[Path]:
    """The files a release's `logs.path` names, in a fixed order; a relative glob starts at the home."""
    anchor, glob = (Path("/"), pattern.lstrip("/")) if pattern.startswith("/") else (home, pattern)
    return sorted(p for p in anchor.glob(glob) if p.is_file())


def fingerprint(files: list[Path]) -> str:
    """A hash of names, sizes and modification times: equal while no file came, went or changed."""
    facts = [(str(p), s.st_size, s.st_mtime_ns) for p in files for s in [p.stat()]]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def read_conversations(files: list[Path], read: Callable[[Path], Iterator[Conversation | Reject]], model_version: str, out: TableWriter) -> dict[str, Any]:
    """Stream all files into `out`; returns the counts (lines, conversations, rejected by reason) and the first and last message time.

    A conversation_id that came before is rejected. ProjectError where not one conversation could be read.
    """
    seen: set[int] = set()
    reasons: Counter[str] = Counter()
    conversations, first, last = 0, None, None

    def reject(path: Path, line: int, reason: str) -> None:
        out.add({"file": str(path), "line": line, "reason": reason}, "rejects")
        reasons[reason] += 1

    for path in files:
        if path.stat().st_size == 0:
            reject(path, 0, "the file is empty")
        for item in read(path):
            if isinstance(item, Reject):
                reject(path, item.line, item.reason)
                continue
            identity = int.from_bytes(hashlib.blake2b(item.conversation_id.encode("utf-8", "surrogatepass"), digest_size=8).digest())
            if identity in seen:
                reject(path, item.line, "conversation_id: stands twice; the first one is kept")
                continue
            seen.add(identity)
            row = item.row(model_version)
            out.add(row)
            conversations += 1
            first = min(first or row["started_at"], row["started_at"])
            last = max(last or row["started_at"], row["started_at"])
    if conversations == 0:
        said = "; ".join(f"{n} x {reason}" for reason, n in reasons.most_common(3))
        raise ProjectError(
            f"{', '.join(map(str, files[:3])) or 'no file'}: no conversation could be read ({said or 'no lines'}); "
            "check logs.format and logs.path of the release"
        )
    rejected = reasons.total()
    return {
        "read": conversations + rejected,
        "conversations": conversations,
        "rejected": rejected,
        "rejected_by_reason": dict(reasons),
        "first_message_at": first.isoformat() if first else None,
        "last_message_at": last.isoformat() if last else None,
    }
