"""preregistration: what was promised before the first completion, on which everything of a
candidate rests."""

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from deploysim_assets.assets.registry_lines import adopt_line, registry_line
from deploysim_assets.automation import ONCE
from deploysim_assets.checks.gate import require_checked
from deploysim_assets.grading.panel import Panel
from deploysim_assets.io_manager import making, written
from deploysim_assets.project import Project, ProjectError
from deploysim_assets.releases import CANDIDATES, FROM_PREDECESSOR
from deploysim_assets.schema import REGISTRATIONS
from deploysim_assets.storage import ledger
from deploysim_assets.storage.statements import canonical
from deploysim_assets.storage.tables import Lake

ESTIMATOR = {
    "rate": "midp, weighted Jeffreys gamma over users",
    "error": "t4, tau LogNormal(log .5, .5), category bias HalfNormal(.25), mean bias N(0, .2)",
    "second": "two-witness blend (t3 drift, 10% t4 jumps), drift prior",
    "production": "design effect of the live model's production, pooled under 20 flags",
    "version": 2,
}
BROKEN_OFF = {
    "broken_off": "as others by competing risks over steps where a rule that stays met tells the "
    "behavior, whole turns elsewhere; limits and gates from none of them to every one",
}
"""What is promised besides where turns are rolled out, and can be broken off."""


def challenging_prompts(project: Project, candidate: str) -> dict[str, Any]:
    """Both models' (flags, replies) per behavior on the challenging prompts that the project names,
    a baseline of the score.

    ProjectError where the file lacks a column, or holds one of the two models alone.
    """
    if project.challenging_prompts is None:
        return {}
    path = project.home / project.challenging_prompts
    try:
        table = pl.read_csv(
            path,
            schema_overrides={
                "model_version": pl.String,
                "behavior": pl.String,
                "n": pl.Int64,
                "k": pl.Int64,
            },
        )
        found = {
            (row["model_version"], row["behavior"]): (row["k"], row["n"])
            for row in table.select("model_version", "behavior", "n", "k").to_dicts()
        }
    except (FileNotFoundError, pl.exceptions.PolarsError) as wrong:
        reason = str(wrong).partition("\n")[0]
        raise ProjectError(
            f"{path}: not a CSV of challenging prompts ({reason}); its columns are "
            "model_version, behavior, n, k"
        ) from None
    sides = {"live": project.predecessor(candidate), "candidate": candidate}
    names = [
        b.name
        for b in project.behaviors
        if any((model, b.name) in found for model in sides.values())
    ]
    alone = [name for name in names if not all((model, name) in found for model in sides.values())]
    if alone:
        raise ProjectError(
            f"{path}: {', '.join(alone)}: results of one model alone; name both "
            f"{' and '.join(sides.values())}, or neither"
        )
    return {name: {side: found[model, name] for side, model in sides.items()} for name in names}


REASON_TAG = "deploysim/reason"
"""The run tag that says why a candidate is registered again."""


class RegistrationConfig(dg.Config):
    """Why a candidate is registered again; not needed the first time."""

    reason: str = ""


def registration_body(
    project: Project, lake: Lake, candidate: str, reason: str = ""
) -> dict[str, Any]:
    """Everything that determines a forecast, with the version and digest of the prefixes that it
    rests on. A later version names its reason, the record that it replaces and what changed."""
    predecessor = project.predecessor(candidate)
    version = lake.current("deidentified_prefixes", predecessor)
    manifest = lake.manifest("deidentified_prefixes", predecessor, version)
    content = manifest.predicate["content"] if manifest else None
    panel = Panel.of(project)
    body: dict[str, Any] = {
        "model_version": candidate,
        "predecessor": predecessor,
        "prefixes": {
            "asset": "deidentified_prefixes",
            "partition": predecessor,
            "version": version,
            "count": lake.stats("deidentified_prefixes", predecessor, version)["released"],
            "content": content,
        },
        "panel": panel.record(),
        "grader_ids": panel.grader_ids(),
        "behavior_ids": {b.name: b.identity for b in panel.behaviors},
        "grading_id": panel.grading_id,
        "candidate": project.release(candidate).asked_as.model_dump(mode="json"),
        "sampling": project.sampling.model_dump(mode="json"),
        "eligibility": project.eligibility.model_dump(mode="json"),
        "deidentification": project.deidentification.model_dump(mode="json"),
        "estimator": ESTIMATOR | (BROKEN_OFF if project.agents is not None else {}),
        "early_stopping": project.early_stopping.model_dump(mode="json")
        if project.early_stopping
        else None,
        "grading": project.grading.model_dump(mode="json"),
        "challenging_prompts": challenging_prompts(project, candidate),
    }
    if project.agents is not None:
        body["agents"] = project.agents.model_dump(mode="json", exclude={"discriminator"})
    before = ledger.latest(project.home, "registration", candidate)
    if before is None:
        return body | {
            "version": 1,
            "reason": "first registration",
            "replaces": None,
            "changes": [],
        }
    return body | {
        "version": before.body["version"] + 1,
        "reason": reason.strip(),
        "replaces": before.hash,
        "changes": changed_since(lake, before.body, body),
    }


def needs_a_reason(candidate: str, changes: list[str]) -> str:
    """What is said where a registration would change and nobody said why."""
    return (
        f"{candidate} is registered, and something has changed since: {', '.join(changes)}. A new "
        f"registration needs a reason, which the report shows: `deploysim register {candidate} "
        f"--reason ...`, `reason` in the run's config, or the run tag {REASON_TAG}; until then the "
        "registration stands as it is"
    )


def changed_since(lake: Lake, before: dict[str, Any], body: dict[str, Any]) -> list[str]:
    """The parts of a registration that are not as they were. The prefix set is what it was as long
    as its rows are, whichever version holds them, and rows that users withdrew are no change."""
    names = body.keys() | ({"agents"} & before.keys())
    changes = sorted(n for n in names if n != "prefixes" and body.get(n) != before.get(n))
    then, now = before["prefixes"], body["prefixes"]
    same = then["version"] == now["version"] or then.get("content") == now["content"]
    if not same:
        where = "deidentified_prefixes", then["partition"]
        same = then["partition"] == now["partition"] and _equal(
            lake.rows(*where, then["version"]), lake.rows(*where, now["version"])
        )
    return changes if same else [*changes, "prefixes"]


def _equal(one: Iterator[dict[str, Any]], other: Iterator[dict[str, Any]]) -> bool:
    return all(a == b for a, b in zip_longest(one, other))


@dg.asset(
    partitions_def=CANDIDATES,
    deps=[dg.AssetDep("deidentified_prefixes", partition_mapping=FROM_PREDECESSOR)],
    automation_condition=ONCE,
    group_name="candidate_side",
)
def preregistration(
    context: dg.AssetExecutionContext,
    config: RegistrationConfig,
    lake: dg.ResourceParam[Lake],
    project: dg.ResourceParam[Project],
) -> dg.MaterializeResult[None]:
    """What is promised before the first completion: behaviors, rubrics, grader identities,
    sampling design, prefix set, thresholds and estimator, written to the ledger.

    All later tables of the candidate rest on it. To change it, register again with a reason:
    `deploysim register <release> --reason ...`, or `reason` in the launchpad. Where nothing
    changed, or nobody said why, the registration stands.
    """
    candidate = context.partition_key
    live = project.predecessor(candidate)
    require_checked(context, lake, project, "deidentified_prefixes", live)
    settings = project.part(
        "sampling", "eligibility", "deidentification", "judge", "grading", "behaviors"
    )
    lake = making(context, lake, settings | {"release": registry_line(project, candidate)})
    for model in (live, candidate):
        adopt_line(project, lake, model)
    reason = config.reason or context.run.tags.get(REASON_TAG, "")
    body = registration_body(project, lake, candidate, reason)
    waiting: list[str] = body["changes"] if body["replaces"] and not body["reason"] else []
    if waiting:
        context.log.warning(needs_a_reason(candidate, waiting))
    if body["replaces"] and (waiting or not body["changes"]):
        before = ledger.latest(lake.home, "registration", candidate)
        assert before is not None, "the body replaces it"
        record, body = before, before.body
    else:
        prefixes = lake.manifest(
            "deidentified_prefixes", body["predecessor"], body["prefixes"]["version"]
        )
        assert prefixes is not None, "registration_body read it"
        seals = {Path(prefixes.path).parent.relative_to(lake.home).as_posix(): prefixes.digest}
        record = ledger.append(lake.home, "registration", candidate, body, seals)
    row = {
        "model_version": body["model_version"],
        "predecessor": body["predecessor"],
        "grading_id": body["grading_id"],
        "prefixes_version": body["prefixes"]["version"],
        "prefixes": body["prefixes"]["count"],
        "record_hash": record.hash,
        "registered_at": record.at,
        "body": canonical(body).decode(),
    }
    metadata: dict[str, Any] = {
        "registration": body["version"],
        "waits_for_a_reason": waiting,
        "reason": body["reason"],
        "prefixes": row["prefixes"],
        "grading_id": row["grading_id"],
        "ledger_record": record.seq,
        "record_hash": record.hash,
    }
    return written(context, lake, pl.DataFrame([row], schema=REGISTRATIONS), metadata)
