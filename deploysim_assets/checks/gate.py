"""The gate before every asset that uses a corpus: a version whose blocking checks have not passed
is refused, and one that they have not run on is checked there and then.

Dagster runs the checks of a corpus in ops of their own. They have been left out of runs before
(once a run asks for some check by name, it runs the named ones only), and a run that was started by
hand may leave them out on purpose: what is used must not depend on it.
"""

import dagster as dg

from deploysim_assets.checks.corpus import checked
from deploysim_assets.checks.waiting import refusal
from deploysim_assets.project import Project, ProjectError
from deploysim_assets.storage import verdicts
from deploysim_assets.storage.tables import Lake


def require_checked(
    context: dg.AssetExecutionContext, lake: Lake, project: Project, asset: str, model: str
) -> None:
    """ProjectError where a blocking check of the current version of a corpus does not pass. Checks
    that did not run on this version run here, and show in the UI."""
    manifest = lake.manifest(asset, model)
    if manifest is None:
        return  # there is no table: what reads it says so
    found = verdicts.load(lake.home, manifest)
    if found is None:
        context.log.warning(
            f"{asset}[{model}]: its checks did not run on version {manifest.version}; they run now"
        )
        results = checked(project, lake, asset, model)
        for result in results:
            context.instance.report_runless_asset_event(
                dg.AssetCheckEvaluation(
                    asset_key=dg.AssetKey(asset),
                    check_name=result.check_name or "",
                    passed=result.passed,
                    severity=result.severity,
                    metadata=dict(result.metadata),
                    partition=model,
                )
            )
        found = verdicts.load(lake.home, manifest)
    if found is None:
        raise ProjectError(
            f"{asset}[{model}]: became another version while it was checked; run again"
        )
    if found.failed:
        raise ProjectError(refusal(asset, model, found.failed))
