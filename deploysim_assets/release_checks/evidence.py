"""The audit of the whole home as a check on the scorecard, and a schedule that runs it."""

import dagster as dg

from deploysim_assets.project import Project
from deploysim_assets.storage.tables import Lake

_SHOWN = 20


@dg.asset_check(asset="scorecard", name="evidence_holds", blocking=False)
def evidence_holds(
    lake: dg.ResourceParam[Lake], project: dg.ResourceParam[Project]
) -> dg.AssetCheckResult:
    """Every seal of the ledger holds down to the log files. Failing means that something in the
    home is not as it was when it was sealed: run `deploysim audit ledger`, which names all of it
    and how to mend it, before any figure is used."""
    from deploysim_assets.assets.home_audit import audit_home

    found = audit_home(project, lake)
    return dg.AssetCheckResult(
        passed=found.holds,
        metadata={
            "records": found.records,
            "head": found.head,
            "files": found.files,
            "faults": len(found.faults),
            "first_faults": [str(fault) for fault in found.faults[:_SHOWN]],
        },
    )


EVIDENCE_JOB = dg.define_asset_job(
    "audit", dg.AssetSelection.checks(evidence_holds), description="Audit the whole home."
)
EVIDENCE_SCHEDULE = dg.ScheduleDefinition(
    name="audit_nightly",
    job=EVIDENCE_JOB,
    cron_schedule="0 3 * * *",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Audits the whole home every night. Off until it is switched on.",
)
