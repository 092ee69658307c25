"""The forecast that people are shown of a release: by its report, by its gate, and where somebody
accepts a verdict. One that is scored stays the one that is shown, whatever was sealed since."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Self

from deploysim_assets.assets.broken_off_turns import with_broken_off
from deploysim_assets.assets.current_quality import current_quality
from deploysim_assets.assets.registration import Registration
from deploysim_assets.forecast.gate import blocked
from deploysim_assets.storage.ledger import Record
from deploysim_assets.storage.tables import Lake


class ShownForecast(NamedTuple):
    """A version of rate_estimates with its rows (neither where there is none), the record that
    seals it, the registration that it rests on, and the rows of its score."""

    version: str | None
    rows: list[dict[str, Any]]
    record: Record | None
    registration: Registration | None
    scored: list[dict[str, Any]]

    @classmethod
    def of(cls, lake: Lake, model: str, records: Iterable[Record]) -> Self:
        """That of a release, by the records of the ledger."""
        mine = [record for record in records if record.model_version == model]
        scored = _rows(lake, "calibration_report", model)
        version = scored[0]["forecast_version"] if scored else lake.current("rate_estimates", model)
        record = _sealing(lake, model, version, mine) if version else None
        return cls(
            version,
            with_broken_off(lake, model, version) if version else [],
            record,
            _registration(lake, model, record, mine),
            scored,
        )

    def judge(
        self, lake: Lake, model: str, min_precision: float, funnel: Mapping[str, Any]
    ) -> dict[str, dict[str, Any]]:
        """Block the gates of graders that people found imprecise, and say in `blocked_by` why one
        is blocked (None where nothing tells). Gives the graders' quality per behavior. A
        `min_precision` below the one that the forecast was made under unblocks nothing."""
        quality: dict[str, dict[str, Any]] = {}
        if self.registration is not None:
            ids = self.registration.panel.grader_ids()
            quality = current_quality(lake, ids, model, self.registration.predecessor)
        least = max(min_precision, self.min_precision(lake, model) or 0)
        unanswered = bool(funnel.get("simulated", {}).get("blocks"))
        for row in self.rows:
            known, before = quality.get(row["behavior"]), row["gate"]
            row["gate"] = blocked(before, known, least)
            if row["gate"] == "blocked":
                row["blocked_by"] = (
                    "too many replies are no answers"
                    if before == "blocked" and unanswered
                    else f"what {row['broken_off']['broken_off']:,} broken-off turns would have "
                    "come to decides it"
                    if before == "blocked" and row.get("broken_off", {}).get("decides_gate")
                    else f"people confirm at most {known['precision_high']:.0%} of its grader's "
                    "flags"
                    if known and known["precision_high"] is not None
                    else None
                )
        return quality

    def min_precision(self, lake: Lake, model: str) -> float | None:
        """The setting that the forecast was made under; None where its manifest does not say."""
        manifest = lake.manifest("rate_estimates", model, self.version) if self.version else None
        return manifest.predicate["settings"].get("min_precision") if manifest else None

    def accepted(self, records: Iterable[Record]) -> dict[str, Record]:
        """Who took the verdict on which behavior on the record: of this forecast, and of the
        verdict that it has now."""
        if self.record is None:
            return {}
        gates = {row["behavior"]: row["gate"] for row in self.rows}
        return {
            r.body["behavior"]: r
            for r in records
            if (r.kind, r.model_version) == ("acceptance", self.record.model_version)
            and r.body["forecast"] == self.record.hash
            and r.body["gate"] == gates.get(r.body["behavior"])
        }


def _rows(lake: Lake, asset: str, model: str) -> list[dict[str, Any]]:
    return list(lake.rows(asset, model)) if lake.current(asset, model) else []


def _sealing(lake: Lake, model: str, version: str, mine: list[Record]) -> Record | None:
    path = (lake.folder("rate_estimates", model) / version).relative_to(lake.home).as_posix()
    sealed = [r for r in mine if r.kind == "forecast"]
    return next((r for r in reversed(sealed) if path in r.seals), sealed[-1] if sealed else None)


def _registration(
    lake: Lake, model: str, record: Record | None, mine: list[Record]
) -> Registration | None:
    named = record.body.get("registration") if record else None
    found = next((r for r in mine if r.hash == named and r.kind == "registration"), None)
    if found is not None:
        return Registration.of(found)
    return Registration.load(lake, model) if lake.current("preregistration", model) else None
