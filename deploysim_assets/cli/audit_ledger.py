"""`deploysim audit ledger`: the chain, every seal against the data that it names, and the order
of events."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from deploysim_assets.grading.panel import Panel
from deploysim_assets.project import Project, ProjectError
from deploysim_assets.storage import ledger
from deploysim_assets.storage.tables import Lake


class LedgerAudit:
    """Reads the ledger and the lake beside it. Faults come in the order of the records that they
    concern."""

    def __init__(self, project: Project, lake: Lake, public_key: Path | None = None) -> None:
        self.project, self.lake = project, lake
        self.records = ledger.read(project.home, public_key)
        self._by_hash = {record.hash: record for record in self.records}

    def faults(self) -> Iterator[str]:
        """What does not hold, each with the record or the table that it concerns, and how to
        mend it."""
        checks = {"registration": self._registration, "forecast": self._forecast}
        for record in self.records:
            if check := checks.get(record.kind):
                for fault in check(record):
                    yield (
                        f"{self.project.home / ledger.LEDGER_FILE}, line {record.seq} "
                        f"({record.kind} of {record.model_version}): {fault}"
                    )
        yield from self._not_in_the_ledger()

    def notes(self) -> Iterator[str]:
        """What is no fault and yet worth knowing: behaviors that were changed since they were
        registered."""
        now = {b.name: b for b in self.project.behaviors}
        for release in self.project.releases:
            record = next(
                (
                    r
                    for r in reversed(self.records)
                    if r.kind == "registration" and r.model_version == release.model_version
                ),
                None,
            )
            if record is None or self.lake.current("calibration_report", release.model_version):
                continue
            for registered in Panel.from_record(record.body["panel"]).behaviors:
                current = now.get(registered.name)
                if (
                    current is None
                    or current.identity != registered.identity
                    or current.threshold_per_100k != registered.threshold_per_100k
                ):
                    what = "no longer there" if current is None else "not as registered"
                    yield (
                        f"behavior {registered.name}: {what} for {release.model_version} "
                        f"(registered {record.at:%Y-%m-%d %H:%M}); "
                        "the registration still holds. To change it: `deploysim register "
                        f"{release.model_version} --reason ...`"
                    )

    def _versions(self, asset: str, key: str) -> list[str]:
        return sorted(folder.name for folder in self.lake.folder(asset, key).glob("run=*"))

    def _registration(self, record: ledger.Record) -> Iterator[str]:
        body = record.body
        if Panel.from_record(body["panel"]).grader_ids() != body["grader_ids"]:
            yield (
                "the registered rubrics do not give the registered grader identities; "
                "deploysim's own grading changed since, use the version that registered"
            )
        prefixes = body["prefixes"]
        withdrawn = any(
            f"{prefixes['asset']}[{prefixes['partition']}]" in r.body.get("rows", {})
            for r in self.records[record.seq :]
            if r.kind == "withdrawal"
        )
        try:
            digest = self.lake.digest(prefixes["asset"], prefixes["partition"], prefixes["version"])
        except ProjectError:
            yield (
                f"the prefix set {prefixes['partition']}/{prefixes['version']} is gone; restore "
                "it from a copy"
            )
        else:
            if digest != prefixes["sha256"] and not withdrawn:
                yield (
                    f"the prefix set {prefixes['partition']}/{prefixes['version']} is not the "
                    "registered one: it was changed after; restore it from a copy"
                )
        for version in self._versions("preregistration", record.model_version):
            row = (
                self.lake.scan("preregistration", record.model_version, version)
                .collect()
                .row(0, named=True)
            )
            if row["record_hash"] == record.hash and row["body"].encode() != ledger.canonical(body):
                names = ", ".join(_differing(json.loads(row["body"]), body)) or "its form"
                yield (
                    f"the table preregistration/{version} says something else ({names}); restore "
                    "it from a copy"
                )

    def _forecast(self, record: ledger.Record) -> Iterator[str]:
        registered = self._by_hash.get(record.body["registration"])
        if registered is None or registered.seq > record.seq or registered.kind != "registration":
            yield "names no registration that came before it"
            return
        version = next(
            (
                v
                for v in self._versions("rate_estimates", record.model_version)
                if self._sealed_at(record.model_version, v) == record.at
            ),
            None,
        )
        if version is None:
            yield "the table rate_estimates that was sealed is gone; restore it from a copy"
        else:
            sealed = list(self.lake.rows("rate_estimates", record.model_version, version))
            for row, kept in zip(record.body["rows"], sealed, strict=False):
                differing = [
                    name
                    for name, value in kept.items()
                    if name != "sealed_at" and row.get(name) != value
                ]
                if differing:
                    yield (
                        f"rate_estimates says something else for {row['behavior']} "
                        f"({', '.join(differing)}) than what was sealed; restore it from a copy"
                    )
            if len(sealed) != len(record.body["rows"]):
                yield (
                    f"rate_estimates has {len(sealed)} rows, sealed were "
                    f"{len(record.body['rows'])}; restore it from a copy"
                )
        yield from self._order(record, registered, version)

    def _order(
        self, record: ledger.Record, registered: ledger.Record, sealed: str | None
    ) -> Iterator[str]:
        """Registration, completions, seal, production. Candidates of one model share answers, so
        the first registration of the model counts."""
        asked_as = registered.body["candidate"]["model"]
        first = next(
            r
            for r in self.records
            if r.kind == "registration" and r.body["candidate"]["model"] == asked_as
        )
        for version in self._versions("candidate_completions", record.model_version):
            if (
                self.lake.stats("candidate_completions", record.model_version, version).get(
                    "registration"
                )
                != registered.hash
            ):
                continue
            asked = self.lake.scan("candidate_completions", record.model_version, version).select(
                pl.col("requested_at").drop_nulls()
            )
            earliest = asked.min().collect().item()
            if earliest is not None and earliest < first.at:
                yield (
                    f"completions were asked for at {earliest:%Y-%m-%d %H:%M:%S}, before the "
                    f"registration at {first.at:%Y-%m-%d %H:%M:%S}"
                )
        for version in self._versions("calibration_report", record.model_version):
            report = (
                self.lake.scan("calibration_report", record.model_version, version)
                .select("prospective", "forecast_version")
                .head(1)
                .collect()
            )
            if (
                report.is_empty()
                or not report["prospective"][0]
                or sealed != report["forecast_version"][0]
            ):
                continue
            known = self.lake.stats("raw_logs", record.model_version)["first_message_at"]
            if known is None or datetime.fromisoformat(known) <= record.at:
                yield (
                    f"calibration_report/{version} calls it a forecast, yet production began at "
                    f"{known}, before the seal at {record.at.isoformat()}"
                )

    def _sealed_at(self, key: str, version: str) -> datetime | None:
        found = self.lake.scan("rate_estimates", key, version).select("sealed_at").head(1).collect()
        return found["sealed_at"][0] if found.height else None

    def _not_in_the_ledger(self) -> Iterator[str]:
        sealed = {(r.model_version, r.at) for r in self.records if r.kind == "forecast"}
        for release in self.project.releases:
            key = release.model_version
            for version in self._versions("preregistration", key):
                if (
                    self.lake.scan("preregistration", key, version)
                    .select("record_hash")
                    .collect()
                    .item()
                    not in self._by_hash
                ):
                    yield (
                        f"preregistration[{key}]/{version} is not in the ledger: a record was "
                        "taken out; restore the ledger from a copy"
                    )
            for version in self._versions("rate_estimates", key):
                at = self._sealed_at(key, version)
                if at is not None and (key, at) not in sealed:
                    yield (
                        f"rate_estimates[{key}]/{version} is not in the ledger: its seal was "
                        "taken out or it was never sealed"
                    )


def _differing(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    return sorted(name for name in {*one, *other} if one.get(name) != other.get(name))
