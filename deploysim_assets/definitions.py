"""The code location: the only place that knows the whole graph, assembled from its parts."""

import dagster as dg

from deploysim_assets.alerts import alert_sensors
from deploysim_assets.assets.calibration_report import calibration_report
from deploysim_assets.assets.candidate_completions import candidate_completions
from deploysim_assets.assets.deidentified_prefixes import deidentified_prefixes
from deploysim_assets.assets.grader_quality import grader_quality
from deploysim_assets.assets.grades import grades
from deploysim_assets.assets.log_files import log_files, new_logs_sensor
from deploysim_assets.assets.novel_behaviors import novel_behaviors
from deploysim_assets.assets.open_batches import open_batches_sensor
from deploysim_assets.assets.optional import optional_assets
from deploysim_assets.assets.preregistration import preregistration
from deploysim_assets.assets.production_grades import production_grades
from deploysim_assets.assets.rate_estimates import rate_estimates
from deploysim_assets.assets.raw_logs import raw_logs
from deploysim_assets.assets.realized_rates import realized_rates
from deploysim_assets.assets.release_report import release_report
from deploysim_assets.assets.scorecard import scorecard
from deploysim_assets.catalog import explained
from deploysim_assets.io_manager import LakeIOManager
from deploysim_assets.jobs import jobs
from deploysim_assets.project import CONFIG_FILE, Project
from deploysim_assets.release_checks.every import checks, schedules
from deploysim_assets.releases import PROJECT, WRONG
from deploysim_assets.reloading import registry_sensor
from deploysim_assets.runs import executor
from deploysim_assets.sql import sql_assets, sql_checks
from deploysim_assets.storage.homes import home_folder
from deploysim_assets.storage.tables import Lake


def definitions(project: Project) -> dg.Definitions:
    """Everything for a project: the assets of its releases, and the sensors that run them."""
    production = [raw_logs, deidentified_prefixes, production_grades, realized_rates]
    candidate = [preregistration, candidate_completions, grades, rate_estimates]
    score = [calibration_report, scorecard, novel_behaviors, grader_quality, release_report]
    replay = project.self_replay is not None
    sql, tests = sql_assets(self_replay=replay), sql_checks(self_replay=replay)
    automation = dg.AutomationConditionSensorDefinition(
        "automation",
        target=dg.AssetSelection.all(),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=project.automation.poll_seconds,
        # the backfill daemon wakes every 30 s, and one red partition would stop the others
        emit_backfills=False,
        run_tags=project.dagster.run_tags,
        description="Runs what is due: what was never made, and what follows new logs.",
    )
    batches = [open_batches_sensor(project)] if project.uses_batches else []
    lake = Lake.of(project.home)
    tables = LakeIOManager(base=str(lake.base))
    assets = [log_files, *production, *candidate, *score, *optional_assets(project), *sql]
    registry = registry_sensor(project, WRONG)
    return dg.Definitions(
        assets=explained(project, assets),
        asset_checks=[*checks(project), *tests],
        schedules=schedules(project),
        sensors=[automation, new_logs_sensor(project), registry, *batches, *alert_sensors(project)],
        jobs=jobs(project),
        resources={"lake": lake, "project": project, "io_manager": tables},
        executor=executor(project, assets),
    )


def _load() -> dg.Definitions:
    if PROJECT is not None:
        return definitions(PROJECT)
    dg.get_dagster_logger("deploysim").warning(
        f"no {CONFIG_FILE} in {home_folder()}: run `deploysim init` there, or set DEPLOYSIM_HOME"
    )
    return dg.Definitions()


defs = _load()
