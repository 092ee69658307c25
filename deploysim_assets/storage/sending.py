"""A journal whose home is in a bucket: what is written into the file goes up in segments, every few
seconds and at the end, so that a host that is lost loses little."""

import contextlib
import logging
import threading
from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path

from deploysim_assets.project import ProjectError
from deploysim_assets.storage.bucket_leases import SECONDS, SKEW, Lease
from deploysim_assets.storage.mirrors import Mirrored, mirror_of

EVERY = 3.0
"""Seconds between two segments: what a lost host may have been answered, and paid, in vain."""
LONGEST = SECONDS + SKEW + 10
"""Seconds that a journal is waited for: by then whoever was lost has let go of it."""
_log = logging.getLogger(__name__)


class Sender:
    """Sends a journal's segments while it is written."""

    def __init__(self, mirror: Mirrored, path: Path, lease: Lease) -> None:
        self._mirror, self._path, self._lease = mirror, path, lease
        self._limit = 0
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._live, daemon=True, name="segments")

    def quiet(self) -> contextlib.AbstractContextManager[None]:
        """Nobody on this host brings journals down meanwhile."""
        return self._mirror.quiet()

    def start(self) -> None:
        """Send what an earlier process of this host did not, and go on from time to time."""
        self.send(self._path.stat().st_size)
        self._thread.start()

    def synced(self, end: int) -> None:
        """The file is on disk up to a byte; ProjectError where another host may write the same
        journal by now."""
        self._limit = end
        self._mirror.leases.check(self._lease)

    def finish(self) -> None:
        """Send what is left; ProjectError where it cannot be."""
        self._stop()
        try:
            self.send(self._path.stat().st_size)
        except ProjectError as wrong:
            raise ProjectError(
                f"{wrong}; the newest answers are in {self._path} alone: run again on this host, "
                "or they are asked, and paid, for again"
            ) from None

    def give_up(self) -> None:
        """Send what can be sent, after an error that says more."""
        self._stop()
        with contextlib.suppress(ProjectError, OSError):
            self.send(self._path.stat().st_size)

    def _stop(self) -> None:
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()

    def send(self, limit: int) -> None:
        """Send what is written up to a byte; ProjectError where it cannot be."""
        with self._lock:
            self._mirror.leases.check(self._lease)
            if self._mirror.journals.send(self._path, limit):
                self._lease.said["sent_at"] = datetime.now(UTC).isoformat(timespec="seconds")
                self._mirror.leases.tell(self._lease)

    def _live(self) -> None:
        while not self._end.wait(EVERY):
            try:
                self.send(self._limit)
            except ProjectError as wrong:  # the next try may go well; the lease tells when not
                _log.warning("%s", wrong)


@contextlib.contextmanager
def sending(path: Path) -> Generator[Sender | None]:
    """The journal's lease among hosts, and what other hosts have written into it; None for a home
    on a disk. ProjectError where another host is writing it."""
    mirror = mirror_of(path)
    if mirror is None:
        yield None
        return

    def busy(owner: str) -> str:
        return (
            f"{path}: another host ({owner}) is asking for the same partition; wait for it to end, "
            "or stop it (a host that was lost lets go after 90 seconds)"
        )

    name = f"journals/{mirror.name(path)}"
    with mirror.leases.held(name, alone=True, longest=LONGEST, busy=busy) as lease:
        if gone := mirror.journals.open(path):
            _log.warning(
                "%s: %d bytes of answers that were never sent went, for somebody withdrew since: "
                "what is still wanted of them is asked for again",
                path.name, gone,
            )  # fmt: skip
        for dead in lease.dead:
            sent = dead.said.get("sent_at", "its start")
            died = datetime.fromtimestamp(dead.until, UTC).isoformat(timespec="seconds")
            _log.warning(
                "%s: %s was lost while it asked: what it was answered up to %s is here; what it "
                "was answered between then and %s at the latest is asked for again",
                path.name, dead.owner, sent, died,
            )  # fmt: skip
        yield Sender(mirror, path, lease)
