"""deidentified_prefixes: sampled user turns of a release, cleared of identifiers; what every
later asset reads."""

import secrets
from collections import Counter
from typing import Any

import dagster as dg

from deploysim_assets.assets.registry_lines import registry_line
from deploysim_assets.assets.withheld_text import text_withheld
from deploysim_assets.automation import CHEAP
from deploysim_assets.checks.gate import require_checked
from deploysim_assets.deidentify.keys import Keys
from deploysim_assets.io_manager import making, table_result
from deploysim_assets.logs.sampling import Sampler
from deploysim_assets.project import Deidentification, Project, ProjectError
from deploysim_assets.releases import MODELS
from deploysim_assets.runs import DEIDENTIFY
from deploysim_assets.schema import PREFIXES, QUARANTINE
from deploysim_assets.shards import engine
from deploysim_assets.storage.tables import Lake
from deploysim_assets.storage.verified import verified_batches


def tools_read_only(project: Project) -> dict[str, bool]:
    """What the project says of single tools: whether they only read."""
    tools = project.agents.tools if project.agents else {}
    return {n: tool.read_only for n, tool in tools.items() if tool.read_only is not None}


def clean_release(
    lake: Lake, project: Project, model: str, keys: Keys, policy: Deidentification
) -> dict[str, Any]:
    """Draw user turns of a release's raw_logs and de-identify them into a new version of the table;
    what it says beside it. `policy` has absolute folders. A conversation that was cleaned alike for
    the version before, and is as it was, is not cleaned again."""
    from deploysim_assets.assets.cleaned_before import BATCH, EarlierTable, TakenRows, chosen
    from deploysim_assets.deidentify.audit import canaries
    from deploysim_assets.deidentify.earlier import Taken, in_order
    from deploysim_assets.deidentify.prefixes import Cut, deidentified

    raw = lake.current("raw_logs", model)
    source = project.release(model).logs
    names = frozenset({model, *source.model_names})
    sampler = Sampler(project.sampling, project.eligibility, names, tools_read_only(project))
    batches = verified_batches(lake, "raw_logs", model, raw, sampler.survey_columns(), BATCH)
    found = sampler.survey(row for batch in batches for row in batch.iter_rows(named=True))
    done = EarlierTable.of(lake, model, raw)
    counts = Counter[str]()
    reasons = Counter[str]()
    with (
        text_withheld(),
        lake.new_version("deidentified_prefixes", model, PREFIXES) as version,
    ):
        version.side_table("quarantine", QUARANTINE)
        taken = TakenRows(done, version)

        def put(one: Taken | Cut) -> None:
            quarantined = one.quarantined
            if isinstance(one, Cut):
                taken.flush()
                counts["released"] += len(one.prefixes)
                for row in one.prefixes:
                    version.add(row)
            else:
                counts["reused"] += 1
                if not quarantined:
                    counts["released"] += len(one.turns)
                    taken.add(one)
            for row in quarantined:
                version.add(row, "quarantine")
                reasons[row["reason"]] += 1

        in_order(
            chosen(lake, model, raw, sampler, found, keys, done),
            lambda drawn: deidentified(
                drawn, keys, policy, engine(project.compute), agents=project.agents is not None
            ),
            lambda d: keys.identify("conversation", d.conversation["conversation_id"]),
            put,
        )
        taken.flush()
        released = counts["released"]
        version.stats |= {
            "raw_logs_version": raw,
            "conversations": found.eligible + sum(found.ineligible.values()),
            "eligible": found.eligible,
            "ineligible": sum(found.ineligible.values()),
            "ineligible_by_reason": found.ineligible,
            "eligible_turns": found.turns,
            "drawn": released + reasons.total(),
            "released": released,
            "quarantined": reasons.total(),
            "quarantined_by_reason": dict(reasons),
            "users_capped": len(found.last_rank_of_user),
            "strata": {
                name or "all": {"turns": s.turns, "drawn": s.drawn, "weight": s.weight}
                for name, s in found.strata.items()
            },
            "largest_weight": found.largest_weight,
            "deid_level": policy.min_level,
            "replacement": policy.replacement,
            "surrogate_key": policy.surrogate_key,
            "canaries": canaries(),
            "reused": {"version": done.version, "conversations": counts["reused"]}
            if done and counts["reused"]
            else None,
        }
    return version.stats


@dg.asset(
    partitions_def=MODELS,
    deps=["raw_logs"],
    automation_condition=CHEAP,
    group_name="production_side",
    kinds={"parquet"},
    pool=DEIDENTIFY,
)
def deidentified_prefixes(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    project: dg.ResourceParam[Project],
) -> dg.MaterializeResult[None]:
    """Draw user turns among consented conversations, de-identify, and quarantine what could not
    be cleared."""
    from deploysim_assets.deidentify.keys import load_keys

    model = context.partition_key
    require_checked(context, lake, project, "raw_logs", model)
    agents = project.agents is not None
    settings = project.part(
        "sampling", "eligibility", "deidentification", *(["agents"] if agents else [])
    )
    policy = project.deidentification
    if why := policy.unreachable(project.home):
        raise ProjectError(f"deploysim.yaml: {why}")
    policy = policy.at(project.home)
    models = policy.effective_ner if policy.min_level >= 2 else None
    read_by = {"ner_models": models.digests(project.home)} if models else {}
    keys = load_keys(
        project.home,
        may_create=not any(
            lake.current("deidentified_prefixes", r.model_version) for r in project.releases
        ),
    )
    if policy.surrogate_key == "run":
        keys = keys._replace(surrogates=secrets.token_bytes(32))
    settings |= {"keys": keys.mark, "release": registry_line(project, model)}
    lake = making(context, lake, settings | read_by)
    stats = clean_release(lake, project, model, keys, policy)
    return table_result(lake, "deidentified_prefixes", model, stats)
