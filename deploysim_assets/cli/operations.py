"""What the command line does, as runs of the code location's own jobs on its own instance: they
show in the UI like any other."""

import re
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import dagster as dg

from deploysim_assets.assets.grader_drift import SIDES
from deploysim_assets.assets.log_files import materialization, reported
from deploysim_assets.assets.observed_logs import observations
from deploysim_assets.assets.open_batches import endpoints_of, with_open_batches
from deploysim_assets.assets.preregistration import needs_a_reason, registration_body
from deploysim_assets.assets.registration import Registration
from deploysim_assets.endpoint.batches import any_open, submitted
from deploysim_assets.endpoint.budget import BudgetError
from deploysim_assets.endpoint.errors import EndpointError
from deploysim_assets.project import Project, ProjectError, SealError
from deploysim_assets.runs import close_dead_runs
from deploysim_assets.storage import verdicts
from deploysim_assets.storage.journal import journal_file, set_aside
from deploysim_assets.storage.tables import Lake

_KINDS: dict[str, type[ProjectError]] = {
    kind.__name__: kind for kind in (ProjectError, SealError, EndpointError, BudgetError)
}
_OURS = re.compile(rf"^(?:deploysim_assets\.)?(?:\w+\.)*({'|'.join(_KINDS)}): ")
"""The names of our own errors, which Dagster writes before what they say."""

_CORPUS = ("raw_logs", "deidentified_prefixes")
_PRODUCTION = (
    "production_grades",
    "production_rate_counts",
    "production_flag_clusters",
    "realized_rates",
)
_FORECAST = (
    "candidate_completions",
    "grades",
    "rate_counts",
    "flag_clusters",
    "paired_counts",
    "paired_clusters",
    "rate_estimates",
)
_ELICITATION = ("elicitation_completions", "elicitation_grades", "elicitation_profile")
_REPLAY = ("self_completions", "self_grades", "self_paired_counts", "self_paired_clusters")


class Operations:
    """The project's jobs, run one after the other in this process. Say what happens through
    `tell`."""

    def __init__(
        self,
        project: Project,
        instance: dg.DagsterInstance,
        tell: Callable[[str], None],
    ) -> None:
        self.project, self.instance, self.tell = project, instance, tell
        self.lake = Lake.of(project.home)
        close_dead_runs(instance, project.home)

    def run(
        self,
        job: str,
        model: str | None,
        assets: Sequence[str],
        config: dict[str, Any] | None = None,
    ) -> None:
        """Run some assets of a job for a partition; ProjectError with the first failed step's
        reason."""
        self.tell(f"{f'{model}: ' if model else ''}{', '.join(assets)}")
        self._run_once(job, model, assets, config)
        while model and (
            open_now := [a for a in assets if (a, model) in with_open_batches(self.project)]
        ):
            before = self._open_batches(open_now[0], model)
            self._wait_for_batches(open_now[0], model)
            assets = assets[assets.index(open_now[0]) :]
            self._run_once(job, model, assets)
            if left := before & self._open_batches(open_now[0], model):
                raise ProjectError(
                    f"{model}: {open_now[0]}: nothing asks for what is in {', '.join(sorted(left))}"
                    ", which went to an endpoint that deploysim.yaml no longer names; name it "
                    "again, or give them up with `deploysim batches drop`"
                )

    def _open_batches(self, asset: str, model: str) -> set[str]:
        found, _ = submitted(journal_file(self.project.home, asset, model))
        return {batch.id for batch in found}

    def _wait_for_batches(self, asset: str, model: str) -> None:
        """Until the provider has finished; interrupted, the batches go on, and a later run or
        the daemon collects them."""
        asked = endpoints_of(self.project, asset)
        self.tell(
            f"{model}: {asset}: waiting for the provider's batches (Ctrl-C is safe: run again to "
            "collect them)"
        )
        while any_open(journal_file(self.project.home, asset, model), *asked):
            time.sleep(asked[0].batches.poll_seconds)

    def _run_once(
        self,
        job: str,
        model: str | None,
        assets: Sequence[str],
        config: dict[str, Any] | None = None,
    ) -> None:
        # not execute_in_process: it has an executor of its own, without leases and patience
        named = {"name": job, "project": self.project.model_dump_json(by_alias=True)}
        with dg.execute_job(
            dg.build_reconstructable_job(
                "deploysim_assets.cli.job_of", "job_of", reconstructable_kwargs=named
            ),
            self.instance,
            run_config={
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
                "ops": config or {},
            },
            tags={"dagster/partition": model} if model else None,
            asset_selection=[dg.AssetKey(a) for a in assets],
        ) as result:
            if not result.success:
                raise _failure(result)

    def report_log_files(self, model: str) -> None:
        """Tell Dagster of a release's log files where they came or changed; ProjectError where
        there are none."""
        observed = observations(self.project, {}, [model]).get(model)
        if observed is None:
            path = self.project.release(model).logs.path
            raise ProjectError(
                f"deploysim.yaml: releases: {model}: logs.path {path!r} matches no file; put the "
                f"production logs of {model} there"
            )
        if reported(self.instance, model) != observed.fingerprint:
            self.instance.report_runless_asset_event(materialization(model, observed))

    def _to_make(self, model: str, assets: Sequence[str]) -> list[str]:
        """The assets from the first on that is missing or whose blocking checks did not pass: a
        rerun must not step over a red one."""
        due = [i for i, asset in enumerate(assets) if self._is_due(asset, model)]
        return list(assets[due[0] :]) if due else []

    def _is_due(self, asset: str, model: str) -> bool:
        if not self.lake.current(asset, model):
            return True
        manifest = self.lake.manifest(asset, model)
        found = manifest and verdicts.load(self.lake.home, manifest)
        return bool(found and found.failed)

    def _corpus_is_current(self, model: str) -> bool:
        if self._to_make(model, _CORPUS):
            return False
        return (
            self.lake.stats("raw_logs", model)["fingerprint"]
            == observations(self.project, {}, [model])[model].fingerprint
        )

    def forecast(self, candidate: str, *, fresh: bool = False) -> None:
        """Register the candidate, ask and grade it, and seal the forecast; what is there already is
        not made again.

        With `fresh` the candidate is asked and graded anew, and what it was answered before is set
        aside.
        """
        predecessor = self.project.predecessor(candidate)
        if fresh:
            for asset in ("candidate_completions", "grades"):
                set_aside(journal_file(self.project.home, asset, candidate))
        elif not self._registered_anew(candidate) and not self._to_make(candidate, _FORECAST):
            self.tell(f"{candidate}: the forecast is sealed already")
            if self._measure_simulation(candidate):
                self.run("score", candidate, ["release_report"])
            return
        if not self.lake.current("preregistration", candidate):
            self.register(candidate, "")
        if not self._graded_for(candidate, predecessor):
            self.run("production", predecessor, _PRODUCTION)
        if self.project.self_replay and not self._replayed_for(candidate, predecessor):
            self.run("self_replay", predecessor, _REPLAY)
        anew = fresh or self._registered_anew(candidate)
        config = {"rate_estimates": {"config": {"fresh": True}}} if fresh else None
        due = _FORECAST if anew else self._to_make(candidate, _FORECAST)
        self.run("forecast", candidate, due, config)
        self._watch_judge(predecessor, candidate)
        # the judge is asked about novel behavior once: a new registration would word its request
        # anew
        ask_judge = self.project.exploration and (
            fresh or not self.lake.current("open_findings", candidate)
        )
        self.run(
            "exploration", candidate, ["novel_behaviors", *(["open_findings"] if ask_judge else [])]
        )
        if self.project.awareness:
            self.run("awareness", candidate, ["awareness_grades", "evaluation_awareness"])
        self._measure_simulation(candidate, fresh=fresh)
        if self.project.elicitation:
            self.run("elicitation", candidate, _ELICITATION)
        self.run("score", candidate, ["release_report"])

    def _measure_simulation(self, candidate: str, *, fresh: bool = False) -> bool:
        """Where agents of the live model are replayed and that is not done; whether it was."""
        measured = self.lake.current("simulation_fidelity", candidate)
        due = self.project.replays_agents_of_the_live_model and (fresh or not measured)
        if due:
            self.run("fidelity", candidate, ["simulation_fidelity"])
        return due

    def _watch_judge(self, *models: str) -> None:
        """Whether the judge is the one that it was, by what was graded last of some releases."""
        for model in models if self.project.sentinels else ():
            held = self.lake.manifest("grader_drift", model)
            used = {given.asset: given.version for given in held.inputs} if held else None
            if used != {a: v for a in SIDES if (v := self.lake.current(a, model))}:
                self.run("drift", model, ["grader_drift"])

    def register(self, candidate: str, reason: str) -> None:
        """Register the candidate on its predecessor's traffic as it is now; ProjectError where it
        was registered, something has changed since, and no reason is given."""
        predecessor = self.project.predecessor(candidate)
        self.report_log_files(predecessor)
        if not self._corpus_is_current(predecessor):
            self.run("production", predecessor, _CORPUS)
        changes = registration_body(self.project, self.lake, candidate)["changes"]
        if changes and not reason.strip():
            raise ProjectError(needs_a_reason(candidate, changes))
        self.run(
            "forecast",
            candidate,
            ["preregistration"],
            {"preregistration": {"config": {"reason": reason}}},
        )

    def _registered_anew(self, candidate: str) -> bool:
        """Whether the grades rest on an earlier registration than the current one."""
        if not (
            self.lake.current("preregistration", candidate)
            and self.lake.current("grades", candidate)
        ):
            return False
        return (
            self.lake.stats("grades", candidate)["registration"]
            != Registration.load(self.lake, candidate).record_hash
        )

    def _graded_for(self, candidate: str, predecessor: str) -> bool:
        if self._to_make(predecessor, _PRODUCTION):
            return False
        wanted = Registration.load(self.lake, candidate).panel.grading_id
        return any(
            row["grading_id"] == wanted for row in self.lake.rows("realized_rates", predecessor)
        )

    def _replayed_for(self, candidate: str, predecessor: str) -> bool:
        if self._to_make(predecessor, _REPLAY):
            return False
        return (
            Registration.load(self.lake, candidate).panel.grading_id
            in self.lake.stats("self_grades", predecessor)["gradings"]
        )

    def backfill(self, models: Sequence[str]) -> None:
        """The production side of each model, and the score of its forecast where one was made."""
        for model in models:
            self.project.release(model)
        for model in models:
            self.report_log_files(model)
            self.run("production", model, [*_CORPUS, *_PRODUCTION])
            self._watch_judge(model)
            if self.lake.current("rate_estimates", model):
                self.run("score", model, ["calibration_report", "release_report"])
            if self.project.self_replay:
                self.run("self_replay", model, _REPLAY)
                if self.lake.current("calibration_report", model):
                    self.run("score", model, ["error_decomposition"])
        if any(
            self.lake.current("calibration_report", r.model_version) for r in self.project.releases
        ):
            self.run("summary", None, ["scorecard"])


class StepError(ProjectError):
    """A step failed of an error that is none of ours."""

    exit_code: ClassVar[int] = 70


def _failure(result: dg.JobExecutionResult) -> ProjectError:
    """The red blocking checks, or the first failed step and why: an error of ours says what to
    mend."""
    checks = [
        e.asset_check_evaluation_data
        for e in result.all_events
        if e.event_type_value == "ASSET_CHECK_EVALUATION"
    ]
    red = [
        f"{c.asset_key.to_user_string()}.{c.check_name}"
        for c in checks
        if not c.passed and c.blocking
    ]
    if red:
        return ProjectError(
            f"blocking checks failed: {', '.join(red)}; their numbers are in Dagster's UI, mend "
            "the corpus and run again"
        )
    for event in result.all_events:
        if event.is_step_failure and event.step_failure_data.error:
            error = event.step_failure_data.error
            while error.cause:
                error = error.cause
            said = error.message.strip()
            kind = _OURS.match(said)
            raised = _KINDS[kind[1]] if kind else StepError
            return raised(f"{event.step_key}: {_OURS.sub('', said)}")
    return StepError("the run failed; see it in Dagster's UI")
