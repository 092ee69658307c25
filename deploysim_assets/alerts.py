"""Sensors that tell a webhook of failed runs and failed gates. The environment names the webhook:
DEPLOYSIM_WEBHOOK_URL, and DEPLOYSIM_WEBHOOK_STYLE=slack for Slack's shape.

A message holds names and counts, never text of a conversation, and the address, which is a secret,
is in no log and no error.
"""

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import dagster as dg

from deploysim_assets.project import Project, ProjectError

URL, STYLE = "DEPLOYSIM_WEBHOOK_URL", "DEPLOYSIM_WEBHOOK_STYLE"
_TIMEOUT_SECONDS = 10.0
_PER_TICK = 20
_OUT_OF_ORDER = 60.0
_STYLES = ("json", "slack")


class Alert(NamedTuple):
    """What happened, in a line for people, and as fields."""

    event: str
    text: str
    fields: dict[str, Any]

    def body(self, style: str) -> dict[str, Any]:
        """What is posted: all fields, or the text alone where the receiver is Slack."""
        if style == "slack":
            escaped = self.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
            return {"text": escaped}
        return {"source": "deploysim", "event": self.event, "text": self.text, **self.fields}


def post(alert: Alert) -> None:
    """Send an alert to the webhook of the environment; ProjectError, without the address, where it
    is none or does not take it."""
    url, style = os.environ.get(URL, ""), os.environ.get(STYLE) or "json"
    if style not in _STYLES:
        raise ProjectError(f"{STYLE}: is {style!r}; it is one of {', '.join(_STYLES)}")
    try:
        known = urlsplit(url).scheme in ("http", "https")
    except ValueError:
        known = False
    if not known:
        raise ProjectError(f"{URL}: not an http(s) address; correct it, or take it out")
    request = urllib.request.Request(  # noqa: S310 (the scheme was looked at)
        url, json.dumps(alert.body(style)).encode(), {"content-type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS):  # noqa: S310
            return
    except urllib.error.HTTPError as wrong:
        said = f"answered {wrong.code}"
    except (OSError, ValueError) as wrong:
        said = f"did not answer ({type(wrong).__name__})"
    raise ProjectError(f"{URL}: the webhook {said}; the alert is sent again at the next look")


def run_failure(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Alert:
    """What is told of a failed run: its job, partition and steps, and the blocking checks that
    failed. Errors of ours name file and mend; of any other only the class is told."""
    model = run.tags.get("dagster/partition")
    checks: list[str] = []
    steps: dict[str, str] = {}
    wanted = {dg.DagsterEventType.ASSET_CHECK_EVALUATION, dg.DagsterEventType.STEP_FAILURE}
    for entry in instance.all_logs(run.run_id, of_type=wanted):
        event = entry.dagster_event
        if event is None:
            continue
        if event.event_type is dg.DagsterEventType.STEP_FAILURE:
            steps[event.step_key or "?"] = _reason(event.step_failure_data.error)
        elif not (found := event.asset_check_evaluation_data).passed and found.blocking:
            checks.append(f"{found.asset_key.to_user_string()}.{found.check_name}")
    why = (
        f"blocking checks failed: {', '.join(checks)}"
        if checks
        else "; ".join(f"{step}: {reason}" for step, reason in steps.items())
        or "the run's process ended without a word"
    )
    job = "materialize" if run.job_name.startswith("__") else run.job_name
    return Alert(
        "run_failure",
        f"deploysim: {job} of {model or 'all releases'} failed: {why}",
        {
            "run_id": run.run_id,
            "job": job,
            "model_version": model,
            "failed_steps": steps,
            "failed_checks": checks,
        },
    )


def _reason(error: Any) -> str:
    while error is not None and error.cause:
        error = error.cause
    if error is None:
        return "unknown"
    if error.cls_name != ProjectError.__name__:
        return str(error.cls_name)
    return error.message.strip().rpartition("ProjectError: ")[2]


def gate_failure(event: dg.AssetMaterialization) -> Alert | None:
    """What is told of a forecast some of whose gates failed; None where all held."""
    failed = event.metadata.get("gates_failed")
    names = failed.value if failed else None
    if not isinstance(names, list) or not names:
        return None
    listed = ", ".join(map(str, names))
    return Alert(
        "gate_failure",
        f"deploysim: the forecast of {event.partition} does not pass its gates: {listed}",
        {"model_version": event.partition, "behaviors": names},
    )


def alert_sensors(project: Project) -> list[dg.SensorDefinition]:
    """The sensors for failed runs and failed gates. What happened while no webhook was named is
    not told later; what the webhook did not take is sent again."""

    @dg.sensor(
        name="alert_run_failures",
        minimum_interval_seconds=project.automation.poll_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Tells the webhook {URL} of runs that failed, also those of the command line.",
    )
    def failures(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        return _tell(context, _failed_runs(context))

    @dg.sensor(
        name="alert_gate_failures",
        minimum_interval_seconds=project.automation.poll_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Tells the webhook {URL} of sealed forecasts that do not pass their gates.",
    )
    def gates(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        return _tell(context, _forecasts(context))

    return [failures, gates]


Found = Iterator[tuple[str, Alert | None]]
"""What came since the cursor, oldest first, each with the cursor behind it."""


def _tell(context: dg.SensorEvaluationContext, found: Found) -> dg.SkipReason:
    """Post what is new. The cursor moves with each alert that was taken, so that none is lost and
    none is sent twice."""
    named, sent = bool(os.environ.get(URL)), 0
    first = context.cursor is None
    for cursor, alert in found:
        if alert is not None and named and not first:
            try:
                post(alert)
            except ProjectError as wrong:
                return dg.SkipReason(str(wrong))
            sent += 1
        context.update_cursor(cursor)
    if not named:
        return dg.SkipReason(f"{URL} is not set: nobody is told")
    return dg.SkipReason(f"{sent} alerts sent" if sent else "nothing to tell")


def _failed_runs(context: dg.SensorEvaluationContext) -> Found:
    """Failed runs by the time of their end. The cursor holds that of the last one told, and the
    runs told shortly before it: ends are recorded a little out of order."""
    seen: dict[str, Any] = json.loads(context.cursor or "{}")
    at, told = seen.get("at", 0.0), dict[str, float](seen.get("told", {}))
    if context.cursor is None:
        now = time.time()
        yield json.dumps({"since": now, "at": now, "told": {}}), None
        return
    since = seen["since"]
    after = max(since, at - _OUT_OF_ORDER)
    records = context.instance.get_run_records(
        dg.RunsFilter(
            statuses=[dg.DagsterRunStatus.FAILURE],
            updated_after=datetime.fromtimestamp(after, UTC),
        )
    )
    ended = sorted(
        ((r.end_time or 0.0, r.dagster_run) for r in records), key=lambda e: (e[0], e[1].run_id)
    )
    # a run's record is touched again by whoever tags it, long after its end
    fresh = [e for e in ended if e[0] > after and e[1].run_id not in told]
    for end, run in fresh[:_PER_TICK]:
        at = max(at, end)
        told = {i: e for i, e in (told | {run.run_id: end}).items() if e > at - _OUT_OF_ORDER}
        cursor = {"since": since, "at": at, "told": told}
        yield json.dumps(cursor), run_failure(context.instance, run)


def _forecasts(context: dg.SensorEvaluationContext) -> Found:
    after = int(context.cursor) if context.cursor else None
    key = dg.AssetKey("rate_estimates")
    if after is None:
        newest = context.instance.fetch_materializations(key, limit=1).records
        yield str(newest[0].storage_id if newest else 0), None
        return
    found = context.instance.fetch_materializations(
        dg.AssetRecordsFilter(key, after_storage_id=after), limit=_PER_TICK, ascending=True
    )
    for record in found.records:
        event = record.asset_materialization
        yield str(record.storage_id), gate_failure(event) if event else None
