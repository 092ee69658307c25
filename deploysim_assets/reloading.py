"""Releases come and go while Dagster runs: a sensor that has the definitions loaded again when
deploysim.yaml was changed, and says why where it does not.

A static partition appears when the code location is loaded. `dg dev` and `dagster code-server`
load it again when they are asked to; the daemon of `dagster-daemon run` does so every minute; the
webserver of `dagster-webserver` only when its own address is asked (DEPLOYSIM_WEBSERVER_URL).
"""

import hashlib
import json
import os
import urllib.request
from typing import Any

import dagster as dg

from deploysim_assets.assets.registry_lines import refused_lines
from deploysim_assets.project import CONFIG_FILE, Project, ProjectError
from deploysim_assets.project.file import load_project
from deploysim_assets.project.last_good import last_good, save_last_good
from deploysim_assets.storage.mirrors import mirror_of

WEBSERVER_URL = "DEPLOYSIM_WEBSERVER_URL"
_TIMEOUT = 120
_RELOAD = """mutation($name: String!) { reloadRepositoryLocation(repositoryLocationName: $name) {
  __typename ... on WorkspaceLocationEntry { locationOrLoadError {
    __typename ... on PythonError { message } } } } }"""


def _digest(project: Project) -> str:
    return hashlib.sha256(project.model_dump_json().encode()).hexdigest()


def _ask_webserver(url: str, location: str) -> None:
    """Have a webserver load the location again; ProjectError where it does not."""
    body = json.dumps({"query": _RELOAD, "variables": {"name": location}}).encode()
    try:
        request = urllib.request.Request(  # noqa: S310 (the operator's own address)
            f"{url.rstrip('/')}/graphql", body, {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:  # noqa: S310
            said: dict[str, Any] = json.loads(response.read())
        found = said["data"]["reloadRepositoryLocation"]
    except (OSError, ValueError, KeyError, TypeError) as wrong:
        raise ProjectError(f"{WEBSERVER_URL}: {url}: no reload: {wrong}") from None
    if (found.get("locationOrLoadError") or {}).get("__typename") != "RepositoryLocation":
        raise ProjectError(f"{WEBSERVER_URL}: {url}: did not load {location}: {found}")


def _reload(context: dg.SensorEvaluationContext) -> list[str]:
    """Have the definitions loaded again by all means there are; what was reached, in words."""
    origin, reached = context.code_location_origin, list[str]()
    create_client = getattr(origin, "create_client", None)
    if create_client is not None:
        create_client().reload_code(timeout=_TIMEOUT)
        reached.append("the code server")
    if url := os.environ.get(WEBSERVER_URL):
        _ask_webserver(url, origin.location_name if origin else "deploysim")
        reached.append(f"the webserver at {url}")
    return reached


def registry_sensor(project: Project, wrong: str) -> dg.SensorDefinition:
    """Compares deploysim.yaml with what the definitions were loaded from. `wrong` is why these are
    the last good ones, or "". The cursor holds the digest of what a reload was last asked for."""

    @dg.sensor(
        name="registry",
        minimum_interval_seconds=project.automation.poll_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            f"Has the definitions loaded again when {CONFIG_FILE} changes. Why it does not stands "
            "with its ticks: a file that is wrong or changes a registered release, or a webserver "
            f"whose address is not known ({WEBSERVER_URL})."
        ),
    )
    def registry(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        try:
            if mirror := mirror_of(project.home):
                mirror.pull()
            now = load_project(project.home)
        except ProjectError as reason:
            return _refused(context, [str(reason)])
        if refused := refused_lines(now, project.home):
            return _refused(context, refused)
        if now == project and not wrong and last_good(project.home) != project:
            save_last_good(project)
        digest = _digest(now)
        if now == project and context.cursor in (None, digest):
            context.update_cursor(digest)
            return dg.SkipReason(f"the definitions are those of {CONFIG_FILE}")
        if context.cursor == digest:
            return dg.SkipReason(
                f"{CONFIG_FILE} was changed and a reload was asked for; where the change does not "
                "show in a minute press Reload definitions (Deployment > Code locations)"
            )
        try:
            reached = _reload(context)
        except Exception as failed:  # noqa: BLE001 (whatever gRPC or HTTP raise is said, and tried again)
            return _loud(context, f"{CONFIG_FILE} was changed and not loaded again: {failed}")
        if not reached and now == project:
            context.update_cursor(digest)
            return _loud(
                context,
                f"the daemon has loaded the changed {CONFIG_FILE}; the webserver shows it after "
                f"Reload definitions, or by itself where {WEBSERVER_URL} names its address in the "
                "daemon's environment",
            )
        if not reached:
            return _loud(
                context,
                f"{CONFIG_FILE} was changed: the daemon loads it within a minute or two; the "
                f"webserver shows it after Reload definitions, or by itself where {WEBSERVER_URL} "
                "names its address in the daemon's environment",
            )
        context.update_cursor(digest)
        return dg.SkipReason(f"{CONFIG_FILE} was changed: {' and '.join(reached)} loads it")

    return registry


def _refused(context: dg.SensorEvaluationContext, reasons: list[str]) -> dg.SkipReason:
    return _loud(context, "the last good definitions stay loaded: " + "; ".join(reasons))


def _loud(context: dg.SensorEvaluationContext, sentence: str) -> dg.SkipReason:
    context.log.warning(sentence)
    return dg.SkipReason(sentence)
