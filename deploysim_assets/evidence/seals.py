"""What the ledger says of the home: which manifests it vouches for, what was withdrawn or collected
since, and who may sign."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from deploysim_assets.evidence.findings import Fault
from deploysim_assets.storage import ledger
from deploysim_assets.storage.ledger import Record
from deploysim_assets.storage.manifests import Manifest
from deploysim_assets.storage.verdicts import CHECKS, Verdict
from deploysim_assets.storage.withdrawals import WithdrawnFiles

_OF_INPUTS = ("registration", "sentinels", ledger.UPGRADE)
"""Kinds that seal what something rests on, which need not be the newest of its table."""
RESTORE = "restore it from a copy"
_CLOCKS_DIFFER = timedelta(minutes=2)
"""By how much clocks of hosts that all keep time may differ."""


class Seals(WithdrawnFiles):
    """The records of a ledger, indexed."""

    def __init__(self, records: list[Record]) -> None:
        super().__init__(records)
        self.records = records
        self.by_hash = {record.hash: record for record in records}
        self.newest: dict[str, Record] = {}
        """Folder of a table -> the newest record that seals a version of it."""
        self.sealed: dict[str, tuple[str, Record]] = {}
        """Path of a version -> the digest of its manifest, and the newest record that says so."""
        self.collected: dict[str, str] = {}
        """Path of a version that gc removed -> the digest of its manifest."""
        self.upgraded: dict[str, str] = {}
        """Folder of a table -> the version that was current when the home was upgraded."""
        for record in records:
            for path, digest in record.seals.items():
                if "/" in path and path.startswith("lake/"):
                    self.sealed[path] = digest, record
                    if record.kind not in _OF_INPUTS:
                        self.newest[path.rpartition("/")[0]] = record
            if record.kind == ledger.UPGRADE:
                self.upgraded |= record.body["current"]
            if record.kind == "gc":
                self.collected |= record.body["versions"]

    def withdrawals(self) -> tuple[set[str], set[str]]:
        """The keyed hashes of users and conversations that the ledger says were withdrawn."""
        mine = [r.body for r in self.records if r.kind in ("forget", "withdrawal")]
        users, conversations = (
            {one for body in mine for one in body[kind]} for kind in ("users", "conversations")
        )
        return users, conversations

    def of_kind(self, kind: str, model_version: str | None = None) -> list[Record]:
        """Records of a kind (of a model version), oldest first."""
        return [
            r for r in self.records if r.kind == kind and model_version in (None, r.model_version)
        ]


def signature_faults(records: list[Record], public_key: str | None) -> Iterator[Fault]:
    """Records that are not signed by who may sign: the holder of `public_key` (PEM) and whom they
    handed over to; without one, whom the ledger itself names first."""
    keys = ledger.signing_keys(records)
    if public_key is not None and keys and keys[0][1].strip() != public_key.strip():
        yield Fault(
            "the ledger names another first signing key than the one given",
            "ask its keeper which one is right, and restore the ledger from a copy",
            record=keys[0][0],
        )
    if public_key is None and not keys:
        return
    in_force = public_key or keys[0][1]
    for record in records:
        if not ledger.is_signed(record, in_force):
            if public_key is None and record.seq < keys[0][0]:
                continue
            why = "is not signed by the key in force"
            yield Fault(why, f"{RESTORE}", file=record.path.name, record=record.seq)
        if record.kind == ledger.KEY:
            in_force = record.body["public_key"]


def clock_notes(records: list[Record]) -> Iterator[str]:
    """Records that say that they are older than the one that they follow: some clock was wrong, or
    was set back."""
    latest = records[0].at if records else None
    sealed: set[datetime] = set()
    for record in records:
        # a forecast whose table was lost is sealed again as of its own time
        again = record.kind == "forecast" and record.at in sealed
        if latest and latest - record.at > _CLOCKS_DIFFER and not again:
            yield (
                f"record {record.seq} says {record.at:%Y-%m-%d %H:%M}, and follows on one of "
                f"{latest:%Y-%m-%d %H:%M}: a clock was wrong; it counts as of the later time"
            )
        sealed |= {record.at} if record.kind == "forecast" else set()
        latest = max(latest or record.at, record.at)


def unchecked_faults(
    seals: Seals, path: str, manifest: str, until: int, user: Manifest | None = None
) -> Iterator[Fault]:
    """A version (by its path and the digest of its manifest) that was used, by a table or the
    record of that number, though the blocking checks had last said no."""
    said = [r for r in seals.records[:until] if r.kind == CHECKS and r.body["manifest"] == manifest]
    failed = Verdict(said[-1].body["checks"]).failed if said else []
    if failed:
        used = (user.asset, user.partition, user.version) if user else (None,) * 3
        yield Fault(
            f"rests on {path}, of which {', '.join(failed)} had failed (record {said[-1].seq})",
            "mend the corpus, and register and forecast again",
            *used, record=None if user else until,
        )  # fmt: skip


def order_faults(seals: Seals, forecast: Record) -> Iterator[Fault]:
    """A forecast whose registration is missing or later."""
    registered = seals.by_hash.get(forecast.body.get("registration", ""))
    if registered is None or registered.seq > forecast.seq or registered.kind != "registration":
        yield Fault("names no registration that came before it", RESTORE, record=forecast.seq)


def registry_faults(seals: Seals, lines: Mapping[str, Mapping[str, object]]) -> Iterator[Fault]:
    """Registry lines that are not as they were when they were last used."""
    last = {r.model_version: r for r in seals.of_kind("registry")}
    registered = {r.model_version: r for r in seals.of_kind("registration")}
    for model, record in last.items():
        line, was = lines.get(model), record.body["line"]
        if line is None:
            yield Fault(
                f"releases: {model} is gone: removed or renamed since it was used",
                "put the line back: the registry is append-only",
                partition=model, asset="registry", file="deploysim.yaml", record=record.seq,
            )  # fmt: skip
            continue
        changed = sorted(name for name in was if line.get(name) != was[name])
        if changed:
            adopt = model not in registered or "predecessor" not in changed
            mend = "put it back, or run `deploysim backfill` to adopt the change"
            yield Fault(
                f"releases: {model}: {', '.join(changed)} is not as when it was last used",
                mend if adopt else "put the predecessor back: the registration rests on it",
                partition=model, asset="registry", file="deploysim.yaml", record=record.seq,
            )  # fmt: skip
