"""What an audit says: each thing that does not hold, by asset, partition, version and file, and
what is worth knowing beside."""

from typing import Any, NamedTuple


class Fault(NamedTuple):
    """One thing that does not hold, with where it lies and how to mend it."""

    what: str
    mend: str
    asset: str | None = None
    partition: str | None = None
    version: str | None = None
    file: str | None = None
    record: int | None = None

    def __str__(self) -> str:
        where = f"{self.asset}[{self.partition}]" if self.partition else self.asset
        parts = (where, self.version, self.file, self.record and f"ledger record {self.record}")
        place = ", ".join(part for part in parts if part)
        return f"{place}: {self.what}; {self.mend}" if place else f"{self.what}; {self.mend}"


class Audit(NamedTuple):
    """A walk over a home: how far it went, what does not hold, and notes that are no fault."""

    records: int
    head: str
    files: int
    bytes: int
    faults: list[Fault]
    notes: list[str]

    @property
    def holds(self) -> bool:
        return not self.faults

    def document(self) -> dict[str, Any]:
        """The audit as JSON."""
        return {
            "holds": self.holds,
            "records": self.records,
            "head": self.head,
            "files": self.files,
            "bytes": self.bytes,
            "faults": [fault._asdict() for fault in self.faults],
            "notes": self.notes,
        }
