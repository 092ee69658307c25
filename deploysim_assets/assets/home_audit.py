"""The audit of a project: the whole home, or what a report prints, against the ledger."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deploysim_assets.assets.registry_lines import registry_line
from deploysim_assets.evidence.audit import OF_A_REPORT, HomeAudit, undisturbed
from deploysim_assets.evidence.findings import Audit
from deploysim_assets.evidence.tables import Place
from deploysim_assets.grading.panel import Panel
from deploysim_assets.project import Project, SealError
from deploysim_assets.storage import last_audit, ledger
from deploysim_assets.storage.manifests import user
from deploysim_assets.storage.tables import Lake


def grader_ids(panel: Mapping[str, Any]) -> Mapping[str, str]:
    """The grader identities of a registered panel, by the code as it is."""
    return Panel.from_record(dict(panel)).grader_ids()


def _home_audit(
    project: Project,
    lake: Lake,
    public_key: Path | None = None,
    only: Callable[[Place], bool] = lambda _: True,
) -> HomeAudit:
    lines = {r.model_version: registry_line(project, r.model_version) for r in project.releases}
    pem = public_key.read_text() if public_key else None
    return HomeAudit(lake, lines, grader_ids, pem, only)


def audit_home(project: Project, lake: Lake, public_key: Path | None = None) -> Audit:
    """The full audit; what it says is kept for reports to cite."""

    def look() -> Audit:
        audit = _home_audit(project, lake, public_key)
        found = audit.whole()
        return found._replace(notes=[*_behavior_notes(project, audit), *found.notes])

    found = undisturbed(project.home, look)
    document = {
        "at": datetime.now(UTC).isoformat(),
        "by": user(),
        "holds": found.holds,
        "faults": len(found.faults),
        "records": found.records,
        "head": found.head,
    }
    last_audit.save(project.home, document)
    return found


def refuse_broken_seals(project: Project, lake: Lake, model: str) -> None:
    """SealError where a figure that a report of the release prints, or a seal above it, does not
    hold."""

    live = project.release(model).predecessor

    def printed(place: Place) -> bool:
        watched = place.asset in ("grader_drift", "realized_rates")
        mine = place.asset in OF_A_REPORT and place.partition == model
        both = watched and place.partition in (model, live)
        return mine or both or place.asset == "grader_quality"

    def beside(place: Place) -> bool:
        graded = place.asset in ("grades", "production_grades")
        return graded and place.partition in (model, live)

    def look() -> Audit:
        return _home_audit(project, lake, only=printed).of_a_report(model, beside)

    found = undisturbed(project.home, look)
    if not found.holds:
        listed = "\n  ".join(str(fault) for fault in found.faults)
        raise SealError(
            f"{model}: the report is not printed, since its seals do not hold:\n  {listed}\n"
            "`deploysim audit ledger` walks the rest; `--unverified` prints it all the same"
        )


def _behavior_notes(project: Project, audit: HomeAudit) -> Iterator[str]:
    """Behaviors that were changed since they were registered: no fault, and worth knowing."""
    now = {b.name: b for b in project.behaviors}
    scored = {r.model_version for r in audit.seals.of_kind("score")}
    for release in project.releases:
        records = audit.seals.of_kind("registration", release.model_version)
        if not records or release.model_version in scored:
            continue
        record: ledger.Record = records[-1]
        for registered in Panel.from_record(record.body["panel"]).behaviors:
            current = now.get(registered.name)
            threshold = registered.threshold_per_100k
            if (
                current is None
                or current.identity != registered.identity
                or current.threshold_per_100k != threshold
            ):
                what = "no longer there" if current is None else "not as registered"
                yield (
                    f"behavior {registered.name}: {what} for {release.model_version} (registered "
                    f"{record.at:%Y-%m-%d %H:%M}); the registration still holds. To change it: "
                    f"`deploysim register {release.model_version} --reason ...`"
                )
