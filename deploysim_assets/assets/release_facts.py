"""The facts of a release's report, gathered from its tables and the ledger without loading Dagster:
for the command line, and for the page that `release_report` keeps."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from deploysim_assets.assets.home_audit import refuse_broken_seals
from deploysim_assets.assets.judged_sides import judged_sides
from deploysim_assets.assets.reply_funnel import reply_funnel
from deploysim_assets.assets.scored_summary import scored_summary
from deploysim_assets.assets.shown_forecast import ShownForecast
from deploysim_assets.evidence.trace import Trace
from deploysim_assets.grading.panel import Panel
from deploysim_assets.project import Project, ProjectError, SealError
from deploysim_assets.report.document import release_report
from deploysim_assets.report.facts import ReleaseReport
from deploysim_assets.storage import last_audit, ledger
from deploysim_assets.storage.ledger import Record
from deploysim_assets.storage.manifests import Manifest
from deploysim_assets.storage.tables import Lake

_KINDS = ("registration", "forecast", "realized", "score")
_ITEMS, _ALL_ITEMS = 40, 1_600
"""Flagged items shown of a figure, and of all, so that the page stays below 2 MB: the rest is for
`deploysim trace`."""


class _Release:
    """What the report of one release reads, gathered part by part."""

    def __init__(self, project: Project, lake: Lake, model: str) -> None:
        self.project, self.lake, self.model = project, lake, model
        # what is looked up here is cited, and is no input
        self.beside = lake.held() if lake.run else Lake(lake.base)
        self.predecessor = project.release(model).predecessor
        self.records = ledger.examine(project.home)[0]
        self.mine = [record for record in self.records if record.model_version == model]
        shown = ShownForecast.of(lake, model, self.records)
        self.shown, self.scored, self.estimates = shown, shown.scored, shown.rows
        self.forecast, self.promised = shown.record, shown.registration
        self.realized = self._realized()
        if not self.estimates and not self.realized:
            raise ProjectError(
                f"{model}: nothing to report yet; run `deploysim forecast {model}`, or `deploysim "
                f"backfill {model}` once its logs are there"
            )
        self.funnel = reply_funnel(lake, self.promised, self.forecast)
        self.judge = judged_sides(lake, model)
        self.quality = shown.judge(lake, model, project.min_precision, self.funnel)

    def _rows(self, asset: str) -> list[dict[str, Any]]:
        current = self.lake.current(asset, self.model)
        return list(self.lake.rows(asset, self.model)) if current else []

    def _realized_version(self) -> str | None:
        """The rates that the score is over; the newest where there is none, or that one is gone."""
        scored = self.scored[0].get("realized_version") if self.scored else None
        if scored and self.lake.manifest("realized_rates", self.model, scored) is not None:
            return scored
        return self.lake.current("realized_rates", self.model)

    def _realized(self) -> list[dict[str, Any]]:
        version = self._realized_version()
        rows = list(self.lake.rows("realized_rates", self.model, version)) if version else []
        if self.promised is None:
            return rows
        gradings = {row["grading_id"] for row in self.estimates}
        return [
            r for r in rows if r["grading_id"] in (gradings or {self.promised.panel.grading_id})
        ]

    def accepted(self) -> dict[str, str]:
        """Who took which behavior's verdict on this forecast on the record."""
        return {
            behavior: f"{r.body['by']}, {r.at:%Y-%m-%d}: {r.body['reason']}"
            for behavior, r in self.shown.accepted(self.records).items()
        }

    def document(self, summary: dict[str, Any]) -> dict[str, Any]:
        """The part that the terminal shows, too."""
        registrations = [r.body | {"at": r.at} for r in self.mine if r.kind == "registration"]
        found = release_report(
            self.model, self.estimates, self.realized, self.scored, summary, registrations,
            self.quality, self.funnel, self.judge, self.accepted(),
        )  # fmt: skip
        if self.promised:
            ids = self.promised.panel.grader_ids()
            known = {b.name: b for b in self.promised.panel.behaviors}
            for row in found["behaviors"]:
                if (behavior := known.get(row["behavior"])) is not None:
                    row |= {"definition": behavior.definition, "grader": behavior.grader}
                    row["grader_id"] = ids.get(behavior.name)
        acceptances = [r.body | {"at": r.at} for r in self.mine if r.kind == "acceptance"]
        others = _other_forecasts(self.lake, self.model) if self.scored else []
        return found | {
            "predecessor": self.predecessor,
            "acceptances": acceptances,
            "other_forecasts": others,
        }

    def promises(self) -> Iterator[dict[str, Any]]:
        """The records that say what was promised and shown, oldest first."""
        keys = ledger.signing_keys(self.records)
        for record in self.mine:
            if record.kind in _KINDS:
                yield {
                    "record": record.seq,
                    "kind": record.kind,
                    "at": record.at,
                    "hash": record.hash,
                    "by": self._launched_by(record),
                    "signed": bool(keys) and record.seq >= keys[0][0],
                    "seals": record.seals,
                }

    def _launched_by(self, record: Record) -> str | None:
        held: list[Manifest | None]
        if record.kind == "registration":
            held = [
                self.beside.manifest("preregistration", self.model, version)
                for version in self.beside.versions("preregistration", self.model)
                if any(
                    row["record_hash"] == record.hash
                    for row in self.beside.rows("preregistration", self.model, version)
                )
            ]
        else:
            held = [self._manifest(path) for path in record.seals]
        return next((m.predicate["run"]["launched_by"] or None for m in held if m), None)

    def _manifest(self, path: str) -> Manifest | None:
        _, asset, *inside = path.split("/")
        key = inside[0].removeprefix("model_version=") if len(inside) > 1 else None
        return self.beside.manifest(asset, key, Path(path).name)

    def terms(self) -> dict[str, Any] | None:
        """What the registration fixed."""
        if self.promised is None:
            return None
        body = next((r.body for r in self.mine if r.hash == self.promised.record_hash), None)
        if body is None:
            return None
        judge = self.promised.panel.judge
        return {
            "predecessor": self.promised.predecessor,
            "asked_as": self.promised.candidate.model,
            "prefixes": body["prefixes"]["count"],
            "prefixes_version": self.promised.prefixes_version,
            "seed": self.promised.seed,
            "min_level": body["deidentification"].get("min_level", 0),
            "judge": [str(m) for m in (judge.panel or (judge.model,))] if judge else [],
            "behaviors": len(self.promised.panel.behaviors),
            "thresholds": sum(b.threshold_per_100k is not None
                              for b in self.promised.panel.behaviors),
            "estimator": {k: str(v) for k, v in body.get("estimator", {}).items()},
            "early_stopping": self.promised.early_stopping is not None,
            "truncated": self.promised.panel.truncated,
        }  # fmt: skip

    def _stats(self, asset: str, key: str | None, version: str | None) -> dict[str, Any]:
        try:
            return self.beside.stats(asset, key, version) if version else {}
        except SealError:
            raise
        except (ProjectError, OSError, ValueError):
            return {}

    def steps(self) -> Iterator[dict[str, Any]]:
        """The way from the logs to graded replies."""
        if self.promised is None:
            return
        live = self.promised.predecessor
        drawn = self._stats("deidentified_prefixes", live, self.promised.prefixes_version)
        read = self._stats("raw_logs", live, drawn.get("raw_logs_version"))
        if "conversations" in read:
            lost = read.get("rejected_by_reason", {})
            yield _step("conversations read", "conversations", read["conversations"], lost)
        if "eligible" in drawn:
            lost = drawn.get("ineligible_by_reason", {})
            yield _step("consented and eligible", "conversations", drawn["eligible"], lost)
            lost = drawn.get("quarantined_by_reason", {})
            yield _step("cleared of identifiers", "prefixes", drawn["released"], lost)
        if simulated := self.funnel.get("simulated"):
            states = dict(simulated["states"])
            yield _step("replies graded", "replies", states.pop("graded", 0), states)

    def graders(self) -> dict[str, Any]:
        """Who graded the simulated replies."""
        if self.promised is None or self.forecast is None:
            return {}
        stats = self.forecast.body.get("funnel", {})
        facts = stats.get("gradings", {}).get(self.promised.panel.grading_id, {})
        return {name: facts[name] for name in ("served_by", "cut_documents") if name in facts}

    def awareness(self) -> list[dict[str, Any]] | None:
        """The measures of evaluation awareness."""
        if not self.lake.current("evaluation_awareness", self.model):
            return None
        return [
            {name: value for name, value in row.items() if name not in _NOT_SHOWN}
            for row in self._rows("evaluation_awareness")
        ]

    def fidelity(self) -> list[dict[str, Any]] | None:
        """How far simulated turns are like real ones; None where no agents were replayed."""
        if self.promised is None or self.promised.agents is None:
            return None
        return [
            {name: value for name, value in row.items() if name not in _NOT_SHOWN}
            for row in self._rows("simulation_fidelity")
        ]

    def novel(self) -> list[dict[str, Any]] | None:
        """What no behavior names."""
        tables = ("novel_behaviors", "open_findings")
        if not any(self.lake.current(table, self.model) for table in tables):
            return None
        found = [
            {"source": "novel_behaviors",
             **{n: row[n] for n in ("finding", "says", "candidate_only", "live_only", "q_value")}}
            for row in self._rows("novel_behaviors")
        ]  # fmt: skip
        return found + [
            {"source": "open_findings", "finding": row["finding"],
             "says": f"{row['name']}: {row['definition']}", "candidate_only": row["prefixes"]}
            for row in self._rows("open_findings")
        ]  # fmt: skip

    def sealed_history(self) -> list[dict[str, Any]]:
        """What was known of errors when the forecast was sealed."""
        return self.forecast.body.get("history", []) if self.forecast else []

    def taught_by(self) -> list[str]:
        """The reports that the forecast's errors rest on, in the order of the registry."""
        return list(dict.fromkeys(entry["report"] for entry in self.sealed_history()))

    def reports_named(self) -> list[tuple[str, str]]:
        """The reports that were known when the forecast was sealed, and this release's own."""
        named = [one.split("/", 1) for one in self.taught_by() if "/self replay/" not in one]
        own = self.lake.current("calibration_report", self.model)
        return [*((m, v) for m, v in named), *([(self.model, own)] if own else [])]

    def reports_now(self) -> list[tuple[str, str]]:
        """The reports of all releases."""
        found = (
            (r.model_version, self.lake.current("calibration_report", r.model_version))
            for r in self.project.releases
        )
        return [(model, version) for model, version in found if version]

    def narrowing(self) -> list[dict[str, Any]]:
        """How the interval narrowed, and is expected to."""
        from deploysim_assets.forecast.narrowing import narrowing

        if self.forecast is None:
            return []
        names = [row["behavior"] for row in self.forecast.body["rows"] if row["n"]]
        return [width._asdict() for width in narrowing(self.sealed_history(), names)]

    def trace(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Flagged items by id, and the table versions that the figures rest on."""
        panels = [
            Panel.from_record(r.body["panel"]) for r in self.records if r.kind == "registration"
        ]
        graders = {panel.grading_id: panel.grader_ids() for panel in panels}
        walked = Trace(self.lake, self.model, graders, None)
        near = (self.model, self.predecessor, None)
        made = [
            {
                "asset": m.asset,
                "partition": m.partition,
                "version": m.version,
                "manifest": m.digest,
                "by": m.predicate["run"]["launched_by"] or "not told",
                "at": m.made_at,
                "code": _code(m.predicate["code"]),
            }
            for m in walked.steps.values()
            if m.partition in near
        ]
        figures = 2 * max(1, len(walked.behaviors()))
        return list(walked.ids(min(_ITEMS, _ALL_ITEMS // figures))), made

    def evidence(self, *, verified: bool, lasting: bool) -> dict[str, Any]:
        """What the report rests on."""
        cited = [r for r in self.mine if r.kind in (*_KINDS, "acceptance")] if lasting else []
        newest = (cited or self.records)[-1] if (cited or self.records) else None
        return {
            "verified": verified,
            "ledger": {
                "records": newest.seq if newest else 0,
                "head": newest.hash if newest else None,
                "newest_cited": bool(cited),
            },
            "manifests": {
                asset: manifest.digest
                for asset, version in {
                    "rate_estimates": self.shown.version,
                    "realized_rates": self._realized_version(),
                    "calibration_report": self.lake.current("calibration_report", self.model),
                }.items()
                if version
                and (manifest := self.lake.manifest(asset, self.model, version)) is not None
            },
            "last_full_audit": None if lasting else self._last_audit(),
        }

    def _last_audit(self) -> dict[str, Any] | None:
        """What the last full audit noted down; None where it was of another ledger."""
        said = last_audit.load(self.project.home)
        known = {(record.seq, record.hash) for record in self.records}
        return said if said and (said.get("records"), said.get("head")) in known else None


_NOT_SHOWN = frozenset(("model_version", "live_version", "replacement"))


def _step(what: str, unit: str, stays: int, lost: Mapping[str, int]) -> dict[str, Any]:
    left = {reason: count for reason, count in lost.items() if count}
    return {"what": what, "unit": unit, "stays": stays, "lost": left}


def _code(said: Mapping[str, Any]) -> str:
    known = said.get("commit") or said.get("record") or said.get("version") or "not told"
    return f"{str(known)[:12]}{', changed' if said.get('changed') else ''}"


def _other_forecasts(lake: Lake, model: str) -> list[dict[str, Any]]:
    """Sealed forecasts of the release that are not the one scored, with what they would have
    scored."""
    manifest = lake.manifest("calibration_report", model)
    if manifest is None or "other_forecasts" not in manifest.predicate["schema"]:
        return []
    found: dict[str, dict[str, Any]] = {}
    names = ("record", "sealed_at", "reason", "prospective")
    for row in lake.rows("calibration_report", model, table="other_forecasts"):
        named = {name: row[name] for name in names}
        known = found.setdefault(row["record"], named | {"errors": {}})
        if row["behavior"]:
            known["errors"][row["behavior"]] = row["multiplicative_error"]
    return list(found.values())


def _summaries(lake: Lake, reports: Iterable[tuple[str, str]]) -> dict[str, dict[str, Any]]:
    """The score of each report together."""
    found: dict[str, dict[str, Any]] = {}
    for model, version in reports:
        # one that gc removed is left out, though the forecast's seal still names it
        if lake.manifest("calibration_report", model, version) is not None:
            found[model] = scored_summary(lake, model, version)
    return found


_HISTORY = (
    "behaviors", "resolved", "median_error", "noise_floor", "persistence_median_error",
    "blend_median_error", "in_95", "in_95_low", "in_95_high", "prospective",
)  # fmt: skip


def release_facts(
    project: Project,
    lake: Lake,
    model: str,
    *,
    unverified: bool = False,
    whole: bool = False,
    lasting: bool = False,
) -> ReleaseReport:
    """The facts of a release's report; ProjectError where a seal of what it says does not hold,
    unless it is asked for `unverified`, and where there is nothing to report.

    `whole` adds what takes longer than a terminal's user waits: history, narrowing, trace.
    `lasting` leaves out what moves on by itself (the ledger's head, the last audit, scores of later
    releases), so that equal tables give equal facts.
    """
    project.release(model)
    if not unverified:
        refuse_broken_seals(project, Lake(lake.base), model)
        lake = lake if lake.run else lake.held()
    release = _Release(project, lake, model)
    own = lake.current("calibration_report", model)
    summary = scored_summary(lake, model, own) if own else {}
    document = release.document(summary)
    document["evidence"] = release.evidence(verified=not unverified, lasting=lasting)
    if not whole:
        return ReleaseReport.model_validate(document)
    reports = release.reports_named() if lasting else release.reports_now()
    traced, made = release.trace()
    document |= {
        "promises": list(release.promises()),
        "terms": release.terms(),
        "steps": list(release.steps()),
        "graders": release.graders(),
        "awareness": release.awareness(),
        "fidelity": release.fidelity(),
        "novel": release.novel(),
        "taught_by": release.taught_by(),
        "narrowing": release.narrowing(),
        "history": [
            {"model_version": name, **{key: found[key] for key in _HISTORY}}
            for name, found in _summaries(lake, reports).items()
            if found["behaviors"]
        ],
        "trace": traced,
        "made": made,
    }
    return ReleaseReport.model_validate(document)
