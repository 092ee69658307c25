"""The audit: walks down from every record of the ledger to the log files, and names each thing that
does not hold."""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from deploysim_assets.evidence.findings import Audit, Fault
from deploysim_assets.evidence.seals import (
    RESTORE,
    Seals,
    clock_notes,
    order_faults,
    registry_faults,
    signature_faults,
    unchecked_faults,
)
from deploysim_assets.evidence.tables import PUBLISHED, Place, TableAudit
from deploysim_assets.project import ProjectError
from deploysim_assets.storage import disk, ledger
from deploysim_assets.storage.journals import answer_digests
from deploysim_assets.storage.ledger import Record
from deploysim_assets.storage.locks import nothing_becomes_current
from deploysim_assets.storage.manifests import Manifest
from deploysim_assets.storage.statements import canonical, digest
from deploysim_assets.storage.tables import ANSWER_TABLES, Lake
from deploysim_assets.storage.withdrawals import PLAN_FILE, WITHDRAWALS_FILE, Withdrawals, under_way

OF_A_REPORT = (
    "preregistration", "rate_estimates", "realized_rates", "calibration_report",
    "evaluation_awareness", "novel_behaviors", "open_findings", "simulation_fidelity",
)  # fmt: skip
"""The tables that a report of a release prints."""

_LABELS = "labels.csv"

GraderIds = Callable[[Mapping[str, Any]], Mapping[str, str]]
"""The grader identities that a registered panel has, by the code as it is."""


def undisturbed(home: Path, look: Callable[[], Audit]) -> Audit:
    """An audit that no writing of others can make fail: what does not hold is looked at once more
    while nothing can become current, and only that counts."""
    with contextlib.suppress(OSError):  # gone between two looks
        found = look()
        if found.holds:
            return found
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):  # an auditor may have a home that is read-only
            held.enter_context(nothing_becomes_current(home))
        return look()


class HomeAudit:
    """Everything that is looked at. `lines` are the registry's lines as the project has them now,
    `grader_ids` tells the identities of a registered panel."""

    def __init__(
        self,
        lake: Lake,
        lines: Mapping[str, Mapping[str, object]],
        grader_ids: GraderIds,
        public_key: str | None = None,
        only: Callable[[Place], bool] = lambda _: True,
    ) -> None:
        self.lake, self.home = lake, lake.home
        self._lines, self._grader_ids, self._public_key = lines, grader_ids, public_key
        records, self._broken = ledger.examine(self.home)
        self.seals = Seals(records)
        self.tables = TableAudit(lake, self.seals, only)

    def whole(self) -> Audit:
        """The audit of the whole home."""
        faults = [*self.of_the_ledger(), *self.tables.faults(), *self.of_what_is_beside()]
        notes = [*clock_notes(self.seals.records), *self._withdrawal_notes()]
        return self._audit(faults, [*notes, *self._unreached_notes()])

    def of_a_report(self, model: str, beside: Callable[[Place], bool]) -> Audit:
        """What a report of a release prints and the seals above it; the tables were limited to
        them. Of those `beside`, whose counts are held when they are read, the pointers."""
        ledger_faults = [
            fault for fault in self.of_the_ledger() if fault.partition in (None, model)
        ]
        pointers = TableAudit(self.lake, self.seals, beside).pointer_faults()
        return self._audit([*ledger_faults, *self.tables.faults(), *pointers], [])

    def _audit(self, faults: list[Fault], notes: list[str]) -> Audit:
        records = self.seals.records
        head = records[-1].hash if records else ""
        tables = self.tables
        return Audit(len(records), head, tables.files, tables.bytes, faults, notes)

    def of_the_ledger(self) -> Iterator[Fault]:
        """The chain, the signatures, the registry, and every record against what it names."""
        for wrong in self._broken:
            yield Fault(str(wrong), RESTORE, file=ledger.LEDGER)
        yield from signature_faults(self.seals.records, self._public_key)
        yield from registry_faults(self.seals, self._lines)
        for record in self.seals.of_kind("registration"):
            yield from self._registration_faults(record)
            for path, manifest in record.seals.items():
                yield from unchecked_faults(self.seals, path, manifest, record.seq)
        for record in self.seals.of_kind("forecast"):
            yield from order_faults(self.seals, record)
            yield from self._forecast_faults(record)

        yield from self._sentinel_faults()

    def of_what_is_beside(self) -> Iterator[Fault]:
        """Answers in the journals, withdrawals, and log files."""
        yield from self._answer_faults()
        yield from self._withdrawal_faults()
        yield from self._label_faults()
        yield from self._log_faults()

    def _versions(self, asset: str, model: str) -> Iterator[Manifest]:
        for manifest in self.tables.manifests():
            if (manifest.asset, manifest.partition) == (asset, model):
                yield manifest

    def _registration_faults(self, record: Record) -> Iterator[Fault]:
        body, model = record.body, record.model_version
        if dict(self._grader_ids(body["panel"])) != body["grader_ids"]:
            yield Fault(
                "the registered rubrics do not give the registered grader identities: the grading "
                "changed since",
                "use the deploysim that registered, or register again with a reason",
                "preregistration", model, record=record.seq,
            )  # fmt: skip
        prefixes = body["prefixes"]
        if "sha256" in prefixes:
            yield from self._old_prefix_faults(record, prefixes)
        for manifest in self._versions("preregistration", model):
            rows = self._rows(manifest)
            if not rows or rows[0].get("record_hash") != record.hash:
                continue
            if str(rows[0]["body"]).encode() != canonical(body):
                names = ", ".join(_differing(str(rows[0]["body"]), body)) or "its form"
                yield Fault(
                    f"says something else ({names}) than what was registered", RESTORE,
                    "preregistration", model, manifest.version, record=record.seq,
                )  # fmt: skip

    def _sentinel_faults(self) -> Iterator[Fault]:
        """Sets of sentinels that are not as they were sealed, and tables that name a set which is
        not there."""
        sets = self.seals.of_kind("sentinels")
        for record in sets:
            body = {name: value for name, value in record.body.items() if name != "sha256"}
            if digest(body) != record.body.get("sha256"):
                yield Fault(
                    "the set of sentinels is not the one that was sealed", RESTORE,
                    partition=record.model_version, record=record.seq,
                )  # fmt: skip
        known = {record.hash for record in sets}
        for manifest in self.tables.manifests():
            if manifest.asset == "grader_drift":
                named = {row["record"] for row in self._rows(manifest)}
                if named - known:
                    yield Fault(
                        "rests on a set of sentinels that no record seals",
                        "restore the ledger from a copy",
                        manifest.asset, manifest.partition, manifest.version,
                    )  # fmt: skip

    def _old_prefix_faults(self, record: Record, prefixes: dict[str, Any]) -> Iterator[Fault]:
        """The prefix set of a registration from before there were manifests: by the digest over
        its files, unless a withdrawal changed it."""
        asset, model, version = (prefixes[n] for n in ("asset", "partition", "version"))
        named = (asset, model, version)
        try:
            held = self.lake.digest(*named)
        except ProjectError:
            yield Fault("is registered and gone", RESTORE, *named, record=record.seq)
            return
        later = self.seals.records[record.seq :]
        withdrawn = any(f"{asset}[{model}]" in r.body.get("rows", {}) for r in later)
        if held != prefixes["sha256"] and not withdrawn:
            what = "is not the registered prefix set: it was changed after"
            yield Fault(what, RESTORE, *named, record=record.seq)

    def _forecast_faults(self, record: Record) -> Iterator[Fault]:
        """A sealed forecast against its table, and the order of registration, completions and
        seal. Candidates of one model share answers: the first registration of the model counts."""
        model = record.model_version
        for manifest in self._versions("rate_estimates", model):
            path = manifest.path.parent.relative_to(self.home).as_posix()
            rows = self._rows(manifest)
            sealed_at = rows[0]["sealed_at"] if rows else None
            if path not in record.seals and (record.seals or sealed_at != record.at):
                continue
            kept = {row["behavior"]: row for row in rows}
            for row in record.body["rows"]:
                now = kept.get(row["behavior"], {})
                names = [n for n, v in now.items() if n != "sealed_at" and row.get(n) != v]
                if names or not now:
                    what = f"says something else for {row['behavior']} than what was sealed"
                    yield Fault(
                        f"{what} ({', '.join(names) or 'the row is gone'})", RESTORE,
                        "rate_estimates", model, manifest.version, record=record.seq,
                    )  # fmt: skip
        registered = self.seals.by_hash.get(record.body.get("registration", ""))
        if registered is not None and registered.kind == "registration":
            yield from self._early_completions(record, registered)

    def _early_completions(self, record: Record, registered: Record) -> Iterator[Fault]:
        asked_as = registered.body["candidate"]["model"]
        first = next(
            r
            for r in self.seals.of_kind("registration")
            if r.body["candidate"]["model"] == asked_as
        )
        for manifest in self._versions("candidate_completions", record.model_version):
            where = ("candidate_completions", record.model_version, manifest.version)
            try:
                stats = self.lake.stats(*where)
                asked = self._scan(manifest).select(pl.col("requested_at").min()).collect().item()
            except (pl.exceptions.PolarsError, OSError, ValueError):
                continue
            if stats.get("registration") != registered.hash:
                continue
            if asked is not None and asked < first.at:
                yield Fault(
                    f"was asked for from {asked:%Y-%m-%d %H:%M:%S} on, before the registration at "
                    f"{first.at:%Y-%m-%d %H:%M:%S}",
                    "register before asking", *where, record=record.seq,
                )  # fmt: skip

    def _scan(self, manifest: Manifest, table: str = "") -> pl.LazyFrame:
        return self.lake.scan(manifest.asset, manifest.partition, manifest.version, table)

    def _rows(self, manifest: Manifest) -> list[dict[str, Any]]:
        """The rows of a small table; none where its files cannot be read, which is a fault of its
        own."""
        try:
            return list(self._scan(manifest).collect().iter_rows(named=True))
        except (pl.exceptions.PolarsError, OSError):
            return []

    def _answer_faults(self) -> Iterator[Fault]:
        """Tables whose answers the journals do not hold."""
        held: dict[str, pl.DataFrame] = {}
        for manifest in self.tables.manifests():
            tables = ANSWER_TABLES & set(manifest.predicate.get("schema", {}))
            if not tables:
                continue
            asset = manifest.asset
            if asset not in held:
                found = list(answer_digests(self.home, asset))
                held[asset] = pl.DataFrame(
                    found, schema={"key": pl.String, "sha256": pl.String}, orient="row"
                )
            try:
                frames = [self._scan(manifest, t).select("key", "sha256") for t in sorted(tables)]
                taken = pl.concat(frames).unique().collect()
            except (pl.exceptions.PolarsError, OSError):
                continue
            lost = taken.join(held[asset], on=["key", "sha256"], how="anti").height
            if lost:
                yield Fault(
                    f"{lost} of the {taken.height} answers that it was made from are not in the "
                    "journals, or are other ones there",
                    "restore the journal from a copy",
                    asset, manifest.partition, manifest.version, f"journal/{asset}",
                )  # fmt: skip

    def _withdrawal_faults(self) -> Iterator[Fault]:
        if under_way(self.home):
            what = "a withdrawal was begun and is not carried out to its end"
            yield Fault(what, "run `deploysim forget`, which finishes it", file=PLAN_FILE)
        try:
            listed = Withdrawals.load(self.home)
        except ProjectError as wrong:
            yield Fault(str(wrong), RESTORE, file=WITHDRAWALS_FILE)
            return
        users, conversations = self.seals.withdrawals()
        for what, here, recorded in (
            ("users", listed.users, users),
            ("conversations", listed.conversations, conversations),
        ):
            if recorded - here:
                missing = f"lacks {len(recorded - here)} {what} that withdrew"
                yield Fault(missing, RESTORE, file=WITHDRAWALS_FILE)
            if here - recorded and not under_way(self.home):
                more = f"holds {len(here - recorded)} {what} that no record names"
                yield Fault(more, f"{RESTORE}, the ledger too", file=WITHDRAWALS_FILE)

    def _label_faults(self) -> Iterator[Fault]:
        """People's labels that no longer begin with those that a quality was counted from. What a
        withdrawal took out is no fault."""
        path = self.home / _LABELS
        for manifest in self.tables.manifests():
            known = (manifest.predicate["ledger"] or {"records": 0})["records"]
            later = self.seals.records[known:]
            if manifest.asset != "grader_quality" or any(r.kind == "forget" for r in later):
                continue
            with contextlib.suppress(OSError, ValueError):
                stats = self.lake.stats("grader_quality", None, manifest.version)
                was = stats.get("labels", {"bytes": 0})
                size = path.stat().st_size if path.exists() else 0
                same = size >= was["bytes"] and (
                    not was["bytes"] or disk.sha256_of_start(path, was["bytes"]) == was["sha256"]
                )
                if not same:
                    what = "labels that it was counted from are gone or others now"
                    yield Fault(what, RESTORE, "grader_quality", None, manifest.version, _LABELS)

    def _log_faults(self) -> Iterator[Fault]:
        """Log files that are still there and no longer hold what was read from them."""
        logs = [m for m in self.tables.manifests() if m.asset == "raw_logs"]
        read: dict[str, dict[tuple[str, int], Manifest]] = {}
        for manifest in logs:
            for log in manifest.predicate["log_files"]:
                if "://" not in log["file"]:
                    known = read.setdefault(log["file"], {})
                    known[log["sha256"], log["bytes"]] = manifest
        present = [self.home / file for file in read if (self.home / file).is_file()]
        found = disk.sha256_of_all(present)
        for file, states in read.items():
            now = found.get(self.home / file)
            if now is None:
                continue
            expected = {self.seals.expected(file, sha) for sha, _ in states}
            if now in expected or self._has_grown(file, states):
                continue
            manifest = max(states.values(), key=lambda m: m.made_at)
            yield Fault(
                "was changed after it was read", RESTORE,
                "raw_logs", manifest.partition, manifest.version, file,
            )  # fmt: skip

    def _has_grown(self, file: str, states: Mapping[tuple[str, int], Manifest]) -> bool:
        """Whether a log still begins with what was read last: lines that came later are no harm."""
        last, _ = max(states.items(), key=lambda item: item[1].made_at)
        sha, size = self.seals.expected_state(file, *last)
        path = self.home / file
        return path.stat().st_size > size and disk.sha256_of_start(path, size) == sha

    def _withdrawal_notes(self) -> Iterator[str]:
        for record in self.seals.of_kind("forget"):
            body = record.body
            yield (
                f"record {record.seq}: {sum(body['rows'].values()):,} rows, "
                f"{sum(body['answers'].values()):,} journalled answers, {body['labels']:,} labels "
                f"and {body['log_lines']:,} log lines withdrawn on {record.at:%Y-%m-%d}"
            )

    def _unreached_notes(self) -> Iterator[str]:
        for place, version in self.tables.unreached():
            where = f"{place.asset}[{place.partition}]" if place.partition else place.asset
            if place.asset not in PUBLISHED:
                yield f"{where}, {version}: no record reaches it yet: nothing sealed rests on it"
        rotated = sum(
            "://" not in log["file"] and not (self.home / log["file"]).exists()
            for manifest in self.tables.manifests()
            for log in manifest.predicate.get("log_files", [])
        )
        if rotated:
            yield f"{rotated} log files that were read are no longer there (rotated away)"


def _differing(one: str, other: dict[str, Any]) -> list[str]:
    try:
        found: dict[str, Any] = json.loads(one)
    except ValueError:
        return []
    return sorted(name for name in {*found, *other} if found.get(name) != other.get(name))
